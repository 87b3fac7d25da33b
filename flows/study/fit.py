"""Fits: logistic regression held by L2, isotonic regression, and a cascade model made of them.

Small and plain numpy: Newton's method with halved steps converges on these convex losses from anywhere, and pooling
adjacent violators is exact. Whatever is chosen (strength of L2, set of features, memory of the recalibration) is chosen
inside the fit half, on blocks of time left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.domain.decays import FEATURES
from flows.domain.model import MARKET_FEATURES, CascadeModel
from flows.study import features
from flows.study.events import Recording
from flows.study.labels import Labels
from flows.study.metrics import log_score
from schemas.clock import HOUR, SECOND

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

L2 = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FOLDS = 4
SLOW = ("events_10s", "events_60s", "events_300s", "events_1800s", "usd_1800s", "age", "heat")
SETS: tuple[tuple[str, ...], ...] = (
    SLOW,
    FEATURES,
    (*SLOW, *(f"market_{name}" for name in SLOW)),
)
"""Sets of features tried: the slower scales alone, all, and for an asset the slower ones of it and of the market."""
TIE = 1.01
"""Log scores within one percent are equal: then the cheaper set and the stronger L2 win, as they keep better."""
MEMORY = 24 * HOUR
"""Of the recalibration."""
_STEPS = 60


def logistic(x: Floats, reached: Flags, l2: float, start: Floats | None = None) -> Floats:
    """Intercept and weights that minimise the negative log likelihood + l2/2 Σ weight²; the intercept is free.

    :arg x: standardised, N x K. :arg start: where to look first; the minimum is the same.
    """
    a = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.full(a.shape[1], l2)
    penalty[0] = 0.0
    w = np.zeros(a.shape[1])
    rate = np.clip(reached.mean(), 1e-6, 1 - 1e-6)
    w[0] = np.log(rate / (1 - rate))
    w = w if start is None else start
    value = _loss(a, reached, penalty, w)
    for _ in range(_STEPS):
        p = _sigmoid(a @ w)
        gradient = a.T @ (p - reached) + penalty * w
        curvature = (a * (p * (1 - p))[:, None]).T @ a + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (after := _loss(a, reached, penalty, w - size * step)) > value and size > 1e-6:
            size /= 2
        w = w - size * step
        if value - after <= 1e-9 * abs(value):
            break
        value = after
    return w


def _loss(a: Floats, reached: Flags, penalty: Floats, w: Floats) -> float:
    odds = a @ w
    return float(np.sum(np.logaddexp(0, odds) - reached * odds) + penalty @ (w * w) / 2)


def _sigmoid(odds: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30)))
    return found


def pooled(value: Floats, weight: Floats) -> Floats:
    """The non-decreasing sequence closest to ``value`` in weighted squares (pool adjacent violators)."""
    level, total, size = [0.0] * len(value), [0.0] * len(value), [0] * len(value)
    top = -1
    for v, w in zip(value.tolist(), weight.tolist(), strict=True):
        top += 1
        level[top], total[top], size[top] = v, w, 1
        while top and level[top - 1] >= level[top]:
            together = total[top - 1] + total[top]
            level[top - 1] = (level[top - 1] * total[top - 1] + level[top] * total[top]) / together
            total[top - 1], size[top - 1] = together, size[top - 1] + size[top]
            top -= 1
    return np.repeat(level[: top + 1], size[: top + 1])


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A non-decreasing map from a score to a probability."""

    score: Floats
    probability: Floats

    @classmethod
    def fit(cls, score: Floats, reached: Flags) -> Isotonic:
        """The map closest to the outcomes; equal scores are one point."""
        distinct, which, count = np.unique(score, return_inverse=True, return_counts=True)
        share = np.bincount(which, weights=reached) / count
        return cls(distinct, pooled(share, count.astype(np.float64)))

    def __call__(self, score: Floats) -> Floats:
        """Probabilities; between two points straight, beyond the ends flat."""
        found: Floats = np.interp(score, self.score, self.probability)
        return found


