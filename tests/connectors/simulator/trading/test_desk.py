"""What becomes of an order: admission, matching, queue, reduce-only by venue, modify, cancel, deadman."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from connectors.simulator.trading import Agenda, Faults, Window, profile
from connectors.simulator.trading.commands import Deadman, Envelope, Place
from schemas.clock import HOUR, SECOND
from schemas.orders import FINAL, TimeInForce
from tests.connectors.simulator.trading.scenes import ETH, START, instant, open_venue, order


def test_an_ioc_takes_what_is_there_up_to_its_price_and_expires() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, usd=3_000)
    venue.desk.requote(venue.contract(ETH))
    best = venue.contract(ETH).book.asks.levels()[0]
    reply = venue.desk.place("desk", order("buy", "9", str(best.price)))
    assert reply.order is not None
    assert (reply.order.state, reply.order.filled, reply.order.average_price) == ("expired", best.quantity, best.price)
    assert venue.ledger.wallets["desk"].quantity(ETH) == best.quantity


def test_fees_are_the_takers_and_the_makers() -> None:
    """Whale's resting bid is better than the crowd's, so rival's sale meets it: 2 bp and 5 bp of 3000."""
    agenda = Agenda(START)
    venue = open_venue(agenda, accounts=("rival", "whale"))
    venue.desk.place("whale", order("buy", "1", "3000", "post_only"))
    venue.desk.place("rival", order("sell", "1", "3000", client_id="b"))
    assert venue.ledger.equity("whale") == Decimal(10_000) - Decimal("0.6")
    assert venue.ledger.equity("rival") == Decimal(10_000) - Decimal("1.5")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (order("buy", "1.0005", "3000"), "off_step"),
        (order("buy", "1", "3000.05"), "off_tick"),
        (order("buy", "0.001", "3000"), "min_notional"),
        (order("buy", "1", "3400"), "price_band"),
        (order("sell", "1", "2600"), "price_band"),
        (order("buy", "40", "3000"), "insufficient_margin"),
        (order("buy", "1", "3010", "post_only"), "post_only_crosses"),
        (order("sell", "1", "3000", reduce_only=True), "reduce_only_no_position"),
    ],
)
def test_what_is_refused(wanted: object, reason: str) -> None:
    venue = open_venue(Agenda(START))
    reply = venue.desk.place("desk", wanted)  # type: ignore[arg-type] # parametrised
    assert (reply.kind, reply.reason) == ("refused", reason)
    assert venue.ledger.wallets["desk"].quantity(ETH) == 0


@pytest.mark.parametrize(
    ("name", "kind", "reason", "left"),
    [("aster", "done", "", 0), ("hyperliquid", "done", "", 0), ("extended", "refused", "reduce_only_oversize", 2)],
)
def test_an_oversized_reduce_only_order_is_cut_or_refused(name: str, kind: str, reason: str, left: int) -> None:
    venue = open_venue(Agenda(START), name)
    venue.grant("desk", ETH, Decimal(2))
    reply = venue.desk.place("desk", order("sell", "5", "2990", reduce_only=True))
    assert (reply.kind, reply.reason) == (kind, reason)
    assert venue.ledger.wallets["desk"].quantity(ETH) == left


def test_lighter_drops_a_reduce_only_order_on_the_wrong_side_without_a_word() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, "lighter")
    venue.grant("desk", ETH, Decimal(2))
    agenda.run_until(agenda.now + SECOND)
    told: list[object] = []
    venue.accounts.streams["desk"].listen(told.append)
    agenda.run_until(agenda.now + SECOND)
    before = len(told)
    reply = venue.desk.place("desk", order("buy", "1", "3010", reduce_only=True))
    agenda.run_until(agenda.now + SECOND)
    assert (reply.kind, reply.order) == ("done", None)
    assert len(told) == before
    assert venue.accounts.views["desk"].order(ETH, "a", agenda.now) is None


def test_a_resting_reduce_only_order_shrinks_with_the_position() -> None:
    venue = open_venue(Agenda(START))
    venue.grant("desk", ETH, Decimal(5))
    venue.desk.place("desk", order("sell", "5", "3050", "gtc", reduce_only=True))
    venue.desk.place("desk", order("sell", "3", "2990", client_id="b"))
    resting = venue.desk.living("desk", "a")
    assert resting is not None
    assert resting.quantity == 2
    venue.desk.place("desk", order("sell", "2", "2990", client_id="c"))
    assert venue.desk.living("desk", "a") is None


def test_a_resting_order_fills_when_the_queue_before_it_is_gone() -> None:
    """At the crowd's own price the crowd stands ahead; its quantity goes first."""
    agenda = Agenda(START)
    venue = open_venue(agenda, usd=20_000)
    venue.desk.requote(venue.contract(ETH))
    best = venue.contract(ETH).book.bids.levels()[0]
    venue.desk.place("desk", order("buy", "1", str(best.price), "post_only"))
    resting = venue.desk.living("desk", "a")
    assert resting is not None
    assert resting.ahead == best.quantity
    seen = [resting.ahead]
    while resting.state not in FINAL and agenda.now < START + 60 * SECOND:
        agenda.run_until(agenda.now + SECOND // 4)
        seen.append(resting.ahead)
        assert not resting.filled or resting.ahead == 0
    assert resting.state == "filled"
    assert seen == sorted(seen, reverse=True)


def test_a_mark_through_the_price_fills_a_resting_order_at_its_own_price() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda)
    venue.desk.place("desk", order("buy", "1", "2950", "post_only"))
    venue.set_mark(ETH, Decimal(2940))
    held = venue.ledger.wallets["desk"].holdings[ETH]
    assert (held.quantity, held.entry) == (1, 2950)


