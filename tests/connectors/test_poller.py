"""REST polls against a real HTTP server on loopback, and the allowance they keep to."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange import Endpoints, Poll, RateLimit, Request
from connectors.metadata import load_instruments
from connectors.poller import first_round, retry_after
from connectors.rate_limit import TokenBucket
from connectors.reader import ReaderLimits
from connectors.rest import RestLimits
from schemas.clock import SECOND, system_clock
from schemas.instruments import Instrument
from tests.connectors.loopback import (
    QUICK,
    Answer,
    FakeVenue,
    drain_until,
    frames,
    http_venue,
    reading,
    statuses,
)

OFTEN = Poll("open-interest", Request("/oi?symbol=BTCUSDT"), 0.05)


class Asked:
    """Answers in turn, the last one for ever, and remembers when each request came."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.times: list[float] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()

    def __call__(self, path: str, body: bytes) -> Answer:
        with self._lock:
            self.times.append(monotonic())
            self.paths.append(path)
            self.bodies.append(body)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_body_becomes_a_frame_of_the_poll_s_feed_again_and_again() -> None:
    venue = Asked((200, {}, b'{"openInterest":"1"}'), (200, {}, b'{"openInterest":"2"}'))
    before = system_clock()
    with http_venue(venue) as base, reading(FakeVenue(polls=[OFTEN]), base) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) == 3)
        figures = reader.feeds()[0]
    assert frames(items, "open-interest") == [b'{"openInterest":"1"}'] + 2 * [b'{"openInterest":"2"}']
    stamps = [i.receive_time for i in items if hasattr(i, "payload")]
    assert before < stamps[0] < stamps[1] < stamps[2] < system_clock()
    assert venue.paths[:3] == ["/oi?symbol=BTCUSDT"] * 3
    assert (figures.feed, figures.state, figures.reconnects) == ("open-interest", "subscribed", 0)
    assert figures.frames >= 3


def test_a_poll_may_post() -> None:
    venue = Asked((200, {}, b"[]"))
    poll = Poll("meta", Request("/info", "POST", '{"type":"meta"}'), 9.0)
    with http_venue(venue) as base, reading(FakeVenue(polls=[poll]), base) as reader:
        drain_until(reader, frames)
    assert (venue.paths, venue.bodies) == (["/info"], [b'{"type":"meta"}'])


def test_a_failing_poll_is_unreachable_with_the_reason_and_its_recovery_ends_the_gap() -> None:
    venue = Asked((200, {}, b"one"), (503, {}, b""), (503, {}, b""), (200, {}, b"two"))
    with http_venue(venue) as base, reading(FakeVenue(polls=[OFTEN]), base) as reader:
        items = drain_until(reader, lambda i: b"two" in frames(i))
        assert reader.feeds()[0].reconnects == 1
    assert [s.state for s in statuses(items)] == [
        "connecting", "connected", "subscribed", "unreachable", "connected", "gap", "subscribed"
    ]  # fmt: skip
    assert statuses(items, "unreachable")[0].reason == "HTTP 503"
    gap = statuses(items, "gap")[0]
    first, second = [i.receive_time for i in items if hasattr(i, "payload")]
    assert (gap.gap_from, gap.gap_to) == (first, second)


def test_one_bad_symbol_of_many_leaves_the_feed_at_work_and_is_asked_less_and_less() -> None:
    asked: list[str] = []

    def venue(path: str, _: bytes) -> Answer:
        asked.append(path)
        return (400, {}, b"gone") if path == "/oi/3" else (200, {}, b"ok")

    polls = [Poll("open-interest", Request(f"/oi/{n}"), 0.05) for n in range(5)]
    with http_venue(venue) as base, reading(FakeVenue(polls=polls), base) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) >= 60)
    assert statuses(items, "unreachable") == []
    assert 1 <= asked.count("/oi/3") < asked.count("/oi/2") / 2


@pytest.mark.parametrize("status", [418, 429])
def test_retry_after_is_honoured_by_every_poll_of_the_venue(status: int) -> None:
    venue = Asked((status, {"Retry-After": "1"}, b""), (200, {}, b"ok"))
    polls = [Poll(f"feed-{n}", Request(f"/{n}"), 0.2) for n in range(2)]
    timings = replace(QUICK, poll=replace(QUICK.poll, first_round=0.0, at_once=1))
    with http_venue(venue) as base, reading(FakeVenue(polls=polls), base, timings) as reader:
        items = drain_until(reader, lambda i: len(frames(i)) >= 2)
    # The second request was already on its way when the first was answered.
    after = [t - venue.times[0] for t in venue.times[1:]]
    assert sum(t < 0.95 for t in after) <= 1
    assert f"HTTP {status}: too many requests" in {s.reason for s in statuses(items, "unreachable")}


def test_a_throttle_without_retry_after_doubles_its_pause() -> None:
    venue = Asked(*[(429, {}, b"")] * 3, (200, {}, b"ok"))
    timings = replace(QUICK, poll=replace(QUICK.poll, throttled=0.1))
    with http_venue(venue) as base, reading(FakeVenue(polls=[replace(OFTEN, every=0.001)]), base, timings) as reader:
        drain_until(reader, frames)
    gaps = [b - a for a, b in pairwise(venue.times[:4])]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4), strict=True):
        assert least <= gap < least + 0.15


