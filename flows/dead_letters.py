"""Dead letters on the bus: which there are, what each says, and sending them on their way again once they can be read.

A letter of a venue's frame goes back into ``raw.v1``. A letter of a message (venue ``bus``) goes back into its topic if
it can be read now. Both repeat ids that readers know, so that sending twice does no harm. The letters themselves stay
until retention removes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka import Start
from flows.tail import Seen, looked
from schemas.bus import Bus
from schemas.clock import Clock
from schemas.codec import LETTER_LIMIT, Outgoing, decode, decode_frame, encode, encode_frame
from schemas.errors import Unreadable, UsageError
from schemas.records import DeadLetter
from schemas.topics import DEAD_LETTERS, RAW, Topic, topic
from sinks.kafka import Outbox

BUS = "bus"
"""The ``venue`` of letters of messages."""
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """A letter and where it stands."""

    place: str
    """``partition/offset`` in ``deadletters.v1``."""
    time: int
    """Milliseconds."""
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of a letter."""

    place: str
    outcome: Literal["sent", "kept"]
    detail: str


def found(bus: Bus, start: Start, clock: Clock, venue: str | None = None) -> Iterator[Found]:
    """The letters there are, oldest first.

    :arg venue: only of this one; ``bus`` for messages.
    """
    for seen in looked(bus, (DEAD_LETTERS,), start, clock):
        letter = _letter(seen)
        if venue is None or letter.venue == venue:
            yield Found(f"{seen.partition}/{seen.offset}", seen.time, letter)


def _letter(seen: Seen) -> DeadLetter:
    try:
        letter: DeadLetter = decode(DEAD_LETTERS, seen.value)
    except Unreadable as error:
        # Never another letter of it: that would go on for ever.
        return DeadLetter(BUS, f"{seen.partition}/{seen.offset}", f"no letter: {error}", seen.value, 0)
    return letter


def only(letters: Iterable[Found], places: Iterable[str]) -> list[Found]:
    """Those at these places, or all where none is said.

    :raises UsageError: there is none at one of them.
    """
    kept, wanted = list(letters), set(places)
    if not wanted:
        return kept
    unknown = wanted - {one.place for one in kept}
    if unknown:
        raise UsageError(f"no dead letter at {', '.join(sorted(unknown))}: `breakwater dlq list` prints the places")
    return [one for one in kept if one.place in wanted]


def redrive(bus: Bus, letters: Iterable[Found], deadline: float, *, dry: bool = False) -> Iterator[Redriven]:
    """Send letters on their way again; what cannot be is kept, with the reason.

    :arg dry: only say what would be done.
    :raises DeliveryFailed: the brokers did not take them.
    """
    outbox = Outbox(bus, deadline)
    for one in letters:
        try:
            message = _message(bus, one.letter)
        except Unreadable as error:
            yield Redriven(one.place, "kept", str(error))
            continue
        if not dry:
            outbox.send([message])
        yield Redriven(one.place, "sent", bus.name(message.topic))
    outbox.settle()


def _message(bus: Bus, letter: DeadLetter) -> Outgoing:
    if letter.venue != BUS:
        if len(letter.raw) >= LETTER_LIMIT:
            raise Unreadable(f"the frame was cut at {LETTER_LIMIT} bytes: replay it from a recording")
        return encode_frame(letter.venue, letter.feed, letter.raw, letter.receive_time)
    name, _, place = letter.feed.partition("/")
    origin = topic(name, bus.prefix)
    if origin is None:
        raise Unreadable(f"it stood in {letter.feed}, which is no topic of ours")
    return encode(decode(origin, letter.raw)) if origin.records else _frame_again(bus, origin, place)


def _frame_again(bus: Bus, origin: Topic, place: str) -> Outgoing:
    """What a frame was is in its headers, which only the topic still has."""
    partition, _, offset = place.partition("/")
    consumer = Consumer(bus.client({"group.id": "breakwater", "enable.auto.commit": False, "log_level": 2}))
    try:
        consumer.assign([TopicPartition(bus.name(origin), int(partition), int(offset))])
        message = consumer.poll(_PATIENCE)
        if message is None or message.error() is not None or message.offset() != int(offset):
            raise Unreadable(f"{bus.name(RAW)} no longer has it")
        told = decode_frame(bytes(message.value() or b""), message.headers())  # type: ignore[arg-type] # the stub allows more than there is
    finally:
        consumer.close()
    return encode_frame(told.venue, told.feed, told.payload, told.receive_time, told.what)


def shown(one: Found) -> bytes:
    """Everything about a letter, its bytes as text where they are."""
    letter = one.letter
    try:
        raw: object = {"text": letter.raw.decode()}
    except UnicodeDecodeError:
        raw = {"base64": letter.raw}
    told = {"place": one.place, "venue": letter.venue, "feed": letter.feed, "reason": letter.reason}
    return msgspec.json.format(msgspec.json.encode(told | {"receive_time": letter.receive_time, "raw": raw}), indent=2)
