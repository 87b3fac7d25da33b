"""Sources of the dataflow: live feeds, and frames or batches replayed. One partition each, one list per activation.

The live source waits on the reader's spool for at most a millisecond and drains it, which is what keeps the way from
the socket to the next step at tens of microseconds: the engine's own polling sleeps longer. Nothing else may block in
the same worker, so there is exactly one such partition. Clock ticks come from here, in the stream, and never from
timers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.exchange import Frame
from connectors.reader import Reader
from connectors.spool import Item
from schemas.batches import Batch, Tick
from schemas.clock import MILLISECOND, SECOND, Clock
from schemas.records import FeedStatus

TICK = 100 * MILLISECOND
_WAIT = 0.001
_ALL = 1 << 30
WHOLE = "*"
"""The feed of a gap that is one of all feeds of its venue."""
_NAP = 0.05
"""Seconds a held back replay sleeps at most before it looks whether to stop."""
_TIMES = ("receive_time", "event_time", "time")
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""An awake time in the past: call again at once."""

Items = list[Item | Tick]
"""What one activation brings, in arrival order."""


class FeedPartition(StatefulSourcePartition[Items, int]):
    """Drains the reader until told to stop.

    :arg alive: when a predecessor was last known to listen; what came since was missed, and is told as a gap.
    """

    def __init__(self, reader: Reader, clock: Clock, stopped: Callable[[], bool], alive: int | None = None) -> None:
        self._reader, self._clock, self._stopped = reader, clock, stopped
        self._tick = 0
        self._ended = False
        self._missed: Items = [] if alive is None else [*_missed(reader.venues, alive, clock())]
        reader.start()

    def next_batch(self) -> list[Items]:
        """What arrived, and a tick each 100 ms whether anything arrived or not."""
        if self._ended:
            raise StopIteration
        items, self._missed = [*self._missed, *self._reader.drain(_WAIT)], []
        now = self._clock()
        if now - self._tick >= TICK:
            self._tick = now // TICK * TICK
            items.append(Tick(now))
            if self._stopped():
                self._ended = True
                self._reader.stop()
                items += self._reader.drain(0.0, _ALL)
        return [items] if items else []

    def next_awake(self) -> datetime:
        """At once: ``next_batch`` waits by itself."""
        return _AT_ONCE

    def snapshot(self) -> int:
        """Sockets cannot be rewound: until when was listened."""
        return self._clock()

    def close(self) -> None:
        """Close every socket."""
        self._reader.stop()


def _missed(venues: Iterable[str], alive: int, now: int) -> Iterator[FeedStatus]:
    reason = "nobody listened: the process was not running, or was killed since its last sign of life"
    for venue in venues:
        yield FeedStatus(venue, WHOLE, "gap", reason, now, alive, now)


class FeedSource(FixedPartitionedSource[Items, int]):
    """Live feeds. At most once: every hole is a ``FeedStatus`` gap row in the stream, also that between two processes.

    :arg stopped: asked ten times a second; true ends the flow.
    """

    def __init__(self, reader: Reader, clock: Clock, stopped: Callable[[], bool]) -> None:
        self._made = (reader, clock, stopped)

    def list_parts(self) -> list[str]:
        """One, whatever the venues."""
        return ["feeds"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> FeedPartition:  # noqa: ARG002 - the engine's signature
        """Start the reader."""
        return FeedPartition(*self._made, resume_state)


class ReplayPartition(StatefulSourcePartition[Any, None]):
    """Hands out pieces, held back to the pace of their receive times where asked, until told to stop."""

    def __init__(
        self, pieces: Iterator[Sequence[Frame] | Batch], speed: float | None, stopped: Callable[[], bool]
    ) -> None:
        self._pieces, self._speed, self._stopped = pieces, speed, stopped
        self._origin: tuple[int, int] | None = None

    def next_batch(self) -> list[Any]:
        """The next piece."""
        if self._stopped():
            raise StopIteration
        piece = next(self._pieces)
        if self._speed is not None:
            self._hold_back(piece, self._speed)
            if self._stopped():
                raise StopIteration
        return [piece]

    def _hold_back(self, piece: Sequence[Frame] | Batch, speed: float) -> None:
        received = _received(piece)
        if received <= 0:
            return
        now = time.monotonic_ns()
        if self._origin is None:
            self._origin = received, now
        due = self._origin[1] + (received - self._origin[0]) / speed
        while (left := (due - time.monotonic_ns()) / SECOND) > 0 and not self._stopped():
            time.sleep(min(left, _NAP))

    def snapshot(self) -> None:
        """A replay starts over."""


def _received(piece: Sequence[Frame] | Batch) -> int:
    if isinstance(piece, Batch):
        if len(piece.liquidations):
            return int(piece.liquidations.receive_time[0])
        return _told(piece.others[0][1]) if piece.others else 0
    return piece[0].receive_time if piece else 0


def _told(record: Any) -> int:
    """When it was received, or became true where nobody received it."""
    return next(int(getattr(record, name)) for name in _TIMES if hasattr(record, name))


class ReplaySource(FixedPartitionedSource[Any, None]):
    """Recorded frames (in lists) and batches, in order.

    :arg speed: times as fast as received; ``None`` as fast as possible.
    :arg stopped: asked before each piece; true ends the flow.
    """

    def __init__(
        self,
        pieces: Iterator[Sequence[Frame] | Batch],
        speed: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._made = (pieces, speed, stopped)

    def list_parts(self) -> list[str]:
        """One."""
        return ["replay"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> ReplayPartition:  # noqa: ARG002 - the engine's signature
        """Begin."""
        return ReplayPartition(*self._made)
