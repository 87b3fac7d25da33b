"""Blocks of the arena: taken, given back, taken again; nothing is lost when the arena grows."""

from __future__ import annotations

import numpy as np
import pytest

from flows.domain import rings
from flows.domain.constants import MICRO, N_VENUES, NEVER
from flows.domain.detector import Detector
from flows.domain.rules import Rules
from flows.domain.state import ADL, BLOCK, FLOOR, LONG_N, LONG_USD, N_SUMS, SHORT, STRIDE, allocate
from schemas.batches import Batch
from schemas.cascades import MARKET
from schemas.clock import MILLISECOND
from tests.flows.domain.conftest import Event, assets, columns


def steady(count: int, every_ms: int, start: int = 0) -> list[Event]:
    return [Event(start + n * every_ms, usd=1.0 + n % 7) for n in range(count)]


def test_forgotten_blocks_are_taken_again() -> None:
    """At a constant rate the arena in use does not grow after the first ten minutes and a half."""
    names = assets()
    detector = Detector(Rules(snapshot=0), names)
    used = []
    for part in range(6):
        events = steady(BLOCK * 8, 100, start=part * BLOCK * 800)
        detector.process(Batch(columns(events, names, 1 + part * BLOCK * 8), [], names))
        used.append(int(detector.state.shard["arena_used"][0]))
    assert used[2:] == used[2:3] * 4
    five_minutes = detector.look(MARKET).sums[-1]
    assert five_minutes[LONG_N] == 3000


def test_a_growing_arena_loses_nothing() -> None:
    """Starting with room for one block only, everything is counted all the same."""
    names = assets()
    small, large = (Detector(Rules(snapshot=0), names) for _ in range(2))
    small.state = small.state._replace(event=allocate(arena=STRIDE).event)
    events = [Event(n // 50, usd=1.0 + n % 9, asset=("BTC", "ETH", "SOL")[n % 3]) for n in range(BLOCK * 9)]
    found = [d.process(Batch(columns(events, names), ["X"], names)).records for d in (small, large)]
    assert found[0] == found[1]
    assert len(small.state.event) > STRIDE
    for asset in (MARKET, "BTC", "ETH", "SOL"):
        assert np.array_equal(small.look(asset).sums, large.look(asset).sums)
    total = sum(round(e.usd * MICRO) for e in events if events[-1].time * MILLISECOND - e.time * MILLISECOND < 300e9)
    assert small.look(MARKET).sums[-1][LONG_USD] == total


SPAN = 2_000_000_000


def told(time: np.ndarray, usd: np.ndarray, what: np.ndarray, start: int, end: int) -> tuple[list[int], list[int]]:
    """Sums and events by venue in ``(start, end]``, counted one by one."""
    sums, venues = [0] * N_SUMS, [0] * N_VENUES
    for t, dollars, bits in zip(time.tolist(), usd.tolist(), what.tolist(), strict=True):
        if not start < t <= end:
            continue
        kind = 2 if bits & ADL else 1 if bits & SHORT else 0
        sums[kind] += 1
        sums[3 + kind] += dollars
        if kind < 2:
            venues[bits & (N_VENUES - 1)] += 1
            sums[6] += dollars if bits & FLOOR else 0
            sums[7] += bool(bits & FLOOR)
    return sums, venues


@pytest.mark.parametrize("lag", [1, 50_000_000, 2_500_000_000])
def test_any_stretch_is_summed_exactly_however_many_blocks_a_late_event_moves(lag: int) -> None:
    """Thousands of events, half of them late by up to ``lag``, over several blocks whose cuts move with each."""
    rng = np.random.default_rng(lag)
    n = BLOCK * 7
    time = np.cumsum(rng.integers(0, 2_000_000, n)) + 10**15 - (rng.random(n) < 0.5) * rng.integers(0, lag, n)
    usd = rng.integers(0, 10**12, n)
    what = (rng.integers(0, 18, n) + SHORT * rng.integers(0, 2, n) + ADL * (rng.random(n) < 0.1)).astype(np.int16)
    what += FLOOR * rng.integers(0, 2, n).astype(np.int16)
    state = allocate(arena=STRIDE * 16)
    event, me, shard = state.event, state.slot[1], state.shard[0]
    sums, earlier, venues = np.zeros(N_SUMS, np.int64), np.zeros(N_SUMS, np.int64), np.zeros(N_VENUES, np.int32)
    for i in range(n):
        assert rings.reserve(event, me, shard)
        rings.insert(event, me, int(time[i]), int(usd[i]), int(what[i]), i, SPAN)
        if i % 200 == 199:
            seen = slice(0, i + 1)
            now = int(time[seen].max())
            for at in {now, int(time[i]), now - lag // 2}:
                rings.read(event, me, at, SPAN, sums, earlier, venues)
                assert (sums.tolist(), venues.tolist()) == told(time[seen], usd[seen], what[seen], at - SPAN, at)
                assert earlier.tolist() == told(time[seen], usd[seen], what[seen], at - 2 * SPAN, at - SPAN)[0]
    in_order = [int(event[rings.at(me, k)]["time"]) for k in range(n)]
    assert in_order == sorted(time.tolist())
    assert [int(event[rings.at(me, k)]["asset"]) for k in range(n)] == np.argsort(time, kind="stable").tolist()
    for _ in range(200):
        start, end = sorted(rng.integers(0, n + 1, 2).tolist())
        rings.between(event, me, start, end, sums, venues)
        by_time = np.argsort(time, kind="stable")[start:end]
        assert (sums.tolist(), venues.tolist()) == told(time[by_time], usd[by_time], what[by_time], NEVER, -NEVER)
