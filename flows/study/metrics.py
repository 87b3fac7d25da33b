"""How good a forecast is: ranking, calibration, and what its alarms would have caught.

Forecasts of clustered events are not independent: intervals come from resampling whole days (or six hours).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.clock import HOUR, MINUTE, SECOND

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Times = NDArray[np.int64]

EDGES = np.array([0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
"""Ten bins of probability, finer where rare events live."""
BUDGETS = (5, 20, 50)
"""Alarms a day."""
REFRACTORY = 5 * MINUTE
"""No second alarm within this, and no alarm earlier than this counts as a hit."""
DAY = 24 * HOUR
_CLIP = 1e-6


class Ranked:
    """A score sorted once, so that AUC and AP under any weights cost one pass."""

    def __init__(self, reached: Flags, score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._ends = np.flatnonzero(np.concatenate([ordered[1:] != ordered[:-1], [True]]))
        self._hit = reached[self._order]

    def _counts(self, weight: Floats | None) -> tuple[Floats, Floats]:
        """Hits and misses at or above each distinct score."""
        w = np.ones(len(self._order)) if weight is None else weight[self._order]
        return np.cumsum(w * self._hit)[self._ends], np.cumsum(w * ~self._hit)[self._ends]

    def auc(self, weight: Floats | None = None) -> float:
        """Chance that a time with the outcome scores above one without, ties counting half."""
        hits, misses = self._counts(weight)
        if hits[-1] == 0 or misses[-1] == 0:
            return float("nan")
        return float(np.trapezoid(np.concatenate([[0], hits]), np.concatenate([[0], misses])) / hits[-1] / misses[-1])

    def ap(self, weight: Floats | None = None) -> float:
        """Mean precision over recall steps (average precision)."""
        hits, misses = self._counts(weight)
        if hits[-1] == 0:
            return float("nan")
        alarms = hits + misses
        precision = np.divide(hits, alarms, out=np.zeros_like(hits), where=alarms > 0)
        return float(np.sum(np.diff(hits, prepend=0.0) * precision) / hits[-1])

    def curve(self) -> tuple[Floats, Floats, Floats]:
        """Recall, false alarm share and precision at each distinct score, from the highest."""
        hits, misses = self._counts(None)
        return hits / hits[-1], misses / max(misses[-1], 1), hits / (hits + misses)


def brier_skill(reached: Flags, probability: Floats, climate: float, weight: Floats | None = None) -> float:
    """1 - Brier score / that of always telling ``climate`` (the base rate of the *fit* period)."""
    w = np.ones(len(reached)) if weight is None else weight
    reference = np.sum(w * (reached - climate) ** 2)
    return float(1 - np.sum(w * (reached - probability) ** 2) / reference) if reference > 0 else float("nan")


def log_score(reached: Flags, probability: Floats) -> float:
    """Mean negative log likelihood, nats per time; smaller is better."""
    p = np.clip(probability, _CLIP, 1 - _CLIP)
    return float(-np.mean(np.where(reached, np.log(p), np.log1p(-p))))


class Bin(Struct, frozen=True):
    """One row of a reliability table."""

    low: float
    high: float
    times: int
    said: float
    """Mean probability."""
    happened: float
    """Share with the outcome."""


def reliability(reached: Flags, probability: Floats) -> list[Bin]:
    """What was said against what happened, in the bins of ``EDGES`` that were used."""
    which = np.clip(np.searchsorted(EDGES, probability, side="right") - 1, 0, len(EDGES) - 2)
    found = []
    for b in range(len(EDGES) - 1):
        rows = which == b
        if rows.any():
            said, happened = float(probability[rows].mean()), float(reached[rows].mean())
            found.append(Bin(float(EDGES[b]), float(EDGES[b + 1]), int(rows.sum()), said, happened))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """Mean gap between what was said and what happened (expected calibration error)."""
    return sum(b.times * abs(b.said - b.happened) for b in bins) / sum(b.times for b in bins)


def worst_decile(reached: Flags, probability: Floats) -> float:
    """Largest gap between said and happened among ten groups of equal size by probability."""
    order = np.argsort(probability, kind="stable")
    groups = np.array_split(order, 10)
    return max(abs(float(probability[rows].mean() - reached[rows].mean())) for rows in groups if len(rows))


@dataclass(frozen=True)
class Blocks:
    """Resamples of whole days (six hours where there are fewer than ten days), the same for every forecast."""

    time: Times
    resamples: int = 200
    seed: int = 20_230_106

    @cached_property
    def weights(self) -> list[Floats]:
        """How often each time occurs in each resample; empty where there are fewer than four blocks."""
        days = np.unique(self.time // DAY)
        block = self.time // (DAY if len(days) >= 10 else 6 * HOUR)
        names, which = np.unique(block, return_inverse=True)
        if len(names) < 4:
            return []
        rng = np.random.default_rng(self.seed)
        draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), self.resamples)
        return [draw[which].astype(np.float64) for draw in draws]


def interval(values: list[float]) -> tuple[float, float] | None:
    """The middle 90 % of resampled values."""
    known = [value for value in values if not np.isnan(value)]
    if len(known) < 20:
        return None
    low, high = np.quantile(known, [0.05, 0.95])
    return float(low), float(high)


class Alarms(Struct, frozen=True):
    """What the alarms of one budget would have caught."""

    budget: int
    """Alarms a day allowed."""
    level: float
    """The score that raises one: the lowest that keeps to the budget over the judged half."""
    a_day: float
    recall: float
    """Share of crossings with an alarm in the five minutes before."""
    precision: float
    """Share of alarms followed by a crossing within five minutes."""
    false_a_day: float
    lead: float | None
    """Median seconds from the first such alarm to the crossing."""


def raised(time: Times, score: Floats, quiet: Flags, level: float) -> Times:
    """Alarm times: the score reaches ``level`` while the threshold is not crossed already, five minutes apart."""
    found: list[int] = []
    free = np.iinfo(np.int64).min
    for at in time[(score >= level) & quiet].tolist():
        if at >= free:
            found.append(at)
            free = at + REFRACTORY
    return np.array(found, np.int64)


def alarms(time: Times, score: Floats, quiet: Flags, crossings: Times, budget: int) -> Alarms:
    """The alarms of a budget, judged. ``quiet``: times at which the threshold is not crossed already."""
    days = len(time) * 5 * SECOND / DAY
    level = _level(time, score, quiet, budget * days)
    at = raised(time, score, quiet, level)
    return _judged(at, crossings, days, budget, level)


def _level(time: Times, score: Floats, quiet: Flags, allowed: float) -> float:
    """The lowest score whose alarms keep to the number allowed, by bisection over those that occur."""
    candidates = np.unique(score[quiet])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if len(raised(time, score, quiet, candidates[middle])) <= allowed:
            high = middle
        else:
            low = middle + 1
    best = float(candidates[low])
    return best if len(raised(time, score, quiet, best)) <= max(allowed, 1) else float("inf")


def _judged(at: Times, crossings: Times, days: float, budget: int, level: float) -> Alarms:
    following = np.searchsorted(crossings, at, side="right")
    ahead = np.append(crossings, np.iinfo(np.int64).max)[following] - at
    hits = ahead <= REFRACTORY
    first = np.searchsorted(at, crossings - REFRACTORY, side="left")
    caught = [int(c - at[i]) for c, i in zip(crossings, first, strict=True) if i < len(at) and at[i] < c]
    return Alarms(
        budget=budget,
        level=level,
        a_day=len(at) / days,
        recall=len(caught) / len(crossings) if len(crossings) else float("nan"),
        precision=float(hits.mean()) if len(at) else float("nan"),
        false_a_day=float(np.count_nonzero(~hits)) / days,
        lead=float(np.median(caught)) / SECOND if caught else None,
    )


def delays(time: Times, score: Floats, starts: Times, level: float, patience: int = MINUTE) -> Floats:
    """Seconds from each start to the first score at the level, 0 if it was there already, inf if not in a minute."""
    found = []
    for start in starts.tolist():
        first, last = np.searchsorted(time, [start, start + patience], side="right")
        rows = np.flatnonzero(score[max(first - 1, 0) : last] >= level)
        at = time[max(first - 1, 0) + rows[0]] if len(rows) else None
        found.append(np.inf if at is None else max(at - start, 0) / SECOND)
    return np.array(found)
