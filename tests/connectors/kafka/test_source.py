"""The source against a real broker: where it begins, what it resumes, and what it says where it cannot."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from confluent_kafka import TopicPartition

from connectors.kafka import BusConsumer, KafkaSource, Place, Reading, admin, partition_names
from flows.stages import execute
from schemas.bus import Bus
from schemas.clock import MILLISECOND, SECOND, system_clock
from schemas.errors import BusUnreachable, OffsetLost, TopicMissing
from schemas.topics import MARKET, SIGNALS
from tests.broker import Broker, free_ports
from tests.connectors.kafka.streams import RECENT, Told, flow_over, numbered, read, send

ALL = Reading((SIGNALS,), bounded=True)


def forget(bus: Bus, until: TopicPartition) -> None:
    """As retention does: nothing before this offset is kept."""
    client = admin(bus)
    client.delete_records([until])[until].result(10)


def after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def test_every_message_once_in_the_order_of_its_partition(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS, MARKET)
    send(bus, [*numbered(range(500)), *numbered(range(500, 900), MARKET)])
    told = read(bus, Reading((SIGNALS, MARKET), bounded=True))
    assert sorted(told.numbers) == list(range(900))
    assert {topic for topic, _ in told.offsets} == {"signals.v1", "market.v1"}
    assert len(told.offsets) > 8, "several partitions of both"
    assert all(offsets == list(range(len(offsets))) for offsets in told.offsets.values())


@pytest.mark.parametrize("workers", [[1, 1, 1], [1, 2, 3, 1], [3, 1, 2]])
def test_a_snapshot_is_resumed_by_any_number_of_workers(broker: Broker, tmp_path: Path, workers: list[int]) -> None:
    bus = broker.bus_with(SIGNALS)
    init_db_dir(tmp_path, 2)
    total: dict[str, int] = {}
    numbers: list[int] = []
    for turn, count in enumerate(workers):
        send(bus, numbered(range(turn * 300, turn * 300 + 300)))
        told = read(bus, ALL, recovery=RecoveryConfig(str(tmp_path)), workers=count, total=total)
        numbers += told.numbers
    assert sorted(numbers) == list(range(300 * len(workers)))
    assert total["sum"] == sum(numbers)


def test_an_idle_partition_begun_at_the_end_loses_nothing_to_a_restart(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(50)))
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    from_end = Reading((SIGNALS,), start="end")
    assert read(bus, from_end, recovery=recovery, stopped=after(0.3)).numbers == []
    send(bus, numbered(range(50, 100)))
    again = read(bus, Reading((SIGNALS,), start="end", bounded=True), recovery=recovery)
    assert sorted(again.numbers) == list(range(50, 100))


def test_reading_begins_at_a_time(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(100)))
    told = read(bus, Reading((SIGNALS,), start=(RECENT + 60) * MILLISECOND, bounded=True))
    assert sorted(told.numbers) == list(range(60, 100))


def test_partitions_that_are_aligned_come_in_the_order_of_time(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    for key in range(4):  # one key after the other, as a worker that catches up gets its partitions
        send(bus, numbered(range(key, 8_000, 4), keys=4))
    told = read(bus, Reading((SIGNALS,), aligned=True, bounded=True, at_once=500))
    assert told.times == sorted(told.times)
    assert sorted(told.numbers) == list(range(8_000))
    unaligned = read(bus, Reading((SIGNALS,), bounded=True, at_once=500))
    assert unaligned.times != sorted(unaligned.times), "or the test says nothing"


def test_what_is_read_again_to_warm_up_is_marked_and_comes_first(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with(SIGNALS)
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    send(bus, numbered(range(400)))
    read(bus, ALL, recovery=recovery)
    send(bus, numbered(range(400, 500)))
    warming = Reading((SIGNALS,), bounded=True, warm_up=100 * MILLISECOND, aligned=True)
    told = read(bus, warming, recovery=recovery)
    assert sorted(told.numbers) == list(range(400, 500))
    assert set(range(300, 400)) <= set(told.warm) <= set(range(250, 400))
    assert told.times == sorted(told.times)
    send(bus, numbered(range(500, 510)))
    assert sorted(read(bus, warming, recovery=recovery).numbers) == list(range(500, 510))


def test_ticks_come_while_everything_is_read(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(10)))
    began = system_clock()
    told = read(bus, Reading((SIGNALS,), ticks=True), stopped=after(2.2))
    assert sorted(told.numbers) == list(range(10))
    assert len(told.ticks) >= 5
    gaps = [later - earlier for earlier, later in zip(told.ticks, told.ticks[1:], strict=False)]
    assert all(began < tick for tick in told.ticks)
    assert sorted(gaps)[len(gaps) // 2] < 0.2 * SECOND


def test_how_far_behind_in_messages_and_seconds(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    now = system_clock() // MILLISECOND
    send(bus, numbered(range(10), keys=1, base=now - 60_000))
    consumer = BusConsumer(bus, Reading((SIGNALS,), at_once=4), system_clock)
    for name in partition_names(bus, (SIGNALS,)):
        consumer.add(name)
    until = time.monotonic() + 10
    while not (runs := consumer.read()) and time.monotonic() < until:
        pass
    count = sum(len(run.messages) for run in runs)
    (behind,) = [lag for lag in consumer.lags().values() if lag.messages]
    assert behind.messages == 10 - count
    assert 59 < behind.seconds < 75
    while not consumer.finished() and time.monotonic() < until:
        consumer.read()
    assert all(lag == (0, 0.0) for lag in consumer.lags().values())
    consumer.close()
    assert consumer.lags() == {}


def consumer_at(bus: Bus, place: Place, *, resume: bool = True) -> BusConsumer:
    consumer = BusConsumer(bus, Reading((SIGNALS,), resume=resume), system_clock)
    try:
        consumer.add(partition_names(bus, (SIGNALS,))[0], place)
    except BaseException:
        consumer.close()
        raise
    return consumer


def test_an_offset_that_retention_removed_stops_the_start_and_says_the_way_out(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(240)))
    forget(bus, TopicPartition(bus.name(SIGNALS), 0, 10))
    with pytest.raises(OffsetLost, match=r"signals\.v1/00000: offset 3 is not kept, there are 10 to \d+.*--from begin"):
        consumer_at(bus, Place(3, 0, ""))
    with pytest.raises(OffsetLost, match=r"offset 99999 is not kept.*cut short or made anew"):
        consumer_at(bus, Place(99_999, 0, ""))


def test_an_offset_lost_while_reading_is_an_error_and_never_a_jump(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(240), keys=1))
    consumer = BusConsumer(bus, Reading((SIGNALS,)), system_clock)
    for name in partition_names(bus, (SIGNALS,)):
        consumer.add(name)
    (filled,) = [part for part in consumer._parts.values() if part.end == 240]
    forget(bus, TopicPartition(filled.topic, filled.partition, 200))  # between the start and the first fetch
    with pytest.raises(OffsetLost, match=r"offset 0 is not kept, there are 200 to 240"):
        read_for(consumer, 15)
    consumer.close()


def read_for(consumer: BusConsumer, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        consumer.read()


def test_a_topic_deleted_while_it_is_read_ends_the_flow(broker: Broker) -> None:
    made = broker.bus_with(SIGNALS)
    bus = broker.bus(made.prefix, topic_metadata_propagation_max_ms=500, topic_metadata_refresh_interval_ms=500)
    send(bus, numbered(range(24)))
    consumer = BusConsumer(bus, Reading((SIGNALS,)), system_clock)
    for name in partition_names(bus, (SIGNALS,)):
        consumer.add(name)
    read_for(consumer, 0.5)
    client = admin(bus)
    client.delete_topics([bus.name(SIGNALS)])[bus.name(SIGNALS)].result(10)
    with pytest.raises(TopicMissing, match=r"deleted while it was read.*topics create"):
        read_for(consumer, 30)
    consumer.close()


def test_a_topic_made_anew_is_not_mistaken_for_the_old_one(broker: Broker) -> None:
    bus = broker.bus_with(SIGNALS)
    send(bus, numbered(range(240)))
    consumer = BusConsumer(bus, ALL, system_clock)
    name = partition_names(bus, (SIGNALS,))[0]
    consumer.add(name)
    place = consumer.place(name)
    consumer.close()
    assert place.topic_id
    with pytest.raises(TopicMissing, match=r"deleted and made anew.*--from beginning"):
        consumer_at(bus, place._replace(topic_id="AAAAAAAAAAAAAAAAAAAAAA"))
    consumer_at(bus, place._replace(topic_id="AAAAAAAAAAAAAAAAAAAAAA", offset=9999), resume=False).close()


def test_a_topic_that_is_not_there_is_named(broker: Broker) -> None:
    flow = flow_over(KafkaSource(broker.bus(), ALL, system_clock), Told())
    with pytest.raises(TopicMissing, match="topics create"):
        execute(flow)


def test_no_broker_is_said_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.kafka.metadata.PATIENCE", 0.5)
    monkeypatch.setattr("connectors.kafka.metadata.ASKED", 0.3)
    bus = Bus(f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(BusUnreachable, match=r"no answer from the bus.*make kafka"):
        partition_names(bus, (SIGNALS,))
