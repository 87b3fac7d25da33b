"""When an asset is at which level, and what a cascade is."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, model_validator

from flows.settings.values import Duration, Section, Share, listed, read_duration
from schemas.cascades import COMPONENTS


class WeightSettings(Section):
    """How much each part of the score counts. They sum to 1; those of missing contexts are spread over the rest."""

    velocity: Share = 0.25
    """Share of 1."""
    acceleration: Share = 0.20
    """Share of 1."""
    volume: Share = 0.20
    """Share of 1."""
    cross_venue: Share = 0.15
    """Share of 1."""
    funding: Share = 0.10
    """Share of 1."""
    open_interest: Share = 0.10
    """Share of 1."""

    @model_validator(mode="after")
    def _whole(self) -> WeightSettings:
        total = sum(self.by_component().values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights sum to {total:g}, not 1")
        return self

    def by_component(self) -> dict[str, float]:
        """Weight by name, in the order of ``schemas.cascades.COMPONENTS``."""
        return {name: getattr(self, name) for name in COMPONENTS}


class ScoreSettings(Section):
    """The values at which each part of the score is full (1)."""

    velocity: PositiveFloat = 50.0
    """Forced closes per second."""
    acceleration: PositiveFloat = 20.0
    """Forced closes per second, per second."""
    usd_per_second: PositiveFloat = 5_000_000.0
    """Forcibly closed USD per second, at most; of an asset less, if that is much for it:"""
    usd_times_usual: PositiveFloat = 100.0
    """this many times its usual USD per second (of the last half hour) ..."""
    usd_at_least: PositiveFloat = 100_000.0
    """... but not less USD per second than this."""
    capped_event: Annotated[float, Field(ge=1)] = 10.0
    """What an event of a feed that does not tell everything (one message per symbol and second) counts for in velocity
    and acceleration, at most ..."""
    capped_by_usual: NonNegativeFloat = 6.0
    """... divided by 1 + this x the usual events per second (of the last half hour), but at least 1."""
    funding: PositiveFloat = 0.001
    """Absolute funding rate per 8 hours (0.001 is 0.1 %)."""
    open_interest: PositiveFloat = 0.05
    """Loss of open interest as a fraction of it (0.05 is 5 %)."""
    boost_acceleration: PositiveFloat = 20.0
    """Acceleration (events/s²) above which the score is multiplied by ``boost``."""
    boost: Annotated[float, Field(ge=1)] = 1.5
    """Times, no unit; the score stays at most 1."""
    weights: WeightSettings = WeightSettings()


class LevelRule(Section):
    """A level is reached by the score alone, by the rate alone or by the probability alone."""

    score: Share
    """Reached above this score, 0 to 1 ..."""
    rate: PositiveFloat
    """... or above this many forced closes per second ..."""
    acceleration: NonNegativeFloat = 0.0
    """... if they also accelerate by more than this (events/s²); 0: the rate alone suffices ..."""
    probability: Share = 1.0
    """... or above this probability of the horizon levels go by; 1: never."""


class LevelSettings(Section):
    """When an asset is at which level."""

    window: Literal["100ms", "500ms", "2s", "10s", "60s", "5m"] = "2s"
    """The trailing window rates are read on."""
    hold: Duration = read_duration("10s")
    """A level must be missed for this long before it falls."""
    watch: LevelRule = LevelRule(score=0.3, rate=10, probability=0.05)
    alert: LevelRule = LevelRule(score=0.5, rate=20, probability=0.2)
    critical: LevelRule = LevelRule(score=0.7, rate=50, acceleration=20, probability=0.5)
    extreme: LevelRule = LevelRule(score=0.9, rate=100, probability=0.8)

    @model_validator(mode="after")
    def _rising(self) -> LevelSettings:
        rules = [self.watch, self.alert, self.critical, self.extreme]
        for name in ("score", "rate", "probability"):
            if any(getattr(low, name) > getattr(high, name) for low, high in pairwise(rules)):
                raise ValueError(f"{name} must not fall from watch over alert and critical to extreme")
        return self


class ProbabilitySettings(Section):
    """P(the USD forcibly closed within a horizon reach a threshold), where there is a model for it."""

    shipped: bool = True
    """Whether the models that come with Breakwater are used."""
    models: Annotated[tuple[Path, ...], BeforeValidator(listed)] = ()
    """Model files of breakwater fit; of two for one target and horizon the later counts, each before a shipped one."""
    horizon: Annotated[Duration, Field(gt=0)] = read_duration("60s")
    """That of the probability levels go by."""
    unusual: Share = 0.1
    """A probability decides on levels only where its mean of a day is at most this: what is usual is no alarm."""


class CascadeSettings(Section):
    """The life of a cascade."""

    open_level: Literal["WATCH", "ALERT", "CRITICAL", "EXTREME"] = "ALERT"
    """A cascade opens at this level and closes when the level is back at NONE."""
