"""Levels mean something on every feed: a cut feed's burst is seen, a calm stream alarms nobody; and the laws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.domain.detector import Detector
from flows.domain.rules import Rules
from schemas.batches import Batch, LiquidationColumns, Names
from schemas.cascades import LEVELS, MARKET, CascadeUpdate, Signal
from schemas.clock import HOUR, MILLISECOND, SECOND
from schemas.records import COVERAGES, VENUES
from tests.flows.domain.conftest import T0, Event, assets, batch, histories
from tests.flows.domain.test_detector import LAX, run

BINANCE = {"venue": "binance_usdm", "coverage": "sampled"}
SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LINK")


def stream(time: np.ndarray, usd: np.ndarray, asset: np.ndarray, coverage: str, names: Names) -> Batch:
    """Longs closed on Binance as one batch; times in ns after ``T0``."""
    n = len(time)
    zero = np.zeros(n, np.int8)
    at = T0 + time.astype(np.int64)
    columns = LiquidationColumns(
        event_id=np.arange(1, n + 1, dtype=np.uint64), venue=zero + VENUES.index("binance_usdm"),
        instrument=np.zeros(n, np.int32), asset=asset.astype(np.int32), position=zero, cause=zero, price=np.ones(n),
        price_kind=zero, quantity=usd, notional_usd=usd, event_time=at, receive_time=at,
        coverage=zero + COVERAGES.index(coverage), backfill=np.zeros(n, np.bool_), time_source=zero,
    )  # fmt: skip
    return Batch(columns, ["X"], names)


def cut_burst(symbols: int) -> list[Event]:
    """Forty quiet minutes, then half a minute in which every symbol tells its one message a second."""
    calm = [Event(n * 20_000, usd=3_000.0, asset=SYMBOLS[n % len(SYMBOLS)], **BINANCE) for n in range(120)]
    begin = 2_420_000
    burst = [
        Event(begin + s * 1000 + 100 * k, usd=40_000.0, asset=SYMBOLS[k], **BINANCE)
        for s in range(30)
        for k in range(symbols)
    ]
    return calm + burst


def test_a_burst_on_a_feed_cut_to_one_message_a_second_reaches_the_highest_levels() -> None:
    """Eight messages a second are all that eight symbols of such a feed can show."""
    records, _, _ = run(cut_burst(8), Rules())
    market = [r for r in records if isinstance(r, Signal) and r.asset == MARKET]
    assert [s.level for s in market][-1] == "NONE"
    assert {"CRITICAL", "EXTREME"} & {s.level for s in market}
    first = next(s for s in market if s.level == "ALERT")
    assert (first.event_time - T0) / SECOND < 2_423
    assert first.floor
    assert 5 < (first.capped_event or 0) <= 10
    assert first.raw["velocity"] == pytest.approx(first.events_per_second * (first.capped_event or 0))
    assert not [s for s in market if s.event_time < T0 + 2_420 * SECOND], "calm before"


def test_the_same_burst_on_a_complete_feed_is_judged_as_it_is() -> None:
    events = [Event(e.time, e.usd, e.asset, "bybit") for e in cut_burst(8)]
    signals = [r for r in run(events, Rules())[0] if isinstance(r, Signal) and r.asset == MARKET and r.event_id]
    assert all(s.raw["velocity"] == pytest.approx(s.events_per_second) for s in signals)
    assert not {"CRITICAL", "EXTREME"} & {s.level for s in signals}


@pytest.mark.parametrize("coverage", ["complete", "sampled"])
def test_a_day_of_calm_alarms_less_than_once_an_hour(coverage: str) -> None:
    """Five a second over thirty assets for 24 hours, no clustering at all, amounts of heavy tail."""
    rng = np.random.default_rng(17)
    n = 24 * 3600 * 5
    time = np.sort(rng.uniform(0, 24 * HOUR, n))
    weights = 1 / np.arange(1, 31)
    asset = rng.choice(30, n, p=weights / weights.sum())
    names = assets(*(f"A{k}" for k in range(30)))
    detector = Detector(Rules(snapshot=0), names)
    found = detector.process(stream(time, rng.lognormal(8, 1.5, n), asset, coverage, names)).records
    alarms = Counter(r.asset for r in found if isinstance(r, Signal) and r.event_id and LEVELS.index(r.level) >= 2)
    assert sum(alarms.values()) < 24


def test_a_small_asset_is_measured_by_its_own_usual_volume() -> None:
    """What is nothing for the market fills the volume of an asset that usually sees a hundredth of it."""
    calm = [Event(n * 10_000, usd=200.0) for n in range(200)]
    burst = [Event(2_001_000 + n * 60, usd=25_000.0) for n in range(25)]
    signal = next(r for r in run(calm + burst, Rules())[0] if isinstance(r, Signal) and r.asset == "BTC")
    assert signal.full_scale["volume"] == 100_000.0
    assert signal.usual_usd_per_second == pytest.approx(200 / 10, rel=10)
    assert (signal.components["volume"] or 0) > 10 * signal.usd_per_second / Rules().volume_full


@settings(deadline=None, max_examples=40)
@given(histories(), st.integers(0, 119), st.floats(1.0, 1e7))
def test_the_score_at_an_event_never_falls_with_its_notional(events: list[Event], which: int, more: float) -> None:
    """Of the asset and of the market, at the very event."""
    events = events[: which + 1]
    last = events[-1]
    richer = [*events[:-1], Event(**{**vars(last), "usd": last.usd + more})]

    def scores(made: list[Event]) -> tuple[float, float]:
        names = assets()
        detector = Detector(LAX, names)
        detector.process(batch(made, names))
        own, market = detector.look(last.asset).score, detector.look(MARKET).score
        assert 0 <= own <= 1
        assert 0 <= market <= 1
        return own, market

    before, after = scores(events), scores(richer)
    assert after[0] >= before[0] - 1e-12
    assert after[1] >= before[1] - 1e-12


@settings(deadline=None, max_examples=40)
@given(histories())
def test_usd_of_a_cascade_is_conserved_over_sides_and_venues(events: list[Event]) -> None:
    for update in (r for r in run(events)[0] if isinstance(r, CascadeUpdate)):
        assert sum(update.long_usd_by_venue.values()) == pytest.approx(update.long_usd)
        assert sum(update.short_usd_by_venue.values()) == pytest.approx(update.short_usd)
        assert {*update.long_usd_by_venue, *update.short_usd_by_venue} <= set(update.venues)
        assert update.asset_lags == sorted(update.asset_lags)
        assert update.asset_lags[0] == 0.0
        assert update.asset == MARKET or update.assets == [update.asset]
        assert update.peaked is not None
        assert update.started <= update.peaked


@settings(deadline=None, max_examples=40)
@given(histories())
def test_the_peak_is_told_once_and_in_order(events: list[Event]) -> None:
    told: dict[str, list[CascadeUpdate]] = {}
    for record in run(events)[0]:
        if isinstance(record, CascadeUpdate):
            told.setdefault(record.cascade_id, []).append(record)
    for updates in told.values():
        states = [u.state for u in updates]
        assert states.count("peak") == 1
        assert states.index("peak") < states.index("close")
        assert [u.peak_usd_per_second for u in updates] == sorted(u.peak_usd_per_second for u in updates)


def test_the_peak_is_past_when_the_pace_was_below_half_its_best_for_ten_seconds() -> None:
    """Sixty equal events in 0.6 s decay to half after 6.9 s; ten more seconds make it known, watches going on."""
    burst = [Event(n * 10, usd=10_000.0) for n in range(60)]
    after = [Event(1_000 + n * 400, usd=10.0) for n in range(100)]
    rules = Rules(levels=LAX.levels)
    updates = [r for r in run(burst + after, rules)[0] if isinstance(r, CascadeUpdate) and r.asset == "BTC"]
    peak = next(u for u in updates if u.state == "peak")
    assert peak.peaked == T0 + 590 * MILLISECOND
    assert (peak.time - T0) / SECOND == pytest.approx(0.59 + 10 * np.log(2) + 10, abs=0.02)
    assert updates[-1].time > peak.time
    assert peak.peak_usd_per_second == pytest.approx(60_000, rel=0.05)


def test_a_market_cascade_names_the_assets_in_order_of_entry() -> None:
    """The origin comes first, also when its message arrives second."""
    events = [
        Event(300, asset="ETH", receive=310),
        Event(0, asset="SOL", receive=320),
        *(Event(400 + n * 8, asset="BTC") for n in range(60)),
    ]
    close = [r for r in run(events, Rules())[0] if isinstance(r, CascadeUpdate) and r.asset == MARKET][-1]
    assert close.assets == ["SOL", "ETH", "BTC"]
    assert close.asset_lags == pytest.approx([0.0, 0.3, 0.4])


@settings(deadline=None, max_examples=40)
@given(histories())
def test_the_order_of_equal_times_among_assets_is_irrelevant(events: list[Event]) -> None:
    """Each asset tells the same; of the market, sums and venues of what is told, and what a cascade held in the end."""
    groups: dict[tuple[int, int | None], list[Event]] = {}
    for number, event in enumerate(events):
        groups.setdefault((event.time, event.receive), []).append(Event(**{**vars(event), "id": number + 1}))
    one = [e for group in groups.values() for e in sorted(group, key=lambda e: e.asset)]
    two = [e for group in groups.values() for e in sorted(group, key=lambda e: e.asset, reverse=True)]
    left, right = run(one), run(two)
    for asset in ("BTC", "ETH", "SOL"):
        assert [r for r in left[0] if r.asset == asset] == [r for r in right[0] if r.asset == asset]
    assert left[1] == right[1]
