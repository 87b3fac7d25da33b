"""Blocks of the arena: taken, given back, taken again; nothing is lost when the arena grows."""

from __future__ import annotations

import numpy as np

from flows.domain.constants import MICRO
from flows.domain.detector import Detector
from flows.domain.rules import Rules
from flows.domain.state import BLOCK, LONG_N, LONG_USD, allocate
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
    small.state = small.state._replace(event=allocate(arena=BLOCK).event)
    events = [Event(n // 50, usd=1.0 + n % 9, asset=("BTC", "ETH", "SOL")[n % 3]) for n in range(BLOCK * 9)]
    found = [d.process(Batch(columns(events, names), ["X"], names)).records for d in (small, large)]
    assert found[0] == found[1]
    assert len(small.state.event) > BLOCK
    for asset in (MARKET, "BTC", "ETH", "SOL"):
        assert np.array_equal(small.look(asset).sums, large.look(asset).sums)
    total = sum(round(e.usd * MICRO) for e in events if events[-1].time * MILLISECOND - e.time * MILLISECOND < 300e9)
    assert small.look(MARKET).sums[-1][LONG_USD] == total
