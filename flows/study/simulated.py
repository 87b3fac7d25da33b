"""The detector at its default settings on made-up feeds: how often calm ones alarm, how soon 10 October 2025 does.

Everything is seeded, so that the figures can be had again; the crash is built from the published counts per second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from connectors.extracts import read_extract
from flows.domain.detector import Detector
from flows.domain.rules import Rules
from schemas.batches import LIQUIDATION_COLUMNS, Batch, LiquidationColumns, Names
from schemas.cascades import LEVELS, MARKET, Level, Signal
from schemas.clock import HOUR, SECOND
from schemas.records import CAUSES, COVERAGES, PRICE_KINDS, TIME_SOURCES, VENUES, Coverage

Times = NDArray[np.int64]
_SEED = 20_251_010
_BEGIN = 1_760_054_400 * SECOND
"""2025-10-10."""
_ASSETS = 12
_VENUES = [VENUES.index(name) for name in ("binance_usdm", "bybit", "okx", "hyperliquid")]
_PIECE = 50_000
_FILL, _VENUE_TIME = PRICE_KINDS.index("fill"), TIME_SOURCES.index("venue")
_LIQUIDATION, _ADL = CAUSES.index("liquidation"), CAUSES.index("adl")


class Calm(Struct, frozen=True):
    """How often a feed without a cascade alarmed, over all assets and the market."""

    name: str
    events: int
    hours: float
    watch: int
    """Rises to WATCH or above."""
    alert: int
    """Rises to ALERT or above."""

    @property
    def alert_an_hour(self) -> float:
        """What is to stay below one."""
        return self.alert / self.hours


class Crash(Struct, frozen=True):
    """Seconds from the first liquidation to each level of the market; none where it was not reached."""

    name: str
    first_adl: float
    watch: float | None
    alert: float | None
    critical: float | None
    extreme: float | None


def poisson(hours: float, rate: float, rng: np.random.Generator) -> Times:
    """Independent arrivals, ``rate`` a second."""
    count = rng.poisson(rate * hours * 3600)
    return np.sort(rng.integers(0, round(hours * HOUR), count))


def self_exciting(hours: float, rate: float, branching: float, rng: np.random.Generator, scale: float = 10.0) -> Times:
    """Hawkes arrivals with ``rate`` a second in the mean, ``branching`` offspring each after ``scale`` seconds."""
    generation = poisson(hours, rate * (1 - branching), rng)
    found = [generation]
    while len(generation):
        parents = np.repeat(generation, rng.poisson(branching, len(generation)))
        generation = parents + (rng.exponential(scale, len(parents)) * SECOND).astype(np.int64)
        found.append(generation)
    time = np.sort(np.concatenate(found))
    return time[time < hours * HOUR]


def closes(time: Times, rng: np.random.Generator, coverage: Coverage = "complete") -> LiquidationColumns:
    """Forced closes at these times: 4 venues, 12 assets by popularity, log-normal USD around 5,000."""
    n = len(time)
    weight = 1 / np.arange(1, _ASSETS + 1)
    asset = rng.choice(_ASSETS, n, p=weight / weight.sum()).astype(np.int32)
    usd = rng.lognormal(np.log(5000.0), 1.2, n)
    columns = {
        "event_id": rng.integers(1, 1 << 62, n), "venue": rng.choice(_VENUES, n), "instrument": asset, "asset": asset,
        "position": rng.integers(0, 2, n), "cause": _LIQUIDATION, "price": 100.0, "price_kind": _FILL,
        "quantity": usd / 100.0, "notional_usd": usd, "event_time": _BEGIN + time, "receive_time": _BEGIN + time,
        "coverage": COVERAGES.index(coverage), "backfill": False, "time_source": _VENUE_TIME,
    }  # fmt: skip
    return LiquidationColumns(
        **{
            name: np.broadcast_to(np.asarray(columns[name], dtype), n).copy()
            for name, dtype in LIQUIDATION_COLUMNS.items()
        }
    )


def one_a_second(c: LiquidationColumns) -> LiquidationColumns:
    """What a venue that tells one message per symbol and second leaves: the largest."""
    second = c.event_time // SECOND
    order = np.lexsort((-c.notional_usd, second, c.asset, c.venue))
    group = np.stack([c.venue[order], c.asset[order], second[order]])
    kept = c.take(np.sort(order[np.concatenate([[True], (group[:, 1:] != group[:, :-1]).any(axis=0)])]))
    kept.coverage[:] = COVERAGES.index("sampled")
    return kept


def signals(rules: Rules, columns: LiquidationColumns) -> Iterator[Signal]:
    """What the detector says to these closes."""
    names = Names()
    for number in range(int(columns.asset.max(initial=0)) + 1):
        names.code(f"ASSET{number}")
    # Windows are told for the history only and change no signal.
    detector = Detector(replace(rules, snapshot=0), names)
    instruments = [f"ASSET{number}" for number in range(len(names))]
    for start in range(0, len(columns), _PIECE):
        batch = Batch(columns.take(slice(start, start + _PIECE)), instruments, names)
        yield from (told for told in detector.process(batch).records if isinstance(told, Signal))


def calm(rules: Rules, hours: float = 24.0, rate: float = 5.0) -> Iterator[Calm]:
    """Feeds without a cascade: independent, self-exciting, and both as a capped venue tells them."""
    feeds = {
        f"Poisson, {rate:g}/s": poisson(hours, rate, np.random.default_rng(_SEED)),
        f"self-exciting, branching 0.7, {rate:g}/s": self_exciting(hours, rate, 0.7, np.random.default_rng(_SEED)),
    }
    for name, time in feeds.items():
        whole = closes(time, np.random.default_rng(_SEED))
        yield _judged(name, rules, whole, hours)
        yield _judged(f"{name}, one per venue, symbol and second", rules, one_a_second(whole), hours)


def _judged(name: str, rules: Rules, columns: LiquidationColumns, hours: float) -> Calm:
    told = list(signals(rules, columns))
    watch, alert = (sum(rises(signal, level) for signal in told) for level in ("WATCH", "ALERT"))
    return Calm(name, len(columns), hours, watch, alert)


def rises(signal: Signal, level: Level) -> bool:
    """Whether the signal is a rise to the level or above."""
    needed = LEVELS.index(level)
    return LEVELS.index(signal.level) >= needed > LEVELS.index(signal.previous)


def october(rules: Rules, counts: Path) -> Iterator[Crash]:
    """The first two minutes of 10 October 2025 by counts of fills per second, after a calm hour of one in ten seconds.

    The file tells no USD: as it is, volume adds nothing; and with 60,000 USD a fill, as the deleveraged ones had.
    """
    crash = LiquidationColumns.concatenate([batch.liquidations for batch in read_extract(counts)])
    first = int(crash.event_time[crash.cause == _LIQUIDATION].min())
    adl = int(crash.event_time[crash.cause == _ADL].min())
    before = closes(poisson(1.0, 0.1, np.random.default_rng(_SEED)), np.random.default_rng(_SEED), "partial")
    shift = first - HOUR - _BEGIN
    before.event_time += shift
    before.receive_time += shift
    before.asset[:] = before.instrument[:] = 0
    crash.asset = np.zeros(len(crash), np.int32)
    for name, usd in (("counts alone", 0.0), ("60,000 USD a fill", 60_000.0)):
        crash.notional_usd = np.full(len(crash), usd)
        told = list(signals(rules, LiquidationColumns.concatenate([before, crash])))
        reached = [_reached(told, level, first) for level in LEVELS[1:]]
        yield Crash(name, (adl - first) / SECOND, *reached)


def _reached(told: list[Signal], level: Level, first: int) -> float | None:
    times = [s.event_time for s in told if s.asset == MARKET and rises(s, level) and s.event_time >= first]
    return (times[0] - first) / SECOND if times else None
