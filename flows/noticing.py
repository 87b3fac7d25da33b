"""What arrives from the bus, as intents and hints: looked at with the pairs and positions the journal holds now."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import numpy as np

from connectors.kafka import Arrivals, Run
from flows.domain.detection import Detector
from flows.reading import RunReader, schemas
from schemas.batches import Batch
from schemas.bus import Bus
from schemas.cascades import MARKET, Signal
from schemas.clock import SECOND, Clock
from schemas.orders import Account, IntentKind, Known, OrderIntent
from schemas.pairs import Hint, Leg, LegSight, Pair, PairSight
from schemas.records import POSITIONS, VENUES, AccountEvent, FeedStatus, Funding, MarkPrice, OpenInterest, Trade
from schemas.topics import LIQUIDATIONS
from schemas.topics import MARKET as CONTEXT
from sinks.executor.journal import Journal

Told = Signal | AccountEvent | FeedStatus | OpenInterest | Funding | MarkPrice
_UNUSED = schemas(Trade)
_LATELY = 30 * SECOND
"""Older public closes are no hint."""
_ACCOUNT_AGE = 30 * SECOND
"""An account older than this, written by an executor that does not run, says nothing of now."""
_AT_MOST = 256
"""Public closes at one leg looked at of one run: the newest."""


class Noticing:
    """What is told in; intents, and hints for the executor's process, out."""

    def __init__(self, bus: Bus, path: Path, detector: Detector, clock: Clock) -> None:
        self._reader, self._path, self._detector, self._clock = RunReader(bus), path, detector, clock
        self._journal: Journal | None = None
        self._version: int | None = None
        self._pairs: list[Pair] = []
        self._assets: set[bytes] = set()
        self._working: dict[str, IntentKind] = {}
        self._accounts: dict[str, Account] = {}

    def read(self, arrived: Arrivals) -> list[OrderIntent | Hint]:
        """Of everything that arrived."""
        self._refresh()
        intents = [intent for run in arrived.runs for intent in self._run(run)]
        return [*intents, *self._detector.hints.news()]

    def _run(self, run: Run) -> Iterable[OrderIntent]:
        if run.topic == LIQUIDATIONS.name:
            self.closes(self._reader.closes(run)[0])
            return []
        if run.topic == CONTEXT.name:
            run = run._replace(messages=[message for message in run.messages if message.key() in self._assets])
        records = self._reader.records(run, _UNUSED)[0]
        return [intent for _, record in records for intent in self.notice(record)]

    def notice(self, record: Told) -> list[OrderIntent]:
        """Of one record."""
        self._refresh()
        now = self._clock()
        match record:
            case FeedStatus():
                self._detector.fed(record, now)
            case OpenInterest() | Funding():
                for sight in self._sights(record.asset, now):
                    self._detector.background(record, sight)
            case MarkPrice():
                sights = [s for s in self._sights(record.asset, now) if s.pair.leg(record.venue, record.instrument)]
                return [intent for sight in sights for intent in self._detector.marked(record, sight)]
            case Signal():
                sights = self._sights(record.asset, now)
                return [intent for sight in sights for intent in self._detector.signalled(record, sight)]
            case AccountEvent():
                sights = self._sights(record.asset, now)
                mine = next((s for s in sights if s.pair.leg(record.venue, record.instrument)), None)
                ours = self._open().has_client_id(record.venue, record.client_id)
                return self._detector.told(record, mine, ours=ours, now=now)
        return []

    def closes(self, batch: Batch) -> None:
        """Public forced closes at the legs' venues, on their sides."""
        self._refresh()
        now, rows = self._clock(), batch.liquidations
        fresh = ~rows.backfill & (rows.receive_time > now - _LATELY)
        for pair in self._pairs if fresh.any() else ():
            sight, asset = self._sight(pair, now), batch.assets.find(pair.asset)
            for leg in pair.legs:
                side = POSITIONS.index("long" if leg.quantity > 0 else "short")
                here = fresh & (rows.venue == VENUES.index(leg.venue)) & (rows.asset == asset) & (rows.position == side)
                for row in np.flatnonzero(here)[-_AT_MOST:]:
                    self._detector.public(batch.liquidation(int(row)), sight)

    def _open(self) -> Journal:
        if self._journal is None:
            # In the thread of the worker that reads.
            self._journal = Journal(self._path)
            self._detector.hints.restore(self._journal.hints(self._clock()))
        return self._journal

    def _refresh(self) -> None:
        journal = self._open()
        version = journal.version()
        if version != self._version:
            self._version, self._pairs, self._accounts = version, journal.pairs(), journal.accounts()
            self._assets = {pair.asset.encode() for pair in self._pairs}
            self._working = {i.order.pair: i.order.intent for i in journal.intents() if i.root == i.order.intent_id}

    def _sights(self, asset: str, now: int) -> list[PairSight]:
        return [self._sight(pair, now) for pair in self._pairs if asset in {pair.asset, MARKET}]

    def _sight(self, pair: Pair, now: int) -> PairSight:
        first, second = (self._leg(leg, now) for leg in pair.legs)
        return PairSight(pair=pair, legs=(first, second), working=self._working.get(pair.pair), now=now)

    def _leg(self, leg: Leg, now: int) -> LegSight:
        account = self._accounts.get(leg.venue)
        if account is None:
            return LegSight(leg=leg, quantity=None, at=0, expected=leg.quantity, known=None, reachable=False)
        held = account.position(leg.instrument)
        known = held if isinstance(held, Known) else None
        return LegSight(
            leg=leg, quantity=known.quantity if known else Decimal(0), at=account.time, expected=leg.quantity,
            known=known, reachable=now - account.time <= _ACCOUNT_AGE,
        )  # fmt: skip
