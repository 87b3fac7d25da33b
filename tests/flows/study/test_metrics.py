"""Metrics against examples worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.study.metrics import (
    BUDGETS,
    Blocks,
    Ranked,
    alarms,
    brier_skill,
    calibration_error,
    delays,
    interval,
    log_score,
    raised,
    reliability,
    worst_decile,
)
from schemas.clock import HOUR, MINUTE, SECOND


def flags(*values: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array(values, np.bool_)


def test_auc_by_hand() -> None:
    """Pairs (hit, miss): .9 beats both, .4 beats .1 and loses to .6: 3 of 4."""
    assert Ranked(flags(1, 0, 1, 0), np.array([0.9, 0.6, 0.4, 0.1])).auc() == pytest.approx(0.75)


def test_ties_count_half() -> None:
    assert Ranked(flags(1, 0, 1, 0), np.zeros(4)).auc() == pytest.approx(0.5)
    assert Ranked(flags(1, 0, 0), np.array([0.5, 0.5, 0.1])).auc() == pytest.approx(0.75)


def test_average_precision_by_hand() -> None:
    """Hits at ranks 1 and 3: (1/1 + 2/3) / 2."""
    assert Ranked(flags(1, 0, 1, 0), np.array([0.9, 0.6, 0.4, 0.1])).ap() == pytest.approx((1 + 2 / 3) / 2)


def test_a_constant_score_has_the_base_rate_as_average_precision() -> None:
    assert Ranked(flags(1, 0, 0, 0), np.ones(4)).ap() == pytest.approx(0.25)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40), st.integers(0, 99))
def test_auc_and_weights_are_those_of_repeated_rows(rows: list[tuple[bool, int]], seed: int) -> None:
    """AUC is the share of pairs ranked right; a weight of 2 is a row twice, a weight of 0 none."""
    reached, score = np.array([r for r, _ in rows]), np.array([float(s) for _, s in rows])
    weight = np.random.default_rng(seed).integers(0, 3, len(rows))
    again = np.repeat(np.arange(len(rows)), weight)
    found = Ranked(reached, score).auc(weight.astype(np.float64))
    hits, misses = score[again][reached[again]], score[again][~reached[again]]
    if not len(hits) or not len(misses):
        assert math.isnan(found)
        return
    pairs = [(h > m) + 0.5 * (h == m) for h in hits for m in misses]
    assert found == pytest.approx(np.mean(pairs))
    assert Ranked(reached, score).ap(weight.astype(np.float64)) == pytest.approx(
        Ranked(reached[again], score[again]).ap()
    )


def test_brier_skill_by_hand() -> None:
    """Reference (.5 everywhere) costs 4 x .25 = 1; the forecast .01 + .04 + .04 + .01 = .1."""
    assert brier_skill(flags(1, 0, 1, 0), np.array([0.9, 0.2, 0.8, 0.1]), 0.5) == pytest.approx(0.9)


def test_the_base_rate_of_the_fit_half_has_no_skill() -> None:
    assert brier_skill(flags(1, 0, 0, 0), np.full(4, 0.3), 0.3) == 0.0


def test_log_score_by_hand() -> None:
    assert log_score(flags(1, 0), np.array([0.5, 0.2])) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_reliability_and_calibration_error_by_hand() -> None:
    """Two bins: .06 said and .5 happened of two, .7 said and 1 happened of one."""
    bins = reliability(flags(1, 0, 1), np.array([0.06, 0.06, 0.7]))
    assert [(b.low, b.high, b.times, b.happened) for b in bins] == [(0.05, 0.1, 2, 0.5), (0.5, 1.0, 1, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.44 + 0.3) / 3)


def test_certainty_has_a_bin() -> None:
    assert [b.times for b in reliability(flags(0, 1), np.array([0.0, 1.0]))] == [1, 1]


def test_worst_decile() -> None:
    """Ten times: nine told right, the most probable told .9 and missed."""
    reached = flags(*[0] * 10)
    assert worst_decile(reached, np.array([0.0] * 9 + [0.9])) == pytest.approx(0.9)


def test_resamples_are_of_whole_days_and_the_same_each_time() -> None:
    time = np.arange(12 * 24) * HOUR
    weights = Blocks(time).weights
    for weight in weights:
        days = weight.reshape(12, 24)
        assert (days == days[:, :1]).all()
        assert days[:, 0].sum() == 12
    assert all((a == b).all() for a, b in zip(weights, Blocks(time).weights, strict=True))


def test_six_hours_where_there_are_few_days_and_nothing_where_there_are_few_of_those() -> None:
    weight = Blocks(np.arange(48) * HOUR).weights[0].reshape(8, 6)
    assert (weight == weight[:, :1]).all()
    assert Blocks(np.arange(12) * HOUR).weights == []


def test_interval_leaves_out_five_percent_on_either_side() -> None:
    assert interval([float(k) for k in range(101)]) == (5.0, 95.0)
    assert interval([1.0] * 5) is None


TIME = np.arange(0, 40 * 60, 5, dtype=np.int64) * SECOND


def test_alarms_are_five_minutes_apart_and_never_while_the_threshold_is_crossed() -> None:
    quiet = np.ones(len(TIME), np.bool_)
    quiet[TIME >= 30 * MINUTE] = False
    assert (raised(TIME, np.ones(len(TIME)), quiet, 0.5) // MINUTE).tolist() == [0, 5, 10, 15, 20, 25]


def test_alarms_judged_by_hand() -> None:
    """Alarms at 10 and 25 min, crossings at 12 and 33 min: one hit with two minutes of lead, one false, one missed."""
    score = np.zeros(len(TIME))
    score[TIME == 10 * MINUTE] = 0.9
    score[TIME == 25 * MINUTE] = 0.8
    found = alarms(TIME, score, np.ones(len(TIME), np.bool_), np.array([12, 33]) * MINUTE, 72)
    assert (found.recall, found.precision, found.lead) == (0.5, 0.5, 120.0)
    assert found.a_day == pytest.approx(2 / (40 / 1440))
    assert found.false_a_day == pytest.approx(1 / (40 / 1440))
    assert found.level == 0.8


@given(st.integers(0, 2**32 - 1))
def test_budgets_are_kept_and_recall_grows_with_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.arange(0, 24 * 3600, 5, dtype=np.int64) * SECOND
    score, quiet = rng.random(len(time)) ** 4, np.ones(len(time), np.bool_)
    crossings = np.sort(rng.integers(0, 24 * 3600, 9)) * SECOND
    found = [alarms(time, score, quiet, crossings, budget) for budget in BUDGETS]
    assert all(a.a_day <= a.budget + 0.1 for a in found)
    assert found[0].level >= found[1].level >= found[2].level


def test_a_score_that_never_moves_raises_no_alarm() -> None:
    time = np.arange(0, 24 * 3600, 5, dtype=np.int64) * SECOND
    found = alarms(time, np.full(len(time), 0.01), np.ones(len(time), np.bool_), np.array([HOUR]), 20)
    assert (found.a_day, found.recall, found.lead) == (0.0, 0.0, None)


def test_delay_is_nought_where_the_level_was_there_before_and_endless_where_it_never_comes() -> None:
    score = np.zeros(len(TIME))
    score[TIME >= 60 * SECOND] = 1.0
    starts = np.array([61, 42, -120]) * SECOND
    assert delays(TIME, score, starts, 0.5).tolist() == [0.0, 18.0, np.inf]
