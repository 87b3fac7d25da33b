"""The desk's accounts as ports: who we are at which venue, by which secrets, and what may leave."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from connectors.exchange import Endpoints
from connectors.exchanges import exchange
from connectors.venues.access import AccountModes, LivePermission, ReadPermission, secret, secret_origin
from connectors.venues.aster import AsterPort
from connectors.venues.ccxt_port import CcxtPort
from connectors.venues.ccxt_venue import Market
from connectors.venues.ccxt_venues import CCXT_VENUES, credentials
from connectors.venues.extended import ExtendedPort
from connectors.venues.extended_wire import StarkMarket
from connectors.venues.hyperliquid import HyperliquidPort
from connectors.venues.lighter import LighterPort
from connectors.venues.lighter_keys import Learned
from connectors.venues.lighter_native import NativeSigner, load
from connectors.venues.lighter_wire import LighterSigner
from flows.settings import ExecutorSettings
from flows.settings.accounts import (
    AccountSettings,
    AsterAccount,
    ExtendedAccount,
    HyperliquidAccount,
    LighterAccount,
)
from schemas.clock import Clock
from schemas.errors import SettingsError
from schemas.instruments import Instrument
from schemas.orders import Unknown, VenuePort


class DeskPort(VenuePort, Protocol):
    """A port that also tells what the account and its key are set to."""

    async def modes(self) -> AccountModes | Unknown:
        """What the venue tells of them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What it takes to make the ports of one account."""

    venue: str
    account: AccountSettings
    secret: Callable[[str], SecretStr]
    permission: LivePermission | ReadPermission
    clock: Clock

    @property
    def endpoints(self) -> Endpoints:
        """The venue's own hosts, or those of the gateway."""
        return endpoints(self.venue, self.account)


def endpoints(venue: str, account: AccountSettings) -> Endpoints:
    """Where an account is reached."""
    if account.gateway:
        return Endpoints(f"ws{account.gateway.removeprefix('http')}", account.gateway)
    return CCXT_VENUES[venue].production if venue in CCXT_VENUES else exchange(venue).production


def accounts(settings: ExecutorSettings) -> dict[str, AccountSettings]:
    """Those in use, by venue.

    :raises SettingsError: one lacks what it cannot be used without.
    """
    found = dict(settings.accounts.enabled())
    for venue, account in found.items():
        if lacks := account.missing():
            raise SettingsError(f"executor.accounts.{venue} is enabled without {lacks}: set it, or enabled = false")
    return found


def secret_origins(settings: ExecutorSettings, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Of each secret of the accounts in use, where it comes from, or ``missing: `` and why."""
    return {
        name: secret_origin(name, environment, settings.secrets)
        for venue, account in settings.accounts.enabled()
        for name in account.secrets(venue)
    }


def opening(
    settings: ExecutorSettings,
    venue: str,
    permission: LivePermission | ReadPermission,
    clock: Clock,
    environment: Mapping[str, str] = os.environ,
) -> Opening:
    """How the account at a venue is opened; reads its secrets when the ports are made."""

    def told(name: str) -> SecretStr:
        return secret(name, environment, settings.secrets)

    return Opening(venue, accounts(settings)[venue], told, permission, clock)


def ports(opened: Opening, contracts: Sequence[Instrument] | Sequence[Market]) -> list[DeskPort]:
    """Two connections to the account: one for what can wait, one for emergencies.

    :arg contracts: those that may be traded: markets for the venues ccxt signs for, instruments for the others.
    :raises SettingsError: a secret is missing, lies open, or is no key.
    :raises ExtraMissing: what signs is not installed.
    """
    made: Any = _MAKERS.get(opened.venue, _ccxt)
    try:
        two: list[DeskPort] = made(opened, contracts)
    except SettingsError as error:
        raise SettingsError(f"account at {opened.venue}: {error}") from None
    return two


def _aster(opened: Opening, contracts: Sequence[Instrument]) -> list[DeskPort]:
    said = opened.account
    assert isinstance(said, AsterAccount)  # noqa: S101 - the table below pairs them
    key = opened.secret("ASTER_KEY")
    return [
        AsterPort(opened.endpoints, said.user, key, contracts, opened.clock, permission=opened.permission)
        for _ in range(2)
    ]


def _hyperliquid(opened: Opening, contracts: Sequence[Instrument]) -> list[DeskPort]:
    said = opened.account
    assert isinstance(said, HyperliquidAccount)  # noqa: S101 - as above
    key = opened.secret("HYPERLIQUID_KEY")
    return [
        HyperliquidPort(opened.endpoints, said.user, key, contracts, opened.clock, permission=opened.permission)
        for _ in range(2)
    ]


def _extended(opened: Opening, contracts: Sequence[Instrument]) -> list[DeskPort]:
    said = opened.account
    assert isinstance(said, ExtendedAccount)  # noqa: S101 - as above
    api_key, stark = opened.secret("EXTENDED_API_KEY"), opened.secret("EXTENDED_STARK_KEY")
    known: dict[str, StarkMarket] = {}
    return [
        ExtendedPort(
            opened.endpoints,
            api_key,
            stark,
            said.vault or 0,
            contracts,
            opened.clock,
            permission=opened.permission,
            markets=known,
        )
        for _ in range(2)
    ]


def _lighter(opened: Opening, contracts: Sequence[Instrument]) -> list[DeskPort]:
    said = opened.account
    assert isinstance(said, LighterAccount)  # noqa: S101 - as above
    known = Learned()
    return [
        LighterPort(
            opened.endpoints,
            said.index or 0,
            number,
            _signer(said, number, opened.secret(f"LIGHTER_KEY_{number}")),
            contracts,
            opened.clock,
            permission=opened.permission,
            learned=known,
        )
        for number in said.api_keys
    ]


def _signer(said: LighterAccount, number: int, key: SecretStr) -> LighterSigner:
    if said.signer.endswith((".so", ".dylib", ".dll")):
        return NativeSigner(load(Path(said.signer)), said.index or 0, number, key)
    module, _, name = said.signer.partition(":")
    try:
        factory: Callable[[int, int, SecretStr], LighterSigner] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"signer {said.signer}: {type(error).__name__}: {error}") from None
    return factory(said.index or 0, number, key)


def _ccxt(opened: Opening, contracts: Sequence[Market]) -> list[DeskPort]:
    venue = CCXT_VENUES[opened.venue]
    named = {name: opened.secret(name).get_secret_value() for name in opened.account.secrets(opened.venue)}
    keys = credentials(opened.venue, named)
    return [
        CcxtPort(venue, opened.endpoints, keys, contracts, opened.clock, permission=opened.permission) for _ in range(2)
    ]


_MAKERS: Mapping[str, Callable[[Opening, Sequence[Instrument]], list[DeskPort]]] = {
    "aster": _aster,
    "hyperliquid": _hyperliquid,
    "extended": _extended,
    "lighter": _lighter,
}
