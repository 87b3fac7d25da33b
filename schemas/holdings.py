"""What is known of one position, since when, and what has to be seen twice before it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from schemas.clock import MILLISECOND, MINUTE, SECOND
from schemas.orders import Account


@dataclass(frozen=True, slots=True)
class Trust:
    """For how long reads have to agree before they are believed without fills that account for them. Nanoseconds."""

    first: int = 250 * MILLISECOND
    """Where nothing was known before."""
    unexplained: int = 30 * SECOND
    """Where something else is believed."""
    contradicted: int = 5 * MINUTE
    """The same where the answer contradicts itself."""
    in_use: Decimal = Decimal("0.01")
    """Of the equity, not free though there is no position to need it: an answer like that contradicts itself."""


def contradicts_itself(account: Account, trust: Trust) -> bool:
    """Whether margin is in use although no position is told: the venue knows of one it left out."""
    if account.positions or account.equity is None or account.free_margin is None:
        return False
    return account.equity > 0 and account.equity - account.free_margin > account.equity * trust.in_use


@dataclass(slots=True)
class Holding:
    """The position in one contract, put together from reads and from what the private stream told.

    A read that repeats what is believed makes it fresh. One that differs is believed where the fills account for it;
    else it stays in doubt until every read for a long time has said the same: venues answer zero by mistake. What the
    stream told of a forced close, or follows from our own fills, is believed at once and stands against differing reads
    until queries surely see it. A failed read changes nothing.
    """

    quantity: Decimal | None
    """Signed base units; ``None``: never told. Zero is flat."""
    at: int = 0
    """When a read that confirms it was asked, or when it was told."""
    doubted: tuple[Decimal, int] | None = None
    """What a read said differently, and when it was first asked."""
    told_until: int = 0
    before: int = 0
    """When a read last confirmed what was believed before."""

    def told(self, quantity: Decimal, at: int, visibility: int) -> bool:
        """The stream says how much a forced close left; whether that is news.

        A forced close only makes a position smaller: what says otherwise was overtaken, or follows a lost message.

        :arg visibility: nanoseconds after which queries surely show it.
        """
        if self.quantity is not None and abs(quantity) >= abs(self.quantity):
            return False
        self.before, self.at = self.at, max(at, self.at)
        self.expect(quantity, at, visibility)
        return True

    def expect(self, quantity: Decimal, at: int, visibility: int) -> None:
        """Our own fills leave so much. A read has to say so before it counts as seen."""
        self.quantity, self.doubted = quantity, None
        self.told_until = at + visibility

    def read(
        self, quantity: Decimal, asked: int, accounted: Decimal | None, trust: Trust, *, contradicted: bool = False
    ) -> bool:
        """A complete answer of the venue to a question asked at ``asked``; whether it changed what is believed.

        :arg accounted: what all fills since the beginning leave, where that is known.
        :arg contradicted: whether the answer contradicts itself (``contradicts_itself``).
        """
        if quantity == self.quantity:
            self.at, self.doubted = max(asked, self.at), None
            return False
        if asked < self.told_until:
            return False
        if self.doubted is None or self.doubted[0] != quantity:
            self.doubted = (quantity, asked)
        wait = trust.unexplained if self.quantity is not None else trust.first
        if contradicted and self.quantity and not quantity:
            wait = trust.contradicted
        if quantity != accounted and (asked < self.doubted[1] + wait):
            return False
        self.before = self.at
        self.quantity, self.at, self.doubted = quantity, asked, None
        return True

    def known_since(self, moment: int) -> bool:
        """Whether it was seen to be so at ``moment`` or later, and nothing has spoken against it."""
        return self.quantity is not None and self.at >= moment and self.doubted is None
