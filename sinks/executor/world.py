"""What the executor knows of venues and contracts beyond its journal. Forgotten at the end of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from schemas.holdings import Holding, Trust, contradicts_itself
from schemas.orders import Account, Book, Capabilities, ContractRules, Flat, Known, Unknown, VenuePort
from sinks.executor.budget import Budget
from sinks.executor.steps import LegKey


@dataclass(slots=True)
class Venue:
    """One account at one venue, and how it has been answering."""

    port: VenuePort
    """For polls, streams and everything that can wait."""
    lane: VenuePort
    """For emergencies: a connection, and a nonce, of its own."""
    budget: Budget
    equity: Decimal | None = None
    peak: Decimal = Decimal(0)
    free_margin: Decimal | None = None
    failing_since: int | None = None
    failures: int = 0
    """Orders in a row that came to nothing good."""
    speaking: bool = False
    """Whether the private stream is known to speak."""
    kept_at: int = 0
    """When its account was last written down."""
    history_from: int = 0
    """Fills before then are all known."""

    @property
    def caps(self) -> Capabilities:
        """What the venue offers."""
        return self.port.capabilities

    @property
    def drawdown(self) -> Decimal:
        """Fraction of the highest equity seen that is lost."""
        return max(Decimal(0), 1 - self.equity / self.peak) if self.equity is not None and self.peak else Decimal(0)

    def answered(self, now: int, *, well: bool) -> None:
        """Whether the last question was answered in a way that helps."""
        if well:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now


@dataclass(slots=True)
class Contract:
    """What is known of one contract."""

    holding: Holding
    rules: ContractRules | None = None
    book: Book | None = None
    book_at: int = 0
    read_at: int = 0
    not_before: int = 0
    known: Known | None = None
    known_at: int = 0
    refusing_since: int | None = None
    """Since when orders come to nothing."""


@dataclass(slots=True)
class World:
    """Venues by name, contracts by venue and instrument."""

    venues: dict[str, Venue]
    contracts: dict[LegKey, Contract] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)

    def contract(self, key: LegKey, ledger: Decimal | None = None) -> Contract:
        """What is known of a contract; at first, that the ledger says so, long ago."""
        if key not in self.contracts:
            self.contracts[key] = Contract(Holding(ledger))
        return self.contracts[key]

    def account_read(
        self, venue: str, account: Account | Unknown, asked: int, accounted: Callable[[LegKey], Decimal | None]
    ) -> list[LegKey]:
        """Take an answer in; the contracts whose position is believed to have changed by it.

        A failed read changes nothing that is believed.

        :arg accounted: what all fills leave of a contract, where that is known.
        """
        at = self.venues[venue]
        ours = [(key, contract) for key, contract in self.contracts.items() if key[0] == venue]
        for _, contract in ours:
            contract.read_at = max(asked, contract.read_at)
        at.answered(asked, well=not isinstance(account, Unknown))
        if isinstance(account, Unknown):
            return []
        at.equity, at.free_margin = account.equity, account.free_margin
        at.peak = max(at.peak, account.equity or Decimal(0))
        changed, contradicted = [], contradicts_itself(account, self.trust)
        for key, contract in ours:
            position = account.position(key[1])
            contract.known, contract.known_at = position if isinstance(position, Known) else None, asked
            quantity = Decimal(0) if isinstance(position, Flat) else position.quantity
            if contract.holding.read(quantity, asked, accounted(key), self.trust, contradicted=contradicted):
                changed.append(key)
        return changed

    def doubtful(self, venue: str) -> list[LegKey]:
        """Contracts of a venue whose last reads disagree with what is believed."""
        return [key for key, contract in self.contracts.items() if key[0] == venue and contract.holding.doubted]
