"""Two-venue positions, what may be done at all, and what a check says: words of the executor and of the risk gate.

Quantities are signed base units (positive is long), money is USD, both ``Decimal``; times are nanoseconds UTC.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from schemas.orders import IntentKind, Known, Order

ControlState = Literal["ACTIVE", "REDUCE_ONLY", "HALTED"]
"""``REDUCE_ONLY``: nothing that adds risk is sent. ``HALTED``: only emergencies are, and cancels."""
Mode = Literal["off", "paper", "shadow", "live"]
"""``shadow``: real data, decisions are recorded and no order is sent."""

HintKind = Literal["alert", "urgent", "closed"]
"""``alert``: positions are read more often. ``urgent``: as often as is affordable. ``closed``: no risk is added."""

CONTROL_STATES: tuple[ControlState, ...] = ("ACTIVE", "REDUCE_ONLY", "HALTED")


class Leg(Struct, frozen=True, kw_only=True):
    """One side of a pair, as the ledger has it."""

    venue: str
    instrument: str
    quantity: Decimal
    entry_price: Decimal | None = None
    """USD per base unit; without it no profit is told."""


class Pair(Struct, frozen=True, kw_only=True):
    """A position of two legs meant to cancel out. An instrument of a venue belongs to one living pair at most."""

    pair: str
    asset: str
    legs: tuple[Leg, Leg]
    opened: int
    episode: int = 0
    """Raised whenever something was done about the pair, so that what happens next is a case of its own."""
    closed: int | None = None
    reason: str = ""
    """Why it was closed, such as ``LIQUIDATION_LIGHTER``."""
    pnl: Decimal | None = None
    """Realised, fees taken off; ``None`` while open, or where an entry price or a fill is missing."""
    dust: Decimal = Decimal(0)
    """Net quantity left because no order can be that small."""

    def leg(self, venue: str, instrument: str) -> Leg | None:
        """The leg of that contract, where it is one of this pair."""
        return next((leg for leg in self.legs if (leg.venue, leg.instrument) == (venue, instrument)), None)

    def other(self, leg: Leg) -> Leg:
        """The leg opposite."""
        return self.legs[1] if self.legs[0] is leg else self.legs[0]


class Hint(Struct, frozen=True, kw_only=True):
    """Why a venue is to be watched more closely for a while. Never a reason to trade."""

    venue: str
    what: HintKind
    source: str
    """Who says so; what one source says of a venue replaces what it said before."""
    until: int
    reason: str


class Proposal(Struct, frozen=True, kw_only=True):
    """An order on its way to the wire, with everything a check needs to know."""

    order: Order
    intent: IntentKind
    root: str = ""
    """Id of the intent that began the case."""
    intent_created: int
    emergency: bool
    """Makes a broken book safe; of those the reduce-only ones pass whatever stops the rest."""
    mark_price: Decimal | None
    mark_time: int
    pair_notional: Decimal
    """USD of the pair's own orders that add risk, this one left out."""
    total_notional: Decimal
    """USD likewise, of everything."""
    equity: Decimal | None
    """USD of the account at the order's venue."""
    free_margin: Decimal | None
    drawdown: Decimal
    """Fraction of the highest equity lost."""
    failures: int
    """Orders failed at this venue since the last that did not."""
    control: ControlState
    now: int
    closed: str = ""
    """Why no risk is to be added at the venue now; empty where nothing speaks against it."""


class Approved(Struct, frozen=True):
    """The only thing that is sent."""

    order: Order


class Refused(Struct, frozen=True):
    """Why an order is not sent."""

    rule: str
    detail: str


Verdict = Approved | Refused


class LegSight(Struct, frozen=True, kw_only=True):
    """A leg as far as it can be seen now."""

    leg: Leg
    quantity: Decimal | None
    """Believed to be held; ``None``: never told."""
    at: int
    """When that was last seen to be so."""
    before: int = 0
    """When something else was last seen: the change lies between."""
    expected: Decimal
    """What the ledger and our own fills say should be held."""
    known: Known | None
    """The venue's last words about the position, prices included."""
    reachable: bool
    """Whether the venue answers and its stream speaks; where not, nothing follows from what is believed."""


class PairSight(Struct, frozen=True, kw_only=True):
    """A pair as far as it can be seen now."""

    pair: Pair
    legs: tuple[LegSight, LegSight]
    working: IntentKind | None
    """What is being done about it."""
    now: int