def test_modify_keeps_the_place_only_when_it_makes_smaller() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, accounts=("desk", "rival"))
    venue.desk.place("desk", order("buy", "2", "3000", "post_only"))
    venue.desk.place("rival", order("buy", "2", "3000", "post_only"))
    book = venue.contract(ETH).book
    venue.desk.modify("desk", order("buy", "1", "3000", "post_only"))
    assert [o.account for o in book.bids.at(Decimal(3000))] == ["desk", "rival"]
    venue.desk.modify("desk", order("buy", "3", "3000", "post_only"))
    assert [o.account for o in book.bids.at(Decimal(3000))] == ["rival", "desk"]
    assert venue.desk.modify("desk", order("buy", "3", "2999", client_id="none")).reason == "order_unknown"


def test_a_client_id_may_be_used_again_where_the_venue_forgets_it() -> None:
    for name, kind in (("aster", "done"), ("extended", "duplicate"), ("hyperliquid", "done")):
        venue = open_venue(Agenda(START), name)
        venue.desk.place("desk", order("buy", "1", "3010"))
        assert venue.desk.place("desk", order("buy", "1", "3010")).kind == kind
    venue = open_venue(Agenda(START), "aster")
    venue.desk.place("desk", order("buy", "1", "2990", "gtc"))
    assert venue.desk.place("desk", order("buy", "1", "2990", "gtc")).reason == "duplicate_id"


def test_the_deadman_cancels_unless_asked_again() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, "extended")
    venue.desk.place("desk", order("buy", "1", "2900", "gtc"))
    for _ in range(3):
        assert venue.execute(Envelope(account="desk", command=Deadman(2 * SECOND))).kind == "done"
        agenda.run_until(agenda.now + SECOND)
        assert venue.desk.living("desk", "a") is not None
    agenda.run_until(agenda.now + 2 * SECOND)
    assert venue.desk.living("desk", "a") is None


def place(kind: TimeInForce, *, reduce_only: bool, client_id: str, nonce: int | None = None) -> Envelope:
    wanted = order("sell", "1", "2990" if kind == "ioc" else "3100", kind, reduce_only=reduce_only, client_id=client_id)
    return Envelope(account="desk", command=Place(wanted), nonce=nonce)


def test_a_venue_in_reduce_only_mode_takes_nothing_else() -> None:
    faults = Faults("extended", script=[Window(kind="reduce_only"), Window(kind="post_only", start=HOUR)])
    agenda = Agenda(START)
    venue = open_venue(agenda, "extended", faults=faults)
    venue.grant("desk", ETH, Decimal(5))
    assert venue.execute(place("ioc", reduce_only=False, client_id="a")).reason == "reduce_only_mode"
    assert venue.execute(place("ioc", reduce_only=True, client_id="b")).kind == "done"
    agenda.run_until(START + HOUR)
    assert venue.execute(place("ioc", reduce_only=True, client_id="c")).reason == "maintenance"
    assert venue.execute(place("post_only", reduce_only=True, client_id="d")).kind == "done"


def test_too_many_requests_are_429_and_then_418() -> None:
    style = instant("extended")
    limits = replace(style.limits, per_minute=3, ban_after=2)
    agenda = Agenda(START)
    venue = open_venue(agenda, style=replace(style, limits=limits))
    replies = [venue.execute(place("ioc", reduce_only=True, client_id=str(n))) for n in range(6)]
    assert [(r.kind, r.reason) for r in replies] == [
        *[("refused", "reduce_only_no_position")] * 3,
        ("throttled", "rate_limit"),
        ("throttled", "banned"),
        ("throttled", "banned"),
    ]
    assert (replies[3].retry_after, replies[5].retry_after) == (60 * SECOND, 120 * SECOND)
    agenda.run_until(agenda.now + 121 * SECOND)
    assert venue.execute(place("ioc", reduce_only=True, client_id="z")).kind == "refused"


def test_nonces_count_up_at_lighter_and_lie_in_a_window_at_aster() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, "lighter")
    first = venue.next_nonce("desk")
    found = [
        venue.execute(place("gtc", reduce_only=False, client_id=str(n), nonce=n)).reason for n in (first, first, 9)
    ]
    assert found == ["", "nonce_used", "nonce_wrong"]
    venue = open_venue(agenda, "aster")
    now = agenda.now // 1000
    tried = (now, now, now - 1, now - 20_000_000, now + 20_000_000)
    found = [
        venue.execute(place("gtc", reduce_only=False, client_id=str(n), nonce=k)).reason for n, k in enumerate(tried)
    ]
    assert found == ["", "nonce_used", "", "nonce_wrong", "nonce_wrong"]


def test_a_reduce_only_order_under_way_does_not_cross_zero_when_the_position_goes_meanwhile() -> None:
    """Lighter holds takers back 300 ms; in between most of the position is deleveraged."""
    agenda = Agenda(START)
    venue = open_venue(agenda, style=profile("lighter"))
    venue.grant("desk", ETH, Decimal(5))
    venue.desk.place("desk", order("sell", "5", "2990", reduce_only=True))
    venue.deleverage("desk", ETH, Decimal(4))
    agenda.run_until(agenda.now + SECOND)
    assert venue.ledger.wallets["desk"].quantity(ETH) == 0
