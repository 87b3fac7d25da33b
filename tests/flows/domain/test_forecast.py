"""The live probability: what the study says offline, however the arrivals are cut, and what comes of it in signals."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.domain.detector import Detector
from flows.domain.forecast import chance, forecasts, note, usual
from flows.domain.model import STEP, CascadeModel
from flows.domain.packing import packed, unpacked
from flows.domain.rules import LevelRule, Rules
from flows.study import features
from flows.study.events import Events, Recording
from flows.study.features import recalibrated
from flows.study.fit import fit_model
from flows.study.labels import Sums, label
from schemas.cascades import MARKET, CascadeUpdate, Signal
from schemas.clock import HOUR, MILLISECOND, MINUTE, SECOND
from tests.flows.domain.conftest import T0, Event, assets, batch, histories


def model(target: str = MARKET, horizon: int = MINUTE, threshold: float = 50_000.0, **changes: object) -> CascadeModel:
    """A model on two features."""
    made = CascadeModel(
        target=target, horizon=horizon, threshold_usd=threshold, features=("usd_10s", "usd_300s", "heat"),
        mean=(4.0, 4.0, 0.0), scale=(4.0, 4.0, 1.0), coefficients=(0.8, 0.5, 0.3), intercept=-2.0, memory=HOUR,
        base_rate=0.05, l2=10.0, fit_from="2023-01-06", fit_to="2023-01-09", fit_times=1000, fit_episodes=20,
        data="mine", data_hash="0" * 16,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


BESIDE = model(
    "ETH", features=("usd_10s", "market_usd_60s"), mean=(4.0, 6.0), scale=(4.0, 4.0), coefficients=(0.3, 0.9)
)
"""An asset's model that also looks at the market."""
MODELS = (BESIDE, model(), model(horizon=10 * SECOND, threshold=9_000.0), model("BTC"), model("SOL", 5 * MINUTE))
LAX = Rules(
    levels=(LevelRule(0.3, 5.0, probability=0.1), LevelRule(0.5, 9.0, probability=0.3), *(LevelRule(1.0, 1e9),) * 2),
    models=MODELS,
    unusual=1.0,
)


def run(events: list[Event], size: int = 10_000, rules: Rules = LAX) -> tuple[list[object], Detector]:
    names = assets()
    detector = Detector(rules, names)
    records: list[object] = []
    for start in range(0, len(events), size):
        records += detector.process(batch(events[start : start + size], names, 1 + start)).records
    records += detector.finish(T0 + (max(e.receive or e.time for e in events) + 60_000) * MILLISECOND).records
    return records, detector


@settings(deadline=None, max_examples=30)
@given(histories())
def test_probabilities_and_what_is_learnt_do_not_depend_on_how_arrivals_are_cut(events: list[Event]) -> None:
    whole, detector = run(events)
    for size in (1, 7):
        records, other = run(events, size)
        assert records == whole
        assert (other.state.forecast == detector.state.forecast).all()


@settings(deadline=None, max_examples=20)
@given(histories(), st.integers(0, 120))
def test_a_restart_anywhere_changes_nothing(events: list[Event], cut: int) -> None:
    """What a detector is, models and what they learnt included, is what it wrote down."""
    cut = min(cut, len(events))
    whole, detector = run(events)
    names = assets()
    first = Detector(LAX, names)
    records: list[object] = list(first.process(batch(events[:cut], names)).records)
    again = Detector(LAX, assets())
    again.state = unpacked(again.state, packed(first.state, len(names) + 1))
    records += again.process(batch(events[cut:], again.assets, 1 + cut)).records
    end = T0 + (max(e.receive or e.time for e in events) + 60_000) * MILLISECOND
    assert records + list(again.finish(end).records) == whole
    assert (again.state.forecast == detector.state.forecast).all()


def test_other_models_begin_anew_where_a_state_was_written_by_others() -> None:
    events = [Event(n * 500, usd=20_000.0) for n in range(100)]
    _, before = run(events)
    after = Detector(replace(LAX, models=(model(threshold=1e6),)), assets())
    after.state = unpacked(after.state, packed(before.state, 4))
    after.process(batch([Event(60_000)], after.assets, 500))
    assert after.state.forecast["threshold"].tolist() == [10**12]
    assert after.look("BTC").probability == {}
    assert 0 < after.look(MARKET).probability["60s"] < 1


