"""The simulated market has the shape it claims, and is the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest

from connectors.simulator.listings import LISTINGS, SHARES
from connectors.simulator.market import (
    ADL_VENUES,
    LEADER,
    ONSET,
    OVER,
    PEAK,
    SILENT_FROM,
    SILENT_TO,
    Close,
    Market,
    simulate,
)
from connectors.simulator.truth import PACES, Truth, tell
from connectors.simulator.venues import venues
from schemas.records import VENUES

DURATION = 60.0


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(7, DURATION)


@pytest.fixture(scope="module")
def truth(market: Market) -> Truth:
    return tell(market)


def between(closes: list[Close] | tuple[Close, ...], start: float, end: float) -> list[Close]:
    return [close for close in closes if start * DURATION * 1000 <= close.time < end * DURATION * 1000]


def test_same_seed_gives_the_same_run() -> None:
    first, second = simulate(7, 20.0), simulate(7, 20.0)
    assert first.closes == second.closes
    assert (first.context.mark == second.context.mark).all()


def test_another_seed_gives_another_run() -> None:
    assert simulate(7, 20.0).closes != simulate(8, 20.0).closes


def test_every_venue_is_listed_and_has_its_share() -> None:
    assert set(LISTINGS) == set(SHARES) == set(PACES) == set(venues())
    assert len(venues()) == 17
    assert set(venues()) <= set(VENUES)


def test_closes_come_in_order_and_within_the_run(market: Market) -> None:
    times = [close.time for close in market.closes]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < DURATION * 1000
    assert [close.number for close in market.closes] == list(range(1, len(times) + 1))


def test_calm_has_about_four_closes_a_second(market: Market) -> None:
    calm = len(between(market.closes, 0.0, ONSET)) / (ONSET * DURATION)
    assert 2 < calm < 8


def test_the_busiest_second_is_at_the_peak_and_near_four_hundred(market: Market) -> None:
    liquidations = [close for close in market.closes if close.cause == "liquidation"]
    second, count = Counter(close.time // 1000 for close in liquidations).most_common(1)[0]
    assert 300 < count < 550
    assert PEAK - 0.06 < second / DURATION < PEAK + 0.06


def test_the_rate_explodes_from_the_onset(market: Market) -> None:
    third = (PEAK - ONSET) / 3
    counts = [len(between(market.closes, ONSET + i * third, ONSET + (i + 1) * third)) for i in range(3)]
    assert counts[0] < counts[1] < counts[2]
    assert counts[2] > 4 * counts[0]


def test_mostly_longs_are_closed_in_the_cascade_and_neither_side_in_calm(market: Market) -> None:
    def longs(closes: list[Close]) -> float:
        return sum(close.position == "long" for close in closes) / len(closes)

    assert 0.80 < longs(between(market.closes, PEAK - 0.05, PEAK + 0.1)) < 0.92
    assert 0.3 < longs(between(market.closes, 0.0, ONSET)) < 0.7


def test_one_venue_leads_and_the_others_enter_later(market: Market) -> None:
    lead = Counter(close.venue for close in between(market.closes, ONSET, ONSET + 0.02))
    assert lead.most_common(1)[0][0] == LEADER


def test_prices_and_open_interest_fall_and_funding_turns(market: Market) -> None:
    before, bottom, after = int(ONSET * DURATION) - 1, int((PEAK + 0.03) * DURATION), int(OVER * DURATION)
    context = market.context
    assert (context.mark[bottom] < 0.90 * context.mark[before]).all()
    assert (context.mark[after] > context.mark[bottom]).all()
    assert (context.interest[after] < 0.7 * context.interest[before]).all()
    assert (context.funding[before] > 0).all()
    assert (context.funding[after] < 0).all()


def test_adl_comes_after_the_peak_from_the_feeds_that_can_tell_it(market: Market) -> None:
    adl = [close for close in market.closes if close.cause == "adl"]
    assert len(adl) > 100
    assert {close.venue for close in adl} == set(ADL_VENUES)
    assert min(close.time for close in adl) >= PEAK * DURATION * 1000


def test_numbers_are_what_the_wire_can_carry(market: Market) -> None:
    for close in market.closes:
        listing = close.listing
        assert float(listing.price_text(close.native_price)) == close.native_price
        assert float(listing.quantity_text(close.native_quantity)) == close.native_quantity
        assert close.usd == pytest.approx(close.quantity * close.price)


def test_units_by_hand() -> None:
    """One number per kind of contract, worked out on paper."""

    def measured(venue: str, symbol: str, quantity: float, price: float, settle: float = 0.0) -> tuple[float, float]:
        listing = next(row for row in LISTINGS[venue] if row.symbol == symbol)
        return listing.measure(quantity, price, settle)

    assert measured("okx", "BTC-USDT-SWAP", 250.0, 80_000.0) == pytest.approx((2.5, 200_000.0))
    assert measured("okx", "BTC-USD-SWAP", 40.0, 80_000.0) == pytest.approx((0.05, 4_000.0))
    assert measured("gate", "BTC_USDT", 1835.0, 80_000.0) == pytest.approx((0.1835, 14_680.0))
    assert measured("binance_coinm", "BTCUSD_PERP", 3.0, 75_000.0) == pytest.approx((0.004, 300.0))
    assert measured("binance_usdm", "1000PEPEUSDT", 7.0, 0.01) == pytest.approx((7_000.0, 0.07))
    assert measured("bitget", "ETHUSDT", 5_000.0, 2_500.0) == pytest.approx((2.0, 5_000.0))
    assert measured("bitmex", "XBTUSDT", 39_700.0, 87_785.3) == pytest.approx((0.0397, 3_485.07641))
    assert measured("bitmex", "ETHUSD", 100.0, 2_500.0, 80_000.0) == pytest.approx((8.0, 20_000.0))


def test_binance_tells_the_largest_of_each_symbol_and_second(truth: Truth) -> None:
    pace = PACES["binance_usdm"]
    told = truth.told("binance_usdm")
    assert 0 < len(told) < len(truth.happened("binance_usdm"))
    best: dict[tuple[str, int], float] = {}
    for close in truth.happened("binance_usdm"):
        key = (close.listing.symbol, pace.interval(close.time))
        best[key] = max(best.get(key, 0.0), close.usd)
    assert {(c.listing.symbol, pace.interval(c.time)): c.usd for c in told} == best
    assert len(told) == len(best)


def test_bitget_tells_the_largest_of_each_position(truth: Truth) -> None:
    pace = PACES["bitget"]
    told = truth.told("bitget")
    keys = [(c.listing.symbol, c.position, pace.interval(c.time)) for c in told]
    assert (
        len(set(keys))
        == len(keys)
        == len({(c.listing.symbol, c.position, pace.interval(c.time)) for c in truth.happened("bitget")})
    )


@pytest.mark.parametrize("venue", ["bybit", "gate", "htx", "kraken_futures", "lighter", "extended", "dydx_v4"])
def test_complete_feeds_tell_everything(truth: Truth, venue: str) -> None:
    assert truth.told(venue) == truth.happened(venue)


@pytest.mark.parametrize("venue", ["hyperliquid", "kucoin"])
def test_venues_without_a_feed_tell_nothing_of_what_happens(truth: Truth, venue: str) -> None:
    assert truth.happened(venue)
    assert truth.told(venue) == []


def test_nothing_is_told_before_it_happened(truth: Truth) -> None:
    assert all(close.time <= telling.at for telling in truth.tellings for close in telling.closes)


def test_the_silent_venue_is_silent_and_catches_up(truth: Truth) -> None:
    start, end = SILENT_FROM * DURATION * 1000, SILENT_TO * DURATION * 1000
    spoken = [telling.at for telling in truth.tellings if telling.venue == "okx"]
    assert not [at for at in spoken if start <= at < end]
    late = next(telling for telling in truth.tellings if telling.venue == "okx" and telling.at >= end)
    assert [close for close in late.closes if start <= close.time < end - 2000]


def test_a_silent_venue_that_does_not_catch_up_loses_the_span() -> None:
    told = tell(simulate(7, DURATION, silent="gate"))
    start, end = SILENT_FROM * DURATION * 1000, SILENT_TO * DURATION * 1000
    lost = [close for close in told.happened("gate") if start <= close.time < end - 1000]
    assert lost
    assert {close.number for close in lost}.isdisjoint(close.number for close in told.told("gate"))
    assert len(told.told("okx")) > 0
