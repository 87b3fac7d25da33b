"""Compaction and retention beside a running writer, in a thread of their own."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from schemas.clock import HOUR, Clock, system_clock
from schemas.errors import HistoryError
from sinks.compaction import Compacted, compact
from sinks.retention import Removed, retain


class Upkeep:
    """Compacts and retains when told the time, at most once per ``every``; never holds the caller up.

    Several processes may do so over one history: whoever comes second leaves it to the first.

    :arg keep: seconds of history to keep; 0 keeps everything.
    :arg every: nanoseconds between runs.
    """

    def __init__(self, data_dir: Path, keep: float = 0.0, every: int = HOUR, clock: Clock = system_clock) -> None:
        self.error: HistoryError | None = None
        """Why the last run failed; nothing once one succeeds."""
        self.compacted: Compacted | None = None
        self.removed: Removed | None = None
        self._what = (data_dir, keep)
        self._every, self._clock = every, clock
        self._next = 0
        self._thread: Thread | None = None

    def due(self, now: int) -> bool:
        """Start a run if it is time for one and none is under way; whether one was started."""
        if now < self._next or (self._thread is not None and self._thread.is_alive()):
            return False
        self._next = now + self._every
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()
        return True

    def _run(self) -> None:
        data_dir, keep = self._what
        try:
            self.removed = retain(data_dir, self._clock(), keep)
            self.compacted = compact(data_dir, self._clock())
            self.error = None
        except HistoryError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - the thread must not end without a word
            self.error = HistoryError(f"upkeep of the history failed: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Wait for a run that is under way. One that is killed instead leaves nothing half done."""
        if self._thread is not None:
            self._thread.join()
