"""Laws of the two regressions, and a known law found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.study.fit import Isotonic, Standard, choose_l2, folds, logistic, platt, pooled


def data(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, outcomes and true probabilities: log odds -2 + 1.5 a - 0.7 b, and a third input of no use."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    truth = 1 / (1 + np.exp(-(-2 + 1.5 * x[:, 0] - 0.7 * x[:, 1])))
    return x, rng.random(n) < truth, truth


def test_logistic_finds_the_law_that_made_the_data() -> None:
    x, reached, truth = data(1, 40_000)
    w = logistic(x, reached, 1e-6)
    assert w == pytest.approx([-2, 1.5, -0.7, 0], abs=0.06)
    assert np.abs(1 / (1 + np.exp(-w[0] - x @ w[1:])) - truth).max() < 0.03


@given(st.integers(0, 1000), st.sampled_from([0.1, 10.0, 1000.0]))
def test_the_gradient_vanishes_at_the_fit(seed: int, l2: float) -> None:
    """The minimum of a convex loss; so the mean probability is the base rate, the intercept being free."""
    x, reached, _ = data(seed, 300)
    w = logistic(x, reached, l2)
    p = 1 / (1 + np.exp(-w[0] - x @ w[1:]))
    gradient = np.hstack([np.ones((300, 1)), x]).T @ (p - reached) + np.array([0, l2, l2, l2]) * w
    assert np.abs(gradient).max() < 0.02
    assert p.mean() == pytest.approx(reached.mean(), abs=1e-3)


def test_more_l2_shrinks_and_the_start_does_not_matter() -> None:
    x, reached, _ = data(2)
    sizes = [np.abs(logistic(x, reached, l2)[1:]).sum() for l2 in (1.0, 100.0, 10_000.0)]
    assert sizes == sorted(sizes, reverse=True)
    elsewhere = logistic(x, reached, 10.0, np.array([3.0, -2.0, 2.0, 1.0]))
    assert elsewhere == pytest.approx(logistic(x, reached, 10.0), abs=1e-3)


def test_separable_data_do_not_diverge() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    assert np.isfinite(logistic(x, x[:, 0] > 0, 0.1)).all()


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 4)), min_size=1, max_size=30))
def test_pooled_is_monotone_keeps_the_mean_and_no_monotone_sequence_is_closer(rows: list[tuple[int, int]]) -> None:
    value, weight = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found = pooled(value, weight)
    assert (np.diff(found) >= -1e-12).all()
    assert np.sum(found * weight) == pytest.approx(np.sum(value * weight))
    cost = np.sum(weight * (found - value) ** 2)
    # The min-max formula of isotonic regression, written out.
    n = len(value)
    for i in range(n):
        means = [
            min(np.average(value[a : b + 1], weights=weight[a : b + 1]) for b in range(i, n)) for a in range(i + 1)
        ]
        assert found[i] == pytest.approx(max(means))
    assert cost <= np.sum(weight * (np.sort(value) - value) ** 2) + 1e-9


def test_isotonic_maps_scores_to_shares() -> None:
    score = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    fitted = Isotonic.fit(score, np.array([0, 0, 1, 0, 1, 1], np.bool_))
    assert fitted(np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


@given(st.integers(0, 500))
def test_isotonic_is_calibrated_on_what_it_was_fitted_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, reached = rng.integers(0, 12, 200).astype(np.float64), rng.random(200) < 0.3
    assert Isotonic.fit(score, reached)(score).mean() == pytest.approx(reached.mean())


def test_blocks_left_out_are_apart_from_what_is_fitted() -> None:
    seen_once = np.zeros(100, np.int64)
    for seen, unseen in folds(100, gap=5):
        assert min(abs(int(a) - int(b)) for a in seen for b in (unseen[0], unseen[-1])) > 5
        seen_once[unseen] += 1
    assert (seen_once == 1).all()


def test_l2_is_strong_where_the_inputs_are_noise_and_weak_where_they_are_not() -> None:
    x, reached, _ = data(3, 3000)
    noise = np.random.default_rng(4).normal(size=(3000, 30))
    assert choose_l2(noise, reached, 0).l2 == 1000.0
    assert choose_l2(x, reached, 0).l2 <= 30.0


def test_platt_undoes_a_known_distortion() -> None:
    """Log odds told half as strong and one too high."""
    _, reached, truth = data(5, 40_000)
    odds = np.log(truth / (1 - truth))
    offset, slope = platt(odds + 1.0, reached)
    assert (offset, slope) == (pytest.approx(-1.0, abs=0.1), pytest.approx(1.0, abs=0.1))


def test_a_constant_input_is_left_alone() -> None:
    standard = Standard.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert standard(np.array([[1.0, 5.0]])).tolist() == [[-1.0, 0.0]]
