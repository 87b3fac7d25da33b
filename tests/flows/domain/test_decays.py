"""Decayed sums against sums over every event, written out; the branching ratio against processes of known law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.domain.decays import (
    CAP,
    DECAYS,
    FEATURES,
    N_FEATURES,
    N_SCALES,
    SCALES,
    active_venues,
    branching,
    cleared,
    dominant_share,
    features,
    heat,
    sums,
    take,
)
from schemas.clock import MILLISECOND, MINUTE, SECOND

T0 = 1_700_000_040 * SECOND
"""A full minute."""
Event = tuple[int, int, int, int]
"""Time after ``T0`` in ms, micro-USD, side, venue."""


@st.composite
def arrivals(draw: st.DrawFn) -> list[Event]:
    """Bursts, silences, equal times, events late by up to a minute."""
    clock, found = 0, []
    for _ in range(draw(st.integers(1, 60))):
        clock += draw(st.sampled_from([0, 0, 1, 40, 999, 1000, 7000, 60_000, 400_000, 9_000_000]))
        late = draw(st.sampled_from([0, 0, 0, 1, 300, 5000, 59_000]))
        usd = draw(st.integers(1, 3_000_000)) * MICRO
        found.append((clock - late, usd, draw(st.integers(0, 1)), draw(st.integers(0, 17))))
    return found


def fed(events: list[Event]) -> Any:
    """A record that took the events in this order."""
    me = cleared(1)[0]
    for time, usd, side, venue in events:
        take(me, T0 + time * MILLISECOND, usd, side, venue)
    return me


def read(me: Any, time: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, usd = np.zeros((2, N_SCALES)), np.zeros((2, N_SCALES))
    sums(me, T0 + time * MILLISECOND, count, usd)
    return count, usd


def written_out(events: list[Event], time: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, usd = np.zeros((2, N_SCALES)), np.zeros((2, N_SCALES))
    for at, worth, side, _ in events:
        for k, scale in enumerate(SCALES):
            left = math.exp(-(time - at) / 1000 / scale)
            count[side, k] += left
            usd[side, k] += left * min(worth, CAP) / MICRO
    return count, usd


def vector(me: Any, time: int) -> dict[str, float]:
    out = np.zeros(N_FEATURES)
    features(me, T0 + time * MILLISECOND, out)
    return dict(zip(FEATURES, out.tolist(), strict=True))


@given(arrivals(), st.integers(0, 2_000_000))
def test_decayed_sums_equal_the_sum_written_out(events: list[Event], later: int) -> None:
    """Late events, equal times, any number, read at any later time."""
    time = max(at for at, *_ in events) + later
    count, usd = read(fed(events), time)
    expected_count, expected_usd = written_out(events, time)
    np.testing.assert_allclose(count, expected_count, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(usd, expected_usd, rtol=1e-9, atol=1e-6)


@given(arrivals(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(events: list[Event], random: Any) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)
    time = max(at for at, *_ in events)
    np.testing.assert_allclose(read(fed(shuffled), time)[0], read(fed(events), time)[0], rtol=1e-9, atol=1e-12)
    assert active_venues(fed(shuffled), T0 + time * MILLISECOND) == active_venues(fed(events), T0 + time * MILLISECOND)


@given(arrivals(), st.lists(st.integers(0, 10_000_000), max_size=20))
def test_reading_changes_nothing(events: list[Event], times: list[int]) -> None:
    """Which is why nothing depends on where a batch ends: the state is that of the arrivals alone."""
    me, untouched = fed(events), fed(events)
    for time in times:
        vector(me, time)
        read(me, time)
        branching(me, np.zeros(3))
    assert me == untouched


def test_a_hundred_events_of_one_instant_count_a_hundred() -> None:
    me = fed([(0, 10 * MICRO, 0, 1)] * 100)
    count, usd = read(me, 0)
    assert count.tolist() == [[100.0] * N_SCALES, [0.0] * N_SCALES]
    assert usd[0].tolist() == [1000.0] * N_SCALES


def test_one_giant_counts_at_most_the_cap() -> None:
    assert read(fed([(0, 200_000_000 * MICRO, 1, 1)]), 0)[1][1].tolist() == [1_000_000.0] * N_SCALES


def test_features_of_nothing() -> None:
    found = vector(cleared(1)[0], 0)
    assert found.pop("dominant_share") == 0.5
    assert found.pop("age") == pytest.approx(math.log1p(3600))
    assert set(found.values()) == {0.0}


def test_features_by_hand() -> None:
    """Two longs of 300 USD and one short of 200 at one instant, read there and ten seconds later."""
    me = fed([(0, 300 * MICRO, 0, 0), (0, 300 * MICRO, 0, 2), (0, 200 * MICRO, 1, 2)])
    now, later = vector(me, 0), vector(me, 10_000)
    assert now["events_1s"] == pytest.approx(math.log1p(3 * 60))
    assert now["events_60s"] == pytest.approx(math.log1p(3))
    assert now["usd_300s"] == pytest.approx(math.log1p(800 / 5))
    assert later["events_10s"] == pytest.approx(math.log1p(18 * math.exp(-1)))
    assert now["dominant_share"] == later["dominant_share"] == pytest.approx(0.75)
    assert (now["active_venues"], later["active_venues"]) == (2, 0)
    assert (now["age"], later["age"]) == (0.0, pytest.approx(math.log1p(10)))
    assert now["heat"] == pytest.approx(math.log((0.3 + 0.1) / (3 / 1800 + 0.1)))


def test_heat_is_about_one_in_calm_of_any_rate_and_high_in_a_burst() -> None:
    rng = np.random.default_rng(7)
    for rate in (0.02, 1.0, 20.0):
        times = np.cumsum(rng.exponential(1000 / rate, int(3 * 3600 * rate))).astype(int)
        me = fed([(int(t), MICRO, 0, 0) for t in times])
        now = T0 + int(times[-1]) * MILLISECOND
        assert 0.5 < heat(me, now) < 2.5
        for _ in range(int(100 * max(rate, 1))):
            take(me, now, MICRO, 0, 0)
        assert heat(me, now) > 5


@given(arrivals())
def test_shares_and_venues_stay_in_their_range(events: list[Event]) -> None:
    me = fed(events)
    assert 0.5 <= dominant_share(me) <= 1.0
    assert 0 <= active_venues(me, int(me["at"])) <= 18


def simulated(rng: np.random.Generator, mu: float, n: float, beta: float, hours: float) -> NDArray[np.float64]:
    """Times (s) of a Hawkes process as generations: background ``mu``, branching ``n``, decay ``beta``."""
    generation = rng.uniform(0, hours * 3600, rng.poisson(mu * hours * 3600))
    everything = [generation]
    while len(generation):
        parents = np.repeat(generation, rng.poisson(n, len(generation)))
        generation = parents + rng.exponential(1 / beta, len(parents))
        everything.append(generation)
    times = np.sort(np.concatenate(everything))
    return times[times < hours * 3600]


@pytest.mark.parametrize(("mu", "n"), [(0.5, 0.0), (0.5, 0.5), (0.2, 0.8)])
def test_branching_ratio_of_a_known_process_is_within_its_error(mu: float, n: float) -> None:
    """Poisson is 0; a Hawkes process is what it was made with, within three standard errors."""
    me = cleared(1)[0]
    for second in simulated(np.random.default_rng(3), mu, n, 1.0, 40).tolist():
        take(me, T0 + round(second * SECOND), MICRO, 0, 0)
    out = np.zeros(3)
    branching(me, out)
    assert abs(out[0] - n) < 3 * out[1] + 0.02
    assert 0.0 < out[1] < 0.1


def test_branching_ratio_by_hand() -> None:
    """Counts 0 and 4 in turns: mean 2, variance 4, so 1 - sqrt(1/2); forgetting is slow enough not to show."""
    me = cleared(1)[0]
    for minute in range(0, 400, 2):
        for _ in range(4):
            take(me, T0 + minute * MINUTE, MICRO, 0, 0)
    out = np.zeros(3)
    branching(me, out)
    assert out[0] == pytest.approx(1 - math.sqrt(0.5), abs=0.002)


def test_no_branching_ratio_without_half_an_hour() -> None:
    me = fed([(minute * 60_000, MICRO, 0, 0) for minute in range(25)])
    out = np.zeros(3)
    branching(me, out)
    assert np.isnan(out[:2]).all()


@given(arrivals())
def test_minutes_late_events_fall_into_are_still_theirs(events: list[Event]) -> None:
    """Up to a minute late, an event is counted in its own minute: the moments are those of the times in order."""
    one, other = fed(events), fed(sorted(events, key=lambda event: event[0]))
    if one["bin"] == other["bin"] and min(at for at, *_ in events) // 60_000 == other_first(events):
        np.testing.assert_allclose(one["moments"], other["moments"], rtol=1e-9, atol=1e-12)
        assert one["bins"].tolist() == other["bins"].tolist()


def other_first(events: list[Event]) -> int:
    """The minute of the event that arrived first: bins begin there."""
    return events[0][0] // 60_000


def test_a_record_of_the_slot_can_hold_it() -> None:
    """Nested in a larger record, the functions work the same."""
    outer = np.zeros(2, np.dtype([("base", np.int64), ("decays", DECAYS)], align=True))
    outer["decays"] = cleared(2)
    take(outer[1]["decays"], T0, 5 * MICRO, 0, 3)
    assert outer[1]["decays"] == fed([(0, 5 * MICRO, 0, 3)])
    assert outer[0]["decays"] == cleared(1)[0]
