"""The live probabilities of a slot: read at each of its events, learnt from every five seconds of event time.

A *forecast* is one model at work: its weights, its recalibration, and how likely it usually finds its threshold. All of
it moves at multiples of ``STEP`` only, and only by events before them, so that nothing depends on where a batch ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.domain.decays import N_FEATURES
from flows.domain.model import RECALIBRATION, STEP, CascadeModel, log_odds, probability, remember
from schemas.clock import HOUR, MINUTE
from schemas.compiled import compiled

N_HORIZONS = 4
"""How many horizons a target can have."""
SILENCE = 30 * MINUTE
"""Without a liquidation for this long (ns) nobody may be listening: what is pending is not judged."""
_MEMORY = 24 * HOUR
_KEEP = math.exp(-STEP / _MEMORY)
_PRIOR = HOUR / STEP
"""What is usual begins as the base rate of the fit, which counts as much as an hour."""

FORECAST = np.dtype(
    [
        ("learning", RECALIBRATION),
        ("slot", np.int32),
        ("decides", np.bool_),  # whether levels go by it
        ("threshold", np.int64),  # micro-USD
        ("weights", np.float64, (1 + N_FEATURES,)),
        ("mass", np.float64),  # sum of its probabilities, decayed over a day
        ("steps", np.float64),  # how many they were
    ],
    align=True,
)
Forecast = Any
"""One record of ``FORECAST``."""


def forecasts(models: Iterable[CascadeModel], horizon: int) -> NDArray[Any]:
    """One record per model, as yet of no slot, by rising horizon.

    :arg horizon: that of the one levels go by, ns.
    """
    ordered = sorted(models, key=lambda model: model.horizon)
    made = np.zeros(len(ordered), FORECAST)
    for record, model in zip(made, ordered, strict=True):
        record["learning"] = model.recalibration()[0]
        record["decides"] = model.horizon == horizon
        record["threshold"] = round(model.threshold_usd * MICRO)
        record["weights"] = model.weights()
        record["mass"], record["steps"] = _PRIOR * model.base_rate, _PRIOR
    return made


@compiled
def chance(me: Forecast, features: NDArray[np.float64]) -> float:
    """The probability at these features."""
    return probability(me.learning, log_odds(me.weights, features))


@compiled
def usual(me: Forecast) -> float:
    """Mean of its probabilities over about a day: where that is high, a high one is no news."""
    return me.mass / me.steps


@compiled
def note(me: Forecast, time: int, features: NDArray[np.float64]) -> None:
    """Keep the prediction of a grid point until its outcome is known."""
    odds = log_odds(me.weights, features)
    me.mass = me.mass * _KEEP + probability(me.learning, odds)
    me.steps = me.steps * _KEEP + 1.0
    remember(me.learning, time, odds)
