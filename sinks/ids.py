"""What a writer has taken lately, on disk: the ids in order, so that a snapshot needs to say no more than how many.

    history/_ids/<writer>-<number>.ids      ``size`` ids of eight bytes; the next file goes on where it ends

Two files are the memory of a restarted writer: the one begun and the full one before. Older ones are removed, but only
when no snapshot the writer could go back to needs them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from sinks.files import explained, history_dir

log = structlog.get_logger(__name__)

Ids = NDArray[np.uint64]
_WIDTH = 8


class IdLog:
    """An append-only log of one writer's ids. Not for several threads.

    :arg size: ids in a file, so the least that is remembered once there were as many.
    :raises HistoryError: where the directory cannot be written.
    """

    def __init__(self, data_dir: Path, writer: str, size: int) -> None:
        self.count = 0
        """Ids taken so far."""
        self._folder, self._writer, self._size = history_dir(data_dir) / "_ids", writer, size
        self._waiting: list[Ids] = []
        self._settled = 0
        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)

    def append(self, ids: Ids) -> None:
        """Take ids; nothing is written before a snapshot."""
        if len(ids):
            self._waiting.append(ids)
            self.count += len(ids)

    def snapshot(self) -> int:
        """Make durable what was taken; the place to ``rewind`` to. The one before is then the oldest to go back to.

        :raises HistoryError: naming the path and the remedy; what was not written is kept for the next attempt.
        """
        waiting = np.concatenate([np.empty(0, np.uint64), *self._waiting])
        begun = self.count - len(waiting)
        while len(waiting):
            number, place = divmod(begun, self._size)
            chunk = waiting[: self._size - place]
            self._write(self._file(number), place, chunk)
            waiting, begun = waiting[len(chunk) :], begun + len(chunk)
        self._waiting.clear()
        self._remove_before(self._settled // self._size - 1)
        self._settled = self.count
        return self.count

    def rewind(self, count: int) -> tuple[Ids, Ids]:
        """Go back to a snapshot; the ids of the full file before it and of the one begun. 0 is the beginning."""
        self._waiting.clear()
        self.count = self._settled = count
        number, place = divmod(count, self._size)
        return (self._read(number - 1, self._size) if number else np.empty(0, np.uint64)), self._read(number, place)

    def _file(self, number: int) -> Path:
        return self._folder / f"{self._writer}-{number:06d}.ids"

    def _write(self, path: Path, place: int, ids: Ids) -> None:
        with explained(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.seek(place * _WIDTH)
            file.write(ids.astype("<u8").tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _read(self, number: int, length: int) -> Ids:
        path = self._file(number)
        with explained(path):
            found = np.fromfile(path, "<u8", length) if length and path.exists() else np.empty(0, "<u8")
        if len(found) < length:
            log.warning("ids written lately are not known any more: a double of them would be kept", path=str(path))
        return found.astype(np.uint64)

    def _remove_before(self, number: int) -> None:
        """Those before a removed one are gone already."""
        for gone in range(number - 1, -1, -1):
            path = self._file(gone)
            if not path.exists():
                return
            with explained(path):
                path.unlink(missing_ok=True)
