"""The numbers the thinking goes by: windows, score scales, levels. A version names them in every signal."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from flows.domain.model import CascadeModel
from schemas.cascades import COMPONENTS, LEVELS, WINDOWS, Level
from schemas.clock import MINUTE, SECOND


@dataclass(frozen=True, slots=True)
class LevelRule:
    """A level is reached when the score, the rate or the probability exceeds these."""

    score: float
    rate: float
    """Events per second."""
    acceleration: float = 0.0
    """Events/s² that must be exceeded together with ``rate``; 0: the rate alone decides."""
    probability: float = 1.0
    """Of the horizon levels go by; 1 is never exceeded."""


_DEFAULT_LEVELS = (
    LevelRule(0.3, 10.0, probability=0.05),
    LevelRule(0.5, 20.0, probability=0.2),
    LevelRule(0.7, 50.0, 20.0, probability=0.5),
    LevelRule(0.9, 100.0, probability=0.8),
)
_DEFAULT_WEIGHTS = (0.25, 0.20, 0.20, 0.15, 0.10, 0.10)


@dataclass(frozen=True, slots=True)
class Rules:
    """How windows become a score and a score becomes a level. All times in nanoseconds."""

    window: str = "2s"
    """The window rates are read on; a key of ``WINDOWS``."""
    lateness: int = 5 * SECOND
    """How much older than the newest known time an event may be and still be scored."""
    delay: int = SECOND // 2
    """A tick moves the clock to its receive time less this."""
    snapshot: int = SECOND
    """Grid on which the windows of assets with new events are told; 0: never."""
    hold: int = 10 * SECOND
    """A level falls when it has not been reached for this long; a cascade closes when the lowest has not."""
    velocity_full: float = 50.0
    """Events/s at which the velocity component is 1."""
    acceleration_full: float = 20.0
    """Events/s² at which the acceleration component is 1."""
    volume_full: float = 5e6
    """USD/s at which the volume component is 1. The 40 worst minutes of 10 October 2025 averaged 2.9 M USD/s."""
    volume_times: float = 100.0
    """Multiple of a slot's usual USD/s at which its volume component is 1, where that is less than the above ..."""
    volume_floor: float = 100_000.0
    """... but never below this many USD/s."""
    capped_event: float = 10.0
    """What an event of a feed that does not tell everything counts for in velocity and acceleration, at most."""
    capped_by_usual: float = 6.0
    """It counts for less the busier the slot usually is: ``capped_event / (1 + this x usual events/s)``, at least 1."""
    venues_full: float = 4.0
    """Effective number of venues (inverse Herfindahl of event counts) at which the cross-venue component is 1."""
    funding_full: float = 0.001
    """Absolute funding per 8 h at which the funding component is 1."""
    open_interest_full: float = 0.05
    """Fall of open interest within 1 or 5 minutes at which the open-interest component is 1."""
    boost_acceleration: float = 20.0
    """Events/s² above which the score is multiplied by ``boost``."""
    boost: float = 1.5
    weights: tuple[float, ...] = _DEFAULT_WEIGHTS
    """In the order of ``COMPONENTS``; sum 1."""
    levels: tuple[LevelRule, ...] = _DEFAULT_LEVELS
    """WATCH, ALERT, CRITICAL, EXTREME."""
    open_level: Level = "ALERT"
    """The level that opens a cascade."""
    models: tuple[CascadeModel, ...] = ()
    """What gives a probability; of two of one target and horizon the later counts."""
    horizon: int = MINUTE
    """That of the probability levels go by."""
    unusual: float = 0.1
    """A probability decides on levels only where it usually (mean of a day) is at most this."""
    version: str = field(init=False)
    """Eight hex digits of everything above."""

    def __post_init__(self) -> None:
        if len(self.weights) != len(COMPONENTS) or abs(sum(self.weights) - 1.0) > 1e-9:
            raise ValueError(f"score weights must be {len(COMPONENTS)} numbers of sum 1, not {self.weights}")
        if self.window not in WINDOWS:
            raise ValueError(f"no window {self.window!r}; choose from {', '.join(WINDOWS)}")
        told = repr([getattr(self, name) for name in self.__slots__ if name != "version"])
        object.__setattr__(self, "version", blake2b(told.encode(), digest_size=4).hexdigest())

    @property
    def span(self) -> int:
        """Length of the signal window in nanoseconds."""
        return WINDOWS[self.window]

    def models_of(self, target: str) -> tuple[CascadeModel, ...]:
        """Its models by rising horizon."""
        found = {model.horizon: model for model in self.models if model.target == target}
        return tuple(found[horizon] for horizon in sorted(found))

    @property
    def open_code(self) -> int:
        """Index of ``open_level`` in ``LEVELS``."""
        return LEVELS.index(self.open_level)

    def parameters(self) -> NDArray[np.float64]:
        """What the score needs, in the order of ``flows.domain.score``'s indices."""
        levels = [
            value for level in self.levels for value in (level.score, level.rate, level.acceleration, level.probability)
        ]
        scales = [
            self.span / SECOND,
            self.velocity_full,
            self.acceleration_full,
            self.volume_full,
            self.venues_full,
            self.funding_full,
            self.open_interest_full,
            self.boost_acceleration,
            self.boost,
            self.volume_floor,
            self.volume_times,
            self.capped_event,
            self.capped_by_usual,
            self.unusual,
        ]
        return np.array([*scales, *self.weights, *levels], np.float64)
