"""One Kafka consumer over chosen partitions: where to begin, what arrived, how far behind, and what went wrong.

Knows no engine: the dataflow's source and the commands that look into a topic read through the same class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka.alignment import Alignment
from connectors.kafka.errors import GONE, WAY_OUT, gone, lost, raised
from connectors.kafka.metadata import ASKED, topic_ids, waited
from schemas.bus import Bus
from schemas.clock import MILLISECOND, SECOND, Clock
from schemas.errors import TopicMissing
from schemas.topics import Topic

log = structlog.get_logger(__name__)

Start = Literal["beginning", "end"] | int
"""Where to begin; a number is a time in nanoseconds."""
_WAIT = 0.005
"""Seconds ``read`` waits at most: a message ends it, and each round without one costs a twentieth of a millisecond."""
_HELD_MOST, _HELD_LEAST = 50_000, 10_000
"""Messages of a partition that may wait for the others before it is paused, and when it goes on."""
_ALIVE = 3 * SECOND
"""A broker that said nothing for this long is away; fetches are answered each half second."""
_OURS: dict[str, str | int | float | bool] = {
    "group.id": "breakwater",  # the client wants one; nothing is committed to it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 500,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 20,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 10_000,
    "topic.metadata.propagation.max.ms": 5_000,
    "log_level": 2,  # what matters comes by the callback
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read, and how."""

    topics: tuple[Topic, ...]
    start: Start = "beginning"
    """Where partitions without a snapshot begin."""
    resume: bool = True
    """Whether snapshots count. False where ``start`` was said explicitly: the way out where an offset is lost."""
    warm_up: int = 0
    """Nanoseconds before the place to begin at that are read again, as runs that are ``warm``."""
    aligned: bool = False
    """Whether partitions are read in their common order of time, which windows over several of them need."""
    bounded: bool = False
    """Whether to end where the topics ended at the start."""
    ticks: bool = False
    """Whether clock ticks stand in the stream each 100 ms while everything there is has been read."""
    at_once: int = 10_000
    """Messages handed on together at most."""
    waits: bool = True
    """Whether a read waits a little for the first message. Of the sources of one flow only one may: the others wait for
    it."""


class Place(NamedTuple):
    """Where to read on in one partition."""

    offset: int
    """The first message not yet handed on."""
    time: int
    """Timestamp of the last one handed on, milliseconds; 0 where there was none."""
    topic_id: str
    """Which topic of that name; empty where the brokers do not tell."""


class Run(NamedTuple):
    """Messages of one partition, in its order."""

    topic: str
    """Without the prefix."""
    partition: int
    messages: list[Message]
    warm: bool = False
    """True for what came before the place to begin at and is read again to warm up."""


class Lag(NamedTuple):
    """How far a partition is behind."""

    messages: int
    seconds: float
    """Age of the last message handed on; 0 where everything is."""


