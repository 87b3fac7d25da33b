"""The simulator in a process of its own, so that its work disturbs nobody's; gone when its owner is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from connectors.exchange import Endpoints
from schemas.errors import UsageError

_ROOT = Path(__file__).parents[2]
_PATIENCE = 5.0


class SimulatorProcess:
    """``with SimulatorProcess("--seed", "7", "--duration", "60") as venues: venues.endpoints["bybit"]``.

    :arg arguments: as for ``python -m connectors.simulator``. Raises UsageError where they are refused.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments: Sequence[str] = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoints: dict[str, Endpoints] = {}
        self.began = 0
        """Nanoseconds UTC of offset 0 of the run."""

    def __enter__(self) -> SimulatorProcess:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "connectors.simulator", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C in a terminal is for the owner, who drains before the venues go.
            start_new_session=True,
        )
        ready = self.line()
        self.endpoints = {venue: Endpoints(**where) for venue, where in ready["endpoints"].items()}
        self.began = ready["began"]
        return self

    def line(self) -> dict[str, Any]:
        """The next line it prints: that it is ready, then (of a load) what was sent. Waits for it."""
        if self._process is None or self._process.stdout is None:
            raise UsageError("the simulator was not started: use it in a with statement")
        printed = self._process.stdout.readline()
        if not printed:
            self.__exit__(None, None, None)
            raise UsageError(f"the simulator ended at once with the arguments {list(self._arguments)}")
        found: dict[str, Any] = msgspec.json.decode(printed)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
