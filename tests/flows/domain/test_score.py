"""The composite score: bounds, monotony, weights, boost, levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.domain.rules import LevelRule, Rules
from flows.domain.score import components, composite, effective_venues, level

P = Rules().parameters()
counts = st.integers(0, 100_000)
known = st.one_of(st.just(math.nan), st.floats(-1, 1))


def parts(now: int, before: int, usd: float, venues: float, funding: float, fall: float) -> np.ndarray:
    out = np.zeros(6)
    raw = np.array([now / 2, (now - before) / 4, usd / 2, venues, funding, fall])
    components(raw, Rules().volume_full, P, out)
    return out


@given(counts, counts, st.floats(0, 1e12), st.floats(0, 32), known, known)
def test_components_and_score_stay_within_zero_and_one(
    now: int, before: int, usd: float, venues: float, funding: float, fall: float
) -> None:
    """Whatever the input, missing context included."""
    found = parts(now, before, usd, venues, funding, fall)
    assert all(math.isnan(x) or 0 <= x <= 1 for x in found)
    assert 0 <= composite(found, (now - before) / 4, P) <= 1
    assert math.isnan(found[4]) == math.isnan(funding)


@given(counts, counts, st.floats(0, 1e9), st.floats(0, 1e9), st.floats(1, 32), known, known)
def test_score_is_monotone_in_added_notional(
    now: int, before: int, usd: float, more: float, venues: float, funding: float, fall: float
) -> None:
    """More USD closed never lowers the score."""
    less = composite(parts(now, before, usd, venues, funding, fall), 0.0, P)
    assert composite(parts(now, before, usd + more, venues, funding, fall), 0.0, P) >= less


def test_components_are_full_at_their_scales() -> None:
    """50 events/s, 20 events/s², 5 M USD/s, four equal venues, 0.1 % per 8 h, a fall of 5 %."""
    assert parts(100, 20, 10e6, 4.0, -0.001, 0.05).tolist() == [1, 1, 1, 1, 1, 1]
    assert parts(50, 10, 5e6, 2.5, 0.0005, 0.025) == pytest.approx([0.5] * 6)


def test_weights_of_missing_contexts_are_spread() -> None:
    """All known parts equal gives that value, whether two are missing or not."""
    whole = np.full(6, 0.4)
    partial = np.array([0.4, 0.4, 0.4, 0.4, math.nan, math.nan])
    assert composite(whole, 0.0, P) == pytest.approx(0.4)
    assert composite(partial, 0.0, P) == pytest.approx(0.4)


def test_extreme_acceleration_multiplies_the_score_up_to_one() -> None:
    """x1.5 above 20 events/s², not at it."""
    half = np.full(6, 0.5)
    assert composite(half, 20.0, P) == pytest.approx(0.5)
    assert composite(half, 20.1, P) == pytest.approx(0.75)
    assert composite(np.full(6, 0.9), 21.0, P) == 1.0


@pytest.mark.parametrize(
    ("score", "rate", "acceleration", "expected"),
    [
        (0.3, 10.0, 0.0, 0),
        (0.31, 0.0, 0.0, 1),
        (0.0, 10.1, 0.0, 1),
        (0.51, 0.0, 0.0, 2),
        (0.0, 20.1, 0.0, 2),
        (0.71, 0.0, 0.0, 3),
        (0.0, 51.0, 20.0, 2),
        (0.0, 51.0, 20.1, 3),
        (0.91, 0.0, 0.0, 4),
        (0.0, 100.1, 0.0, 4),
    ],
)
def test_levels_by_score_or_rate(score: float, rate: float, acceleration: float, expected: int) -> None:
    """The thresholds are exceeded, not touched."""
    assert level(score, rate, acceleration, 0.0, P)[0] == expected


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=32))
def test_effective_venues_lies_between_one_and_the_number_active(events: list[int]) -> None:
    """Inverse Herfindahl: equal counts give their number, one venue gives one."""
    found = effective_venues(np.array(events, np.int32))
    active = sum(count > 0 for count in events)
    assert found == 0 if not active else 1 - 1e-9 <= found <= active + 1e-9


def test_rules_refuse_weights_that_do_not_sum_to_one() -> None:
    """And name the numbers."""
    with pytest.raises(ValueError, match=r"0\.5, 0\.5"):
        Rules(weights=(0.5, 0.5, 0.5, 0.0, 0.0, 0.0))


def test_the_version_names_the_rules() -> None:
    """Equal rules, equal version; any change, another one."""
    assert Rules().version == Rules().version
    assert Rules(hold=1).version != Rules().version
    assert Rules(levels=(LevelRule(0.3, 10.0),) * 4).version != Rules().version
