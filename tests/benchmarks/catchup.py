"""How fast each worker catches up from a topic that is full, beside the bare client reading one message per event."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Consumer, TopicPartition

from schemas.bus import Bus
from schemas.topics import LIQUIDATIONS, RAW, Topic
from tests.benchmarks.bus import CONSUMER, bus_of, own_broker
from tests.benchmarks.figures import Row, Target, row
from tests.integration.workers import Workers, feed, frames, workers

PARTITIONS = 12
SOURCES = {"normalise": RAW, "cascades": LIQUIDATIONS, "archive": LIQUIDATIONS}


def catchup(*, quick: bool) -> list[Row]:
    """Events a second, start-up apart: the bare client reads the topic in which each event is a message."""
    events = 2000 if quick else 300_000
    found: list[Row] = []
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        bus = bus_of(broker, "full", PARTITIONS)
        feed(bus, frames(events, seed=5))
        alone = {name: caught_up(bus, Path(directory) / "alone", name) for name in SOURCES}
        told, one_by_one = _bare(bus, LIQUIDATIONS)
        for name, topic in SOURCES.items():
            messages, bare = _bare(bus, topic)
            against = f"bare client {told / one_by_one:,.0f} messages/s"
            rate, target = told / alone[name], Target("≥", 0.6, "ratio")
            found.append(
                row(f"{name}: events/s", rate, "1/s", target, baseline=against, ratio=one_by_one / alone[name])
            )
            if messages != told:
                of_its_own = f"bare client {messages / bare:,.0f} frames/s"
                rate, ratio = messages / alone[name], bare / alone[name]
                found.append(row(f"{name}: frames/s", rate, "1/s", baseline=of_its_own, ratio=ratio))
    return found


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


def _bare(bus: Bus, topic: Topic) -> tuple[int, float]:
    """Messages of the topic, and seconds the bare client takes to read their values."""
    reader = Consumer(bus.client(CONSUMER))
    places = [TopicPartition(bus.name(topic), number, 0) for number in range(PARTITIONS)]
    ends = [reader.get_watermark_offsets(place, timeout=10)[1] for place in places]
    reader.assign(places)
    left = total = sum(ends)
    began = time.perf_counter()
    while left > 0:
        for message in reader.consume(10_000, 1.0):
            message.value()
            left -= 1
    took = time.perf_counter() - began
    reader.close()
    return total, took
