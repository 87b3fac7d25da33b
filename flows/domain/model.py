"""The calibrated probability: P(liquidated USD in the next ``horizon`` reach ``threshold``), and its recalibration.

A model is a regularised logistic regression on the decayed sums of its target (``flows.domain.decays``); its
coefficients are data, kept in ``models/*.json`` with what they were fitted on. A target without a model has heat and no
probability: ``shipped`` then has nothing for it.

Base rates drift, so two numbers are learnt on from every outcome as it becomes known: offset and slope of the log odds,
by an online Newton step with forgetting, held by a prior to what was fitted. Everything a prediction uses was known
before it; nothing depends on where a batch ends.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flows.domain.constants import NEVER
from flows.domain.decays import FEATURES
from schemas.cascades import MARKET
from schemas.clock import MINUTE, SECOND
from schemas.compiled import compiled
from schemas.errors import UsageError

STEP = 5 * SECOND
"""Predictions to learn from are made every five seconds of event time (multiples of it)."""
PENDING = 128
"""Predictions whose outcome is not known yet; enough for ten minutes of them."""
LONGEST = (PENDING - 8) * STEP
"""The longest horizon."""
_OFFSET_SPREAD, _SLOPE_SPREAD = 0.5, 0.2
"""Prior standard deviations of the two numbers around what was fitted."""
_INDEPENDENT = 0.2
"""What a clustered observation is worth: 1 - n, at a branching ratio of 0.8."""
_EXTREME = 15.0
"""Log odds are kept within this: no probability is 0 or 1."""

MARKET_FEATURES = tuple(f"market_{name}" for name in FEATURES)
"""The same of all assets together, beside an asset's own: what is about to hit one often shows in the others first."""
Weights = NDArray[np.float64]
"""Intercept, then one weight per feature, in units of the features themselves."""


class CascadeModel(Struct, frozen=True, kw_only=True):
    """A fitted model and where it comes from."""

    target: str
    """Asset, or ``*`` for the market."""
    horizon: int
    """Nanoseconds."""
    threshold_usd: float
    features: tuple[str, ...]
    """Which of ``FEATURES`` and, for an asset, of ``MARKET_FEATURES``."""
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    """What the features are standardised by."""
    coefficients: tuple[float, ...]
    """Of the standardised features."""
    intercept: float
    calibration: tuple[float, float] = (0.0, 1.0)
    """Offset and slope of the log odds."""
    memory: int
    """Nanoseconds of judged time after which an outcome has lost all but 1/e of its say in the recalibration; 0 for
    none."""
    base_rate: float
    """Share of fit times with the outcome."""
    l2: float
    fit_from: str
    fit_to: str
    fit_times: int
    fit_episodes: int
    data: str
    """What it was fitted on."""
    data_hash: str

    def __post_init__(self) -> None:
        unknown = sorted(set(self.features) - set(FEATURES) - set(() if self.target == MARKET else MARKET_FEATURES))
        if unknown:
            raise ValueError(f"no such feature: {', '.join(unknown)}")
        if {len(self.features)} != {len(self.mean), len(self.scale), len(self.coefficients)}:
            raise ValueError("features, mean, scale and coefficients differ in number")
        if not 0 < self.horizon <= LONGEST:
            raise ValueError(f"horizon must be up to {LONGEST // SECOND} s")

    @property
    def name(self) -> str:
        """Of its horizon: ``60s``."""
        return f"{self.horizon / SECOND:g}s"

    @property
    def provenance(self) -> str:
        """What it was fitted on, for people."""
        return f"{self.data} ({self.data_hash}), {self.fit_from} to {self.fit_to}"

    def drivers(self, features: NDArray[np.float64]) -> dict[str, float]:
        """What each feature adds to the log odds, against the mean of the fit.

        :arg features: ``FEATURES`` and ``MARKET_FEATURES``.
        """
        standard = zip(self.features, self.mean, self.scale, self.coefficients, strict=True)
        slope, known = self.calibration[1], (*FEATURES, *MARKET_FEATURES)
        return {
            name: float(slope * weight * (features[known.index(name)] - mean) / scale)
            for name, mean, scale, weight in standard
        }

    def weights(self) -> Weights:
        """One weight per ``FEATURES`` (0 for those not used), standardising and calibration folded in."""
        offset, slope = self.calibration
        folded = np.zeros(1 + len(FEATURES))
        folded[0] = self.intercept
        for name, mean, scale, weight in zip(self.features, self.mean, self.scale, self.coefficients, strict=True):
            if name in FEATURES:
                folded[1 + FEATURES.index(name)] = weight / scale
            folded[0] -= weight * mean / scale
        folded *= slope
        folded[0] += offset
        return folded

    def market_weights(self) -> Weights:
        """One weight per ``FEATURES`` read on the market at the same moment, to be added to the log odds; no
        intercept."""
        folded = np.zeros(len(FEATURES))
        for name, scale, weight in zip(self.features, self.scale, self.coefficients, strict=True):
            if name in MARKET_FEATURES:
                folded[MARKET_FEATURES.index(name)] = self.calibration[1] * weight / scale
        return folded

    def recalibration(self) -> NDArray[Any]:
        """One fresh record of ``RECALIBRATION``."""
        made = np.zeros(1, RECALIBRATION)
        made["slope"] = 1.0
        made["centre"] = math.log(self.base_rate / (1.0 - self.base_rate))
        made["weight"] = _INDEPENDENT * min(STEP / self.horizon, 1.0)
        made["keep"] = math.exp(-STEP / self.memory) if self.memory else 1.0
        made["learns"] = self.memory > 0
        made["horizon"] = self.horizon
        return made


