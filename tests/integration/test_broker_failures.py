"""A broker that goes away in every way it can, while one reads and another writes: nothing is lost, nobody gives up.

``BREAKWATER_AWAY`` is how many seconds it stays away, two unless said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from threading import Event, Thread

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka import BusConsumer, Reading, partition_names, waited
from schemas.bus import Bus
from schemas.clock import system_clock
from schemas.codec import Outgoing
from schemas.errors import BusUnreachable
from schemas.topics import SIGNALS
from sinks.kafka import Outbox
from tests.broker import Broker
from tests.connectors.kafka.streams import numbered

AWAY = float(os.environ.get("BREAKWATER_AWAY", "2"))


def restarted(broker: Broker) -> None:
    broker.stop()
    time.sleep(AWAY)
    broker.start()


def killed(broker: Broker) -> None:
    broker.kill()
    time.sleep(AWAY)
    broker.start()


def frozen(broker: Broker) -> None:
    broker.freeze()
    time.sleep(AWAY)
    broker.thaw()


class Writer(Thread):
    """Sends a number a millisecond until told to stop; knows what the brokers confirmed."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._outbox = Outbox(bus, deadline=90)
        self._enough = Event()
        self.sent = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self._enough.wait(0.001):
                now = system_clock() // 1_000_000
                self._outbox.send([m._replace(timestamp=now) for m in numbered([self.sent])])
                self.sent += 1
            self._outbox.settle()
        except Exception as error:  # noqa: BLE001 - told by the test that waits for it
            self.failure = error

    def stop(self) -> None:
        self._enough.set()
        self.join(100)


def reading(bus: Bus, reading: Reading) -> BusConsumer:
    consumer = BusConsumer(bus, reading, system_clock)
    for name in partition_names(bus, (SIGNALS,)):
        consumer.add(name)
    return consumer


def read_until(consumer: BusConsumer, done: Callable[[list[int]], bool], numbers: list[int], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done(numbers) and time.monotonic() < until:
        for run in consumer.read():
            numbers += [int(message.value() or b"") for message in run.messages]


@pytest.mark.slow
def test_nothing_is_lost_whatever_the_broker_does(own_broker: Callable[..., Broker]) -> None:
    broker = own_broker()
    bus = broker.bus_with(SIGNALS)
    consumer = reading(bus, Reading((SIGNALS,), ticks=True))
    writer = Writer(bus)
    writer.start()
    numbers: list[int] = []
    current: list[bool] = []
    for failing in (restarted, killed, frozen):
        before = len(numbers) + 200
        read_until(consumer, lambda n, enough=before: len(n) > enough, numbers, 40)
        trouble = Thread(target=failing, args=(broker,))
        trouble.start()
        while trouble.is_alive():
            read_until(consumer, lambda _: False, numbers, 0.2)
            current.append(consumer.current(system_clock()))
    writer.stop()
    assert writer.failure is None
    read_until(consumer, lambda n: len(n) >= writer.sent, numbers, 40)
    consumer.close()
    assert set(numbers) == set(range(writer.sent))
    assert len(numbers) == writer.sent, "an idempotent producer tells nothing twice by itself"
    assert not all(current), "silence of the bus says nothing"


class Mock:
    """librdkafka's own cluster in memory."""

    def __init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 2})
        told = self._producer.list_topics(timeout=10)
        self.bus = Bus(",".join(f"{b.host}:{b.port}" for b in told.brokers.values()), "mock")

    def send(self, messages: list[Outgoing]) -> None:
        for topic, key, value, headers, timestamp in messages:
            self._producer.produce(self.bus.name(topic), value, key, headers=headers, timestamp=timestamp)
        assert self._producer.flush(10) == 0


def test_a_fast_cluster_in_memory_is_read_and_written_alike() -> None:
    cluster = Mock()
    bus = cluster.bus
    cluster.send(numbered(range(100)))
    outbox = Outbox(bus, deadline=10)
    outbox.send(numbered(range(100, 200)))
    outbox.settle()
    consumer = reading(Bus(bus.bootstrap, bus.prefix, {"fetch.wait.max.ms": 10}), Reading((SIGNALS,)))
    numbers: list[int] = []
    read_until(consumer, lambda n: len(n) == 200, numbers, 20)
    consumer.close()
    assert sorted(numbers) == list(range(200))


def test_a_partition_without_a_leader_is_waited_for() -> None:
    """At the start as long as patience lasts; then it is an error that says so."""
    answers = iter([KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))] * 3)

    def ask() -> str:
        for error in answers:
            raise error
        return "led"

    assert waited("x", ask, patience=5) == "led"

    def never() -> str:
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))

    with pytest.raises(BusUnreachable, match="no answer from the bus"):
        waited("x", never, patience=0.3)
