"""How each venue behaves, as data: its rules, fees, tiers, liquidation style and speed.

What the vendors document is in ``Capabilities``; a figure marked *assumed* nobody has confirmed, and every one of them
is a field here so that a test can turn it. ``dataclasses.replace`` makes a variant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import msgspec

from connectors.venues.capabilities import ASTER, EXTENDED, HYPERLIQUID, LIGHTER
from schemas.clock import HOUR, MILLISECOND, MINUTE, SECOND
from schemas.orders import Capabilities

NonceRule = Literal["none", "sequential", "window"]
"""``sequential``: exactly one more than the last. ``window``: unused, near the venue's clock, among the newest."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Margin of the part of a position's notional up to ``cap``."""

    cap: Decimal | None
    """USD; ``None`` for the last."""
    maintenance: Decimal
    """Fraction of notional."""
    leverage: Decimal
    """Highest allowed."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Nanoseconds each hop takes; ``jitter`` adds up to that share, ``tail`` is the chance of ten times it."""

    request: int = 5 * MILLISECOND
    answer: int = 5 * MILLISECOND
    stream: int = 8 * MILLISECOND
    visibility: int = 100 * MILLISECOND
    """Until a query shows what happened; below what ``Capabilities`` promise."""
    taker: int = 0
    """Held back before a taker order is matched."""
    jitter: float = 0.2
    tail: float = 0.0


@dataclass(frozen=True, slots=True)
class Nonces:
    """Which nonces are taken."""

    rule: NonceRule = "none"
    unit: int = MILLISECOND
    """Nanoseconds one of a window's nonces stands for."""
    behind: int = 10 * SECOND
    ahead: int = 10 * SECOND
    kept: int = 100
    """How many of the newest are remembered; older ones are refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a venue bears, and what it does about more."""

    per_minute: int = 1200
    ban_after: int = 20
    """Refused requests within a minute that make it a ban (418)."""
    ban: int = 2 * MINUTE


@dataclass(frozen=True, slots=True)
class Liquidating:
    """How an account in danger is taken down."""

    call: Decimal = Decimal("1.25")
    """Margin is called when equity is below maintenance times this."""
    partial_above: Decimal = Decimal(25_000)
    """USD of notional from which the first steps are partial."""
    partial_share: Decimal = Decimal("0.25")
    backstop: Decimal = Decimal("0.6667")
    """Below maintenance times this the insurance fund takes over what the book does not."""
    fee: Decimal = Decimal("0.005")
    """Fraction of notional, to the insurance fund, from what equity is left."""
    pause: int = 2 * SECOND
    """Between two steps."""


_TIERS = (
    Tier(Decimal(100_000), Decimal("0.01"), Decimal(50)),
    Tier(Decimal(1_000_000), Decimal("0.02"), Decimal(25)),
    Tier(None, Decimal("0.05"), Decimal(10)),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One venue."""

    capabilities: Capabilities
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    tiers: tuple[Tier, ...] = _TIERS
    latency: Latency = Latency()
    nonces: Nonces = Nonces()
    limits: Limits = Limits()
    liquidating: Liquidating = field(default_factory=Liquidating)
    price_band: Decimal = Decimal("0.10")
    """An order's price may be off the mark by this fraction against itself; beyond it is refused."""
    reduce_only_min_notional: bool = False
    """Whether the smallest notional is asked of reduce-only orders too."""
    marks_forced: bool = True
    """Whether a fill of our account says that it was forced; if not, its cause is unknown."""
    asynchronous: bool = False
    """Whether the answer to an order only says that it was taken in: what became of it, a refusal for the sake of
    position, margin or post-only included, is told on the stream."""
    heartbeat: int = 5 * SECOND
    """After this long without a frame a reader calls the stream silent."""

    @property
    def venue(self) -> str:
        """Its identifier."""
        return self.capabilities.venue


PROFILES: dict[str, Profile] = {
    "aster": Profile(ASTER, nonces=Nonces("window", unit=1_000)),
    "lighter": Profile(
        LIGHTER,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        nonces=Nonces("sequential"),
        latency=Latency(taker=300 * MILLISECOND),
        limits=Limits(per_minute=60),
        price_band=Decimal("0.05"),
        asynchronous=True,
    ),
    "extended": Profile(EXTENDED, maker_fee=Decimal(0), taker_fee=Decimal("0.00025"), limits=Limits(per_minute=1000)),
    "hyperliquid": Profile(
        HYPERLIQUID,
        maker_fee=Decimal("0.00015"),
        taker_fee=Decimal("0.00045"),
        nonces=Nonces("window", behind=48 * HOUR, ahead=24 * HOUR),
    ),
}
"""The four venues this desk trades on."""


def profile(venue: str) -> Profile:
    """The profile of ``venue``; a venue without one of its own behaves like the Binance family."""
    known = PROFILES.get(venue)
    if known is not None:
        return known
    return Profile(msgspec.structs.replace(ASTER, venue=venue, fence="none", validity=2 * SECOND))
