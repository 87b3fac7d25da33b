"""How fast each worker catches up from a topic that is full, beside the bare client reading one message per event."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from schemas.bus import Bus
from schemas.records import Liquidation
from schemas.topics import LIQUIDATIONS, Topic
from tests.benchmarks.bus import CONSUMER, bus_of, own_broker
from tests.benchmarks.figures import Row, Target, row
from tests.integration.workers import Workers, feed, frames, workers

PARTITIONS = 12
WORKERS = ("normalise", "cascades", "archive")


def catchup(*, quick: bool) -> list[Row]:
    """Events a second, start-up apart: the bare client reads the topic in which each event is a message."""
    events = 2000 if quick else 300_000
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        bus = bus_of(broker, "full", PARTITIONS)
        feed(bus, frames(events, seed=5))
        alone = {name: caught_up(bus, Path(directory) / "alone", name) for name in WORKERS}
        told = messages_in(bus, LIQUIDATIONS, PARTITIONS)
        bare, decoding = (_middle(partial(_bare, bus, told, each)) for each in (Message.value, _decoded))
    against = f"bare client {told / bare:,.0f}/s"
    return [
        *(
            row(f"{name}: events/s", told / took, "1/s", Target("≥", 0.6, "ratio"), baseline=against, ratio=bare / took)
            for name, took in alone.items()
        ),
        row("bare client that decodes: events/s", told / decoding, "1/s", baseline=against, ratio=bare / decoding),
    ]


def caught_up(
    bus: Bus,
    directory: Path,
    name: str,
    *options: str,
    while_it_runs: Callable[[Workers], AbstractContextManager[None]] = nullcontext,
) -> float:
    """Seconds a worker needs for what its topics hold, start and end apart."""
    directory.mkdir(exist_ok=True)
    with workers(bus, directory) as pipeline, while_it_runs(pipeline):
        pipeline.finish(name, "--snapshot", "10", *options, within=600.0)
        return max(_last(pipeline.log(name), "read to where") - _last(pipeline.log(name), "at work"), 1e-3)


def _last(log: Path, event: str) -> float:
    """When the last process said so, in seconds."""
    times = [json.loads(line)["timestamp"] for line in log.read_text().splitlines() if event in line]
    return datetime.fromisoformat(re.sub("Z$", "+00:00", times[-1])).timestamp()


def messages_in(bus: Bus, topic: Topic, partitions: int) -> int:
    """How many a topic holds."""
    reader = Consumer(bus.client(CONSUMER))
    places = [TopicPartition(bus.name(topic), number) for number in range(partitions)]
    total = sum(reader.get_watermark_offsets(place, timeout=10)[1] for place in places)
    reader.close()
    return int(total)


def _bare(bus: Bus, count: int, each: Callable[[Message], object]) -> float:
    """Seconds the bare client takes to read so many messages and to do this with each."""
    reader = Consumer(bus.client(CONSUMER))
    reader.assign([TopicPartition(bus.name(LIQUIDATIONS), number, 0) for number in range(PARTITIONS)])
    began = time.perf_counter()
    while count > 0:
        for message in reader.consume(1000, 0.01):
            each(message)
            count -= 1
    took = time.perf_counter() - began
    reader.close()
    return took


_decode = msgspec.json.Decoder(Liquidation).decode


def _decoded(message: Message) -> Liquidation:
    return _decode(message.value())  # type: ignore[arg-type] # there are no tombstones


def _middle(measured: Callable[[], float]) -> float:
    """Of five: the broker has what is read in memory from the first on."""
    return statistics.median(measured() for _ in range(5))