def test_a_body_beyond_the_limit_is_refused_plain_and_unfolded() -> None:
    venue = Asked(
        (200, {}, b"x" * 2000), (200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 2000)), (200, {}, b"ok")
    )
    limits = ReaderLimits(rest=RestLimits(body=1000))
    with http_venue(venue) as base, reading(FakeVenue(polls=[OFTEN]), base, limits=limits) as reader:
        items = drain_until(reader, frames)
    assert frames(items) == [b"ok"]
    assert statuses(items, "unreachable")[0].reason == "bybit sent 2000 bytes in one frame, the limit is 1000"


def test_a_gzip_body_is_unfolded() -> None:
    venue = Asked((200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a":1}')))
    with http_venue(venue) as base, reading(FakeVenue(polls=[OFTEN]), base) as reader:
        assert frames(drain_until(reader, frames))[0] == b'{"a":1}'


def test_a_server_that_does_not_answer_is_given_up() -> None:
    def venue(*_: object) -> Answer:
        sleep(0.6)
        return 200, {}, b"late"

    limits = ReaderLimits(rest=RestLimits(timeout=0.1))
    with http_venue(venue) as base, reading(FakeVenue(polls=[OFTEN]), base, limits=limits) as reader:
        items = drain_until(reader, lambda i: statuses(i, "unreachable"))
    assert statuses(items, "unreachable")[0].reason == "timed out (ReadTimeout)"


def test_polls_keep_to_the_allowance_of_the_venue() -> None:
    venue = Asked((200, {}, b"ok"))
    polls = [Poll("open-interest", Request(f"/{n}"), 0.001) for n in range(20)]
    with (
        http_venue(venue) as base,
        reading(FakeVenue(polls=polls, limit=RateLimit(20, 1.0)), base) as reader,
    ):
        drain_until(reader, lambda i: len(frames(i)) >= 22)
    for start in venue.times:
        # 50 ms for the way to the server, which is not ours to pace.
        assert sum(start <= t < start + 0.95 for t in venue.times) <= 20


def test_the_first_round_spreads_the_polls_of_a_feed_and_keeps_no_feed_waiting() -> None:
    polls = [Poll("oi", Request(f"/{n}"), 60.0) for n in range(4)] + [Poll("hours", Request("/h"), 3600.0)]
    assert [delay for _, delay in first_round(polls, 30.0)] == [0.0, 7.5, 15.0, 22.5, 0.0]


@given(
    st.integers(10, 2400),
    st.floats(0.5, 120),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), min_size=1, max_size=80),
)
def test_no_span_of_the_window_s_length_ever_holds_more_than_the_allowance(
    weight: int, seconds: float, requests: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(RateLimit(weight, seconds), heaviest=5)
    now, sent = 1000.0, []
    for pause, cost in requests:
        now += pause
        sent.append((now + bucket.reserve(now, cost), cost))
    for start, _ in sent:
        assert sum(cost for t, cost in sent if start <= t < start + seconds * (1 - 1e-9)) <= weight + 1e-6


def test_retry_after_is_seconds_or_a_date_or_nonsense() -> None:
    now = system_clock() // SECOND
    assert retry_after(" 12 ", now) == 12
    assert retry_after(format_datetime(datetime.fromtimestamp(now + 90, UTC)), now) == 90
    assert retry_after(format_datetime(datetime.fromtimestamp(now - 90, UTC)), now) == 0
    assert retry_after("soon", now) is None


def load(answer: Callable[[str, bytes], Answer]) -> tuple[list[str], list[bytes], str | None]:
    with http_venue(answer) as base:
        listing = load_instruments(FakeVenue(metadata="/info"), Endpoints("", base), system_clock)
    return [i.instrument for i in listing.instruments], [f.payload for f in listing.frames], listing.problem


def test_instruments_come_with_the_bodies_that_listed_them() -> None:
    assert load(lambda *_: (200, {}, b'["BTCUSDT","ETHUSDT"]')) == (
        ["BTCUSDT", "ETHUSDT"], [b'["BTCUSDT","ETHUSDT"]'], None
    )  # fmt: skip


def test_instruments_that_cannot_be_had_come_with_the_reason() -> None:
    assert load(lambda *_: (451, {}, b"")) == ([], [], "HTTP 451: the venue does not serve this address or place")
    nowhere = load_instruments(FakeVenue(metadata="/info"), Endpoints("", "http://127.0.0.1:1"), system_clock)
    assert nowhere.instruments == ()
    assert nowhere.problem is not None
    assert "Connect" in nowhere.problem or "connect" in nowhere.problem


def test_a_metadata_body_that_is_none_is_kept_and_its_fault_told() -> None:
    symbols, bodies, problem = load(lambda *_: (200, {}, b"<html>"))
    assert (symbols, bodies) == ([], [b"<html>"])
    assert problem is not None
    assert problem.startswith("its instruments cannot be read: DecodeError")
    assert load(lambda *_: (200, {}, b"[]"))[2] == "it lists no instrument"


def test_what_the_caller_gets_are_instruments() -> None:
    with http_venue(lambda *_: (200, {}, b'["BTCUSDT"]')) as base:
        listing = load_instruments(FakeVenue(metadata="/info"), Endpoints("", base), system_clock)
    assert listing.instruments == (Instrument("bybit", "BTCUSDT", "BTC", 1.0, "base"),)
