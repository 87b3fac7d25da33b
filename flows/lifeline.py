"""Processes of a cluster end when the one that started them does, whatever ended that: two clusters must never work
with one recovery store.

They hold the end of a pipe nobody writes to. Reading it returns when its only writer is gone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_VARIABLE = "WORKER_LIFELINE"


@contextmanager
def lifeline() -> Iterator[int]:
    """What to hand to processes (``pass_fds``, with ``environment``) that shall not outlive this one."""
    held, writer = os.pipe()
    try:
        yield held
    finally:
        os.close(held)
        os.close(writer)


def environment(held: int) -> dict[str, str]:
    """The environment of a process that holds it."""
    return {**os.environ, _VARIABLE: str(held)}


def follow() -> None:
    """In a process that was handed one: end as by kill −9 once the other is gone."""
    number = os.environ.get(_VARIABLE)
    if number is not None:
        threading.Thread(target=_await_end, args=(int(number),), name="lifeline", daemon=True).start()


def _await_end(held: int) -> None:
    with suppress(OSError):
        os.read(held, 1)
    os._exit(1)
