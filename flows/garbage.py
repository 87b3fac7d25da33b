"""How rarely Python looks for cycles: what flows through holds none, and looking costs a worker a tenth of its time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 50_000
"""Containers made and not yet freed before the youngest are looked through; Python's own figure is 700."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Entered when everything is set up: what is there by then is not looked through until the end."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