class Standard(NamedTuple):
    """What features are standardised by."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, x: Floats) -> Standard:
        """Mean and standard deviation; a constant feature is left at its scale."""
        spread = x.std(axis=0)
        return cls(x.mean(axis=0), np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, x: Floats) -> Floats:
        """Standardised."""
        found: Floats = (x - self.mean) / self.scale
        return found


def folds(count: int, gap: int, parts: int = FOLDS) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of time left out in turn: (fitted on, left out), ``gap`` rows on either side of the block in neither."""
    edges = np.linspace(0, count, parts + 1).astype(np.int64)
    rows = np.arange(count)
    for low, high in pairwise(edges):
        yield rows[(rows < low - gap) | (rows >= high + gap)], rows[low:high]


def left_out(x: Floats, reached: Flags, strengths: Sequence[float], gap: int) -> Floats:
    """Log odds (strengths x rows) of every row by the fit that did not see its block."""
    odds = np.zeros((len(strengths), len(x)))
    for seen, unseen in folds(len(x), gap):
        w = None
        for k in sorted(range(len(strengths)), key=lambda i: -strengths[i]):
            w = logistic(x[seen], reached[seen], strengths[k], w)
            odds[k, unseen] = w[0] + x[unseen] @ w[1:]
    return odds


class Choice(NamedTuple):
    """What did best on blocks left out."""

    score: float
    """Log score, smaller is better."""
    l2: float
    odds: Floats
    """Of the blocks left out."""


def choose_l2(x: Floats, reached: Flags, gap: int, strengths: Sequence[float] = L2) -> Choice:
    """The strongest L2 whose log score on blocks of time left out is within ``TIE`` of the best."""
    odds = left_out(x, reached, strengths, gap)
    tried = [Choice(log_score(reached, _sigmoid(row)), l2, row) for l2, row in zip(strengths, odds, strict=True)]
    best = min(choice.score for choice in tried)
    return max((choice for choice in tried if choice.score <= best * TIE), key=lambda choice: choice.l2)


def platt(odds: Floats, reached: Flags) -> tuple[float, float]:
    """Offset and slope that make log odds of blocks left out fit the outcomes; the slope never turns them round."""
    w = logistic(odds[:, None] - odds.mean(), reached, 1e-3)
    slope = float(np.clip(w[1], 0.25, 1.5))
    return float(w[0] - w[1] * odds.mean() + (w[1] - slope) * odds.mean()), slope


def chosen(table: Floats, reached: Flags, gap: int) -> tuple[Choice, tuple[str, ...], list[int]]:
    """The cheapest of ``SETS`` within ``TIE`` of the best on blocks left out, its features and their columns.

    :arg table: ``FEATURES``, and for an asset ``MARKET_FEATURES`` after them.
    """
    known = (*FEATURES, *MARKET_FEATURES)[: table.shape[1]]
    found = []
    for names in SETS:
        if set(names) <= set(known):
            columns = [known.index(name) for name in names]
            x = table[:, columns]
            found.append((choose_l2(Standard.of(x)(x), reached, gap), names, columns))
    best = min(choice.score for choice, _, _ in found)
    return min((each for each in found if each[0].score <= best * TIE), key=lambda each: len(each[1]))


def fit_model(recording: Recording, target: str, labels: Labels, *, whole: bool = False) -> CascadeModel:
    """Fit on the earlier half (``whole``: on all, to be shipped); everything is chosen inside what is fitted on."""
    rows = slice(None) if whole else labels.fitted
    reached, time = labels.reached[rows], labels.time[rows]
    table = features.known(recording, target, labels.time)[rows]
    choice, names, columns = chosen(table, reached, max(2 * labels.horizon // (5 * SECOND), 1))
    standard = Standard.of(table[:, columns])
    w = logistic(standard(table[:, columns]), reached, choice.l2)
    crossings = labels.crossings[(labels.crossings >= time[0]) & (labels.crossings <= time[-1] + labels.horizon)]
    return CascadeModel(
        target=target,
        horizon=labels.horizon,
        threshold_usd=labels.threshold,
        features=names,
        mean=tuple(standard.mean.tolist()),
        scale=tuple(standard.scale.tolist()),
        coefficients=tuple(w[1:].tolist()),
        intercept=float(w[0]),
        memory=MEMORY,
        base_rate=float(reached.mean()),
        l2=choice.l2,
        fit_from=_day(time[0]),
        fit_to=_day(time[-1]),
        fit_times=len(time),
        fit_episodes=len(crossings),
        data=recording.name,
        data_hash=recording.digest,
    )


def _day(time: int) -> str:
    return f"{np.datetime64(int(time), 'ns').astype('datetime64[s]')}Z"
