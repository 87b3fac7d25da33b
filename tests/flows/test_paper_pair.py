"""The paper pair of the demo on marks of our own: taken, not taken, never begun."""

from __future__ import annotations

from time import sleep

import pytest
import structlog

from flows.paper_pair import LONG, SHORT, PaperPair
from flows.settings import ExecutorSettings
from schemas.clock import system_clock
from schemas.records import MarkPrice
from schemas.view import PaperView


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def lived(*prices: float, venues: tuple[str, ...] = (LONG, SHORT), mode: str = "paper") -> PaperView:
    """What becomes of the pair when both venues tell these marks, a third of a second apart."""
    pair = PaperPair(ExecutorSettings.model_validate({"mode": mode}))
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