def decoded(text: bytes | str) -> CascadeModel:
    """A model out of its JSON.

    :raises UsageError: where it is none.
    """
    try:
        return msgspec.json.decode(text, type=CascadeModel)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"no cascade model: {error}") from error


def encoded(model: CascadeModel) -> bytes:
    """A model as JSON for people and machines."""
    return msgspec.json.format(msgspec.json.encode(model), indent=2) + b"\n"


@cache
def shipped() -> dict[tuple[str, int], CascadeModel]:
    """The models that come with Breakwater by target and horizon; a target not in here has no probability."""
    folder = files("flows.domain") / "models"
    found = [decoded(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {(model.target, model.horizon): model for model in found}


def model_for(target: str, horizon: int = MINUTE) -> CascadeModel | None:
    """The shipped model of a target, or nothing."""
    return shipped().get((target, horizon))


RECALIBRATION = np.dtype(
    [
        ("offset", np.float64),  # added to the log odds
        ("slope", np.float64),  # of the log odds around ``centre``
        ("information", np.float64, (3,)),  # about offset, both, slope: decayed
        ("centre", np.float64),  # log odds of the fitted base rate
        ("weight", np.float64),  # of one outcome: overlapping horizons together are one, and clustered ones tell less
        ("keep", np.float64),  # of what was learnt, from one step to the next
        ("learns", np.bool_),
        ("horizon", np.int64),
        ("first", np.int64),  # oldest prediction pending
        ("last", np.int64),  # one past the newest
        ("time", np.int64, (PENDING,)),
        ("odds", np.float64, (PENDING,)),
    ],
    align=True,
)
Recalibration = Any
"""One record of ``RECALIBRATION``."""


@compiled
def log_odds(weights: NDArray[np.float64], features: NDArray[np.float64]) -> float:
    """The fitted log odds."""
    total = weights[0]
    for k in range(len(features)):
        total += weights[1 + k] * features[k]
    return min(max(total, -_EXTREME), _EXTREME)


@compiled
def probability(me: Recalibration, odds: float) -> float:
    """The fitted log odds, recalibrated, as a probability."""
    return 1.0 / (1.0 + math.exp(-_adjusted(me, odds)))


@compiled
def _adjusted(me: Recalibration, odds: float) -> float:
    moved = me.centre + me.offset + me.slope * (odds - me.centre)
    return min(max(moved, -_EXTREME), _EXTREME)


@compiled
def remember(me: Recalibration, time: int, odds: float) -> None:
    """Keep a prediction made at ``time`` until its outcome is known. Call at multiples of ``STEP`` only."""
    if me.last - me.first == PENDING:
        me.first += 1
    place = me.last % PENDING
    me.time[place] = time
    me.odds[place] = odds
    me.last += 1


@compiled
def due(me: Recalibration, clock: int) -> int:
    """Time of the oldest prediction whose horizon is over at ``clock``; ``NEVER`` where there is none.

    :arg clock: event time up to which everything is known (the newest time less the allowed lateness).
    """
    if me.first < me.last and me.time[me.first % PENDING] + me.horizon <= clock:
        return me.time[me.first % PENDING]
    return NEVER


@compiled
def learn(me: Recalibration, reached: bool) -> None:
    """Learn the outcome of the oldest pending prediction."""
    place = me.first % PENDING
    me.first += 1
    if not me.learns:
        return
    x = min(max(me.odds[place], -_EXTREME), _EXTREME)
    p = 1.0 / (1.0 + math.exp(-_adjusted(me, x)))
    x -= me.centre
    steep = me.weight * p * (1.0 - p)
    for k in range(3):
        me.information[k] *= me.keep
    me.information[0] += steep
    me.information[1] += steep * x
    me.information[2] += steep * x * x
    surprise = me.weight * (reached - p)
    prior = (1.0 / _OFFSET_SPREAD**2, 1.0 / _SLOPE_SPREAD**2)
    lost = 1.0 - me.keep
    # Gradient of the decayed log posterior; that of the past is nought but for what was forgotten of it.
    g0 = surprise - lost * prior[0] * me.offset
    g1 = surprise * x - lost * prior[1] * (me.slope - 1.0)
    a, b, c = prior[0] + me.information[0], me.information[1], prior[1] + me.information[2]
    determinant = a * c - b * b
    me.offset += (c * g0 - b * g1) / determinant
    me.slope += (a * g1 - b * g0) / determinant
    me.slope = max(me.slope, 0.1)


@compiled
def drop_pending(me: Recalibration) -> None:
    """Forget predictions whose outcome will not be known: the recording stopped."""
    me.first = me.last
