"""The bounded hand-over from the reader thread to the flow: never blocks the sockets, wakes the consumer at once.

When it is full the NEWEST frame is refused, for three reasons: what was accepted is never taken back, the hole is one
contiguous span whose ends are known exactly, and its gap row stands in the queue just where the frames are missing. A
consumer that comes back drains everything held in one go, so nothing stays stale. Context feeds may fill only half, so
that a flood of ticks cannot push out forced closes. Statuses and markers are always accepted: they are few and small.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import NamedTuple

from connectors.exchange import Frame
from schemas.instruments import Instrument
from schemas.records import DeadLetter, FeedStatus


class Opened(NamedTuple):
    """A connection was made anew: reset the session of this feed (``Normaliser.reset``)."""

    venue: str
    feed: str


class Listed(NamedTuple):
    """A venue told its instruments: add them to the catalogue before reading on."""

    venue: str
    instruments: tuple[Instrument, ...]


Item = Frame | FeedStatus | DeadLetter | Opened | Listed
"""What a consumer drains, in the order in which it happened."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much may wait for the consumer."""

    frames: int = 200_000
    payload: int = 128_000_000
    """Bytes."""


class Spool:
    """One producer (the reader thread), one consumer.

    Each counter has a single writer, so no lock is needed beside the queue's own.
    """

    def __init__(self, limits: SpoolLimits | None = None) -> None:
        self._limits = limits or SpoolLimits()
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._put_bytes = 0
        self._taken_bytes = 0

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def held_bytes(self) -> int:
        """Bytes of payload waiting."""
        return self._put_bytes - self._taken_bytes

    def has_room(self, size: int, *, vital: bool = True) -> bool:
        """Whether a frame of ``size`` bytes is accepted now; one that is not vital only while half is free."""
        share = 1 if vital else 2
        held = self._put_bytes - self._taken_bytes
        return self._queue.qsize() < self._limits.frames // share and held + size <= self._limits.payload // share

    def put_frame(self, frame: Frame) -> None:
        """Hand a frame over. Ask ``has_room`` first."""
        self._put_bytes += len(frame.payload)
        self._queue.put(frame)

    def put(self, item: FeedStatus | DeadLetter | Opened | Listed) -> None:
        """Hand over what is always accepted."""
        self._queue.put(item)

    def drain(self, wait: float, most: int = 10_000) -> list[Item]:
        """Everything that waits, at most ``most`` items; blocks up to ``wait`` seconds (GIL released) for the first."""
        queue = self._queue
        try:
            items = [queue.get(timeout=wait) if wait > 0 else queue.get_nowait()]
            # The size is a lower bound: only this thread takes out.
            items += [queue.get_nowait() for _ in range(min(queue.qsize(), most - 1))]
        except Empty:
            return []
        self._taken_bytes += sum(len(item.payload) for item in items if isinstance(item, Frame))
        return items
