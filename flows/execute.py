"""What concerns the pairs → intents and hints in the journal; what came of them → ``executions.v1``.

Reads: signals, the desk's own account events, public forced closes, open interest and funding, the state of feeds; the
journal for pairs and positions. Writes: intents and hints into the journal, reports to the topic. Key: the asset.
Guarantee: an intent is there once, however often its cause is told; reports at least once, in the journal's order, with
their sequence as id. The executor process does the rest, and notices what its own private streams tell by itself, by
the same ``Detector``: whoever is first makes the intent. Only signals and account events make intents; the others, and
an ALERT, leave hints: read the venue's positions more often, add no risk there. A hint runs out by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows import desk
from flows.noticing import Noticing
from flows.worker import Worker
from schemas.codec import encode
from schemas.orders import ExecutionReport
from schemas.topics import ACCOUNT, FEEDS, LIQUIDATIONS, MARKET, SIGNALS
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
    source = worker.source([SIGNALS, ACCOUNT, LIQUIDATIONS, MARKET, FEEDS], start="end")
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
