"""A broker of one's own for a benchmark, and the bare client beside which workers are judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka import waited
from connectors.kafka.topics import create
from schemas.bus import Bus
from schemas.clock import SECOND, system_clock
from schemas.topics import SIGNALS, TOPICS
from tests.broker import Broker, free_ports, missing

CONSUMER: dict[str, str | int | float | bool] = {
    "group.id": "bare", "enable.auto.commit": False, "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 20,  # as our source; by default a full queue rests for a second
}  # fmt: skip
PRODUCER: dict[str, str | int | float | bool] = {"enable.idempotence": True, "acks": "all", "linger.ms": 0}

_UNDER_WAY = 20
"""Messages on their way at a time while the broker is warmed."""


@contextmanager
def own_broker(directory: Path) -> Iterator[Broker]:
    """A broker nobody else uses, as it runs in production: compiled for the long run.

    :raises RuntimeError: there is no Java or no Maven.
    """
    if why := missing():
        raise RuntimeError(why)
    broker = Broker(*free_ports(2), directory / "kafka", brief=False).start()
    try:
        yield broker
    finally:
        broker.stop()


def bus_of(broker: Broker, prefix: str, partitions: int) -> Bus:
    """A bus whose topics have so many partitions."""
    bus = broker.bus(prefix)
    create(bus, [replace(topic, partitions=partitions) for topic in TOPICS.values()])
    return bus


def consumer(bus: Bus, topic: str, partitions: int) -> Consumer:
    """The bare client at the end of every partition."""
    made = Consumer(bus.client(CONSUMER))
    places = [TopicPartition(bus.name(topic), number) for number in range(partitions)]
    ends = waited("where topics end", lambda: [made.get_watermark_offsets(place, timeout=5)[1] for place in places])
    made.assign([TopicPartition(p.topic, p.partition, end) for p, end in zip(places, ends, strict=True)])
    return made


def forward(bus: Bus, source: str, target: str, partitions: int) -> None:
    """Hand each message on, until killed."""
    reader, writer = consumer(bus, source, partitions), Producer(bus.client(PRODUCER))
    while True:
        message = reader.poll(0.05)
        if message is not None and message.error() is None:
            writer.produce(bus.name(target), message.value(), message.key())
        writer.poll(0)


@contextmanager
def forwarders(bus: Bus, hops: Sequence[tuple[str, str]], partitions: int) -> Iterator[None]:
    """The bare client as a process per hop."""
    context = get_context("spawn")
    running = [context.Process(target=forward, args=(bus, *hop, partitions), daemon=True) for hop in hops]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def busy(broker: Broker, seconds: float = 40.0) -> None:
    """Messages one by one for a while: a broker works for months, its first minute is that of Java's compiler."""
    bus = bus_of(broker, "busy", 12)
    reader, producer = consumer(bus, SIGNALS.name, 12), Producer(bus.client(PRODUCER))
    until, number = system_clock() + round(seconds * SECOND), 0
    while system_clock() < until:
        number += 1
        producer.produce(bus.name(SIGNALS), b"x" * 600, str(number).encode())
        producer.poll(0.001 if len(producer) > _UNDER_WAY else 0)
        reader.poll(0)
    producer.flush(10)
    reader.close()


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Milliseconds that half, and 99 of 100, stay within."""
    p50, p99 = np.quantile(np.array(seconds) * 1000, [0.5, 0.99])
    return float(p50), float(p99)
