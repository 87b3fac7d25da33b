"""What concerns the pairs → intents and hints in the journal; what it tells → ``executions.v1``, ``account.v1``.

Reads: signals, the desk's own account events, public forced closes, marks, open interest and funding, the state of
feeds; the journal for pairs and positions. Writes: intents and hints into the journal, reports to the topic. Key: the
asset. Guarantee: an intent is there once, however often its cause is told; reports at least once, in the journal's
order, with their sequence as id. The executor process does the rest, and notices what its own private streams tell by
itself, by the same ``Detector``: whoever is first makes the intent. Signals, account events and marks make intents; the
others, and an ALERT, leave hints: read the venue's positions more often, add no risk there. A hint runs out by itself.
What the private streams of the executor told goes to ``account.v1`` from its journal, at least once, in order.
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows import desk
from flows.noticing import Noticing
from flows.outbox import CountedReports, OutboxSource, events
from flows.worker import Worker
from schemas.codec import encode
from schemas.topics import ACCOUNT, FEEDS, LIQUIDATIONS, MARKET, SIGNALS
from sinks.executor.sink import JournalSink


def build(config: str | None = None, *, bounded: bool = False, recovery: str | None = None) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("execute", config, bounded=bounded, recovery=recovery)
    path = desk.journal_path(worker.settings)
    flow = Dataflow("execute")
    told = op.input("told", flow, worker.source([SIGNALS, ACCOUNT, LIQUIDATIONS, MARKET], start="end"))
    # From the beginning: what a feed last said holds until it says something else.
    feeds = op.input("feeds", flow, worker.source([FEEDS], waits=False))
    arrivals = op.merge("arrivals", told, feeds)
    noticing = Noticing(worker.bus, path, desk.detector(worker.settings.executor, {}), worker.clock)
    intents = op.flat_map("notice", arrivals, noticing.read)
    op.output("journal", intents, JournalSink(path))
    stopped = worker.turned if not bounded else _at_once
    done = op.input("outbox", flow, OutboxSource(path, CountedReports(), stopped))
    heard = op.input("heard", flow, OutboxSource(path, events, stopped))
    news = op.map("messages", op.merge("news", done, heard), lambda record: ("journal", [encode(record)]))
    op.output("topic", news, worker.sink())
    return flow


def _at_once() -> bool:
    return True