@dataclass(slots=True)
class _Part:
    """One partition and how far it is."""

    topic: str
    partition: int
    bare: str
    topic_id: str
    first: int
    """Where reading begins: before ``floor`` where it warms up."""
    floor: int
    """The place to begin at; a snapshot is never before it."""
    end: int
    """Where the partition ended when it was added."""
    time: int = 0
    got: int = 0
    """After the last message read from the brokers."""
    given: int = 0
    """After the last message handed on."""
    paused: bool = False

    @property
    def key(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class BusConsumer:
    """Reads the partitions added to it. Not for several threads, but for ``lags``."""

    def __init__(self, bus: Bus, reading: Reading, clock: Clock) -> None:
        self._bus, self._reading, self._clock = bus, reading, clock
        self._parts: dict[str, _Part] = {}
        self._by_place: dict[tuple[str, int], str] = {}
        self._ids = topic_ids(bus, reading.topics)
        self._alignment = Alignment(_time)
        self._later: dict[str, list[Message]] = {}
        self._wait = _WAIT if reading.waits else 0.0
        self._warming = False
        self._stale = False
        self._answered = 0
        self._away = False
        self._closed = False
        self._gone = ""
        every = 1000 if reading.ticks else 0
        self._consumer = Consumer(
            bus.client(_OURS | {"statistics.interval.ms": every}) | {"error_cb": self._note, "stats_cb": self._hear}
        )

    def add(self, name: str, place: Place | None = None) -> None:
        """Read this partition too.

        :arg name: ``topic/partition`` as ``partition_names`` gives it.
        :raises OffsetLost, TopicMissing: it cannot be read from there.
        """
        topic, _, number = name.rpartition("/")
        key = TopicPartition(topic, int(number))
        low, high = waited(f"offsets of {name}", lambda: self._consumer.get_watermark_offsets(key, timeout=ASKED))
        identity = self._ids.get(topic, "")
        place = place if self._reading.resume else None
        if place is not None:
            _check(name, Place(*place), identity, low, high)
        floor = place[0] if place is not None else self._begin(key, self._reading.start, low, high)
        first = self._warm_from(key, place, floor, low)
        made = _Part(topic, key.partition, self._bus.bare(topic), identity, first, floor, high)
        made.got = made.given = first
        made.time = place[1] if place is not None else 0
        self._parts[name] = made
        self._by_place[topic, key.partition] = name
        self._stale = True

    def _begin(self, key: TopicPartition, start: Start, low: int, high: int) -> int:
        """A concrete offset, so that what comes before the first message is not skipped after a restart."""
        if isinstance(start, int):
            return self._at(key, start // MILLISECOND, high)
        return low if start == "beginning" else high

    def _at(self, key: TopicPartition, milliseconds: int, otherwise: int) -> int:
        """The first offset at or after a time."""
        asked = TopicPartition(key.topic, key.partition, max(milliseconds, 0))
        found = waited(f"times of {key.topic}", lambda: self._consumer.offsets_for_times([asked], timeout=ASKED))
        offset = int(found[0].offset)
        return offset if offset >= 0 else otherwise

    def _warm_from(self, key: TopicPartition, place: Place | None, floor: int, low: int) -> int:
        if not self._reading.warm_up:
            return floor
        reached = place[1] * MILLISECOND if place is not None and place[1] else self._clock()
        if place is None and isinstance(self._reading.start, int):
            reached = self._reading.start
        found = self._at(key, (reached - self._reading.warm_up) // MILLISECOND, floor)
        return max(min(found, floor), low)

    def read(self) -> list[Run]:
        """What arrived: waits a few milliseconds for the first message, then takes what is there.

        :raises BusError: what cannot be waited for.
        """
        if self._stale:
            self._assign()
        first = self._consumer.poll(self._wait)
        if self._gone:
            raise gone(self._gone)
        if first is None:
            return self._hand_on() if self._warming or self._alignment else []
        arrived = self._sorted([first, *self._consumer.consume(self._reading.at_once - 1, 0)])
        if not (self._warming or self._reading.aligned):
            return [self._given(name, messages, warm=False) for name, messages in arrived.items()]
        self._hold(arrived)
        return self._hand_on()

    def _assign(self) -> None:
        """From where each is; what was held is read again, so that nothing is told twice or out of order."""
        self._alignment, self._later, self._stale = Alignment(_time), {}, False
        for part in self._parts.values():
            part.got, part.paused = part.given, False
        self._warming = any(part.given < part.floor for part in self._parts.values())
        self._consumer.assign([TopicPartition(p.topic, p.partition, p.given) for p in self._parts.values()])

    def _sorted(self, messages: Iterable[Message]) -> dict[str, list[Message]]:
        """By partition; what is no message is dealt with."""
        found: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            if message.error() is not None:
                self._fault(message)
                continue
            key = message.topic(), message.partition()
            if key in found:
                found[key].append(message)
            else:
                found[key] = [message]  # type: ignore[index] # same
        out = {}
        for place, run in found.items():
            name = self._by_place[place]
            self._parts[name].got = run[-1].offset() + 1  # type: ignore[operator] # same
            out[name] = run
        return out

    def _given(self, name: str, messages: list[Message], *, warm: bool) -> Run:
        part, last = self._parts[name], messages[-1]
        part.given = last.offset() + 1  # type: ignore[operator] # a message has one
        part.time = max(part.time, last.timestamp()[1])
        return Run(part.bare, part.partition, messages, warm)

    def _hold(self, arrived: dict[str, list[Message]]) -> None:
        for name, messages in arrived.items():
            now = messages
            if self._warming:
                floor = self._parts[name].floor
                now = [m for m in messages if m.offset() < floor]  # type: ignore[operator] # a message has one
                if len(now) < len(messages):
                    self._later.setdefault(name, []).extend(messages[len(now) :])
            self._alignment.put(name, now)

    def _hand_on(self) -> list[Run]:
        warm = self._warming
        behind = self._behind(warm=warm)
        runs = self._alignment.take(behind if self._reading.aligned else ())
        if warm and not behind and not runs:
            self._warming, later, self._later = False, self._later, {}
            for name, messages in later.items():
                self._alignment.put(name, messages)
            return self._hand_on()
        self._balance()
        return [self._given(name, messages, warm=warm) for name, messages in runs.items()]

    def _behind(self, *, warm: bool) -> list[str]:
        """The partitions that have more to tell."""
        if warm:
            return [name for name, part in self._parts.items() if part.got < part.floor]
        return [name for name, part in self._parts.items() if part.got < self._end(part)]

    def _end(self, part: _Part) -> int:
        """Where a partition ends, as far as known without asking."""
        _, high = self._consumer.get_watermark_offsets(part.key, cached=True)
        return max(high, part.end)

    def _balance(self) -> None:
        """A partition far ahead of the others is not read on until they follow."""
        for name, part in self._parts.items():
            held = self._alignment.held(name) + len(self._later.get(name, ()))
            if not part.paused and held > _HELD_MOST:
                self._consumer.pause([part.key])
                part.paused = True
            elif part.paused and held < _HELD_LEAST:
                self._consumer.resume([part.key])
                part.paused = False

    def place(self, name: str) -> Place:
        """Where to read on after what was handed on."""
        part = self._parts[name]
        return Place(max(part.given, part.floor), part.time, part.topic_id)

    def finished(self) -> bool:
        """Whether everything that was there at the start has been handed on."""
        return not self._stale and all(part.given >= part.end for part in self._parts.values())

    def current(self, now: int) -> bool:
        """Whether everything there is has been handed on, and the brokers are there to say so."""
        if self._stale or self._warming or self._away or now - self._answered > _ALIVE:
            return False
        return all(part.given >= self._end(part) for part in self._parts.values())

    def lags(self) -> dict[str, Lag]:
        """How far each partition is behind, by name."""
        now = self._clock() // MILLISECOND
        return {} if self._closed else {name: self._lag(part, now) for name, part in dict(self._parts).items()}

    def _lag(self, part: _Part, now: int) -> Lag:
        waiting = max(self._end(part) - max(part.given, part.floor), 0)
        return Lag(waiting, max(now - part.time, 0) / 1000 if waiting and part.time else 0.0)

    def close(self) -> None:
        """Give the connections back."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _fault(self, message: Message) -> None:
        error = message.error()
        name = f"{message.topic()}/{message.partition()}"
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - how the client spells it
            return
        part = self._parts.get(self._by_place.get((str(message.topic()), message.partition() or 0), ""))
        raised(error, name, part.got if part else 0, lambda: self._range(message))

    def _range(self, message: Message) -> tuple[int, int]:
        key = TopicPartition(str(message.topic()), message.partition() or 0)
        return self._consumer.get_watermark_offsets(key, timeout=ASKED)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            raise KafkaException(error)
        if error.code() in GONE:
            self._gone = error.str()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - how the client spells it
            if not self._away:
                log.warning("the bus is away; reading goes on when it is back", bootstrap=self._bus.bootstrap)
            self._away = True
        else:
            log.info("the bus said", error=error.str())

    def _hear(self, statistics: str) -> None:
        """Once a second: which brokers answered."""
        told = _decode_statistics(statistics)
        ours = [broker for broker in told.brokers.values() if broker.toppars]
        if ours and all(b.state == "UP" and b.rxidle * 1000 < _ALIVE for b in ours):
            if self._away:
                log.info("the bus is back", bootstrap=self._bus.bootstrap)
            self._answered, self._away = self._clock(), False


def _time(message: Message) -> int:
    return message.timestamp()[1]


class _Broker(msgspec.Struct):
    state: str
    rxidle: int = 0
    """Microseconds since it said anything."""
    toppars: dict[str, Any] = {}


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


_decode_statistics = msgspec.json.Decoder(_Statistics).decode


def _check(name: str, place: Place, identity: str, low: int, high: int) -> None:
    if identity and place.topic_id and identity != place.topic_id:
        raise TopicMissing(f"{name} was deleted and made anew since it was read to offset {place.offset}. {WAY_OUT}")
    if not low <= place.offset <= high:
        raise lost(name, place.offset, low, high)
