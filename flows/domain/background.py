"""What the market around a leg says: reasons to look more often, words beside a doubt. Never more. Pure.

Open interest falls with every cascade whether or not our leg was in it, and need not fall when it was: whoever takes
the position over may be opening one. Funding is paid for positions the venue knows of, but the ports tell no payments.
So neither confirms that a leg is gone nor that it is there; both say that legs on that side of the venue are in danger.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from schemas.clock import MINUTE
from schemas.records import Funding, OpenInterest

_REFERENCE_HOURS = 8.0


@dataclass(frozen=True, slots=True)
class Unusual:
    """From when on it is worth a closer look. Fractions."""

    fall: float = 0.05
    """Of the open interest of a minute before."""
    funding: float = 0.001
    """Rate per eight hours a leg pays: that side is crowded."""
    move: float = 0.01
    """Between the lowest and the highest mark of a leg within a minute."""
    divergence: float = 0.005
    """Between the marks of two legs."""


class OpenInterests:
    """The last minute of each contract."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], deque[tuple[int, float]]] = {}

    def fall(self, told: OpenInterest) -> float:
        """Fraction by which it lies below the most of the last minute; 0 where only a USD figure is told, which falls
        with the price."""
        if not told.quantity or told.quantity <= 0:
            return 0.0
        lately = self._told.setdefault((told.venue, told.instrument), deque())
        while lately and lately[0][0] < told.receive_time - MINUTE:
            lately.popleft()
        # Only what may still be the most: each smaller one before a larger one is forgotten.
        while lately and lately[-1][1] <= told.quantity:
            lately.pop()
        lately.append((told.receive_time, told.quantity))
        return 1 - told.quantity / lately[0][1]


class Marks:
    """The last minute of each contract."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], deque[tuple[int, float]]] = {}

    def move(self, contract: tuple[str, str], price: float, now: int) -> float:
        """Fraction between the lowest and the highest of the last minute, this one included."""
        lately = self._told.setdefault(contract, deque())
        # A price that stood for long counts until a minute after it was left.
        while len(lately) > 1 and lately[1][0] <= now - MINUTE:
            lately.popleft()
        if not lately or lately[-1][1] != price:
            lately.append((now, price))
        prices = [told for _, told in lately]
        return max(prices) / min(prices) - 1


def paid(funding: Funding, *, long: bool) -> float:
    """Rate per eight hours that a leg on this side pays; negative where it is paid."""
    rate = funding.rate * _REFERENCE_HOURS / funding.interval_hours if funding.interval_hours > 0 else 0.0
    return rate if long else -rate
