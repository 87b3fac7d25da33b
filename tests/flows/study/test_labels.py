"""Labels by hand: what was reached, when it began, where a recording may be judged at all."""

from __future__ import annotations

import numpy as np
import pytest

from flows.study.events import SILENCE, decisions, stretches
from flows.study.labels import HOURS, Labels, Sums, crossings, episodes, floor_of, label
from schemas.clock import MINUTE, SECOND
from schemas.errors import UsageError
from tests.flows.study.conftest import T0, cascading, made


def at(*second: float) -> np.ndarray:
    return T0 + (np.array(second) * SECOND).astype(np.int64)


def test_sums_leave_out_the_start_and_hold_the_end() -> None:
    sums = Sums(made([10, 20, 20, 30], [1, 2, 4, 8]))
    assert sums.between(at(10, 9, 19), at(20, 30, 20)).tolist() == [6.0, 15.0, 6.0]


def test_crossings_by_hand() -> None:
    """6 at 0 and 5 at 50 reach 10 at 50; the sum falls to 5 at 70 and rises again only at 200."""
    events = made([0, 50, 70, 200, 210], [6, 5, 0, 12, 12])
    assert crossings(events, MINUTE, 10.0).tolist() == at(50, 200).tolist()


def test_crossings_within_a_minute_are_one() -> None:
    assert crossings(made([0, 30, 61], [10, 0, 10]), 20 * SECOND, 10.0).tolist() == at(0, 61).tolist()
    assert crossings(made([0, 30, 59], [10, 0, 10]), 20 * SECOND, 10.0).tolist() == at(0).tolist()


def test_an_episode_has_five_events_of_one_side_and_the_floor() -> None:
    five = [0.0, 5, 10, 15, 20]
    assert episodes(made(five, 30.0), 150.0).tolist() == [at(0, 20).tolist()]
    assert episodes(made(five, 29.0), 150.0).tolist() == []
    assert episodes(made(five[:4], 100.0), 150.0).tolist() == []
    assert episodes(made([0, 5, 10, 21, 26], 100.0), 150.0).tolist() == []
    assert episodes(made(five, 100.0, np.array([0, 1, 0, 1, 0], np.int8)), 150.0).tolist() == []


def test_episodes_less_than_a_minute_apart_are_one() -> None:
    first = np.arange(0, 25, 5.0)
    near, far = np.concatenate([first, first + 79]), np.concatenate([first, first + 80])
    assert episodes(made(near, 100.0), 150.0).tolist() == [at(0, 99).tolist()]
    assert episodes(made(far, 100.0), 150.0).tolist() == [at(0, 20).tolist(), at(80, 100).tolist()]


def test_stretches_end_where_the_recorder_may_have_been_off() -> None:
    half = SILENCE / SECOND
    found = stretches(made([0, half, 2 * half + 1]).time)
    assert found.tolist() == [at(0, half).tolist(), at(2 * half + 1, 2 * half + 1).tolist()]


def test_decisions_are_on_the_clock_and_their_outcome_is_recorded() -> None:
    assert decisions(np.array([at(2, 75)]), MINUTE).tolist() == at(5, 10, 15).tolist()


def labelled() -> Labels:
    return label(cascading(), threshold=400_000.0)


def test_labels_are_the_sums_written_out() -> None:
    events = cascading()
    labels = labelled()
    rng = np.random.default_rng(2)
    for i in rng.integers(0, len(labels.time), 300):
        t = labels.time[i]
        after = events.usd[(events.time > t) & (events.time <= t + MINUTE)].sum() / 1e6
        before = events.usd[(events.time >= t - MINUTE) & (events.time < t)].sum() / 1e6
        assert labels.reached[i] == (after >= 400_000)
        assert labels.below[i] == (before < 400_000)
        inside = ((labels.episodes[:, 0] < t) & (t <= labels.episodes[:, 1])).any()
        assert labels.onset[i] == (labels.below[i] and not inside)
    assert 0.001 < labels.reached.mean() < 0.2


def test_the_automatic_threshold_knows_the_earlier_half_only() -> None:
    events = cascading()
    cut = label(events).cut
    later = events.time > cut
    events.usd[later] *= 3
    assert label(events).threshold == label(cascading()).threshold


def test_outcomes_a_fit_may_use_were_known_when_the_later_half_began() -> None:
    labels = labelled()
    last = labels.time[labels.fitted][-1]
    assert last + MINUTE <= labels.cut < last + MINUTE + 10 * SECOND


def test_what_is_too_short_or_too_calm_says_so() -> None:
    with pytest.raises(UsageError, match=rf"too short: 0\.1 h .* {HOURS:.0f} needed"):
        label(made(np.arange(0, 500, 5.0)))
    with pytest.raises(UsageError, match="too few: 1,000,000,000 USD reached 0 times in the earlier half"):
        label(cascading(), threshold=1e9)
    with pytest.raises(UsageError, match="too short"):
        label(made([]))


def test_the_floor_of_a_cascade_is_a_third_where_a_feed_does_not_tell_everything() -> None:
    events = made([0.0])
    assert [floor_of(name, events) for name in ("*", "ETH", "SOL", "PEPE")] == [1e6, 1e6, 250_000, 100_000]
    events.complete[:] = False
    assert floor_of("*", events) == pytest.approx(1e6 / 3)
