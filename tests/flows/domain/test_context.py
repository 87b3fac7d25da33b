"""Open interest and funding around the events, against plain recomputation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.domain.detector import Detector
from flows.domain.rules import Rules
from flows.domain.state import CONTEXT_FIELDS
from schemas.batches import Batch, LiquidationColumns, Names
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.records import Funding, OpenInterest
from tests.flows.domain.conftest import T0, assets


def oi(venue: str, seconds: float, quantity: float) -> OpenInterest:
    at = T0 + round(seconds * SECOND)
    return OpenInterest(venue, "BTCUSDT", "BTC", quantity, None, at, at)


def rate(venue: str, at: int, value: float, hours: float = 8.0) -> Funding:
    return Funding(venue, "BTCUSDT", "BTC", value, hours, value * 8760 / hours, None, at, at)


def context(*records: OpenInterest | Funding) -> dict[str, float]:
    names: Names = assets()
    detector = Detector(Rules(), names)
    for record in records:
        detector.process(Batch(LiquidationColumns.empty(), [], names, [(0, record)]))
    found = detector.state.slot[names.code("BTC") + 1]["context"]
    return dict(zip(CONTEXT_FIELDS, (float(x) for x in found), strict=True))


def test_open_interest_changes_over_one_and_five_minutes_and_an_hour() -> None:
    """Each against the figure one span before the newest."""
    found = context(oi("okx", 0, 200), oi("okx", 3300, 150), oi("okx", 3540, 100), oi("okx", 3600, 90))
    assert found["open_interest_1m"] == pytest.approx(-0.1)
    assert found["open_interest_5m"] == pytest.approx(90 / 150 - 1)
    assert found["open_interest_1h"] == pytest.approx(90 / 200 - 1)


def test_a_venue_joining_is_no_change_of_open_interest() -> None:
    """Only venues with both figures count."""
    found = context(oi("okx", 0, 100), oi("okx", 60, 95), oi("bybit", 61, 1000))
    assert found["open_interest_1m"] == pytest.approx(-0.05)


def test_a_figure_older_than_two_spans_is_no_reference() -> None:
    """Five-minute figures say nothing about one minute."""
    found = context(oi("okx", 0, 100), oi("okx", 300, 80))
    assert math.isnan(found["open_interest_1m"])
    assert found["open_interest_5m"] == pytest.approx(-0.2)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([9, 10, 15, 30, 61, 400]), st.floats(1, 1e6)), min_size=1, max_size=80))
def test_changes_equal_a_plain_search(steps: list[tuple[int, float]]) -> None:
    """The newest figure against the newest one at least a span and at most two spans older."""
    seconds, taken = 0, []
    for step, quantity in steps:
        seconds += step
        taken.append((seconds, quantity))
    found = context(*(oi("okx", at, quantity) for at, quantity in taken))
    for name, span in (("1m", 60), ("5m", 300), ("1h", 3600)):
        newest, now = taken[-1]
        earlier = [q for at, q in taken if newest - 2 * span <= at <= newest - span]
        expected = now / earlier[-1] - 1 if earlier else math.nan
        assert found[f"open_interest_{name}"] == pytest.approx(expected, nan_ok=True)


def test_funding_is_compared_per_eight_hours_over_venues() -> None:
    """An hourly rate counts eight times; the mean is over venues."""
    found = context(rate("okx", T0, 0.0008), rate("hyperliquid", T0, 0.0002, hours=1.0))
    assert found["funding"] == pytest.approx((0.0008 + 0.0016) / 2)
    assert math.isnan(found["funding_trend"])


def test_funding_trend_and_largest_of_a_day() -> None:
    """Against the end of the hour before; the largest absolute mean of the last 24 hours."""
    start = T0 // HOUR * HOUR
    found = context(rate("okx", start, 0.001), rate("okx", start + HOUR, -0.002), rate("okx", start + 2 * HOUR, 0.0005))
    assert found["funding_trend"] == pytest.approx(0.0025)
    assert found["funding_max_24h"] == pytest.approx(0.002)
    later = context(rate("okx", start, 0.009), rate("okx", start + 24 * HOUR + MINUTE, 0.0001))
    assert later["funding_max_24h"] == pytest.approx(0.0001)


def test_older_context_is_ignored() -> None:
    """A figure older than the newest of its venue changes nothing."""
    found = context(rate("okx", T0, 0.001), rate("okx", T0 - HOUR, 0.5), oi("okx", 60, 100), oi("okx", 0, 7))
    assert found["funding"] == pytest.approx(0.001)
    assert math.isnan(found["open_interest_1m"])
