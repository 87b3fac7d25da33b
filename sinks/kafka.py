"""Kafka as a sink: nothing counts as written before the brokers have it.

``Outbox`` is one idempotent producer per process. Sending never waits for an answer, so a hop costs what the network
costs; an epoch does: the engine's snapshot of a sink is taken only when every message of the epoch is delivered, so
what a crash leaves undelivered is sent again. Guarantee: at least once, in order per key, with ids that are the same
each time; a reader that keeps ids has everything once.

A message is dated by its record's own time, but never later than now: brokers refuse what is dated an hour ahead
(``message.timestamp.after.max.ms``), and one such would stop its writer for ever. The record itself keeps its time.

A queue that is full makes the flow wait (back-pressure), as an absent broker does, up to ``deadline`` seconds; then
``DeliveryFailed`` says what is waiting for whom. A message the brokers refuse fails at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import Any, cast

import structlog
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.bus import Bus
from schemas.clock import MILLISECOND, Clock, system_clock
from schemas.codec import Outgoing
from schemas.errors import DeliveryFailed

log = structlog.get_logger(__name__)

LANES = 12
"""Among how many workers a flow's output can be divided; a key keeps its lane, so its order."""
_SLICE = 0.1
"""Seconds waited at a time, so that an interruption is heard."""
_POLL_EVERY = 256
"""Messages sent between two looks at what was delivered."""
_OURS: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 0,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as every Java client does, so that both put a key into the same partition
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 262_144,
    "reconnect.backoff.max.ms": 1000,
    "log_level": 2,  # what matters comes by the callbacks
}


class Outbox:
    """Sends messages and knows which have arrived.

    :arg deadline: seconds a message may take, brokers' absence included.
    """

    def __init__(self, bus: Bus, deadline: float = 120.0, clock: Clock = system_clock) -> None:
        self._bus, self._deadline, self._clock = bus, deadline, clock
        self._failure: DeliveryFailed | None = None
        self._away = False
        self.sent = 0
        """Messages handed over."""
        self.delivered: Counter[str] = Counter()
        """Messages the brokers have, by topic without its prefix."""
        self.failed: Counter[str] = Counter()
        """Messages they do not and will not have, likewise."""
        limits = {"message.timeout.ms": round(deadline * 1000)}
        self._producer = Producer(bus.client(_OURS | limits) | {"error_cb": self._note, "on_delivery": self._settled})
        self._names: dict[str, str] = {}
        self._bare: dict[str, str] = {}

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._producer)

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Hand messages over; waits only where too many are on their way.

        :raises DeliveryFailed: this or an earlier one cannot be delivered.
        """
        now = self._clock() // MILLISECOND
        for topic, key, value, headers, timestamp in messages:
            self._produce(self._name(topic), key, value, headers, min(timestamp, now))
            self.sent += 1
            if not self.sent % _POLL_EVERY:
                self._producer.poll(0)
        self._producer.poll(0)
        self._raise()

    def settle(self) -> None:
        """Wait until everything handed over has arrived.

        :raises DeliveryFailed: something did not.
        """
        until = time.monotonic() + self._deadline + 1.0  # the client gives each message up by itself
        while self._producer.flush(_SLICE) and self._failure is None:
            if time.monotonic() > until:
                raise DeliveryFailed(f"{self._waiting()} after {self._deadline:g} s; nothing is lost by starting again")
        self._raise()

    def _name(self, topic: str) -> str:
        name = self._names.get(topic)
        if name is None:
            name = self._names[topic] = self._bus.name(topic)
            self._bare[name] = topic
        return name

    def _produce(self, topic: str, key: bytes, value: bytes, headers: Any, timestamp: int) -> None:
        until = 0.0
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, timestamp=timestamp)
                return
            except BufferError:
                now = time.monotonic()
                until = until or now + self._deadline
                if now > until:
                    raise DeliveryFailed(f"{self._waiting()} and nothing moved for {self._deadline:g} s") from None
                self._producer.poll(_SLICE)
                self._raise()
            except KafkaException as error:
                raise DeliveryFailed(f"{topic}: {cast('KafkaError', error.args[0]).str()}") from None

    def _settled(self, error: KafkaError | None, message: Message) -> None:
        topic = self._bare[message.topic()]  # type: ignore[index] # it was sent there
        if error is None:
            self.delivered[topic] += 1
            if self._away:
                self._away = False
                log.info("the bus is back", bootstrap=self._bus.bootstrap)
            return
        self.failed[topic] += 1
        self._failure = self._failure or DeliveryFailed(self._complaint(error, message))

    def _complaint(self, error: KafkaError, message: Message) -> str:
        key = (message.key() or b"").decode(errors="replace")
        what = f"{message.topic()}: the message of key {key!r} was not delivered: {error.str()}"
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - how the client spells it
            return f"{what}; no broker took it within {self._deadline:g} s ([kafka] deadline); {self._waiting()}"
        if error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:  # noqa: SLF001 - same
            return f"{what}; `breakwater topics create` makes the topics that are missing"
        return what

    def _waiting(self) -> str:
        return f"{len(self._producer)} messages wait for {self._bus.bootstrap}"

    def _note(self, error: KafkaError) -> None:
        if error.fatal() and self._failure is None:
            self._failure = DeliveryFailed(f"the producer cannot go on: {error.str()}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away:  # noqa: SLF001 - same
            self._away = True
            log.warning("the bus is away; what is to be sent waits", bootstrap=self._bus.bootstrap)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Lane(StatefulSinkPartition[Outgoing, int]):
    """A share of the keys. All lanes of a process send by one outbox."""

    def __init__(self, outbox: Outbox, sent: int) -> None:
        self._outbox, self._sent = outbox, sent

    def write_batch(self, values: list[Outgoing]) -> None:
        """Hand over; what fails later fails the next call or the snapshot."""
        self._outbox.send(values)
        self._sent += len(values)

    def snapshot(self) -> int:
        """Everything of this epoch is with the brokers; how many that were in all."""
        self._outbox.settle()
        return self._sent


class KafkaSink(FixedPartitionedSink[Outgoing, int]):
    """Takes ``(key, Outgoing)``; the key chooses the worker that sends, and is best the message's own."""

    def __init__(self, bus: Bus, deadline: float = 120.0) -> None:
        self._made = (bus, deadline)
        self._lock = Lock()
        self._outbox: Outbox | None = None

    @property
    def outbox(self) -> Outbox:
        """The producer of this process."""
        with self._lock:
            if self._outbox is None:
                self._outbox = Outbox(*self._made)
            return self._outbox

    def list_parts(self) -> list[str]:
        """Lanes, the same for any number of workers."""
        return [f"lane-{number:02d}" for number in range(LANES)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Lane:  # noqa: ARG002 - the engine's signature
        """A lane; what an unfinished epoch sent is sent again."""
        return _Lane(self.outbox, resume_state or 0)


def keyed(message: Outgoing) -> tuple[str, Outgoing]:
    """As the sink takes it."""
    return message.key.decode(), message
