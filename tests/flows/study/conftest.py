"""Recordings made up for the studies: events of a known law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.study.events import Events, Recording
from schemas.clock import SECOND

T0 = 1_672_963_200 * SECOND
"""2023-01-06."""


def made(
    second: NDArray[np.float64] | list[float],
    usd: NDArray[np.float64] | list[float] | float = 1000.0,
    side: int | NDArray[np.int8] = 0,
    asset: int | NDArray[np.int32] = 0,
    venue: int = 2,
) -> Events:
    """Events at these seconds after ``T0``, seen at once."""
    time = T0 + np.rint(np.asarray(second, np.float64) * SECOND).astype(np.int64)
    n = len(time)
    return Events(
        time,
        time,
        np.rint(np.broadcast_to(np.asarray(usd, np.float64), n) * MICRO).astype(np.int64),
        np.broadcast_to(np.asarray(side, np.int8), n).copy(),
        np.full(n, venue, np.int8),
        np.broadcast_to(np.asarray(asset, np.int32), n).copy(),
        np.broadcast_to(np.asarray(asset, np.int32), n).copy(),
        np.ones(n, np.bool_),
    )


def cascading(seed: int = 1, hours: float = 60.0, mu: float = 0.01, n: float = 0.85, beta: float = 0.05) -> Events:
    """A Hawkes process (background per second, branching ratio, decay) of log-normal USD, both sides, two assets."""
    rng = np.random.default_rng(seed)
    generation = rng.uniform(0, hours * 3600, rng.poisson(mu * hours * 3600))
    everything = [generation]
    while len(generation):
        parents = np.repeat(generation, rng.poisson(n, len(generation)))
        generation = parents + rng.exponential(1 / beta, len(parents))
        everything.append(generation)
    second = np.sort(np.concatenate(everything))
    second = second[second < hours * 3600]
    usd = rng.lognormal(10, 1, len(second))
    side = rng.integers(0, 2, len(second)).astype(np.int8)
    return made(second, usd, side, rng.integers(0, 2, len(second)).astype(np.int32))


def recording(events: Events) -> Recording:
    """The events as if read from a file."""
    return Recording("made.parquet", events, ("BTC", "ETH"), "0123456789abcdef")
