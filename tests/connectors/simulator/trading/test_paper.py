"""The paper venues follow the marks they are told, in a replay's time or in real time."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import pytest

from connectors.simulator.trading.paper import PaperVenues, guessed_rules
from schemas.clock import HOUR, SECOND, system_clock
from schemas.errors import UsageError
from schemas.orders import Order
from schemas.records import Funding, MarkPrice
from tests.connectors.simulator.trading.scenes import START


def mark(venue: str, price: float, instrument: str = "SOLUSDT", asset: str = "SOL") -> MarkPrice:
    return MarkPrice(venue, instrument, asset, price, None, START, START)


def order(venue: str, side: str, quantity: str) -> Order:
    return Order(
        venue=venue, instrument="SOLUSDT", side=side, quantity=Decimal(quantity), price=None,
        time_in_force="ioc", reduce_only=False, client_id="1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("price", "tick", "step"),
    [
        ("150.25", "0.01", "0.001"),
        ("98765.4", "1", "0.00001"),
        ("0.0001234", "0.00000001", "1000"),
        ("1", "0.0001", "1"),
    ],
)
def test_rules_fit_the_price(price: str, tick: str, step: str) -> None:
    rules = guessed_rules("X", "X", Decimal(price))
    assert (rules.tick, rules.step) == (Decimal(tick), Decimal(step))


def test_a_replay_moves_time_and_marks_itself_until_one_leg_is_liquidated() -> None:
    """Long 600 at 150 with 10,000 USD at Lighter, short at Aster: at 134 the long is gone, the short is not."""
    paper = PaperVenues(["lighter", "aster"], Decimal(10_000), START)
    for venue in ("lighter", "aster", "okx"):
        paper.observe(mark(venue, 150.0))
    assert set(paper.venues["lighter"].accounts.contracts) == {"SOLUSDT"}
    assert paper.venues["lighter"].desk.place("paper", order("lighter", "buy", "600")).kind == "done"
    paper.venues["aster"].desk.place("paper", order("aster", "sell", "600"))
    for second in range(1, 72):
        paper.agenda.run_until(START + second * SECOND)
        for venue in paper.venues:
            paper.observe(mark(venue, 150.0 - second / 4))
    held = {name: venue.ledger.wallets["paper"].quantity("SOLUSDT") for name, venue in paper.venues.items()}
    assert held == {"lighter": 0, "aster": -600}


def test_funding_is_brought_to_the_venues_interval() -> None:
    paper = PaperVenues(["lighter"], Decimal(10_000), START)
    paper.observe(mark("lighter", 150.0))
    paper.observe(Funding("lighter", "SOLUSDT", "SOL", 0.0008, 8.0, 0.0, None, START, START))
    paper.venues["lighter"].desk.place("paper", order("lighter", "buy", "100"))
    paper.agenda.run_until(START + HOUR)
    assert [(name, round(usd, 6)) for _, name, _, usd in paper.venues["lighter"].accounts.payments] == [
        ("paper", Decimal("1.5"))
    ]


def test_in_real_time_marks_may_come_from_another_thread() -> None:
    async def story() -> None:
        paper = PaperVenues(["aster"], Decimal(10_000), system_clock())
        paper.run_by(system_clock)
        teller = threading.Thread(target=lambda: paper.observe(mark("aster", 150.0)))
        teller.start()
        teller.join()
        await asyncio.sleep(0)
        port = paper.port("aster")
        outcome = await port.send(port.prepare(order("aster", "buy", "2"), now=system_clock()))
        assert (outcome.kind, outcome.state) == ("done", "filled")
        paper.stop()

    asyncio.run(story())


def test_a_venue_that_is_not_on_paper_is_named() -> None:
    with pytest.raises(UsageError, match=r"no paper venue 'okx'; there are aster"):
        PaperVenues(["aster"], Decimal(1), START).port("okx")


def test_nonsense_marks_change_nothing() -> None:
    paper = PaperVenues(["aster"], Decimal(1), START)
    for price in (0.0, -1.0, float("nan")):
        paper.observe(mark("aster", price))
    assert paper.venues["aster"].accounts.contracts == {}
