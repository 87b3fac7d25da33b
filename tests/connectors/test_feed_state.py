"""The state of one feed: which states follow which, that every hole becomes a gap row, and when silence is believed."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feed_state import FeedMonitor
from connectors.silence import Rhythm, SilenceRule
from schemas.clock import SECOND
from schemas.records import FeedState, FeedStatus

T0 = 1_800_000_000 * SECOND


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def subscribed(rule: SilenceRule | None = None) -> FeedMonitor:
    monitor = FeedMonitor("okx", "liquidations", rule)
    monitor.connecting(at(0))
    monitor.opened(at(0))
    monitor.subscribed(at(0))
    return monitor


def row(told: tuple[FeedStatus, ...]) -> list[tuple[FeedState, int | None, int | None]]:
    return [(s.state, s.gap_from, s.gap_to) for s in told]


def test_the_way_to_data_is_connecting_connected_subscribed() -> None:
    monitor = FeedMonitor("okx", "liquidations")
    states = [
        s.state for step in (monitor.connecting, monitor.opened, monitor.subscribed, monitor.data) for s in step(at(1))
    ]
    assert states == ["connecting", "connected", "subscribed"]


def test_a_lost_connection_is_a_gap_from_its_last_sign_of_life_to_the_new_subscription() -> None:
    monitor = subscribed()
    monitor.data(at(10))
    monitor.alive = at(12)  # a pong
    assert row(monitor.failed(at(40), "the connection broke")) == [("connecting", None, None)]
    monitor.failed(at(41), "refused")
    monitor.opened(at(50))
    told = monitor.subscribed(at(51))
    assert row(told) == [("gap", at(12), at(51)), ("subscribed", None, None)]
    assert told[0].reason == "the connection broke"
    assert monitor.reconnects == 1


def test_a_first_connection_that_never_came_is_no_gap() -> None:
    monitor = FeedMonitor("okx", "liquidations")
    monitor.connecting(at(0))
    assert row(monitor.failed(at(1), "the host name does not resolve")) == [("unreachable", None, None)]
    assert monitor.connecting(at(2)) == ()
    monitor.opened(at(3))
    assert row(monitor.subscribed(at(4))) == [("subscribed", None, None)]


def test_a_hole_still_open_at_the_end_is_told_at_the_end() -> None:
    monitor = subscribed()
    monitor.failed(at(5), "the connection broke")
    assert row(monitor.closed(at(9))) == [("gap", at(0), at(9)), ("closed", None, None)]


def test_dropped_frames_are_counted_and_become_one_gap_row() -> None:
    monitor = subscribed()
    for second in (3, 4, 5):
        monitor.drop(at(second))
    told = monitor.drops_ended(at(6))
    assert row(told) == [("gap", at(3), at(5))]
    assert told[0].dropped == 3
    assert monitor.drops_ended(at(7)) == ()


def test_quiet_is_not_silent_and_ends_with_the_next_frame() -> None:
    monitor = subscribed(SilenceRule(quiet_after=60, prior_gap=600))
    assert monitor.tick(at(59)) == ()
    assert row(monitor.tick(at(61))) == [("quiet", None, None)]
    assert row(monitor.data(at(70))) == [("subscribed", None, None)]


def ticking(rule: SilenceRule, seconds: int) -> FeedMonitor:
    monitor = subscribed(rule)
    for second in range(1, seconds + 1):
        monitor.data(at(second))
        monitor.tick(at(second))
    return monitor


def test_a_feed_that_ticks_each_second_is_silent_within_a_minute_and_the_silence_is_a_gap_row() -> None:
    monitor = ticking(SilenceRule(), 1800)
    assert monitor.state == "subscribed"
    silent = next(s for s in range(1801, 1900) if monitor.tick(at(s)))
    assert 1810 < silent < 1860
    assert monitor.state == "silent"
    assert monitor.reason.startswith(f"no data frame for {silent - 1800} s")
    assert row(monitor.data(at(1900))) == [("gap", at(1800), at(1900)), ("subscribed", None, None)]


def test_frames_in_batches_are_as_regular_as_single_ones() -> None:
    """Twenty frames at once each second: silent as soon as one frame each second would be."""
    single, batched = Rhythm(SilenceRule()), Rhythm(SilenceRule())
    for rhythm, count in ((single, 1), (batched, 20)):
        rhythm.open(at(0))
        for second in range(1, 1800):
            for _ in range(count):
                rhythm.heard(at(second))
    assert single.believable(at(1800)) == batched.believable(at(1800))
    assert single.mean == pytest.approx(1.0, rel=0.05)


def test_a_dense_feed_has_a_rhythm_too() -> None:
    rhythm = Rhythm(SilenceRule())
    rhythm.open(at(0))
    for step in range(1, 50_000):
        rhythm.heard(at(step * 0.02))
    rhythm.believable(at(1000))
    assert rhythm.mean == pytest.approx(0.1, rel=0.1)
    assert rhythm.variation < 1


def test_a_sparse_feed_is_given_as_long_as_its_own_rhythm_asks_for() -> None:
    """Five minutes between events: an hour of nothing is quiet, days of nothing are not."""
    rng = random.Random(7)
    monitor, now = subscribed(SilenceRule(least=10)), 0.0
    for _ in range(300):
        now += rng.expovariate(1 / 300)
        monitor.data(at(now))
        monitor.tick(at(now))
    monitor.tick(at(now + 3600))
    assert monitor.state == "quiet"
    monitor.tick(at(now + 2 * 86_400))
    assert monitor.state == "silent"


def test_a_connection_that_never_told_anything_is_silent_within_the_bound_its_prior_states() -> None:
    rule = SilenceRule(prior_gap=60, prior_variation=5, false_alarm_at_open=1e-3)
    assert Rhythm(rule).believable(at(0)) == pytest.approx(60 * 51.8, rel=0.01)
    monitor = subscribed(rule)
    monitor.tick(at(60 * 51))
    assert monitor.state == "quiet"
    monitor.tick(at(60 * 53))
    assert monitor.state == "silent"


def test_forced_closes_may_be_missing_while_marks_tick_and_that_is_silence_too() -> None:
    monitor = subscribed(SilenceRule(prior_gap=1))
    for second in range(1, 1200):
        monitor.data(at(second))
        if second < 600 and second % 2:
            monitor.forced_closes(at(second))
        monitor.tick(at(second))
    assert monitor.state == "silent"
    assert "forced close" in monitor.reason
    assert row(monitor.forced_closes(at(1200))) == [("gap", at(599), at(1200)), ("subscribed", None, None)]


def test_a_silent_feed_connected_anew_stays_silent_until_it_tells_something() -> None:
    monitor = ticking(SilenceRule(), 1800)
    monitor.tick(at(1900))
    monitor.failed(at(1901), "renewed because silent")
    monitor.opened(at(1902))
    assert row(monitor.subscribed(at(1903))) == [("silent", None, None)]
    assert row(monitor.data(at(1904))) == [("gap", at(1800), at(1904)), ("subscribed", None, None)]


def test_a_refusal_of_a_part_stays_visible_while_the_rest_tells() -> None:
    monitor = FeedMonitor("bybit", "liquidations")
    monitor.opened(at(0))
    assert row(monitor.refused(at(1), "handler not found")) == [("refused", None, None)]
    assert monitor.subscribed(at(2)) == ()
    assert monitor.data(at(3)) == ()
    assert (monitor.state, monitor.reason, monitor.frames) == ("refused", "handler not found", 1)


def test_the_stated_false_alarm_rate_holds_for_heavy_tailed_gaps() -> None:
    """Log-normal gaps with a coefficient of variation of 5, mean 10 s: at one a day, forty days bring about forty."""
    rng = random.Random(11)
    rhythm = Rhythm(SilenceRule(false_alarm_every=86_400.0, half_life=86_400.0))
    rhythm.open(T0)
    mean, sigma = 10.0, 1.805
    now = alarms = 0
    learning = 2 * 86_400
    while now < (40 * 86_400 + learning) * SECOND:
        gap = round(mean * rng.lognormvariate(-sigma * sigma / 2, sigma) * SECOND)
        limit = rhythm.believable(T0 + now) if gap > 60 * SECOND else 1e9
        now += gap
        alarms += gap / SECOND > limit and now > learning * SECOND
        rhythm.heard(T0 + now)
    assert 10 <= alarms <= 80


STEPS = ["connecting", "opened", "subscribed", "data", "forced_closes", "tick", "failed", "refused", "drop",
         "drops_ended", "closed"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3 * 3600))))
def test_every_step_is_possible_in_every_state_and_no_hole_is_lost(steps: list[tuple[str, int]]) -> None:
    """Total: no order of events raises. And whenever a subscribed feed was lost, a gap row covers the loss."""
    monitor = FeedMonitor("okx", "liquidations", SilenceRule(prior_gap=5))
    now, told, lost = T0, [], []
    steps = [*steps, ("closed", 1)]
    for name, wait in steps:
        now += wait * SECOND
        if name == "failed" and monitor._subscribed:
            lost.append((monitor.alive, now))
        step = getattr(monitor, name)
        made = step(now, "why") if name in {"failed", "refused"} else step(now)
        told += made or ()
    assert {s.state for s in told} <= set(get_args(FeedState))
    gaps = [s for s in told if s.state == "gap"]
    for gap in gaps:
        assert gap.gap_from is not None
        assert gap.gap_to is not None
        assert gap.gap_from <= gap.gap_to <= gap.event_time
    for start, seen in lost:
        assert any(g.gap_from <= start and g.gap_to >= seen for g in gaps)  # type: ignore[operator]
    assert monitor.state == "closed"
