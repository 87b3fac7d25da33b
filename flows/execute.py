"""``signals.v1``, ``account.v1`` → intents in the journal; what came of them → ``executions.v1``.

Reads: signals and the desk's own account events; the journal for pairs and positions. Writes: intents into the journal,
reports to the topic. Key: the asset. Guarantee: an intent is there once, however often its cause is told; reports at
least once, in the journal's order, with their sequence as id. The executor process does the rest, and notices what its
own private streams tell by itself, by the same ``Detector``: whoever is first makes the intent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.kafka import Arrivals
from flows import desk
from flows.domain.detection import Detector
from flows.reading import RunReader
from flows.worker import Worker
from schemas.bus import Bus
from schemas.cascades import MARKET, Signal
from schemas.clock import Clock
from schemas.codec import encode
from schemas.orders import Account, ExecutionReport, Known, OrderIntent
from schemas.pairs import Leg, LegSight, Pair, PairSight
from schemas.records import AccountEvent
from schemas.topics import ACCOUNT, SIGNALS
from sinks.executor.journal import Journal
from sinks.executor.sink import JournalSink
from sinks.kafka import keyed

_LOOK = timedelta(milliseconds=50)
"""Between two looks for news in the outbox."""
_AT_ONCE = 1000


def build(config: str | None = None, *, bounded: bool = False) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("execute", config, bounded=bounded)
    path = desk.journal_path(worker.settings)
    flow = Dataflow("execute")
    source = worker.source([SIGNALS, ACCOUNT], start="end")
    arrivals = op.input("told", flow, source)
    noticing = Noticing(worker.bus, path, desk.detector(worker.settings.executor, {}), worker.clock)
    intents = op.flat_map("notice", arrivals, noticing.read)
    op.output("journal", intents, JournalSink(path))
    stopped = worker.turned if not bounded else _at_once
    reports = op.input("outbox", flow, OutboxSource(path, stopped))
    op.output("topic", op.map("messages", reports, lambda report: keyed(encode(report))), worker.sink())
    return flow


def _at_once() -> bool:
    return True


class Noticing:
    """What is told in, intents out. Looks up pairs and positions in the journal as they are now."""

    def __init__(self, bus: Bus, path: Path, detector: Detector, clock: Clock) -> None:
        self._reader, self._path, self._detector, self._clock = RunReader(bus), path, detector, clock
        self._journal: Journal | None = None
        self._version: int | None = None
        self._pairs: list[Pair] = []
        self._accounts: dict[str, Account] = {}

    def read(self, arrived: Arrivals) -> list[OrderIntent]:
        """Of everything that arrived."""
        records = [record for run in arrived.runs for _, record in self._reader.records(run)[0]]
        return [intent for record in records for intent in self.notice(record)]

    def notice(self, record: Signal | AccountEvent) -> list[OrderIntent]:
        """Of one record."""
        self._refresh()
        now = self._clock()
        sights = [self._sight(pair, now) for pair in self._pairs if record.asset in {pair.asset, MARKET}]
        match record:
            case Signal():
                return [intent for sight in sights for intent in self._detector.signalled(record, sight)]
            case AccountEvent():
                mine = next((s for s in sights if s.pair.leg(record.venue, record.instrument)), None)
                ours = self._open().has_client_id(record.venue, record.client_id)
                return self._detector.told(record, mine, ours=ours, now=now)

    def _open(self) -> Journal:
        if self._journal is None:
            # In the thread of the worker that reads.
            self._journal = Journal(self._path)
        return self._journal

    def _refresh(self) -> None:
        journal = self._open()
        version = journal.version()
        if version != self._version:
            self._version, self._pairs, self._accounts = version, journal.pairs(), journal.accounts()

    def _sight(self, pair: Pair, now: int) -> PairSight:
        first, second = (self._leg(leg) for leg in pair.legs)
        return PairSight(pair=pair, legs=(first, second), working=None, now=now)

    def _leg(self, leg: Leg) -> LegSight:
        account = self._accounts.get(leg.venue)
        if account is None:
            return LegSight(leg=leg, quantity=None, at=0, expected=leg.quantity, known=None, reachable=False)
        held = account.position(leg.instrument)
        known = held if isinstance(held, Known) else None
        return LegSight(
            leg=leg, quantity=known.quantity if known else Decimal(0), at=account.time, expected=leg.quantity,
            known=known, reachable=True,
        )  # fmt: skip


class OutboxSource(FixedPartitionedSource[ExecutionReport, int]):
    """The journal's reports in order, from the one after the last snapshot."""

    def __init__(self, path: Path, stopped: Callable[[], bool]) -> None:
        self._made = (path, stopped)

    def list_parts(self) -> list[str]:
        """One: the journal has one order."""
        return ["journal"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Outbox:  # noqa: ARG002 - the engine's signature
        """Read on after the snapshot."""
        return _Outbox(*self._made, resume_state or 0)


class _Outbox(StatefulSourcePartition[ExecutionReport, int]):
    def __init__(self, path: Path, stopped: Callable[[], bool], last: int) -> None:
        self._journal, self._stopped, self._last = Journal(path), stopped, last
        self._idle = False

    def next_batch(self) -> list[ExecutionReport]:
        reports = self._journal.reports(self._last, _AT_ONCE)
        self._idle = not reports
        if reports:
            self._last = reports[-1].sequence
        elif self._stopped():
            raise StopIteration
        return reports

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + _LOOK if self._idle else None  # noqa: TID251 - the engine wakes by its own clock

    def snapshot(self) -> int:
        return self._last

    def close(self) -> None:
        self._journal.close()
