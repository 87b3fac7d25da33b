"""The sink against a real broker: nothing counts as written before it is, and what cannot be says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, cluster_main, run_main
from confluent_kafka import Consumer, Message, TopicPartition

from connectors.kafka import waited
from flows.stages import execute
from schemas.bus import Bus
from schemas.clock import HOUR, MILLISECOND, system_clock
from schemas.codec import Outgoing, decode, encode
from schemas.errors import DeliveryFailed
from schemas.records import FeedStatus
from schemas.topics import FEEDS, SIGNALS
from sinks.kafka import LANES, KafkaSink, Outbox
from tests.broker import Broker, free_ports
from tests.connectors.kafka.streams import numbered


def contents(bus: Bus, topic: str) -> list[Message]:
    """Everything in a topic, partition by partition, read by a client of its own."""
    consumer = Consumer(bus.client({"group.id": "test", "enable.auto.commit": False, "auto.offset.reset": "error"}))
    name = bus.name(topic)
    keys = [
        TopicPartition(name, number, 0) for number in consumer.list_topics(name, timeout=10).topics[name].partitions
    ]
    end = sum(waited(name, partial(consumer.get_watermark_offsets, key, timeout=10))[1] for key in keys)
    consumer.assign(keys)
    found: list[Message] = []
    until = time.monotonic() + 20
    while len(found) < end and time.monotonic() < until:
        found += consumer.consume(end - len(found), 0.05)
    consumer.close()
    return found


def values(bus: Bus, topic: str = SIGNALS.name) -> list[int]:
    return [int(message.value() or b"-1") for message in contents(bus, topic)]


def test_what_is_dated_ahead_is_delivered_and_keeps_its_own_time(broker: Broker) -> None:
    """The broker refuses a message dated an hour ahead; a record may say so all the same."""
    bus, now = broker.bus_with(FEEDS), system_clock()
    status = FeedStatus("okx", "liquidations", "connected", "", now + 48 * HOUR)
    outbox = Outbox(bus)
    outbox.send([encode(status)])
    outbox.settle()
    (message,) = contents(bus, FEEDS.name)
    assert now // MILLISECOND <= message.timestamp()[1] <= system_clock() // MILLISECOND
    assert decode(FEEDS, message.value(), message.headers()) == status


def test_a_message_arrives_with_key_headers_and_time(broker: Broker) -> None:
    bus = broker.bus_with(FEEDS)
    sent = encode(FeedStatus("okx", "liquidations", "gap", "lost", 1_791_565_602_163_456_789, 1, 2))
    outbox = Outbox(bus)
    outbox.send([sent])
    outbox.settle()
    (message,) = contents(bus, FEEDS.name)
    assert (message.key(), message.value()) == (b"okx/liquidations", sent.value)
    assert message.headers() == sent.headers
    assert message.timestamp()[1] == 1_791_565_602_163
    assert outbox.delivered == {"feeds.v1": 1}
    assert len(outbox) == 0


def test_a_key_keeps_its_partition_and_its_order(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    outbox = Outbox(bus)
    outbox.send(numbered(range(2_000)))
    outbox.settle()
    by_key: dict[bytes, list[tuple[int, int]]] = {}
    for message in contents(bus, SIGNALS.name):
        place = (message.partition() or 0, int(message.value() or b""))
        by_key.setdefault(bytes(message.key() or b""), []).append(place)
    for told in by_key.values():
        assert len({partition for partition, _ in told}) == 1
        assert [number for _, number in told] == sorted(number for _, number in told)


def test_a_full_queue_makes_the_sender_wait_and_loses_nothing(broker: Broker) -> None:
    made = broker.bus_with(SIGNALS)
    bus = broker.bus(made.prefix, queue_buffering_max_messages=100, linger_ms=5)
    outbox = Outbox(bus)
    outbox.send(numbered(range(5_000)))
    outbox.settle()
    assert outbox.delivered == {"signals.v1": 5_000}
    assert sorted(values(made)) == list(range(5_000))


def by_key(message: Outgoing) -> tuple[str, list[Outgoing]]:
    return message.key.decode(), [message]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_flow_writes_everything_once(broker: Broker, workers: int) -> None:
    bus = broker.bus_with(SIGNALS)
    flow = Dataflow("writing")
    items = op.input("in", flow, TestingSource([*numbered(range(3_000))], batch_size=50))
    op.output("bus", op.map("key", items, by_key), KafkaSink(bus))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert sorted(values(bus)) == list(range(3_000))


class _Crash(Exception):
    pass


class _Counting(FixedPartitionedSource[Outgoing, int]):
    """Numbers from a snapshot on; dies at one of them, once."""

    def __init__(self, end: int, dies_at: int | None) -> None:
        self._end, self._dies_at = end, dies_at

    def list_parts(self) -> list[str]:
        return ["one"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Any:
        return _Numbers(resume_state or 0, self._end, self._dies_at)


class _Numbers(StatefulSourcePartition[Outgoing, int]):
    def __init__(self, at: int, end: int, dies_at: int | None) -> None:
        self._at, self._end, self._dies_at = at, end, dies_at

    def next_batch(self) -> Iterator[Outgoing]:
        if self._at == self._dies_at:
            raise _Crash
        if self._at >= self._end:
            raise StopIteration
        self._at += 1
        return iter(numbered([self._at - 1]))

    def snapshot(self) -> int:
        return self._at


def test_what_a_crash_left_undelivered_is_sent_again(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with(SIGNALS)
    init_db_dir(tmp_path, 1)
    for dies_at in (900, 2_100, None):
        flow = Dataflow("writing")
        items = op.input("in", flow, _Counting(3_000, dies_at))
        op.output("bus", op.map("key", items, by_key), KafkaSink(bus))
        with pytest.raises(BytewaxRuntimeError) if dies_at else nullcontext():
            run_main(flow, epoch_interval=timedelta(milliseconds=10), recovery_config=RecoveryConfig(str(tmp_path)))
    assert set(values(bus)) == set(range(3_000))


def test_a_topic_that_is_not_there_ends_the_flow(broker: Broker) -> None:
    bus = broker.bus("", topic_metadata_propagation_max_ms=300)
    flow = Dataflow("writing")
    items = op.input("in", flow, TestingSource(numbered(range(3))))
    op.output("bus", op.map("key", items, by_key), KafkaSink(bus, deadline=20))
    with pytest.raises(
        DeliveryFailed, match=r"signals\.v1: the message of key .key\d. was not delivered.*topics create"
    ):
        execute(flow)


def test_a_message_nobody_takes_in_time_is_an_error_and_never_silence() -> None:
    outbox = Outbox(Bus(f"127.0.0.1:{free_ports(1)[0]}", "none"), deadline=1.0)
    outbox.send(numbered(range(3)))
    began = time.monotonic()
    with pytest.raises(DeliveryFailed, match=r"no broker took it within 1 s|3 messages wait for 127"):
        outbox.settle()
    assert time.monotonic() - began < 5
    with pytest.raises(DeliveryFailed):
        outbox.send([])


def test_a_message_too_large_is_named(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    outbox = Outbox(bus)
    with pytest.raises(DeliveryFailed, match=r"signals\.v1: .*[Mm]essage size too large"):
        outbox.send([Outgoing(SIGNALS.name, b"big", b"x" * 3_000_000, [], 1)])


def test_lanes_are_the_same_for_any_number_of_workers() -> None:
    assert KafkaSink(Bus("127.0.0.1:1")).list_parts() == [f"lane-{number:02d}" for number in range(LANES)]
