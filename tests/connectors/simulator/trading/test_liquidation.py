"""Margin call, partial and full liquidation, insurance fund, deleveraging: with the numbers worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.simulator.trading import Agenda, SimulatedVenue
from connectors.simulator.trading.ledger import INSURANCE
from schemas.clock import SECOND
from schemas.orders import Fill
from schemas.records import AccountEvent
from tests.connectors.simulator.trading.scenes import ETH, START, open_venue

Told = list[object]


def listen(venue: SimulatedVenue, account: str = "desk") -> Told:
    told: Told = []
    venue.accounts.streams[account].listen(told.append)
    return told


def events(told: Told, event: str) -> list[AccountEvent]:
    return [m for m in told if isinstance(m, AccountEvent) and m.event == event]


def pass_time(agenda: Agenda, seconds: float = 1.0) -> None:
    agenda.run_until(agenda.now + int(seconds * SECOND))


def test_the_liquidation_price_is_where_liquidation_begins() -> None:
    """Long 30 at 3000 with 10,000 USD: equity p*30 - 80,000 meets 1 % of p*30 at 80,000 / 29.7."""
    agenda = Agenda(START)
    venue = open_venue(agenda, usd=2_000_000)
    venue.grant("desk", ETH, Decimal(30))
    told = listen(venue)
    price = venue.ledger.liquidation_price("desk", ETH)
    assert price == pytest.approx(Decimal(80_000) / Decimal("29.7"))
    venue.set_mark(ETH, Decimal("2694.0"))
    pass_time(agenda)
    assert events(told, "liquidation") == []
    venue.set_mark(ETH, Decimal("2693.5"))
    pass_time(agenda)
    assert [e.position for e in events(told, "liquidation")][:1] == ["long"]


def test_margin_is_called_once_before_anything_is_closed() -> None:
    """Equity below 1.25 x maintenance: 30 p - 80,000 < 0.375 p at p < 2700.4."""
    agenda = Agenda(START)
    venue = open_venue(agenda)
    venue.grant("desk", ETH, Decimal(30))
    told = listen(venue)
    pass_time(agenda)
    for mark in ("2701.0", "2700.0", "2699.9"):
        venue.set_mark(ETH, Decimal(mark))
    pass_time(agenda)
    assert [e.detail for e in events(told, "margin_call")] == ["margin_call"]
    assert venue.ledger.wallets["desk"].quantity(ETH) == 30


def test_a_large_position_is_first_closed_in_part() -> None:
    """81,000 USD is above 25,000: a quarter goes, and with what is left the account is out of danger."""
    agenda = Agenda(START)
    venue = open_venue(agenda, usd=2_000_000)
    venue.grant("desk", ETH, Decimal(30))
    told = listen(venue)
    venue.set_mark(ETH, Decimal(2693))
    pass_time(agenda)
    assert venue.ledger.wallets["desk"].quantity(ETH) == Decimal("22.5")
    assert [(e.state, e.remaining) for e in events(told, "position")][-1] == ("known", 22.5)
    fee = Decimal("7.5") * Decimal(2693) * Decimal("0.005")
    assert venue.ledger.wallets[INSURANCE].cash == Decimal(1_000_000) + fee


def test_a_gap_goes_to_the_insurance_fund_at_the_bankruptcy_price() -> None:
    """Long 30, equity zero at 2666.67: below it nobody in the book pays that much, so the fund takes all of it."""
    agenda = Agenda(START)
    venue = open_venue(agenda)
    venue.grant("desk", ETH, Decimal(30))
    told = listen(venue)
    venue.set_mark(ETH, Decimal(2600))
    fills = []
    pass_time(agenda)
    fills = [m for m in told if isinstance(m, Fill)]
    assert [(f.price, f.quantity, f.cause, f.client_id) for f in fills] == [
        (Decimal("2666.7"), Decimal(30), "liquidation", "")
    ]
    assert [e.detail for e in events(told, "liquidation")] == ["backstop"]
    assert venue.ledger.equity("desk") == pytest.approx(Decimal(1))
    assert venue.ledger.equity(INSURANCE) < Decimal(1_000_000)


def test_without_an_insurance_fund_the_best_ranked_winner_is_deleveraged() -> None:
    """Rival is short with ten times the leverage of whale: rival goes first, and only as far as is needed."""
    agenda = Agenda(START)
    venue = open_venue(agenda, accounts=("desk", "rival", "whale"), insurance="0")
    venue.open("whale", Decimal(500_000))
    venue.grant("desk", ETH, Decimal(30))
    venue.grant("rival", ETH, Decimal(-20))
    venue.grant("whale", ETH, Decimal(-20))
    assert (venue.accounts.adl_rank("rival", ETH), venue.accounts.adl_rank("whale", ETH)) == (1.0, 0.5)
    rival, whale = listen(venue, "rival"), listen(venue, "whale")
    venue.set_mark(ETH, Decimal(2600))
    pass_time(agenda)
    assert [(e.event, e.position, e.quantity, e.state) for e in events(rival, "adl")] == [
        ("adl", "short", 20.0, "flat")
    ]
    assert [(e.quantity, e.remaining) for e in events(whale, "adl")] == [(10.0, -10.0)]
    assert [(f.cause, f.price, f.fee) for f in rival if isinstance(f, Fill)] == [("adl", Decimal("2666.7"), Decimal(0))]
    assert venue.ledger.total() == venue.ledger.deposited


def test_isolated_margin_loses_one_position_and_not_the_account() -> None:
    """Long 10 at leverage 10 has 3000 USD behind it; the other 7000 stay."""
    agenda = Agenda(START)
    venue = open_venue(agenda, accounts=())
    venue.open("careful", Decimal(10_000), isolated=True)
    venue.grant("careful", ETH, Decimal(10))
    venue.set_mark(ETH, Decimal(2000))
    pass_time(agenda, 30)
    assert venue.ledger.wallets["careful"].quantity(ETH) == 0
    assert venue.ledger.wallets["careful"].cash == Decimal(7_000)
    assert venue.ledger.total() == venue.ledger.deposited


def test_force_and_decree_close_what_they_are_told_to() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, accounts=("desk", "rival"))
    venue.grant("desk", ETH, Decimal(8))
    venue.grant("rival", ETH, Decimal(-3))
    assert venue.liquidate("desk", ETH, Decimal("0.5")) == 4
    assert venue.deleverage("rival", ETH, Decimal(2)) == 2
    assert venue.ledger.wallets["desk"].quantity(ETH) == 4
    assert venue.ledger.wallets["rival"].quantity(ETH) == -1


def test_funding_goes_from_longs_to_shorts_at_the_interval() -> None:
    """Ten minutes past the hour to the next: Lighter pays hourly, 10 x 3000 x 0.0001 = 3 USD."""
    agenda = Agenda(START)
    venue = open_venue(agenda, "lighter", accounts=("desk", "rival"))
    venue.contract(ETH).funding_rate = Decimal("0.0001")
    venue.grant("desk", ETH, Decimal(10))
    venue.grant("rival", ETH, Decimal(-4))
    pass_time(agenda, 3600)
    assert [(name, usd) for _, name, _, usd in venue.accounts.payments] == [("desk", 3), ("rival", Decimal("-1.2"))]
    assert venue.accounts.payments[0][0] % (3600 * SECOND) == 0
    assert venue.ledger.wallets["rival"].cash == Decimal("10001.2")
