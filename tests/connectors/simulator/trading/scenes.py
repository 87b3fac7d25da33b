"""A venue with one contract and an account, and the orders the tests send it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from connectors.simulator.trading import (
    Agenda,
    Depth,
    Faults,
    Profile,
    SimulatedVenue,
    contract_rules,
    profile,
)
from connectors.simulator.trading.profiles import Latency
from schemas.clock import SECOND
from schemas.orders import Order, OrderSide, TimeInForce

START = 1_760_000_000 * SECOND
ETH = "ETHUSD"


def instant(name: str) -> Profile:
    """The venue of that name without any delay."""
    return replace(profile(name), latency=Latency(0, 0, 0, 0, 0, 0.0))


def open_venue(
    agenda: Agenda,
    name: str = "aster",
    *,
    style: Profile | None = None,
    faults: Faults | None = None,
    seed: int = 1,
    usd: float = 20_000.0,
    accounts: Sequence[str] = ("desk",),
    insurance: str = "1000000",
) -> SimulatedVenue:
    """ETH at 3000 with ``usd`` at each best price; every account has 10,000 USD."""
    chosen = style or instant(name)
    venue = SimulatedVenue(chosen, agenda, seed=seed, faults=faults, insurance=Decimal(insurance))
    venue.list(contract_rules(ETH, "ETH"), Decimal(3000), depth=Depth(usd=usd))
    for account in accounts:
        venue.open(account, Decimal(10_000))
    return venue


def order(
    side: OrderSide,
    quantity: str,
    price: str | None = None,
    kind: TimeInForce = "ioc",
    *,
    reduce_only: bool = False,
    client_id: str = "a",
    venue: str = "aster",
) -> Order:
    """An order for ETH."""
    return Order(
        venue=venue,
        instrument=ETH,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price) if price is not None else None,
        time_in_force=kind,
        reduce_only=reduce_only,
        client_id=client_id,
    )
