"""Messages no reader understands, in every topic of a real broker: each becomes a dead letter, the others stand."""

from __future__ import annotations

import time

import pytest

from connectors.exchange import Frame
from connectors.kafka import Arrivals, BusConsumer, KafkaSource, Reading, Run, partition_names
from flows.normalise import FrameReader
from flows.reading import RunReader
from schemas.bus import Bus
from schemas.clock import MILLISECOND, system_clock
from schemas.codec import Outgoing, encode, encode_frame
from schemas.records import DeadLetter
from schemas.topics import LIQUIDATIONS, RAW, TOPICS, Topic
from sinks.kafka import Outbox
from tests.broker import Broker
from tests.schemas.test_codec import a_close

BAD: dict[str, tuple[bytes, list[tuple[str, bytes]], str]] = {
    "no JSON": (b"\xff\xfe", [], "no record of"),
    "an unknown kind": (b'{"kind":"dance"}', [], "dance"),
    "a field is missing": (b"{}", [], "no record of"),
    "nothing": (b"", [], "no record of"),
    "a newer version": (b'{"kind":"dance"}', [("schema", b"dance.v2")], "newer version"),
}


def sent(bus: Bus, messages: list[Outgoing]) -> None:
    outbox = Outbox(bus, 20)
    outbox.send(messages)
    outbox.settle()


def runs(bus: Bus, topic: Topic) -> list[Run]:
    consumer = BusConsumer(bus, Reading((topic,)), system_clock)
    for name in partition_names(bus, (topic,)):
        consumer.add(name)
    found: list[Run] = []
    until = time.monotonic() + 20
    while not consumer.finished() and time.monotonic() < until:
        found += consumer.read()
    consumer.close()
    return found


@pytest.mark.parametrize("name", [name for name, topic in TOPICS.items() if topic.records])
def test_a_message_that_is_none_of_its_topic_is_a_letter(broker: Broker, name: str) -> None:
    topic = TOPICS[name]
    bus = broker.bus_with(topic)
    now = system_clock() // MILLISECOND
    sent(bus, [Outgoing(name, b"k", value, headers, now) for value, headers, _ in BAD.values()])
    reader, letters = RunReader(bus), list[DeadLetter]()
    for run in runs(bus, topic):
        good, bad = reader.records(run)
        assert good == []
        letters += bad
    assert [letter.raw for letter in letters] == [value for value, _, _ in BAD.values()]
    for number, (letter, (_, _, reason)) in enumerate(zip(letters, BAD.values(), strict=True)):
        assert letter.venue == "bus"
        assert letter.feed.startswith(f"{bus.name(topic)}/")
        assert letter.feed.endswith(f"/{number}")
        assert reason in letter.reason


def test_forced_closes_among_poison_are_all_read(broker: Broker) -> None:
    bus = broker.bus_with(LIQUIDATIONS)
    closes = [encode(a_close(number, event_time=system_clock())) for number in range(40)]
    now = system_clock() // MILLISECOND
    poison = [Outgoing(LIQUIDATIONS.name, b"BTC", value, headers, now) for value, headers, _ in BAD.values()]
    sent(bus, [m for close in closes for m in (close, *poison)])
    reader, ids, letters = RunReader(bus), list[str](), list[DeadLetter]()
    for run in runs(bus, LIQUIDATIONS):
        batch, bad = reader.closes(run)
        ids += [batch.liquidation(row).event_id for row in range(len(batch.liquidations))]
        letters += bad
    assert ids == [f"{number:016x}" for number in range(40)]
    assert len(letters) == 40 * len(BAD)


def test_frames_without_their_headers_are_letters_in_their_place(broker: Broker) -> None:
    bus = broker.bus_with(RAW)
    now = system_clock()
    frame = encode_frame("okx", "liquidations", b"{}", now)
    bad = frame._replace(headers=[])
    newer = frame._replace(headers=[("schema", b"frame.v2"), *frame.headers[2:]])
    sent(bus, [frame, bad, newer, frame])
    reader = FrameReader(bus, KafkaSource(bus, Reading((RAW,)), system_clock))
    items = [item for run in runs(bus, RAW) for _, told in reader.read(Arrivals((run,))) for item in told]
    assert [type(item) for item in items] == [Frame, DeadLetter, DeadLetter, Frame]
    assert "without the header" in items[1].reason  # type: ignore[union-attr]  # a letter, as was just seen
    assert "version v2" in items[2].reason  # type: ignore[union-attr]  # same
