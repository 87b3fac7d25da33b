"""What stands in topics, for people: in the order of time, chosen by what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from confluent_kafka import Message

from connectors.kafka import BusConsumer, Reading, Start, partition_names
from flows.moments import moment
from flows.settings import nearest
from schemas.bus import Bus
from schemas.clock import Clock
from schemas.codec import Headers
from schemas.errors import UsageError
from schemas.topics import TOPICS, Topic, topic


@dataclass(frozen=True, slots=True)
class Seen:
    """One message."""

    topic: Topic
    partition: int
    offset: int
    time: int
    """Milliseconds."""
    key: str
    value: bytes
    headers: Mapping[str, str]

    @property
    def record(self) -> Any:
        """The value as it can be shown: JSON, text, or what it is not."""
        try:
            return msgspec.json.decode(self.value)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self.value.decode(errors="replace")

    def says(self, wanted: Mapping[str, str]) -> bool:
        """Whether every named field, or header, has the wanted value."""
        record = self.record
        fields = record if isinstance(record, dict) else {}
        return all(_text(fields.get(name, self.headers.get(name))) == value for name, value in wanted.items())

    def as_json(self) -> dict[str, Any]:
        """Everything about it."""
        return {
            "topic": self.topic.name, "partition": self.partition, "offset": self.offset, "time": written(self.time),
            "key": self.key, "headers": dict(self.headers), "value": self.record,
        }  # fmt: skip

    def as_text(self) -> str:
        """One line."""
        shown = self.value.decode(errors="replace").replace("\n", " ")
        where = f" {self.headers['feed']}" if not self.topic.records and "feed" in self.headers else ""
        return f"{written(self.time)}  {self.key}{where}  {shown}"


def known_topic(name: str, prefix: str) -> Topic:
    """The topic of this name.

    :raises UsageError: there is none.
    """
    found = topic(name, prefix)
    if found is None:
        raise UsageError(f"no topic {name!r}{nearest(name, TOPICS) or '; there are ' + ', '.join(TOPICS)}")
    return found


def start_of(text: str, clock: Clock) -> Start:
    """``beginning``, ``end``, or a time as ``flows.moments`` reads it."""
    if text == "beginning":
        return "beginning"
    return "end" if text == "end" else moment(text, clock())


def wanted_of(filters: Iterable[str]) -> dict[str, str]:
    """``asset=BTC`` of every filter.

    :raises UsageError: one is no ``name=value``.
    """
    wanted = {}
    for text in filters:
        name, is_one, value = text.partition("=")
        if not (name and is_one):
            raise UsageError(f"{text!r} is no filter: write name=value, such as asset=BTC")
        wanted[name] = value
    return wanted


def looked(bus: Bus, topics: tuple[Topic, ...], start: Start, clock: Clock, *, follow: bool = False) -> Iterator[Seen]:
    """The messages of topics in the order of time; to their end now, or on and on.

    :raises BusError: they cannot be read.
    """
    consumer = BusConsumer(bus, Reading(topics, start, aligned=True, bounded=not follow), clock)
    by_name = {t.name: t for t in topics}
    try:
        for name in partition_names(bus, topics):
            consumer.add(name)
        while follow or not consumer.finished():
            found = [_seen(by_name[run.topic], message) for run in consumer.read() for message in run.messages]
            yield from sorted(found, key=lambda seen: seen.time)
    finally:
        consumer.close()


def _seen(of: Topic, message: Message) -> Seen:
    told = cast("Headers", message.headers() or ())
    headers = {name: (value or b"").decode(errors="replace") for name, value in told}
    key = bytes(message.key() or b"").decode(errors="replace")
    place = message.partition() or 0, message.offset() or 0
    return Seen(of, *place, message.timestamp()[1], key, bytes(message.value() or b""), headers)


def written(milliseconds: int) -> str:
    """``2026-11-21T10:40:38.123Z``."""
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _text(value: Any) -> str | None:
    if isinstance(value, str) or value is None:
        return value
    return msgspec.json.encode(value).decode()
