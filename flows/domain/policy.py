"""Which signal does what to a pair. A table, and one function that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from schemas.cascades import LEVELS, Level, Signal
from schemas.clock import SECOND
from schemas.pairs import LegSight, PairSight

Reaction = Literal["nothing", "tighten", "reduce", "close"]
"""``tighten``: positions are read more often. ``reduce``: both legs are made smaller together."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens when. Fractions and nanoseconds."""

    alert: Reaction = "tighten"
    """A cascade of level ALERT in an asset held."""
    critical: Reaction = "tighten"
    """A cascade of level CRITICAL or EXTREME against a leg that is not in danger."""
    critical_danger: Reaction = "reduce"
    """The same against a leg in danger."""
    margin: Reaction = "reduce"
    """A leg in danger, or a margin call, without any cascade."""
    danger: Decimal = Decimal("0.15")
    """In a cascade, a leg nearer to its liquidation price than this fraction of the mark is in danger."""
    margin_danger: Decimal = Decimal("0.05")
    """The same without any cascade."""
    signal_age: int = 5 * SECOND
    """An older signal does nothing."""
    close_age: int = 300 * SECOND
    """A close or reduction not begun so long after its cause is given up."""
    version: str = "1"


def distance(leg: LegSight) -> Decimal | None:
    """Fraction of the mark between it and the liquidation price, negative once past it; ``None`` where unknown."""
    known = leg.known
    if known is None or known.mark_price is None or known.liquidation_price is None or known.mark_price <= 0:
        return None
    away = (known.mark_price - known.liquidation_price) / known.mark_price
    return away if known.quantity > 0 else -away


def in_danger(leg: LegSight, near: Decimal) -> bool:
    """Whether the leg is nearer to its liquidation price than that, or nobody knows the mark.

    A venue that tells the mark and names no liquidation price sees none within reach.
    """
    if not leg.quantity:
        return False
    if leg.known is None or leg.known.mark_price is None:
        return True
    away = distance(leg)
    return away is not None and away < near


def reaction(signal: Signal, pair: PairSight, policy: Policy) -> Reaction:
    """What a signal does to a pair that holds its asset."""
    if pair.now - signal.event_time > policy.signal_age or _rank(signal.level) < _rank("ALERT"):
        return "nothing"
    if _rank(signal.level) < _rank("CRITICAL"):
        return policy.alert
    struck = [leg for leg in pair.legs if _struck(leg, signal)]
    return policy.critical_danger if any(in_danger(leg, policy.danger) for leg in struck) else policy.critical


def _struck(leg: LegSight, signal: Signal) -> bool:
    """Whether the cascade closes positions like this leg's."""
    quantity = leg.quantity if leg.quantity is not None else leg.leg.quantity
    return signal.side == "mixed" or (quantity > 0) == (signal.side == "long")


def _rank(level: Level) -> int:
    return LEVELS.index(level)
