"""One partition's share of the thinking, or the whole market: a detector fed in an order that the log alone decides.

Live in one process, arrival decides the order. Through topics, forced closes and context arrive in topics of their own
and are read at their own pace, and after a crash again; so the order is made from what the records say:

- Forced closes of an asset lie in one partition: they are taken in its order, at once.
- Context counts from ``CONTEXT_DELAY`` after it was received: before the first close received later than that.
- The market reads every partition. Closes are put in order of receive time, each held back until one received
  ``REORDER`` later was read.
- Time passes by receive times; by a tick only to ``slack`` before it, so that a bus that falters is no silence.

As long as no partition is behind another by more than these spans, the same log gives the same records whatever the
pace, the cuts and the crashes. Where one is, its closes are taken as late ones are.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.domain.detector import Detections, Detector
from flows.domain.duplicates import Seen
from flows.domain.measures import UnderCount
from flows.domain.packing import packed, unpacked
from flows.domain.rules import Rules
from flows.domain.state import ASSETS, THE_MARKET
from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.cascades import MARKET
from schemas.clock import MILLISECOND, SECOND
from schemas.records import Funding, MarketRecord, OpenInterest

CONTEXT_DELAY = SECOND
REORDER = 250 * MILLISECOND
PACE = 50 * MILLISECOND
"""The market thinks so often while closes keep coming: they wait for each other anyway."""
_REMEMBERED = 60 * SECOND
"""A double of an event older than this is too late to count, so its id need not survive a restart."""
_ROOM = 1 << 16
_EMPTY = LiquidationColumns.empty()


@dataclass(slots=True)
class Told:
    """What pieces of the log brought about."""

    detections: Detections = field(default_factory=lambda: Detections([]))
    taken: int = 0
    duplicates: int = 0
    received: int = 0
    """The newest receive time among what was taken."""


class Shard:
    """Feeds one detector; everything of it is in ``snapshot``.

    :arg name: the partition, or ``MARKET`` for figures over all of them.
    :arg slack: nanoseconds the bus may hold up an event before silence is believed.
    :arg measures: as of the detector. An asset's contagion is that among the assets of its partition.
    """

    def __init__(
        self, name: str, rules: Rules, slack: int, resume: bytes | None = None, measures: UnderCount | None = None
    ) -> None:
        self.name, self.fresh = name, resume is None
        self._slack = slack
        self._reorder, self._pace = (REORDER, PACE) if name == MARKET else (0, 0)
        self.assets = Names()
        tells = THE_MARKET if name == MARKET else ASSETS
        self._detector = Detector(rules, self.assets, measures=measures, tells=tells)
        self._seen = Seen(_ROOM)
        self._ids: deque[tuple[int, NDArray[np.uint64]]] = deque()
        self._context: deque[tuple[int, MarketRecord]] = deque()
        self._arrived: list[Batch] = []
        self._waiting = _EMPTY
        self._reached = self._fed = self._context_reached = 0
        self._codes = np.empty(0, np.int32)
        self._coded: Names | None = None
        if resume is not None:
            self._restore(resume)
            self._detector.state.shard["measures"] = measures is not None

    @property
    def open_cascades(self) -> int:
        """How many there are now."""
        slots = self._detector.state.slot["open"]
        return int(slots[0] if self.name == MARKET else np.count_nonzero(slots[1:]))

    def warm_up(self) -> None:
        """Load what is compiled, so that the first event does not wait for it."""
        self._seen.drop(Batch(_EMPTY, (), self.assets))
        self._detector.warm_up()

    def closes(self, batch: Batch) -> Told:
        """Forced closes of one partition, in its order."""
        told = Told(taken=len(batch.liquidations))
        if told.taken:
            told.received = int(batch.liquidations.receive_time.max())
            self._reached = max(self._reached, told.received)
            self._arrived.append(batch)
        if self._arrived and self._reached - self._fed >= self._pace:
            told.duplicates = self._sort_in()
            told.detections = self._feed(self._released(self._reached - self._reorder))
            self._fed = self._reached
        return told

    def context(self, records: Iterable[MarketRecord]) -> None:
        """Context of one partition, in its order. It counts later; nothing comes of it by itself."""
        for record in records:
            if isinstance(record, OpenInterest | Funding):
                self._context_reached = max(self._context_reached, record.receive_time)
                self._context.append((self._context_reached + CONTEXT_DELAY, record))

    def tick(self, time: int) -> Told:
        """Everything received until ``time`` less the slack has been read."""
        until = time - self._slack
        if until <= self._reached:
            return Told()
        self._reached = until
        self._sort_in()
        found = self._feed(self._released(until))
        due = [(0, record) for record in self._due(until)]
        found = _joined(found, self._detector.process(Batch(_EMPTY, (), self.assets, [*due, (0, Tick(until))])))
        return Told(found)

    def snapshot(self) -> bytes:
        """Everything a successor needs to go on as if nothing had happened."""
        self._sort_in()
        names = [self.assets[code] for code in range(len(self.assets))]
        memory = packed(self._detector.state, len(names) + 1)
        ids = [ids for _, ids in self._ids]
        recent = np.concatenate(ids) if ids else np.empty(0, np.uint64)
        newest = self._ids[-1][0] if self._ids else 0
        return pickle.dumps(
            (names, memory, recent, newest, list(self._context), self._waiting, self._reached,
             self._context_reached)
        )  # fmt: skip

    def _restore(self, resume: bytes) -> None:
        names, memory, recent, newest, context, self._waiting, self._reached, self._context_reached = pickle.loads(  # noqa: S301 - our own recovery store
            resume
        )
        for name in names:
            self.assets.code(name)
        self._detector.state = unpacked(self._detector.state, memory)
        self._context.extend(context)
        if len(recent):
            self._seen.unseen(recent)
            self._ids.append((newest, recent))

    def _relabelled(self, batch: Batch) -> LiquidationColumns:
        """The columns with our own codes of the assets, given as they occur: a slot is for who has a forced close."""
        columns, theirs = copy(batch.liquidations), batch.assets
        if theirs is not self._coded:
            self._coded, self._codes = theirs, np.empty(0, np.int32)
        unknown = np.full(len(theirs) - len(self._codes), -1, np.int32)
        if len(unknown):
            self._codes = np.concatenate([self._codes, unknown])
        codes = self._codes[columns.asset]
        if (codes < 0).any():
            for code in dict.fromkeys(columns.asset[codes < 0].tolist()):
                self._codes[code] = self.assets.code(theirs[code])
            codes = self._codes[columns.asset]
        columns.asset = codes
        return columns

    def _remember(self, columns: LiquidationColumns) -> None:
        newest = int(columns.event_time.max())
        self._ids.append((max(newest, self._ids[-1][0] if self._ids else 0), columns.event_id))
        while self._ids[0][0] < self._ids[-1][0] - _REMEMBERED:
            self._ids.popleft()

    def _sort_in(self) -> int:
        """Put what arrived with what waits; how many of it were doubles."""
        doubles, parts = 0, [self._waiting] if len(self._waiting) else []
        for batch in self._arrived:
            mine = Batch(self._relabelled(batch), (), self.assets)
            doubles += self._seen.drop(mine)
            if len(mine.liquidations):
                self._remember(mine.liquidations)
                parts.append(mine.liquidations)
        if self._arrived:
            self._arrived = []
            self._waiting = parts[0] if len(parts) == 1 else LiquidationColumns.concatenate(parts)
        return doubles

    def _released(self, until: int) -> LiquidationColumns:
        """What may be thought about now: all there is, or what was received until then, in that order."""
        rows, self._waiting = self._waiting, _EMPTY
        if not self._reorder or not len(rows):
            return rows
        order = np.lexsort((rows.event_id, rows.receive_time))
        cut = int(np.searchsorted(rows.receive_time[order], until, side="right"))
        self._waiting = rows.take(order[cut:])
        return rows.take(order[:cut])

    def _feed(self, columns: LiquidationColumns) -> Detections:
        """Closes and the context due before each."""
        if not len(columns):
            return Detections([])
        others: list[tuple[int, MarketRecord | Tick]] = []
        if self._context:
            reached = np.maximum.accumulate(columns.receive_time)
            for due, record in self._taken(int(reached[-1])):
                others.append((int(np.searchsorted(reached, due)), record))
        return self._detector.process(Batch(columns, (), self.assets, others))

    def _due(self, until: int) -> list[MarketRecord]:
        return [record for _, record in self._taken(until)]

    def _taken(self, until: int) -> list[tuple[int, MarketRecord]]:
        found = []
        while self._context and self._context[0][0] <= until:
            found.append(self._context.popleft())
        return found


def _joined(first: Detections, second: Detections) -> Detections:
    return Detections(
        first.records + second.records,
        windows=first.windows + second.windows,
        measures=first.measures + second.measures,
        scored=first.scored + second.scored,
        late=first.late + second.late,
    )
