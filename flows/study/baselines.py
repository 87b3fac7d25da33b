"""What a forecast has to beat: from the base rate to the published formula and a Hawkes process.

Each baseline is fitted on the earlier half only and sees what was visible strictly before a time. Each is given its
best chance: one-number scores become probabilities by isotonic regression but are ranked by the score itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.study import features
from flows.study.events import Events, stretches
from flows.study.fit import Isotonic, Standard, logistic
from flows.study.labels import Labels
from schemas.clock import MINUTE, SECOND
from schemas.compiled import compiled

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
_BETA_RANGE = (1 / 1800, math.log(2) / 0.5)
"""Decay of the Hawkes kernel per second: a half-life below 0.5 s makes equal timestamps diverge."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model said at every decision time."""

    name: str
    probability: Floats
    score: Floats
    """What it is ranked by and raises alarms by."""


def baselines(events: Events, labels: Labels) -> Iterator[Forecast]:
    """Every baseline of the protocol."""
    fitted = labels.reached[labels.fitted]
    yield _same("climatology", np.full(len(labels.time), fitted.mean()))
    yield _isotonic("USD of the last 60 s", last_minute(events, labels), labels)
    yield _isotonic("EWMA 60 s", ewma(events, 60.0, labels), labels)
    yield three_averages(events, labels)
    yield _isotonic("CUSUM of log USD", cusum(events, labels), labels)
    formula = published(events, labels)
    yield _same("formula .25/.20/.20/.15, raw", formula)
    yield _isotonic("formula .25/.20/.20/.15, isotonic", formula, labels)
    yield _isotonic("Hawkes, one exponential", hawkes(events, labels), labels)


def _same(name: str, probability: Floats) -> Forecast:
    return Forecast(name, probability, probability)


def _isotonic(name: str, score: Floats, labels: Labels) -> Forecast:
    fitted = Isotonic.fit(score[labels.fitted], labels.reached[labels.fitted])
    return Forecast(name, fitted(score), score)


def _visible_usd(events: Events, after: Times, before: Times) -> Floats:
    """USD that became visible in ``[after, before)``."""
    total = np.concatenate([[0], np.cumsum(events.usd)])
    last, first = (np.searchsorted(events.visible, at, side="left") for at in (before, after))
    found: Floats = (total[last] - total[first]) / MICRO
    return found


def last_minute(events: Events, labels: Labels) -> Floats:
    """USD seen in the minute before."""
    return _visible_usd(events, labels.time - MINUTE, labels.time)


def ewma(events: Events, scale: float, labels: Labels) -> Floats:
    """USD per second, exponentially weighted over ``scale`` seconds."""
    return features.decayed(events, events.usd / MICRO, scale, labels.time) / scale


def three_averages(events: Events, labels: Labels) -> Forecast:
    """Logistic regression on three exponentially weighted USD rates."""
    x = np.log1p(60 * np.stack([ewma(events, scale, labels) for scale in (10.0, 60.0, 600.0)], axis=1))
    standard = Standard.of(x[labels.fitted])
    w = logistic(standard(x[labels.fitted]), labels.reached[labels.fitted], 1.0)
    return _same("EWMA 10 + 60 + 600 s", 1 / (1 + np.exp(-w[0] - standard(x) @ w[1:])))


def cusum(events: Events, labels: Labels) -> Floats:
    """One-sided cumulative sum of log USD per five seconds above its mean and half a deviation (of the fit half)."""
    x = np.log1p(_visible_usd(events, labels.time - 5 * SECOND, labels.time))
    early = x[labels.fitted]
    drift, most = float(early.mean() + early.std() / 2), float(20 * (early.std() + 1e-9))
    out = np.zeros(len(x))
    total = 0.0
    for i, value in enumerate(x.tolist()):
        # Bounded above, or one cascade would sound for hours.
        out[i] = total = min(max(0.0, total + value - drift), most)
    return out


