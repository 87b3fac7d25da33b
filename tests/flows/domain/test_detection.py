"""What is noticed, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from flows.domain.detection import Detector
from flows.domain.policy import Policy, distance, in_danger
from flows.domain.polling import Polling, pause
from schemas.clock import SECOND
from schemas.orders import Capabilities, ClientIdRule, Known
from schemas.pairs import Leg, LegSight, Pair, PairSight
from schemas.records import FeedState, FeedStatus, Funding, Liquidation, MarkPrice, OpenInterest

NOW = 1_000 * SECOND
CAPS = Capabilities(
    venue="aster", client_id=ClientIdRule(form="text", limit=36, unique="open"), liquidation_stream=True,
    adl_stream=True, margin_stream=True, reduce_only="trim", post_only=True, modify=True, fence="noop",
    validity=SECOND, visibility=SECOND, deadman=True, funding_hours=8.0, requests_per_minute=1200,
)  # fmt: skip


def leg(venue: str, quantity: str, liquidation: str | None = None, *, reachable: bool = True) -> LegSight:
    amount = Decimal(quantity)
    known = Known(
        instrument="BTC", quantity=amount, mark_price=Decimal(100),
        liquidation_price=Decimal(liquidation) if liquidation else None,
    )  # fmt: skip
    ledger = Leg(venue=venue, instrument="BTC", quantity=amount)
    return LegSight(leg=ledger, quantity=amount, at=NOW, expected=amount, known=known, reachable=reachable)


def sight(first: LegSight, second: LegSight, now: int = NOW) -> PairSight:
    pair = Pair(pair="p", asset="BTC", legs=(first.leg, second.leg), opened=1)
    return PairSight(pair=pair, legs=(first, second), working=None, now=now)


HEALTHY = sight(leg("aster", "1"), leg("lighter", "-1"))


@pytest.mark.parametrize(
    ("quantity", "liquidation", "away"),
    [("1", "90", "0.1"), ("1", "110", "-0.1"), ("-1", "110", "0.1"), ("-1", "90", "-0.1"), ("1", None, None)],
)
def test_distance_is_signed_by_side_and_negative_once_past(quantity: str, liquidation: str | None, away: str) -> None:
    assert distance(leg("aster", quantity, liquidation)) == (Decimal(away) if away else None)


def test_an_unknown_mark_is_danger_and_no_liquidation_price_is_none() -> None:
    near = Decimal("0.15")
    assert in_danger(replace(leg("aster", "1"), known=None), near)
    assert not in_danger(leg("aster", "1"), near)
    assert in_danger(leg("aster", "1", "90"), near)
    assert in_danger(leg("aster", "1", "110"), near), "past it"
    assert not in_danger(leg("aster", "1", "80"), near)


def test_silence_makes_nobody_trade_and_everybody_look() -> None:
    detector = Detector({"aster": CAPS, "lighter": CAPS})
    calm = detector.pause("aster", NOW)
    status = FeedStatus("aster", "private", "silent", "", NOW)
    assert detector.told(status, None, ours=False, now=NOW) == []
    away = sight(leg("aster", "1", reachable=False), leg("lighter", "-1"))
    assert [detector.seen(replace(away, now=NOW + n * 60 * SECOND)) for n in range(10)] == [[]] * 10
    assert detector.pause("aster", NOW) < calm


def test_a_position_no_order_of_ours_explains_is_an_emergency_once() -> None:
    detector = Detector({})
    gone = sight(replace(leg("aster", "1"), quantity=Decimal(0), before=NOW - 3 * SECOND), leg("lighter", "-1"))
    (intent,) = detector.seen(gone)
    assert (intent.intent, intent.reason, intent.path) == ("emergency_close", "UNEXPLAINED_ASTER", "position_change")
    assert (intent.created, intent.detected) == (NOW - 3 * SECOND, NOW), "since a read last said otherwise"
    assert detector.seen(gone) == []


def test_net_exposure_counts_when_it_lasts() -> None:
    detector = Detector({})
    first = replace(leg("aster", "1"), quantity=Decimal("0.9"), expected=Decimal("0.9"))
    found = [detector.seen(sight(first, leg("lighter", "-1"), NOW + n * SECOND)) for n in range(4)]
    assert [bool(intents) for intents in found] == [False, False, True, False]
    assert found[2][0].path == "sentinel"
    small = replace(leg("aster", "1"), quantity=Decimal("0.995"), expected=Decimal("0.995"))
    calm = Detector({})
    assert not any(calm.seen(sight(small, leg("lighter", "-1"), NOW + n * SECOND)) for n in range(9))


def test_a_leg_near_its_end_makes_both_smaller_before_it_comes() -> None:
    (intent,) = Detector({}).seen(sight(leg("aster", "1", "96"), leg("lighter", "-1")))
    assert (intent.intent, intent.reason, intent.path) == ("reduce_pair", "MARGIN", "margin")
    assert Detector({}).seen(sight(leg("aster", "1", "94"), leg("lighter", "-1"))) == []
    assert Detector({}, Policy(margin="nothing")).seen(sight(leg("aster", "1", "96"), leg("lighter", "-1"))) == []


def test_nothing_is_noticed_where_nothing_is() -> None:
    assert Detector({}).seen(HEALTHY) == []


def test_polls_hurry_but_never_beyond_the_venue() -> None:
    polling = Polling()
    assert pause(polling, CAPS, alert=False, urgent=False) == 5 * SECOND
    assert pause(polling, CAPS, alert=True, urgent=False) == 2 * SECOND
    assert pause(polling, CAPS, alert=True, urgent=True) == SECOND
    slow = replace(CAPS, requests_per_minute=12)
    assert pause(polling, slow, alert=True, urgent=True) == round(60 * SECOND / 4.5)


def close(venue: str = "aster", position: str = "long", quantity: float = 7.0, price: float = 99.0) -> Liquidation:
    return Liquidation(
        event_id="0", venue=venue, instrument="BTC", asset="BTC", position=position, cause="liquidation",  # type: ignore[arg-type] # one of them
        price=price, price_kind="fill", quantity=quantity, notional_usd=quantity * price, event_time=NOW,
        receive_time=NOW, coverage="complete", backfill=False, time_source="venue",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (close(), "alert"),
        (close(quantity=1.005), "urgent"),
        (close(price=89.5), "urgent"),
        (close(quantity=1.02, price=91.0), "alert"),
        (close(position="short"), None),
        (close(venue="bybit"), None),
        (close(venue="lighter", position="short"), "alert"),
    ],
)
def test_a_public_close_makes_reads_faster_and_nothing_else(told: Liquidation, kind: str | None) -> None:
    detector = Detector({})
    assert detector.public(told, sight(leg("aster", "1", "90"), leg("lighter", "-1"))) is None
    hints = [(hint.venue, hint.what, hint.until - NOW) for hint in detector.hints.news()]
    assert hints == ([(told.venue, kind, 30 * SECOND)] if kind else [])


def test_open_interest_that_falls_and_funding_a_leg_pays_make_reads_faster() -> None:
    detector = Detector({"aster": CAPS})
    calm = detector.pause("aster", NOW)
    for quantity in (100.0, 96.0):
        detector.background(OpenInterest("aster", "BTC", "BTC", quantity, None, NOW, NOW), HEALTHY)
    detector.background(Funding("aster", "BTC", "BTC", -0.002, 8.0, 0.0, None, NOW, NOW), HEALTHY)
    detector.background(Funding("bybit", "BTC", "BTC", 0.002, 8.0, 0.0, None, NOW, NOW), HEALTHY)
    assert (detector.about("aster", NOW), detector.pause("aster", NOW)) == ("", calm)
    detector.background(OpenInterest("aster", "BTC", "BTC", 90.0, None, NOW, NOW), HEALTHY)
    detector.background(Funding("aster", "BTC", "BTC", 0.002, 8.0, 0.0, None, NOW, NOW), HEALTHY)
    words = "open interest fell 10% within a minute, its side pays 0.20% funding per 8 h"
    assert detector.about("aster", NOW) == words
    assert detector.pause("aster", NOW) < calm
    assert detector.closed("aster", NOW) == ""


def feed(state: FeedState, at: int = NOW) -> FeedStatus:
    return FeedStatus("aster", "closes", state, "", at)


@pytest.mark.parametrize("state", ["silent", "unreachable", "refused", "closed"])
def test_a_feed_that_does_not_speak_closes_its_venue_until_it_does_or_long_after(state: FeedState) -> None:
    detector = Detector({"aster": CAPS})
    detector.fed(feed(state), NOW)
    assert detector.closed("aster", NOW) == f"feed closes is {state}"
    assert detector.pause("aster", NOW) < Detector({"aster": CAPS}).pause("aster", NOW)
    detector.fed(feed("connecting", NOW + SECOND), NOW + SECOND)
    detector.fed(feed("connected", NOW + SECOND), NOW + SECOND)
    assert detector.closed("aster", NOW + 599 * SECOND)
    assert not detector.closed("aster", NOW + 600 * SECOND)
    detector.fed(feed("subscribed", NOW + 2 * SECOND), NOW + 2 * SECOND)
    assert not detector.closed("aster", NOW + 2 * SECOND)


def test_a_gap_closes_its_venue_for_half_a_minute_though_the_feed_is_back() -> None:
    detector = Detector({})
    detector.fed(feed("gap"), NOW)
    detector.fed(feed("subscribed"), NOW)
    assert detector.closed("aster", NOW + 29 * SECOND) == "feed closes lost a span"
    assert not detector.closed("aster", NOW + 30 * SECOND)
    detector.fed(feed("gap", NOW - 60 * SECOND), NOW + 30 * SECOND)
    assert not detector.closed("aster", NOW + 30 * SECOND), "told late"


def test_a_private_stream_that_does_not_speak_closes_its_venue_too() -> None:
    detector = Detector({})
    detector.told(FeedStatus("aster", "private", "silent", "", NOW), None, ours=False, now=NOW)
    assert detector.closed("aster", NOW) == "its private stream does not speak"
    detector.told(FeedStatus("aster", "private", "subscribed", "", NOW), None, ours=False, now=NOW)
    assert detector.closed("aster", NOW) == ""


@pytest.mark.parametrize(
    ("quantity", "liquidation", "danger"),
    [
        ("1", "95", False),  # as far as it has to be
        ("1", "95.01", True),
        ("1", "100", True),
        ("1", "101", True),  # past it
        ("1", "-5", False),  # more margin than the position is worth
        ("-1", "105", False),
        ("-1", "104.99", True),
        ("-1", "100", True),
        ("-1", "99", True),
        ("1", None, False),
        ("0", "99", False),
    ],
)
def test_the_margin_watchdog_at_its_edges(quantity: str, liquidation: str | None, danger: bool) -> None:
    other = leg("lighter", str(-Decimal(quantity)))
    told = Detector({}).seen(sight(leg("aster", quantity, liquidation), other))
    assert [intent.path for intent in told] == (["margin"] if danger else [])


def mark(price: float, venue: str = "aster", instrument: str = "BTC") -> MarkPrice:
    return MarkPrice(venue, instrument, "BTC", price, None, NOW, NOW)


def test_a_live_mark_is_compared_before_the_account_is_read_again() -> None:
    pair = sight(leg("aster", "1", "90"), leg("lighter", "-1", "110"))
    assert Detector({}).marked(mark(95.0), pair) == []
    assert Detector({}).marked(mark(94.0, instrument="BTC-Q"), pair) == []
    assert Detector({}).marked(mark(94.0, venue="bybit"), pair) == []
    detector = Detector({})
    (intent,) = detector.marked(mark(94.7), pair)
    assert (intent.intent, intent.reason, intent.path, intent.created) == ("reduce_pair", "MARGIN", "margin", NOW)
    assert detector.marked(mark(94.0), pair) == [], "told already"
    assert [i.reason for i in Detector({}).marked(mark(106.0, venue="lighter"), pair)] == ["MARGIN"]


def test_a_mark_told_late_is_none() -> None:
    pair = sight(leg("aster", "1", "90"), leg("lighter", "-1"))
    late = replace(mark(91.0), receive_time=NOW - 6 * SECOND)
    detector = Detector({})
    assert (detector.marked(late, pair), detector.about("aster", NOW)) == ([], "")
    assert detector.marked(replace(late, receive_time=NOW - 5 * SECOND), pair) != []


def test_a_live_mark_says_nothing_of_an_account_nobody_reads() -> None:
    old = sight(leg("aster", "1", "90", reachable=False), leg("lighter", "-1"))
    assert Detector({}).marked(mark(91.0), old) == []
    unknown = sight(replace(leg("aster", "1", "90"), known=None), leg("lighter", "-1"))
    assert Detector({}).marked(mark(91.0), unknown) == []


def at_mark(sighted: LegSight, price: str) -> LegSight:
    assert sighted.known is not None
    return replace(sighted, known=replace(sighted.known, mark_price=Decimal(price)))


@pytest.mark.parametrize(
    ("first", "second", "about"),
    [
        (leg("aster", "1", "86"), leg("lighter", "-1"), "14% from its liquidation price"),
        (leg("aster", "1", "84"), leg("lighter", "-1"), ""),
        (at_mark(leg("aster", "1"), "100.6"), leg("lighter", "-1"), "marks 0.6% apart"),
        (at_mark(leg("aster", "1"), "100.4"), leg("lighter", "-1"), ""),
        (replace(leg("aster", "1"), known=None), leg("lighter", "-1"), ""),
    ],
)
def test_leverage_and_divergence_make_reads_faster_and_nothing_else(
    first: LegSight, second: LegSight, about: str
) -> None:
    detector = Detector({"aster": CAPS})
    assert detector.seen(sight(first, second)) == []
    assert detector.about("aster", NOW) == about
    assert (detector.pause("aster", NOW) < 5 * SECOND) is bool(about)


def test_a_mark_that_moves_makes_reads_faster_for_as_long_as_it_does() -> None:
    detector = Detector({"aster": CAPS})
    for price in ("100", "98.9"):
        moved = at_mark(leg("aster", "1"), price)
        detector.seen(sight(moved, at_mark(leg("lighter", "-1"), price)))
    assert detector.about("aster", NOW) == "its mark moved 1.1%"
    assert detector.about("aster", NOW + 30 * SECOND) == ""
