"""The reader against real sockets on loopback: what arrives, what is answered, and that every hole is told."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from time import monotonic, sleep
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Upgrade
from websockets.http11 import Response

from connectors.compression import gunzip
from connectors.exchange import Connection, Endpoints, Frame, Heartbeat, Request
from connectors.reader import ReaderLimits, ReaderTimings
from connectors.spool import Item, Listed, Opened, Spool, SpoolLimits
from schemas.clock import SECOND, system_clock
from schemas.errors import ConnectionLost, FrameTooLarge
from schemas.instruments import Instrument
from schemas.records import DeadLetter, FeedStatus
from tests.connectors.loopback import (
    QUICK,
    FakeVenue,
    drain_until,
    frames,
    http_venue,
    quick_silence,
    reading,
    statuses,
    websocket_venue,
)


def timed(**link: Any) -> ReaderTimings:
    return replace(QUICK, link=replace(QUICK.link, **link))


async def forever(ws: ServerConnection) -> None:
    await ws.wait_closed()


def test_frames_arrive_in_order_after_the_marker_of_a_new_connection() -> None:
    async def venue(ws: ServerConnection) -> None:
        for number in range(5):
            await ws.send(f'{{"n":{number}}}')
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 5)
    assert frames(items) == [b'{"n":%d}' % n for n in range(5)]
    first = next(k for k, item in enumerate(items) if isinstance(item, Frame))
    assert Opened("bybit", "trades") in items[:first]
    assert [s.state for s in statuses(items)] == ["connecting", "connected", "subscribed"]


def test_a_burst_of_22558_frames_in_one_instant_arrives_whole_and_in_order() -> None:
    count = 22_558

    async def venue(ws: ServerConnection) -> None:
        for number in range(count):
            await ws.send(b"%d" % number)
        await forever(ws)

    with websocket_venue(venue, compression=None) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(i) >= count and len(frames(i)) == count, within=8)
        assert reader.feeds()[0].dropped == 0
    assert frames(items) == [b"%d" % n for n in range(count)]


def test_the_receive_stamp_is_that_of_the_socket_not_of_the_consumer() -> None:
    sent: list[int] = []

    async def venue(ws: ServerConnection) -> None:
        await asyncio.sleep(0.05)
        sent.append(system_clock())
        await ws.send("x")
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        sleep(0.4)
        items = drain_until(reader, frames)
    frame = next(i for i in items if isinstance(i, Frame))
    assert 0 <= frame.receive_time - sent[0] < 0.2 * SECOND


def test_messages_split_into_fragments_are_put_together() -> None:
    async def venue(ws: ServerConnection) -> None:
        await ws.send(["ab", "", "cd", "é"])
        await ws.send([b"", b"x"])
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 2)
    assert frames(items) == ["abcdé".encode(), b"x"]


def test_subscriptions_are_sent_and_confirmed_before_the_feed_counts_as_subscribed() -> None:
    heard: list[str] = []
    confirm = threading.Event()

    async def venue(ws: ServerConnection) -> None:
        heard.extend([str(await ws.recv()), str(await ws.recv())])
        await ws.send('{"ok":1}')
        await asyncio.to_thread(confirm.wait, 3)
        await ws.send('{"ok":2}')
        await forever(ws)

    connection = Connection("trades", "", ("sub a", "sub b"), acknowledgements=2)
    with websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        items = drain_until(reader, frames)
        assert reader.feeds()[0].state == "connected"
        confirm.set()
        drain_until(reader, lambda i: statuses(i, "subscribed"))
    assert heard == ["sub a", "sub b"]
    assert frames(items) == [b'{"ok":1}']


def test_a_lost_connection_is_dialled_again_and_the_hole_is_a_gap_row() -> None:
    lives = 0

    async def venue(ws: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        await ws.send(f'{{"life":{lives}}}')
        if lives == 1:
            await asyncio.sleep(0.05)
            ws.transport.abort()
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 2)
        figures = reader.feeds()[0]
    received = [i.receive_time for i in items if isinstance(i, Frame)]
    (gap,) = statuses(items, "gap")
    assert gap.gap_from is not None
    assert gap.gap_to is not None
    assert received[0] <= gap.gap_from < gap.gap_to <= received[1]
    assert items.count(Opened("bybit", "trades")) == 2
    assert (figures.state, figures.reconnects, figures.frames) == ("subscribed", 1, 2)


def test_a_venue_that_is_not_there_is_unreachable_and_says_why() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        with reading(FakeVenue(Connection("trades", url))) as reader:
            items = drain_until(reader, lambda i: statuses(i, "unreachable"))
            sleep(0.2)
            items += reader.drain(0)
    (told,) = statuses(items, "unreachable")
    assert "Connect call failed" in told.reason


def test_a_server_that_accepts_and_says_nothing_is_given_up_after_the_open_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        with reading(FakeVenue(Connection("trades", url)), timings=timed(open=0.2)) as reader:
            begun = monotonic()
            items = drain_until(reader, lambda i: statuses(i, "unreachable"))
            assert 0.15 < monotonic() - begun < 1
    assert "timed out during opening handshake" in statuses(items, "unreachable")[0].reason


def test_an_address_that_answers_404_is_refused_and_not_hammered() -> None:
    asked: list[str] = []

    def answer(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return 404, {}, b""

    with http_venue(answer) as base, reading(FakeVenue(Connection("t", base.replace("http", "ws") + "/old"))) as reader:
        items = drain_until(reader, lambda i: statuses(i, "refused"))
        sleep(0.2)
    assert [s.reason for s in statuses(items, "refused")] == ["HTTP 404"]
    assert asked == ["/old"]


def test_a_feed_that_worked_is_not_given_up_for_one_404() -> None:
    lives = 0

    def gate(ws: ServerConnection, _: Upgrade) -> Response | None:
        nonlocal lives
        lives += 1
        return ws.respond(404, "in repair") if lives in {2, 3} else None

    async def venue(ws: ServerConnection) -> None:
        await ws.send("data")
        if lives == 1:
            await ws.close(1012)
        await forever(ws)

    with websocket_venue(venue, process_request=gate) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 2)
    assert lives == 4
    assert [s.reason for s in statuses(items, "refused")] == ["HTTP 404"]
    assert len(statuses(items, "gap")) == 1


def test_a_venue_that_never_answers_the_subscription_is_dialled_again() -> None:
    async def venue(ws: ServerConnection) -> None:
        await forever(ws)

    connection = Connection("trades", "", ("sub",), acknowledgements=1)
    with websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        items = drain_until(reader, lambda i: i.count(Opened("bybit", "trades")) == 2)
    reasons = [s.reason for s in statuses(items)]
    assert any(r.startswith("0 of 1 subscriptions answered") for r in reasons)
    assert statuses(items, "subscribed") == []


def test_a_denied_subscription_is_loud_in_the_venue_s_words_and_not_repeated_soon() -> None:
    dialled = 0

    async def venue(ws: ServerConnection) -> None:
        nonlocal dialled
        dialled += 1
        await ws.recv()
        await ws.send('{"no":"handler not found: liquidation.BTCUSDT"}')
        await forever(ws)

    connection = Connection("trades", "", ("sub",), acknowledgements=1)
    with capture_logs() as logs, websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as r:
        items = drain_until(r, lambda i: statuses(i, "refused"))
        sleep(0.3)
        items += r.drain(0)
        assert r.feeds()[0].reason == "handler not found: liquidation.BTCUSDT"
    assert [s.reason for s in statuses(items, "refused")] == ["handler not found: liquidation.BTCUSDT"]
    assert b'{"no":"handler not found: liquidation.BTCUSDT"}' in frames(items)
    assert dialled == 1
    refusal = next(entry for entry in logs if entry["event"] == "subscription refused")
    assert (refusal["log_level"], refusal["venue"], refusal["feed"]) == ("error", "bybit", "trades")


def test_a_part_denied_leaves_the_rest_of_the_connection_at_work() -> None:
    async def venue(ws: ServerConnection) -> None:
        await ws.send('{"no":"XYZUSDT is delisted"}')
        await ws.send('{"ok":1}')
        await asyncio.sleep(0.4)
        await ws.send("data")
        await forever(ws)

    connection = Connection("trades", "", ("a", "b"), acknowledgements=2)
    with websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        items = drain_until(reader, lambda i: b"data" in frames(i))
        figures = reader.feeds()[0]
    assert (figures.state, figures.reason, figures.reconnects) == ("refused", "XYZUSDT is delisted", 0)
    assert items.count(Opened("bybit", "trades")) == 1


def test_an_application_ping_is_answered_at_once_and_is_no_data() -> None:
    answers: list[tuple[str, float]] = []

    async def venue(ws: ServerConnection) -> None:
        for number in range(3):
            begun = monotonic()
            await ws.send(f'{{"ping":{number}}}')
            answers.append((str(await ws.recv()), monotonic() - begun))
        await ws.send("done")
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        drain_until(reader, lambda i: b"done" in frames(i))
        assert reader.feeds()[0].frames == 1
    assert [text for text, _ in answers] == [f'{{"pong":{n}}}' for n in range(3)]
    assert min(took for _, took in answers) < 0.05


def test_heartbeats_are_said_unasked_at_their_interval() -> None:
    beats: list[float] = []

    async def venue(ws: ServerConnection) -> None:
        async for message in ws:
            assert message == "ping"
            beats.append(monotonic())
            await ws.send("pong")

    connection = Connection("trades", "", heartbeat=Heartbeat("ping", 0.1))
    with websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        drain_until(reader, lambda i: len(frames(i)) == 4)
        assert reader.feeds()[0].frames == 0
    gaps = [b - a for a, b in pairwise(beats)]
    assert 0.08 < sum(gaps) / len(gaps) < 0.2


def test_a_half_open_peer_is_found_by_the_missing_pong() -> None:
    async def venue(ws: ServerConnection) -> None:
        ws.transport.pause_reading()
        await asyncio.sleep(0.4)

    timings = timed(ping_every=0.1, pong_within=0.1)
    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url)), timings=timings) as reader:
        items = drain_until(reader, lambda i: statuses(i, "gap"))
    assert any("keepalive ping timeout" in s.reason for s in statuses(items))
    assert items.count(Opened("bybit", "trades")) == 2


def test_a_connection_without_any_frame_is_stale_after_its_own_limit() -> None:
    connection = Connection("trades", "", stale_after=0.2)
    with websocket_venue(forever) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        items = drain_until(reader, lambda i: i.count(Opened("bybit", "trades")) == 2)
    assert any(s.reason.startswith("no frame, pings included, for 0 s") for s in statuses(items))


def test_connected_acknowledged_and_silent_is_told_and_the_silence_ends_in_a_gap_row() -> None:
    talk = threading.Event()

    async def venue(ws: ServerConnection) -> None:
        for _ in range(20):
            await ws.send("tick")
            await asyncio.sleep(0.01)
        while not talk.is_set():
            # Alive by every sign but data.
            await ws.send('{"type":"pong"}')
            await asyncio.sleep(0.02)
        await ws.send("tick")
        await forever(ws)

    timings = timed(silence=quick_silence(prior_gaps=1))
    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url)), timings=timings) as reader:
        items = drain_until(reader, lambda i: statuses(i, "silent"))
        talk.set()
        items += drain_until(reader, lambda i: statuses(i, "gap"))
    silent, gap = statuses(items, "silent")[0], statuses(items, "gap")[0]
    ticks = [i.receive_time for i in items if isinstance(i, Frame) and i.payload == b"tick"]
    assert silent.reason.startswith("no data frame for")
    assert (gap.gap_from, gap.gap_to) == (ticks[-2], ticks[-1])
    assert [s.state for s in statuses(items)][-1] == "subscribed"


def test_a_silent_connection_is_made_anew() -> None:
    async def venue(ws: ServerConnection) -> None:
        await ws.send("tick")
        await forever(ws)

    timings = timed(silence=quick_silence(), silent_renewal=0.1)
    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url)), timings=timings) as reader:
        items = drain_until(reader, lambda i: i.count(Opened("bybit", "trades")) == 2)
    assert any(s.reason.startswith("renewed because silent") for s in statuses(items))


def test_a_slow_consumer_costs_counted_frames_and_one_gap_row_where_they_are_missing() -> None:
    go_on = threading.Event()

    async def venue(ws: ServerConnection) -> None:
        await asyncio.sleep(0.1)
        for number in range(200):
            await ws.send(b"%d" % number)
        await asyncio.to_thread(go_on.wait, 3)
        await ws.send(b"after")
        await forever(ws)

    limits = ReaderLimits(SpoolLimits(frames=50))
    # No tick while the consumer sleeps: the next frame tells the gap.
    timings = timed(tick=10.0)
    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url)), "", timings, limits) as reader:
        end = monotonic() + 3
        while sum(f.frames for f in reader.feeds()) < 200:
            assert monotonic() < end
            sleep(0.01)
        items = reader.drain(0)
        go_on.set()
        items += drain_until(reader, lambda i: b"after" in frames(i))
        figures = reader.feeds()[0]
    kept = frames(items)[:-1]
    assert kept == [b"%d" % n for n in range(len(kept))]
    assert 40 <= len(kept) <= 50
    assert figures.dropped == 200 - len(kept)
    (gap,) = statuses(items, "gap")
    assert (gap.dropped, gap.reason) == (figures.dropped, "frames dropped: the consumer is too slow")
    place = items.index(gap)
    before, after = items[place - 1], items[place + 1]
    assert isinstance(before, Frame)
    assert isinstance(after, Frame)
    assert before.receive_time <= gap.gap_from <= gap.gap_to <= after.receive_time  # type: ignore[operator]


def test_context_may_fill_only_half_of_the_spool() -> None:
    spool = Spool(SpoolLimits(frames=10, payload=100))
    while spool.has_room(5, vital=False):
        spool.put_frame(Frame("okx", "marks", b"12345", 0))
    assert len(spool) == 5
    while spool.has_room(5):
        spool.put_frame(Frame("okx", "liquidations", b"12345", 0))
    assert (len(spool), spool.held_bytes) == (10, 50)
    assert len(spool.drain(0, most=4)) == 4
    assert (len(spool), spool.held_bytes) == (6, 30)
    assert not spool.has_room(71)
    assert spool.has_room(70)


def test_draining_nothing_takes_no_longer_than_asked() -> None:
    spool, begun = Spool(), monotonic()
    assert spool.drain(0.001) == []
    assert spool.drain(0) == []
    assert monotonic() - begun < 0.1


def test_a_frame_of_50_mb_is_a_dead_letter_and_a_new_connection() -> None:
    lives = 0

    async def venue(ws: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            with suppress(ConnectionClosed):
                await ws.send("x" * 50_000_000)
            await forever(ws)
            return
        await ws.send("small")
        await forever(ws)

    with websocket_venue(venue, compression=None) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: b"small" in frames(i))
    (letter,) = [i for i in items if isinstance(i, DeadLetter)]
    assert letter.reason == "bybit sent 50000000 bytes in one frame, the limit is 16777216"
    assert frames(items) == [b"small"]
    assert len(statuses(items, "gap")) == 1


def test_gzip_frames_are_unfolded_and_a_bomb_is_not() -> None:
    lives = 0

    async def venue(ws: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        await ws.send(gzip.compress(b'{"ping":7}'))
        assert await ws.recv() == '{"pong":7}'
        if lives == 1:
            await ws.send(gzip.compress(b"0" * 20_000_000))
            await forever(ws)
        await ws.send(gzip.compress(b"data"))
        await ws.send(b"plain")
        await ws.send(gzip.compress(b"torn")[:-3])
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("l", url), compressed=True)) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 5)
    assert frames(items) == [b'{"ping":7}', b'{"ping":7}', b"data", b"plain", gzip.compress(b"torn")[:-3]]
    (letter,) = [i for i in items if isinstance(i, DeadLetter)]
    assert letter.reason.endswith("the limit is 16777216")


def test_a_gzip_bomb_never_takes_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(FrameTooLarge):
            gunzip("htx", bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_no_dialect_can_read_is_handed_on_for_the_dead_letters() -> None:
    async def venue(ws: ServerConnection) -> None:
        await ws.send(b'{"ping"\xff')
        await ws.send(b'{"no"')
        await ws.send("data")
        await forever(ws)

    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url))) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 3)
        assert reader.feeds()[0].reconnects == 0
    assert frames(items) == [b'{"ping"\xff', b'{"no"', b"data"]


def test_a_connection_is_renewed_before_the_venue_s_cut() -> None:
    born: list[float] = []
    died: list[tuple[float, int | None]] = []

    async def venue(ws: ServerConnection) -> None:
        born.append(monotonic())
        await ws.wait_closed()
        died.append((monotonic(), ws.close_code))

    connection = Connection("trades", "", lifetime=2.0)
    with websocket_venue(venue) as url, reading(FakeVenue(replace(connection, url=url))) as reader:
        items = drain_until(reader, lambda i: i.count(Opened("bybit", "trades")) == 2)
    assert 1.7 < died[0][0] - born[0] < 2.0
    assert died[0][1] == 1000
    assert statuses(items, "gap")[0].reason == "renewed before the venue's cut at 2 s"


def test_the_address_may_have_to_be_asked_for_with_a_token() -> None:
    asked: list[str] = []

    async def venue(ws: ServerConnection) -> None:
        assert ws.request is not None
        asked.append(ws.request.path)
        asked.append(str(await ws.recv()))
        await ws.send("data")
        await forever(ws)

    connection = Connection("trades", "", heartbeat=Heartbeat("hb", 99.0), token=Request("/bullet", "POST", "{}"))
    with websocket_venue(venue) as url:

        def answer(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
            asked.append(path + body.decode())
            return 200, {}, msgspec.json.encode({"url": f"{url}/?token=abc", "every": 0.05})

        with http_venue(answer) as base, reading(FakeVenue(connection), base) as reader:
            drain_until(reader, lambda i: b"data" in frames(i))
    assert asked == ["/bullet{}", "/?token=abc", "hb"]


def test_the_venue_s_own_instruments_decide_what_is_subscribed_and_are_handed_over_first() -> None:
    heard: list[str] = []

    async def venue(ws: ServerConnection) -> None:
        heard.append(str(await ws.recv()))
        await ws.send("data")
        await forever(ws)

    old = Instrument("bybit", "OLDUSDT", "OLD", 1.0, "base")
    with (
        http_venue(lambda *_: (200, {}, b'["BTCUSDT"]')) as base,
        websocket_venue(venue) as url,
        reading(FakeVenue(Connection("trades", url), metadata="/info"), base, instruments=[old]) as reader,
    ):
        items = drain_until(reader, lambda i: b"data" in frames(i))
    listed = [i.instruments for i in items if isinstance(i, Listed)]
    assert listed == [(old,), (Instrument("bybit", "BTCUSDT", "BTC", 1.0, "base"),)]
    assert frames(items, "metadata") == [b'["BTCUSDT"]']
    assert heard == ["BTCUSDT"]


def test_without_the_venue_s_answer_the_instruments_known_before_serve() -> None:
    heard: list[str] = []

    async def venue(ws: ServerConnection) -> None:
        heard.append(str(await ws.recv()))
        await ws.send("data")
        await forever(ws)

    old = Instrument("bybit", "OLDUSDT", "OLD", 1.0, "base")
    with (
        http_venue(lambda *_: (503, {}, b"")) as base,
        websocket_venue(venue) as url,
        reading(FakeVenue(Connection("trades", url), metadata="/info"), base, instruments=[old]) as reader,
    ):
        items = drain_until(reader, lambda i: b"data" in frames(i))
    assert heard == ["OLDUSDT"]
    assert [(s.feed, s.reason) for s in statuses(items, "unreachable")] == [("metadata", "HTTP 503")]


def test_a_changed_list_of_instruments_makes_the_connection_anew_and_tells_the_hole() -> None:
    heard: list[str] = []
    lists = [b'["BTCUSDT"]', b'["BTCUSDT"]', b'["ETHUSDT"]']

    async def venue(ws: ServerConnection) -> None:
        heard.append(str(await ws.recv()))
        await ws.send("data")
        await forever(ws)

    def answer(*_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, lists.pop(0) if len(lists) > 1 else lists[0]

    timings = replace(QUICK, venue=replace(QUICK.venue, refresh=0.1))
    with (
        http_venue(answer) as base,
        websocket_venue(venue) as url,
        reading(FakeVenue(Connection("trades", url), metadata="/info"), base, timings) as reader,
    ):
        items = drain_until(reader, lambda i: len(frames(i, "trades")) == 2)
        assert reader.feeds()[0].reconnects == 1
    assert heard == ["BTCUSDT", "ETHUSDT"]
    assert [s.reason for s in statuses(items, "gap")] == ["made anew: the instruments changed"]


def test_forced_closes_the_consumer_reports_are_judged_as_well() -> None:
    async def venue(ws: ServerConnection) -> None:
        while True:
            await ws.send("mark")
            await asyncio.sleep(0.01)

    timings = timed(silence=quick_silence(prior_gaps=1, least=0.3))
    with websocket_venue(venue) as url, reading(FakeVenue(Connection("trades", url)), timings=timings) as reader:
        items: list[Item] = []
        for _ in range(20):
            items += reader.drain(0.01)
            reader.forced_closes("bybit", "trades", system_clock())
            sleep(0.01)
        assert statuses(items, "silent") == []
        items += drain_until(reader, lambda i: statuses(i, "silent"))
    assert statuses(items, "silent")[0].reason.startswith("no forced close for")


class Broken(FakeVenue):
    """A dialect with a fault in it."""

    fault: Exception = ValueError("no such contract unit")

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        raise self.fault


def test_a_venue_whose_connections_cannot_be_made_is_left_out_loudly() -> None:
    with reading(Broken()) as reader:
        items = drain_until(reader, lambda i: statuses(i, "refused"))
        assert reader.drain(0) == []
    assert statuses(items)[0].reason.endswith("ValueError: no such contract unit")


def test_a_reader_that_died_says_so_to_the_consumer_instead_of_looking_quiet() -> None:
    venue = Broken()
    venue.fault = OSError("disk on fire")
    with reading(venue) as reader, pytest.raises(ConnectionLost, match="disk on fire"):
        drain_until(reader, lambda _: False)


def test_stopping_is_quick_says_farewell_and_leaves_the_rest_to_drain() -> None:
    codes: list[int | None] = []

    async def venue(ws: ServerConnection) -> None:
        await ws.send("data")
        await ws.wait_closed()
        codes.append(ws.close_code)

    with websocket_venue(venue) as url:
        with reading(FakeVenue(Connection("a", url), Connection("b", url))) as reader:
            drain_until(reader, lambda i: len(frames(i)) == 2)
            begun = monotonic()
            reader.stop()
            took = monotonic() - begun
        closed = {s.feed for s in statuses(reader.drain(0), "closed")}
    assert took < 1
    assert codes == [1000, 1000]
    assert closed == {"a", "b"}
    assert not any(thread.name == "reader" for thread in threading.enumerate())


def test_stopping_does_not_wait_for_a_peer_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        with reading(FakeVenue(Connection("trades", url)), timings=timed(open=60)) as reader:
            drain_until(reader, lambda i: statuses(i, "connecting"))
            begun = monotonic()
            reader.stop()
            assert monotonic() - begun < 1
            told = [i for i in reader.drain(0) if isinstance(i, FeedStatus)]
    assert [s.state for s in told] == ["closed"]
