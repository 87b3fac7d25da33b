"""Forced closes as columns from a seed, without frames: as many as memory never holds at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schemas.batches import Batch, LiquidationColumns, Names
from schemas.records import VENUES

BEGAN = 1_760_130_900_000_000_000
"""2025-10-10 21:15:00 UTC."""
_VENUES = len(VENUES) - 1


def names(count: int) -> Names:
    """That many assets."""
    made = Names()
    for number in range(count):
        made.code(f"A{number}")
    return made


def batches(events: int, assets: Names, rate: float, seed: int = 7, size: int = 10_000) -> Iterator[Batch]:
    """``events`` at ``rate`` per second in all, assets by Zipf's law, a tenth of them up to two seconds late."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, len(assets) + 1)
    weights /= weights.sum()
    received = BEGAN
    for start in range(0, events, size):
        n = min(size, events - start)
        times = received + np.cumsum(rng.exponential(1e9 / rate, n)).astype(np.int64)
        received = int(times[-1])
        late = np.where(rng.random(n) < 0.1, rng.uniform(0, 2e9, n), 5e7).astype(np.int64)
        usd = rng.lognormal(8.0, 1.5, n)
        yield Batch(
            LiquidationColumns(
                event_id=rng.integers(1, 2**63, n).astype(np.uint64),
                venue=rng.integers(0, _VENUES, n).astype(np.int8),
                instrument=np.zeros(n, np.int32),
                asset=rng.choice(len(assets), n, p=weights).astype(np.int32),
                position=(rng.random(n) < 0.4).astype(np.int8),
                cause=(rng.random(n) < 0.03).astype(np.int8),
                price=np.ones(n),
                price_kind=np.zeros(n, np.int8),
                quantity=usd,
                notional_usd=usd,
                event_time=times - late,
                receive_time=times,
                coverage=np.zeros(n, np.int8),
                backfill=np.zeros(n, np.bool_),
                time_source=np.zeros(n, np.int8),
            ),
            ("X",),
            assets,
        )
