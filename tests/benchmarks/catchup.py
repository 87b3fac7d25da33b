"""How fast each worker catches up from a topic that is full, beside the bare client reading it, and two beside one."""

from __future__ import annotations

import json
import re
import time
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
    """Events and messages a second, start-up apart."""
    events = 2000 if quick else 300_000
    found: list[Row] = []
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        bus = bus_of(broker, "full", PARTITIONS)
        feed(bus, frames(events, seed=5))
        alone = {name: caught_up(bus, Path(directory) / "alone", name) for name in SOURCES}
        for name, topic in SOURCES.items():
            messages, bare = _bare(bus, topic)
            told, rate = f"bare client reading {messages / bare:,.0f} messages/s", messages / alone[name]
            target = Target("≥", 0.6, "ratio")
            found.append(row(f"{name}: messages/s", rate, "1/s", target, baseline=told, ratio=bare / alone[name]))
        for name in reversed(SOURCES):  # what one tells again must not be what the next reads
            two = caught_up(bus, Path(directory) / "two", name, "--workers", "2")
            ratio = alone[name] / two
            target = Target("≥", 1.7, "ratio")
            found.append(row(f"{name}: two processes", two, "s", target, baseline="one process", ratio=ratio))
    return found


def caught_up(bus: Bus, directory: Path, name: str, *options: str) -> float:
    """Seconds a worker needs for what its topics hold, start-up apart."""
    directory.mkdir(exist_ok=True)
    with workers(bus, directory) as pipeline:
        return _took(pipeline, name, *options)


def _took(pipeline: Workers, name: str, *options: str) -> float:
    """Seconds from when the last of its processes was at work to the end."""
    pipeline.finish(name, "--snapshot", "10", *options, within=600.0)
    ended = time.time_ns()  # noqa: TID251 - measured against the log's times
    times = [json.loads(line)["timestamp"] for line in pipeline.log(name).read_text().splitlines() if "at work" in line]
    began = datetime.fromisoformat(re.sub("Z$", "+00:00", times[-1])).timestamp()
    return max(ended / 1e9 - began, 1e-3)


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
