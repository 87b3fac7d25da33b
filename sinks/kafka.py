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
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, cast

import structlog
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.bus import Bus
from schemas.clock import MILLISECOND, Clock, system_clock
from schemas.codec import Outgoing
from schemas.errors import DeliveryFailed
from schemas.placement import PLACES, place_of

log = structlog.get_logger(__name__)

LANES = PLACES
"""Among how many workers a flow's output can be divided; what has one key keeps its lane, so its order."""
_SLICE = 0.1
"""Seconds waited at a time, so that an interruption is heard."""
_OURS: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 0,
    "delivery.report.only.error": True,  # a call for each message would cost a fifth of sending it
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
        self.sent: Counter[str] = Counter()
        """Messages handed over, by topic without its prefix."""
        self.failed: Counter[str] = Counter()
        """Messages the brokers do not and will not have, likewise."""
        self._delivered: Counter[str] = Counter()
        limits = {"message.timeout.ms": round(deadline * 1000)}
        self._producer = Producer(bus.client(_OURS | limits) | {"error_cb": self._note, "on_delivery": self._refused})
        self._names = _Names(bus)

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._producer)

    @property
    def delivered(self) -> Counter[str]:
        """Messages the brokers have, by topic without its prefix: as of when none was on its way last."""
        if not len(self):
            self._delivered = self.sent - self.failed
        return self._delivered

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Hand messages over; waits only where too many are on their way.

        :raises DeliveryFailed: this or an earlier one cannot be delivered.
        """
        if self._away and not len(self):
            self._away = False
            log.info("the bus is back", bootstrap=self._bus.bootstrap)
        now, names, sent = self._clock() // MILLISECOND, self._names, self.sent
        produce: Any = self._producer.produce
        for topic, key, value, headers, timestamp in messages:
            try:
                produce(names[topic], value, key, headers=headers, timestamp=min(timestamp, now))
            except (BufferError, KafkaException):
                self._insist(names[topic], key, value, headers, min(timestamp, now))
            sent[topic] += 1
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
        self._delivered = self.sent - self.failed

    def _insist(self, topic: str, key: bytes, value: bytes, headers: Any, timestamp: int) -> None:
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

    def _refused(self, error: KafkaError | None, message: Message) -> None:
        if error is None:  # somebody set ``delivery.report.only.error`` otherwise
            return
        self.failed[self._bus.bare(str(message.topic()))] += 1
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


class _Names(dict[str, str]):
    """Names of topics on a bus, by those without its prefix."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus

    def __missing__(self, topic: str) -> str:
        name = self[topic] = self._bus.name(topic)
        return name


Messages = Sequence[Outgoing]
"""What one activation of a step tells, in order."""


class _Lane(StatefulSinkPartition[Messages, int]):
    """A share of the keys. All lanes of a process send by one outbox."""

    def __init__(self, outbox: Outbox, sent: int) -> None:
        self._outbox, self._sent = outbox, sent

    def write_batch(self, values: list[Messages]) -> None:
        """Hand over; what fails later fails the next call or the snapshot."""
        for messages in values:
            self._outbox.send(messages)
            self._sent += len(messages)

    def snapshot(self) -> int:
        """Everything of this epoch is with the brokers; how many that were in all."""
        self._outbox.settle()
        return self._sent


class KafkaSink(FixedPartitionedSink[Messages, int]):
    """Takes ``(key, messages)``: the key, of whoever made them, chooses the worker that sends.

    Many at a time, because the engine routes item by item, and pickles each that goes to another process; and by the
    place of the key, so that what a stateful step tells under its own key is sent by the worker that told it.
    """

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

    def part_fn(self, item_key: str) -> int:
        """The number of its lane."""
        return place_of(item_key) % LANES

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Lane:  # noqa: ARG002 - the engine's signature
        """A lane; what an unfinished epoch sent is sent again."""
        return _Lane(self.outbox, resume_state or 0)
