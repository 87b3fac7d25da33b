"""Each client against its venue's wire face over loopback sockets, with what the wire of that venue is read by."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from pydantic import SecretStr

from connectors.simulator.trading import Agenda, Depth, Faults, SimulatedVenue, Window, contract_rules, profile
from connectors.simulator.trading.faces.aster import AsterFace
from connectors.simulator.trading.faces.extended import ExtendedFace
from connectors.simulator.trading.faces.hyperliquid import HyperliquidFace
from connectors.simulator.trading.faces.lighter import LighterFace
from connectors.simulator.trading.faces.server import Face
from connectors.simulator.trading.profiles import Latency
from connectors.venues.access import LivePermission, ReadPermission
from connectors.venues.aster import AsterPort
from connectors.venues.extended import ExtendedPort
from connectors.venues.hyperliquid import HyperliquidPort
from connectors.venues.lighter import LighterPort
from connectors.venues.signing import EthKey, StarkKey
from schemas.clock import MILLISECOND, system_clock
from schemas.instruments import Instrument
from schemas.orders import Order, OrderSide, TimeInForce, Unknown, VenuePort

ACCOUNT = "desk"
KEY = SecretStr("0x" + "17" * 32)
STARK = SecretStr("0x" + "17" * 31)
API_KEY = SecretStr("api-" + "17" * 16)
VAULT = 10_001
USER = "0x00000000000000000000000000000000000000aa"
QUICK = Latency(MILLISECOND, MILLISECOND, MILLISECOND, 20 * MILLISECOND, 0, 0.0)


@dataclass(frozen=True)
class Bench:
    """A client, the face it talks to, and how to speak of an order there."""

    name: str
    venue: SimulatedVenue
    face: Any
    port: Any
    symbol: str
    client_id: Callable[[int], str]
    """The n-th id in the venue's spelling."""

    def order(
        self,
        side: OrderSide,
        quantity: str,
        price: str | None = None,
        kind: TimeInForce = "ioc",
        *,
        reduce_only: bool = False,
        number: int = 1,
    ) -> Order:
        return Order(
            venue=self.name,
            instrument=self.symbol,
            side=side,
            quantity=Decimal(quantity),
            price=Decimal(price) if price is not None else None,
            time_in_force=kind,
            reduce_only=reduce_only,
            client_id=self.client_id(number),
        )

    async def send(self, order: Order) -> Any:
        return await self.port.send(self.port.prepare(order, now=system_clock()))


Permit = LivePermission | ReadPermission | None


def engine(name: str, symbol: str, script: tuple[Window, ...]) -> SimulatedVenue:
    style = replace(profile(name), latency=QUICK)
    venue = SimulatedVenue(style, Agenda(system_clock()), seed=5, faults=Faults(name, script=script))
    venue.list(contract_rules(symbol, "ETH", tick="0.1", step="0.001"), Decimal(3000), depth=Depth(usd=60_000))
    venue.open(ACCOUNT, Decimal(10_000))
    return venue


def _aster(venue: SimulatedVenue) -> tuple[Face, Callable[[Face, float, Permit], VenuePort]]:
    face = AsterFace(venue, {EthKey(KEY).address: ACCOUNT})
    known = [Instrument("aster", "ETHUSDT", "ETH", 1.0, "base")]

    def port(face: Face, timeout: float, permit: Permit = None) -> VenuePort:
        return AsterPort(
            face.endpoints, USER, KEY, known, system_clock, timeout=timeout, keep_alive=0.2, permission=permit
        )

    return face, port


def _hyperliquid(venue: SimulatedVenue) -> tuple[Face, Callable[[Face, float, Permit], VenuePort]]:
    face = HyperliquidFace(venue, {EthKey(KEY).address: ACCOUNT}, USER)
    known = [Instrument("hyperliquid", "ETH", "ETH", 1.0, "base", "USD", "USDC", number="0")]

    def port(face: Face, timeout: float, permit: Permit = None) -> VenuePort:
        return HyperliquidPort(face.endpoints, USER, KEY, known, system_clock, timeout=timeout, permission=permit)

    return face, port


def _extended(venue: SimulatedVenue) -> tuple[Face, Callable[[Face, float, Permit], VenuePort]]:
    face = ExtendedFace(venue, {API_KEY.get_secret_value(): (ACCOUNT, StarkKey(STARK).public, VAULT)})
    known = [Instrument("extended", "ETH-USD", "ETH", 1.0, "base", "USD", "USD")]

    def port(face: Face, timeout: float, permit: Permit = None) -> VenuePort:
        return ExtendedPort(
            face.endpoints, API_KEY, STARK, VAULT, known, system_clock, timeout=timeout, permission=permit
        )

    return face, port


class FakeSigner:
    """Stands in for the venue's native signer: a keyed hash, no Lighter signature."""

    def sign(self, kind: int, transaction: dict[str, Any]) -> str:
        return json.dumps({**transaction, "Sig": self._hash(kind, transaction)})

    def token(self, until: int) -> str:
        return f"{until}:{self._hash(0, {'until': until})}"

    def checks(self, kind: int, transaction: dict[str, Any]) -> bool:
        told = dict(transaction)
        return told.pop("Sig") == self._hash(kind, told)

    def opens(self, token: str) -> bool:
        return token == self.token(int(token.partition(":")[0] or 0))

    @staticmethod
    def _hash(kind: int, told: dict[str, Any]) -> str:
        return blake2b(json.dumps([kind, told]).encode(), key=b"fake", digest_size=8).hexdigest()


def fake_signer(account: int, number: int, key: SecretStr) -> FakeSigner:
    """As the setting ``executor.accounts.lighter.signer`` names it."""
    assert (account, key.get_secret_value()) == (77, f"lighter-key-{number}")
    return FakeSigner()


def _lighter(venue: SimulatedVenue) -> tuple[Face, Callable[[Face, float, Permit], VenuePort]]:
    signer = FakeSigner()
    face = LighterFace(venue, (ACCOUNT, 77), signer.checks, signer.opens)
    known = [Instrument("lighter", "ETH", "ETH", 1.0, "base", "USDC", "USDC", number="0")]

    def port(face: Face, timeout: float, permit: Permit = None) -> VenuePort:
        return LighterPort(face.endpoints, 77, 4, signer, known, system_clock, timeout=timeout, permission=permit)

    return face, port


Make = Callable[[SimulatedVenue], tuple[Face, Callable[[Face, float, Permit], VenuePort]]]
VENUES: dict[str, tuple[str, Make, Callable[[int], str]]] = {
    "aster": ("ETHUSDT", _aster, lambda n: f"bw{n}"),
    "extended": ("ETH-USD", _extended, lambda n: f"bw{n}"),
    "lighter": ("ETH", _lighter, str),
    "hyperliquid": ("ETH", _hyperliquid, lambda n: f"0x{n:032x}"),
}


@asynccontextmanager
async def bench(name: str, *script: Window, patience: float = 2.0, permission: Permit = None) -> AsyncIterator[Bench]:
    """A client connected to a fresh simulated venue under those faults."""
    symbol, make, client_id = VENUES[name]
    venue = engine(name, symbol, script)
    face, connect = make(venue)
    async with face:
        port = connect(face, patience, permission)
        try:
            assert not isinstance(await port.rules(symbol), Unknown)
            yield Bench(name, venue, face, port, symbol, client_id)
        finally:
            await port.close()


Story = Callable[[Bench], Awaitable[None]]
