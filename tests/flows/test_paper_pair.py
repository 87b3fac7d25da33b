"""The paper pair of the demo on marks of our own: taken, not taken, never begun."""

from __future__ import annotations

from decimal import Decimal
from time import sleep

import pytest
import structlog
import typer

from flows.commands.options import terms_of
from flows.paper_pair import DEMO, PaperPair, Terms
from flows.settings import ExecutorSettings
from schemas.clock import system_clock
from schemas.records import MarkPrice
from schemas.view import PaperView


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


LONG, SHORT = DEMO.venues


def lived(*prices: float, venues: tuple[str, ...] = (LONG, SHORT), mode: str = "paper") -> PaperView:
    """What becomes of the pair when both venues tell these marks, a third of a second apart."""
    pair = PaperPair(ExecutorSettings.model_validate({"mode": mode}), spare=True)
    pair.start()
    for price in prices:
        now = system_clock()
        for venue in venues:
            pair.follow(MarkPrice(venue, "SOLUSDT", "SOL", price, None, now, now))
            pair.follow(MarkPrice(venue, "BTCUSDT", "BTC", 1.0, None, now, now))
        sleep(0.3)
    pair.stop()
    return pair.view


def test_a_fall_the_leverage_does_not_bear_takes_the_long_and_the_short_is_closed_there() -> None:
    """Down by 18 %, then by a third: the short left alone would have made more here, and is told so."""
    view = lived(150.0, 123.0, 100.0)
    assert (view.opened, view.hit, view.reason) == (True, LONG, f"LIQUIDATION_{LONG.upper()}")
    assert view.detection_ms is not None
    assert view.flat_ms is not None
    assert 0 < view.detection_ms < view.flat_ms
    assert view.pnl_usd is not None
    assert view.idle_pnl_usd is not None
    quantity = view.notional_usd / 150.0
    # Closed at about 123 rather than held down to 100.
    assert view.idle_pnl_usd - view.pnl_usd == pytest.approx(quantity * 23.0, rel=0.02)


def test_a_fall_it_bears_changes_nothing() -> None:
    view = lived(150.0, 130.0, mode="off")
    assert (view.opened, view.hit, view.reason, view.detection_ms, view.flat_ms) == (True, None, "", None, None)
    assert view.pnl_usd == view.idle_pnl_usd == 0.0


def test_with_one_venue_alone_there_is_no_pair() -> None:
    view = lived(150.0, 100.0, venues=(LONG,))
    assert (view.opened, view.pnl_usd) == (False, None)


def test_any_asset_at_any_two_venues_is_held_at_their_marks() -> None:
    """A short hit by a rise; marks of other contracts and venues are nothing to it."""
    pair = PaperPair(ExecutorSettings(), terms_of("ETH=lighter/extended:5000:10"), spare=True)
    pair.start()
    for price in (2000.0, 2300.0):
        now = system_clock()
        for venue in ("lighter", "extended"):
            pair.follow(MarkPrice(venue, "ETH-USD", "ETH", price, None, now, now))
        pair.follow(MarkPrice("aster", "ETHUSDT", "ETH", 1.0, None, now, now))
        sleep(0.3)
    pair.stop()
    view = pair.view
    assert (view.asset, view.long, view.short, view.notional_usd, view.leverage) == (
        "ETH", "lighter", "extended", 5000.0, 10.0,
    )  # fmt: skip
    assert (view.opened, view.hit, view.reason) == (True, "extended", "LIQUIDATION_EXTENDED")
    assert view.flat_ms is not None


def test_a_pair_is_written_in_one_word() -> None:
    assert terms_of("SOL=aster/hyperliquid") == DEMO
    assert terms_of("btc=bybit/okx:500.5") == Terms("BTC", "bybit", "okx", Decimal("500.5"))


@pytest.mark.parametrize(
    "wrong", ["SOL", "SOL=aster", "SOL=aster/aster", "SOL=aster/nobody", "NOASSET=aster/okx", "SOL=aster/okx:0",
              "SOL=aster/okx:1:2:3", "SOL=aster/okx:NaN", "SOL=aster/okx:x"],
)  # fmt: skip
def test_what_is_no_pair_is_refused(wrong: str) -> None:
    with pytest.raises(typer.BadParameter):
        terms_of(wrong)