def published(events: Events, labels: Labels) -> Floats:
    """The formula .25 velocity + .20 acceleration + .20 USD + .15 evenness of venues, x1.5 when accelerating.

    Scales as published: 50 events/s, 20 events/s², 50 M USD/s. Its own window of half a second is blank on most feeds
    most of the time; it is read on the last minute and the one before, which ranks far better.
    """
    seconds = MINUTE / SECOND
    now = _by_venue(events, labels.time - MINUTE, labels.time)
    before = _by_venue(events, labels.time - 2 * MINUTE, labels.time - MINUTE).sum(axis=1)
    velocity = now.sum(axis=1) / seconds
    acceleration = (now.sum(axis=1) - before) / seconds**2
    usd = last_minute(events, labels) / seconds
    mean, variance = now.mean(axis=1), now.var(axis=1)
    even = np.clip(1 - np.divide(variance, mean**2, out=np.ones_like(mean), where=mean > 0), 0, 1)
    raw = (
        0.25 * np.minimum(velocity / 50, 1)
        + 0.20 * np.minimum(np.abs(acceleration) / 20, 1)
        + 0.20 * np.minimum(usd / 50e6, 1)
        + 0.15 * even
    )
    found: Floats = np.minimum(np.where(acceleration > 20, 1.5 * raw, raw), 1.0)
    return found


def _by_venue(events: Events, after: Times, before: Times) -> Floats:
    """Events that became visible in ``[after, before)`` by venue: N x venues that occur."""
    found = []
    for venue in np.unique(events.venue):
        seen = events.visible[events.venue == venue]
        found.append(np.searchsorted(seen, before, side="left") - np.searchsorted(seen, after, side="left"))
    return np.stack(found, axis=1).astype(np.float64)


def hawkes(events: Events, labels: Labels) -> Floats:
    """Intensity (events/s) of a Hawkes process with one exponential, by maximum likelihood on the earlier half."""
    mu, n, beta = fit_hawkes(np.sort(events.time[events.visible < labels.cut]))
    return mu + n * beta * features.decayed(events, np.ones(len(events)), 1 / beta, labels.time)


def fit_hawkes(time: Times) -> tuple[float, float, float]:
    """Background (events/s), branching ratio and decay (1/s) that make the events likeliest.

    For each decay on a grid, background and branching ratio come from expectation-maximisation.
    """
    parts = [time[(time >= first) & (time <= last)] for first, last in stretches(time).tolist()]
    seconds = [(part - part[0]) / SECOND for part in parts if len(part) > 1]
    betas = np.geomspace(*_BETA_RANGE, 25)
    fits = [_given(seconds, float(beta)) for beta in betas]
    best = max(range(len(betas)), key=lambda i: fits[i][0])
    return fits[best][1], fits[best][2], float(betas[best])


def _given(seconds: list[Floats], beta: float, rounds: int = 60) -> tuple[float, float, float]:
    """Log likelihood, background and branching ratio at a given decay."""
    span = sum(float(part[-1]) for part in seconds)
    excitement = np.concatenate([_excitement(part, beta) for part in seconds])
    reach = sum(float(np.sum(1 - np.exp(-beta * (part[-1] - part)))) for part in seconds)
    events = sum(len(part) for part in seconds)
    mu, n = 0.5 * events / span, 0.5
    for _ in range(rounds):
        rate = mu + n * excitement
        mu, n = mu * float(np.sum(1 / rate)) / span, n * float(np.sum(excitement / rate)) / reach
    return float(np.sum(np.log(mu + n * excitement))) - mu * span - n * reach, mu, min(n, 0.999)


@compiled
def _excitement(second: Floats, beta: float) -> Floats:
    """β Σ exp(-β(tᵢ - tⱼ)) over strictly earlier events; those of one instant do not excite each other."""
    out = np.zeros(len(second))
    total, same = 0.0, 0
    for i in range(1, len(second)):
        gap = second[i] - second[i - 1]
        same += 1
        if gap > 0.0:
            total = (total + same) * math.exp(-beta * gap)
            same = 0
        out[i] = beta * total
    return out
