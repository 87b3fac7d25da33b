"""The probability: what a model file says is what comes out; recalibration learns from the past only."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.domain.constants import NEVER
from flows.domain.decays import FEATURES, N_FEATURES
from flows.domain.model import (
    PENDING,
    STEP,
    CascadeModel,
    decoded,
    drop_pending,
    due,
    encoded,
    learn,
    log_odds,
    model_for,
    probability,
    remember,
    shipped,
)
from schemas.clock import HOUR, MINUTE
from schemas.errors import UsageError

MODEL = CascadeModel(
    target="*", horizon=MINUTE, threshold_usd=1e6, features=("events_10s", "heat"), mean=(1.0, 0.5), scale=(2.0, 0.25),
    coefficients=(0.8, -0.3), intercept=-4.0, calibration=(0.1, 0.9), memory=48 * HOUR, base_rate=0.02, l2=10.0,
    fit_from="2023-01-06", fit_to="2023-01-09", fit_times=1000, fit_episodes=20, data="x", data_hash="0" * 16,
)  # fmt: skip


def test_weights_are_the_model_written_out() -> None:
    """Standardise, weigh, calibrate: one dot product gives the same."""
    features = np.random.default_rng(1).normal(size=N_FEATURES)
    events, hot = features[FEATURES.index("events_10s")], features[FEATURES.index("heat")]
    fitted = -4.0 + 0.8 * (events - 1.0) / 2.0 - 0.3 * (hot - 0.5) / 0.25
    assert log_odds(MODEL.weights(), features) == pytest.approx(0.1 + 0.9 * fitted)


def test_a_fresh_recalibration_changes_nothing() -> None:
    me = MODEL.recalibration()[0]
    assert probability(me, -2.0) == pytest.approx(1 / (1 + math.exp(2.0)))


def test_a_model_survives_its_file() -> None:
    assert decoded(encoded(MODEL)) == MODEL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": ("events_10s", "moon")}, "no such feature: moon"),
        ({"mean": (1.0,)}, "differ in number"),
        ({"horizon": 3 * HOUR}, "horizon"),
    ],
)
def test_a_file_that_is_no_model_says_why(change: dict[str, Any], said: str) -> None:
    plain = msgspec.to_builtins(MODEL) | change
    with pytest.raises(UsageError, match=said):
        decoded(msgspec.json.encode(plain))


def test_a_target_without_a_model_has_none() -> None:
    assert model_for("NOSUCHCOIN") is None
    assert all(key == (model.target, model.horizon) for key, model in shipped().items())


def run(odds: np.ndarray[Any, Any], outcomes: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Any]:
    """Predict, remember and learn every five seconds, as a live detector does."""
    me = MODEL.recalibration()[0]
    found = np.empty(len(odds))
    for i, value in enumerate(odds):
        now = i * STEP
        while (time := due(me, now)) != NEVER:
            learn(me, bool(outcomes[time // STEP]))
        found[i] = probability(me, value)
        remember(me, now, value)
    return found, me


def test_a_drifted_base_rate_is_learnt() -> None:
    """Outcomes three times as likely (in odds) as the model says: the mean probability comes to what happens."""
    rng = np.random.default_rng(5)
    odds = rng.normal(-3, 1, 60_000)
    truth = 1 / (1 + np.exp(-(odds + math.log(3))))
    outcomes = rng.random(len(odds)) < truth
    found, me = run(odds, outcomes)
    assert me["offset"] == pytest.approx(math.log(3), abs=0.25)
    assert found[-20_000:].mean() == pytest.approx(truth[-20_000:].mean(), rel=0.1)


def test_what_is_calibrated_stays_calibrated() -> None:
    rng = np.random.default_rng(6)
    odds = rng.normal(-3, 1.5, 60_000)
    truth = 1 / (1 + np.exp(-odds))
    found, me = run(odds, rng.random(len(odds)) < truth)
    assert np.abs(found - truth).mean() < 0.01
    assert me["slope"] == pytest.approx(1.0, abs=0.15)


@given(st.integers(20, 200), st.integers(0, 2**32 - 1))
def test_a_prediction_uses_no_outcome_later_than_its_time_less_the_horizon(cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds, outcomes = rng.normal(-3, 2, 220), rng.random(220) < 0.3
    changed = outcomes.copy()
    changed[cut:] = ~changed[cut:]
    horizon = MINUTE // STEP
    assert (run(odds, outcomes)[0][: cut + horizon] == run(odds, changed)[0][: cut + horizon]).all()


def test_pending_is_bounded_and_oldest_go_first() -> None:
    me = MODEL.recalibration()[0]
    for i in range(PENDING + 5):
        remember(me, i * STEP, 0.0)
    assert due(me, 10 * HOUR) == 5 * STEP
    drop_pending(me)
    assert due(me, 10 * HOUR) == NEVER


def test_without_memory_nothing_is_learnt() -> None:
    me = msgspec.structs.replace(MODEL, memory=0).recalibration()[0]
    for i in range(50):
        remember(me, i * STEP, -3.0)
        learn(me, True)
    assert (me["offset"], me["slope"]) == (0.0, 1.0)
