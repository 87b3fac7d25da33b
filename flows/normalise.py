"""``raw.v1`` → ``liquidations.v1``, ``market.v1``, ``account.v1``, ``deadletters.v1``: what the frames say.

Reads: native frames, each venue in one partition. Writes: one record per message. Key: the asset (dead letters: the
venue). Guarantee: nothing is lost, a frame is an event, a known control frame or a dead letter; at least once with
deterministic ids. What the sessions were told stands in the snapshot, so a successor reads on as if nothing had
happened: it may tell the last seconds again, in the same words.
"""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.kafka import Arrivals, KafkaSource, Run
from connectors.normaliser import Normaliser
from connectors.spool import Item, Listed, Opened
from flows import metrics
from flows.capture import LISTED, OPENED
from flows.worker import Worker
from schemas.batches import LiquidationColumns, Tick
from schemas.bus import Bus
from schemas.clock import MILLISECOND, SECOND, Clock
from schemas.codec import Outgoing, decode_frame, encode, encode_closes, letter
from schemas.errors import Unreadable
from schemas.instruments import Instrument
from schemas.placement import keys_of
from schemas.records import CAUSES, VENUES, Control, DeadLetter
from schemas.topics import RAW

_instruments = msgspec.json.Decoder(tuple[Instrument, ...]).decode


def build(config: str | None = None, *, bounded: bool = False, recovery: str | None = None) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("normalise", config, bounded=bounded, recovery=recovery)
    worker.warm_up(PartitionReader(worker.clock).warm_up)
    source = worker.source([RAW])
    flow = Dataflow("normalise")
    arrivals = op.input("raw", flow, source)
    frames = op.flat_map("frames", arrivals, FrameReader(worker.bus, source).read)
    told = op.stateful_batch("normalise", frames, lambda resume: PartitionReader(worker.clock, resume))
    op.output("topics", told, worker.sink())
    return flow


class FrameReader:
    """Runs in, frames and markers of each partition out, in its order."""

    def __init__(self, bus: Bus, source: KafkaSource) -> None:
        self._topic, self._source = bus.name(RAW), source
        self._keys: dict[int, str] = {}

    def read(self, arrived: Arrivals) -> list[tuple[str, list[Item]]]:
        """By the key of the partition; a message that is neither is a dead letter in its place."""
        self._keys = self._keys or keys_of(self._source.partitions(RAW))
        return [(self._keys[run.partition], [_item(m, self._topic, run) for m in run.messages]) for run in arrived.runs]


def _item(message: Any, topic: str, run: Run) -> Item:
    value = message.value()
    try:
        frame = decode_frame(value or b"", message.headers())
        if frame.what == OPENED:
            return Opened(frame.venue, frame.feed)
        if frame.what == LISTED:
            return Listed(frame.venue, _instruments(frame.payload))
        if frame.what != "frame":
            raise Unreadable(f"a native frame marked {frame.what!r}: it was written by a newer version")
        return Frame(frame.venue, frame.feed, frame.payload, frame.receive_time)
    except (Unreadable, msgspec.MsgspecError) as error:
        sent = max(message.timestamp()[1], 0) * MILLISECOND
        return letter(topic, run.partition, message.offset(), value, str(error), sent)


class PartitionReader(StatefulBatchLogic[list[Item], list[Outgoing], bytes]):
    """The sessions of the venues in one partition."""

    def __init__(self, clock: Clock, resume: bytes | None = None) -> None:
        self._clock = clock
        self._listed: dict[str, tuple[Instrument, ...]] = {}
        self._catalogue = Catalogue(snapshots())
        self._normaliser = Normaliser(exchanges().values(), self._catalogue)
        if resume is not None:
            self._listed, sessions = pickle.loads(resume)  # noqa: S301 - our own recovery store
            for instruments in self._listed.values():
                self._catalogue.add(instruments)
            self._normaliser.restore(sessions)

    def warm_up(self) -> None:
        """Load what is compiled, so that the first frame does not wait for it."""
        self._normaliser.warm_up()

    def on_batch(self, values: list[list[Item]]) -> tuple[list[list[Outgoing]], bool]:
        """What the frames say, as messages."""
        return [self._told(items) for items in values], StatefulBatchLogic.RETAIN

    def _told(self, items: list[Item]) -> list[Outgoing]:
        frames = [item for item in items if isinstance(item, Frame)]
        for item in items:
            if isinstance(item, Listed):
                self._listed[item.venue] = item.instruments
        batch = self._normaliser.normalise(items)
        out = list(encode_closes(batch))
        _count(frames, batch.liquidations)
        for _, record in batch.others:
            if not isinstance(record, Tick | Control):
                out.append(encode(record))
            if isinstance(record, DeadLetter):
                metrics.dead_letters.labels(record.venue).inc()
        if frames:
            late = max(self._clock() - frames[-1].receive_time, 0)
            metrics.stage_seconds.labels("normalise").observe(late / SECOND)
        return out

    def snapshot(self) -> bytes:
        """The instruments listed, and what the sessions were told."""
        return pickle.dumps((self._listed, self._normaliser.snapshot()))


def _count(frames: list[Frame], told: LiquidationColumns) -> None:
    """A figure is looked up once for many: looking it up costs more than normalising does."""
    for name, count in Counter(frame.venue for frame in frames).items():
        metrics.frames.labels(name).inc(count)
    for (venue, cause), count in Counter(zip(told.venue.tolist(), told.cause.tolist(), strict=True)).items():
        metrics.events.labels(VENUES[venue], CAUSES[cause]).inc(count)
