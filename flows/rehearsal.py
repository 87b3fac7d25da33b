"""``breakwater executor rehearse``: two venues on this machine where a desk holds a pair, to practise on.

They speak their venues' dialects over loopback, verify signatures and refuse undocumented fields. Keys are made up at
each start and good for nothing else.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path

from pydantic import SecretStr

from connectors.simulator.trading import Agenda, SimulatedVenue, contract_rules, profile
from connectors.simulator.trading.faces.aster import AsterFace
from connectors.simulator.trading.faces.extended import ExtendedFace
from connectors.simulator.trading.faces.hyperliquid import HyperliquidFace
from connectors.simulator.trading.faces.server import Face
from connectors.venues.signing import EthKey, StarkKey
from schemas.clock import Clock
from schemas.errors import UsageError

_ASSET, _MARK, _HELD, _USD = "ETH", Decimal(3000), Decimal(1), Decimal(1000)
_ACCOUNT = "rehearsal"
_VAULT = 10_001
SAY = "liquidate VENUE SHARE, mark PRICE, positions"
"""What can be said to it."""


def _aster(venue: SimulatedVenue) -> tuple[Face, dict[str, str], dict[str, str]]:
    key, user = f"0x{secrets.token_hex(32)}", f"0x{secrets.token_hex(20)}"
    return AsterFace(venue, {EthKey(SecretStr(key)).address: _ACCOUNT}), {"USER": user}, {"ASTER_KEY": key}


def _hyperliquid(venue: SimulatedVenue) -> tuple[Face, dict[str, str], dict[str, str]]:
    key, user = f"0x{secrets.token_hex(32)}", f"0x{secrets.token_hex(20)}"
    face = HyperliquidFace(venue, {EthKey(SecretStr(key)).address: _ACCOUNT}, user)
    return face, {"USER": user}, {"HYPERLIQUID_KEY": key}


def _extended(venue: SimulatedVenue) -> tuple[Face, dict[str, str], dict[str, str]]:
    api_key, stark = secrets.token_hex(16), f"0x{secrets.token_hex(31)}"
    face = ExtendedFace(venue, {api_key: (_ACCOUNT, StarkKey(SecretStr(stark)).public, _VAULT)})
    return face, {"VAULT": str(_VAULT)}, {"EXTENDED_API_KEY": api_key, "EXTENDED_STARK_KEY": stark}


_MAKERS: Mapping[str, tuple[str, Callable[[SimulatedVenue], tuple[Face, dict[str, str], dict[str, str]]]]] = {
    "aster": ("ETHUSDT", _aster),
    "extended": ("ETH-USD", _extended),
    "hyperliquid": ("ETH", _hyperliquid),
}
"""Contract and dialect; Lighter's signer is its venue's alone."""


class Rehearsal:
    """Long at the first venue, short at the second.

    :raises UsageError: not two different venues of those there are.
    :raises ExtraMissing: what signs is not installed.
    """

    def __init__(self, first: str, second: str, clock: Clock) -> None:
        if first == second or not {first, second} <= _MAKERS.keys():
            raise UsageError(f"choose two of {', '.join(_MAKERS)}")
        self.contracts = {name: _MAKERS[name][0] for name in (first, second)}
        self.venues: dict[str, SimulatedVenue] = {}
        self._faces: dict[str, Face] = {}
        self._environment: dict[str, str] = {}
        for (name, instrument), sign in zip(self.contracts.items(), (1, -1), strict=True):
            self.venues[name] = venue = SimulatedVenue(profile(name), Agenda(clock()))
            venue.list(contract_rules(instrument, _ASSET, tick="0.1", step="0.001"), _MARK)
            venue.open(_ACCOUNT, _USD)
            venue.grant(_ACCOUNT, instrument, _HELD * sign)
            self._faces[name], said, kept = _MAKERS[name][1](venue)
            self._environment |= kept | {f"{_prefix(name)}{key}": value for key, value in said.items()}

    def environment(self) -> dict[str, str]:
        """Settings and keys with which the executor finds these accounts, once the venues are open."""
        found = {
            "BREAKWATER_DATA_DIR": "data/rehearsal",
            "BREAKWATER_EXECUTOR__MODE": "live",
            "BREAKWATER_EXECUTOR__LIMITS__ORDER_USD": "5000",
            "BREAKWATER_EXECUTOR__LIMITS__TOTAL_USD": "5000",
        }
        for name, face in self._faces.items():
            found |= {f"{_prefix(name)}ENABLED": "true", f"{_prefix(name)}GATEWAY": face.endpoints.rest}
        return found | self._environment

    async def run(self, file: Path, next_line: Callable[[], str], say: Callable[[str], None]) -> None:
        """Until there are no more lines.

        :arg file: where the environment is written, readable by its owner alone.
        """
        async with AsyncExitStack() as stack:
            for face in self._faces.values():
                await stack.enter_async_context(face)
            _write(file, self.environment())
            say(f"{self.positions()}; {file} says how they are found. Say: {SAY}")
            while line := await asyncio.to_thread(next_line):
                if line.strip():
                    say(self.obey(line))

    def obey(self, line: str) -> str:
        """What came of a line."""
        for face in self._faces.values():
            face.catch_up()
        try:
            match line.split():
                case ["liquidate", name, share] if name in self.venues and 0 < Decimal(share) <= 1:
                    taken = self.venues[name].liquidate(_ACCOUNT, self.contracts[name], Decimal(share))
                    return f"{taken:f} taken; {self.positions()}"
                case ["mark", price] if Decimal(price) > 0:
                    for name, venue in self.venues.items():
                        venue.set_mark(self.contracts[name], Decimal(price))
                    return f"marks {Decimal(price):f}; {self.positions()}"
                case ["positions"]:
                    return self.positions()
        except InvalidOperation:
            pass
        return f"not understood; say: {SAY}"

    def positions(self) -> str:
        """What the accounts hold."""
        held = {name: self.venues[name].ledger.wallets[_ACCOUNT].quantity(c) for name, c in self.contracts.items()}
        return ", ".join(f"{name} holds {held[name]:f} {self.contracts[name]}" for name in held)


def _prefix(venue: str) -> str:
    return f"BREAKWATER_EXECUTOR__ACCOUNTS__{venue.upper()}__"


def _write(file: Path, environment: Mapping[str, str]) -> None:
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in environment.items())
