"""What the probability adds to the cost of an event: the same columns through the detector without and with models."""

from __future__ import annotations

import numpy as np

from flows.domain.decays import FEATURES
from flows.domain.detector import Detector
from flows.domain.model import CascadeModel
from flows.domain.rules import Rules
from schemas.cascades import MARKET
from schemas.clock import HOUR, SECOND
from tests.benchmarks.events import batches, names
from tests.benchmarks.figures import Row, Target, cost, middle, row, spread

_ASSETS, _RATE = 300, 20.0
_HORIZONS = (10, 60, 300)
_TARGETS = (MARKET, "A0", "A1", "A2")
"""The market and the three busiest assets: more than half of the events."""


def probability(*, quick: bool) -> list[Row]:
    """Alternating runs of one process; the difference of the medians is what the models cost."""
    events, rounds = (20_000, 1) if quick else (300_000, 5)
    models = tuple(_model(target, horizon * SECOND) for target in _TARGETS for horizon in _HORIZONS)
    _run(20_000, ())
    _run(20_000, models)
    pairs = [(_run(events, ()), _run(events, models)) for _ in range(rounds)]
    bare, whole = [a for a, _ in pairs], [b for _, b in pairs]
    return [
        row("detector without models", middle(bare), "µs per event", spread=spread(bare)),
        row(f"detector with {len(models)} models", middle(whole), "µs per event", spread=spread(whole)),
        row("what the models add", max(middle(b - a for a, b in pairs), 0.0), "µs per event", Target("≤", 1.0)),
    ]


def _run(events: int, models: tuple[CascadeModel, ...]) -> float:
    """Microseconds of CPU time per event."""
    assets = names(_ASSETS)
    fed = list(batches(events, assets, _RATE))
    detector = Detector(Rules(snapshot=0, models=models), assets)
    detector.warm_up()
    return cost(lambda: [detector.process(batch) for batch in fed]).cpu / events * 1e6


def _model(target: str, horizon: int) -> CascadeModel:
    """Every feature used; what it says does not matter here."""
    weights = tuple(np.linspace(-0.1, 0.1, len(FEATURES)).tolist())
    return CascadeModel(
        target=target, horizon=horizon, threshold_usd=1e6, features=FEATURES, mean=(0.0,) * len(FEATURES),
        scale=(1.0,) * len(FEATURES), coefficients=weights, intercept=-4.0, memory=24 * HOUR, base_rate=0.01, l2=1.0,
        fit_from="", fit_to="", fit_times=0, fit_episodes=0, data="none", data_hash="",
    )  # fmt: skip