def plain(seconds: NDArray[np.float64], usd: NDArray[np.float64]) -> Events:
    """Liquidations of longs of one asset on one venue, as the study holds them."""
    n = len(seconds)
    time = T0 + (seconds * 1000).astype(np.int64) * MILLISECOND
    nothing, venue = np.zeros(n, np.int32), np.full(n, 2, np.int8)
    worth = np.rint(usd * MICRO).astype(np.int64)
    return Events(time, time, worth, np.zeros(n, np.int8), venue, nothing, nothing, np.ones(n, np.bool_))


def live_and_offline(seconds: int, rate: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the detector's forecast of the market says every five seconds, and what the study's replay says."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    made = plain(np.sort(rng.uniform(0.001, seconds, count)), np.round(rng.lognormal(7, 1.5, count), 2))
    times = ((made.time - T0) // MILLISECOND).tolist()
    events = [Event(t, usd=u / MICRO) for t, u in zip(times, made.usd.tolist(), strict=True)]
    mine = model(threshold=40_000.0)
    grid = np.arange(-(-int(made.time[0] + 1) // STEP) * STEP, T0 + seconds * SECOND, STEP)
    names = assets()
    rules = replace(Rules(), models=(mine,), lateness=0, delay=0, snapshot=0)
    detector, live, at = Detector(rules, names), [], 0
    for now in grid.tolist():
        upto = at + sum(T0 + e.time * MILLISECOND < now for e in events[at : at + 400])
        detector.process(batch(events[at:upto], names, 1 + at))
        at = upto
        detector.finish(now)
        live.append(detector.look(MARKET).probability["60s"])
    table = features.table(made, grid)
    weights = mine.weights()
    odds = np.clip(weights[0] + table @ weights[1:], -15, 15)
    reached = Sums(made).between(grid, grid + MINUTE) >= mine.threshold_usd
    out = np.zeros(len(grid))
    recalibrated(mine.recalibration()[0], grid, odds, reached, out)
    return np.array(live), out


def test_the_live_probability_is_the_one_that_was_judged_offline() -> None:
    """Same features, same outcomes, learnt at the same moments: the scoreboard speaks of what runs."""
    live, offline = live_and_offline(4000, 0.4, 3)
    assert np.ptp(offline) > 0.1
    assert live == pytest.approx(offline, abs=1e-9)


def test_signals_and_cascades_carry_the_probability_its_threshold_and_what_drove_it() -> None:
    burst = [Event(n * 400, usd=9_000.0) for n in range(60)]
    records, _ = run(burst)
    signal = next(r for r in records if isinstance(r, Signal) and r.asset == MARKET and r.level == "ALERT")
    assert signal.decided_by == "probability"
    assert signal.threshold_usd == {"10s": 9_000.0, "60s": 50_000.0}
    assert 0.3 < signal.probability["60s"] < 1.0
    assert signal.models["60s"] == "mine (0000000000000000), 2023-01-06 to 2023-01-09"
    log_odds = -2.0 + sum(signal.drivers.values())
    # Sixty seconds in nothing was learnt yet: the horizon of no prediction was over.
    assert signal.probability["60s"] == pytest.approx(1 / (1 + np.exp(-log_odds)))
    updates = [r for r in records if isinstance(r, CascadeUpdate) and r.asset == MARKET]
    assert updates[-1].peak_probability["60s"] >= max(u.probability["60s"] for u in updates)
    assert updates[-1].probability["60s"] < updates[-1].peak_probability["60s"]


def test_before_anything_happened_nothing_is_said() -> None:
    """Compiling and looking need no event."""
    detector = Detector(LAX, assets())
    detector.warm_up()
    assert detector.look(MARKET).probability == {}
    detector.process(batch([Event(0)], detector.assets))
    assert set(detector.look(MARKET).probability) == {"10s", "60s"}


def test_a_model_of_an_asset_may_look_at_the_market() -> None:
    """Others in trouble make mine likelier; what each feature adds is told."""
    mine = [Event(n * 400 + 7, asset="ETH", usd=900.0) for n in range(60)]
    others = [Event(n * 400, usd=90_000.0) for n in range(60)]
    alone = run(mine)[1].look("ETH").probability["60s"]
    beside = run(sorted(mine + others, key=lambda e: e.time))[1].look("ETH").probability["60s"]
    assert beside > alone
    signal = next(
        r
        for r in run(sorted(mine + others, key=lambda e: e.time))[0]
        if isinstance(r, Signal) and r.asset == "ETH" and r.event_id
    )
    log_odds = BESIDE.intercept + sum(signal.drivers.values())
    assert set(signal.drivers) == {"usd_10s", "market_usd_60s"}
    assert signal.probability["60s"] == pytest.approx(1 / (1 + np.exp(-log_odds)))


def test_an_asset_without_a_model_has_heat_and_no_percentage() -> None:
    bare = replace(LAX, models=(model(),))
    records, detector = run([Event(n * 50, asset="ETH") for n in range(100)], rules=bare)
    signal = next(r for r in records if isinstance(r, Signal) and r.asset == "ETH")
    assert (signal.probability, signal.threshold_usd, signal.drivers, signal.models) == ({}, {}, {}, {})
    assert signal.heat > 5
    assert signal.decided_by != "probability"
    assert detector.look("ETH").probability == {}


def test_a_probability_that_is_usually_high_decides_on_nothing() -> None:
    """A threshold every minute reaches is no cascade: the mean of a day tells."""
    sure = replace(LAX, models=(model(intercept=4.0, memory=0),), unusual=0.1)
    calm = [Event(n * 900, usd=2000.0) for n in range(2000)]
    records, _ = run(calm, rules=sure)
    ends = [r for r in records if isinstance(r, Signal) and r.asset == MARKET]
    assert ends[0].decided_by == "probability"
    assert ends[-1].level == "NONE"
    assert ends[-1].event_time < T0 + 15 * MINUTE
    assert ends[-1].usual_probability["60s"] > 0.1


@given(st.lists(st.floats(-3, 3), min_size=16, max_size=16))
def test_what_is_usual_begins_at_the_base_rate_and_follows_what_is_said(drawn: list[float]) -> None:
    me = forecasts([model()], MINUTE)[0]
    row = np.array(drawn * 2)
    assert usual(me) == pytest.approx(0.05)
    said = chance(me, row)
    for k in range(2000):
        note(me, k * STEP, row)
    assert abs(usual(me) - said) < 0.3 * abs(0.05 - said) + 1e-12


def simulated(hours: float, seed: int) -> Events:
    """A stream whose law is known: one immigrant in twenty seconds, each event draws 0.6 more, half a minute later."""
    rng = np.random.default_rng(seed)
    young = rng.uniform(0, hours * 3600, rng.poisson(hours * 180))
    found = []
    while len(young):
        found.append(young)
        young = np.repeat(young, rng.poisson(0.6, len(young)))
        young = young + rng.exponential(30.0, len(young))
    time = np.sort(np.concatenate(found))
    time = time[time < hours * 3600]
    return plain(time, rng.choice([1000.0, 2000.0, 3000.0], len(time)))


def test_a_fitted_probability_is_calibrated_on_a_stream_of_known_law() -> None:
    """Fitted on 40 h of a self-exciting stream; on the next 40 h what is said happens as often as it is said."""
    made = simulated(80, 11)
    recording = Recording("simulated", made, ("BTC",), "0" * 16)
    labels = label(made, MINUTE, 30_000.0)
    fitted = fit_model(recording, MARKET, labels)
    table = features.table(made, labels.time)
    weights = fitted.weights()
    said = np.zeros(len(table))
    odds = np.clip(weights[0] + table @ weights[1:], -15, 15)
    recalibrated(fitted.recalibration()[0], labels.time, odds, labels.reached, said)
    said, happened = said[labels.split :], labels.reached[labels.split :]
    assert said.mean() == pytest.approx(happened.mean(), rel=0.2)
    # Outcomes come in clusters: finer bins would hold too few of them.
    edges = np.quantile(said, [0, 0.5, 0.8, 1])
    for low, high in pairwise(edges):
        inside = (said >= low) & (said <= high)
        assert said[inside].mean() == pytest.approx(happened[inside].mean(), abs=0.06)
    assert said[happened].mean() > 2 * said[~happened].mean()
