"""Sockets → ``raw.v1``, ``feeds.v1``: what the venues send, as they send it.

Reads: the feeds of the enabled venues. Writes: native frames with their receive times to ``raw.v1``, what each
connection is doing to ``feeds.v1``. Key: the venue, so that one venue's frames keep their order. Guarantee: at most
once from the socket, and each hole is a gap row, also that of a worker that was killed. Nothing is parsed here, so
nothing can go wrong with it. One process; several share the venues by ``--venue``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow

from connectors.exchange import Frame
from connectors.recording import METADATA
from connectors.source import FeedSource, Items
from connectors.spool import Item, Listed, Opened
from flows import assembly, metrics
from flows.worker import Worker
from schemas.batches import Tick
from schemas.clock import SECOND, Clock
from schemas.codec import Outgoing, encode, encode_frame
from schemas.records import FeedStatus

OPENED, LISTED = "opened", "listed"
"""Markers among the frames: a connection was made anew; a venue told its instruments (the payload)."""


def build(config: str | None = None, *, recovery: str | None = None) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("capture", config, recovery=recovery)
    settings = worker.settings
    venues = [assembly.venue_feeds(settings, exchange) for exchange in assembly.enabled(settings)]
    reader = assembly.reader(settings, venues, worker.clock)
    return compose(worker, FeedSource(reader, worker.clock, worker.turned))


def compose(worker: Worker, source: FeedSource) -> Dataflow:
    """The same with another source."""
    flow = Dataflow("capture")
    items = op.input("feeds", flow, source)
    messages = op.flat_map_batch("encode", items, lambda batches: [("feeds", [*_encoded(batches, worker.clock)])])
    op.output("topics", messages, worker.sink())
    return flow


def _encoded(batches: Iterable[Items], clock: Clock) -> Iterator[Outgoing]:
    for items in batches:
        newest = 0
        for item in items:
            if isinstance(item, Tick):
                continue
            if isinstance(item, Frame):
                newest = item.receive_time
                metrics.frames.labels(item.venue).inc()
            yield message(item, clock)
        if newest:
            metrics.stage_seconds.labels("capture").observe(max(clock() - newest, 0) / SECOND)


def message(item: Item, clock: Clock) -> Outgoing:
    """What the reader brought, as a message."""
    match item:
        case Frame():
            return encode_frame(item.venue, item.feed, item.payload, item.receive_time)
        case Opened():
            return encode_frame(item.venue, item.feed, b"", clock(), OPENED)
        case Listed():
            return encode_frame(item.venue, METADATA, msgspec.json.encode(item.instruments), clock(), LISTED)
        case FeedStatus():
            _count(item)
    return encode(item)


def _count(status: FeedStatus) -> None:
    if status.state == "gap":
        metrics.gap_seconds.labels(status.venue).inc(max((status.gap_to or 0) - (status.gap_from or 0), 0) / SECOND)
    else:
        metrics.set_feed_state(status.venue, status.feed, status.state)
