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
from flows.domain.decays import N_FEATURES, features
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
        ("market", np.float64, (N_FEATURES,)),  # weights of the market's features, beside an asset's own
        ("mass", np.float64),  # sum of its probabilities, decayed over a day
        ("steps", np.float64),  # how many they were
    ],
    align=True,
)
Forecast = Any
"""One record of ``FORECAST``."""
Slot = Any
"""One record of ``flows.domain.state.SLOT``."""
N_SEEN = 2 * N_FEATURES
"""Features a forecast reads: the slot's own and the market's."""


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
        record["weights"], record["market"] = model.weights(), model.market_weights()
        record["mass"], record["steps"] = _PRIOR * model.base_rate, _PRIOR
    return made


@compiled
def read(me: Slot, market: Slot, time: int, out: NDArray[np.float64]) -> None:
    """The features of a slot and of the market at ``time``; twice the same for the market."""
    features(me.decays, time, out[:N_FEATURES])
    features(market.decays, time, out[N_FEATURES:])


@compiled
def odds(me: Forecast, seen: NDArray[np.float64]) -> float:
    """The fitted log odds.

    :arg seen: what ``read`` gives.
    """
    found = log_odds(me.weights, seen[:N_FEATURES])
    for k in range(N_FEATURES):
        found += me.market[k] * seen[N_FEATURES + k]
    return found


@compiled
def chance(me: Forecast, seen: NDArray[np.float64]) -> float:
    """The probability at these features."""
    return probability(me.learning, odds(me, seen))


@compiled
def usual(me: Forecast) -> float:
    """Mean of its probabilities over about a day: where that is high, a high one is no news."""
    return me.mass / me.steps


@compiled
def note(me: Forecast, time: int, seen: NDArray[np.float64]) -> None:
    """Keep the prediction of a grid point until its outcome is known."""
    fitted = odds(me, seen)
    me.mass = me.mass * _KEEP + probability(me.learning, fitted)
    me.steps = me.steps * _KEEP + 1.0
    remember(me.learning, time, fitted)
