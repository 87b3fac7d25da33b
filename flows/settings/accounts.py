"""The desk's accounts: who we are at which venue. Secrets are no settings and stand in no settings file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from flows.settings.values import ADDRESS, Section, is_loopback, listed, unset


def _gateway(text: str) -> str:
    if not text:
        return text
    if not ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is no address: write http://127.0.0.1:8001, without a slash at the end")
    if text.startswith("http:") and not is_loopback(urlsplit(text).hostname or ""):
        raise ValueError(f"{text!r} would send keys over the network in the clear: only https, or this machine")
    return text


def _wallet(text: str) -> str:
    if text and not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ValueError(f"{text!r} is no account: write 0x and 40 hex digits")
    return text


def _signer(text: str) -> str:
    if text and not re.fullmatch(r"\w+(\.\w+)*:\w+|.+\.(so|dylib|dll)", text):
        raise ValueError(f"{text!r} names neither a library, signer.so, nor a function, package.module:function")
    return text


Wallet = Annotated[str, AfterValidator(_wallet)]


class AccountSettings(Section):
    """An account. Its secrets are {NAME}_API_KEY and {NAME}_API_SECRET, of environment or executor.secrets."""

    enabled: bool = False
    """Whether the executor uses it."""
    gateway: Annotated[str, AfterValidator(_gateway)] = ""
    """Where to reach it instead of its own hosts, sockets too, such as http://127.0.0.1:8001."""

    def secrets(self, venue: str) -> tuple[str, ...]:
        """The names of its secrets."""
        return (f"{venue}_API_KEY".upper(), f"{venue}_API_SECRET".upper())

    def missing(self) -> str:
        """The setting without which the account cannot be used, where it is not set; empty: nothing is missing."""
        return ""


class PassphraseAccount(AccountSettings):
    """An account. Its secrets are {NAME}_API_KEY, {NAME}_API_SECRET and {NAME}_API_PASSPHRASE."""

    def secrets(self, venue: str) -> tuple[str, ...]:
        """The names of its secrets."""
        return (*super().secrets(venue), f"{venue}_API_PASSPHRASE".upper())


class AsterAccount(AccountSettings):
    """An account at Aster. Its secret is ASTER_KEY, the private key of an API wallet."""

    user: Wallet = ""
    """Address of the account."""

    def secrets(self, venue: str) -> tuple[str, ...]:  # noqa: ARG002 - as every account
        """The names of its secrets."""
        return ("ASTER_KEY",)

    def missing(self) -> str:
        """See ``AccountSettings``."""
        return "" if self.user else "user"


class HyperliquidAccount(AccountSettings):
    """An account at Hyperliquid. Its secret is HYPERLIQUID_KEY, the private key of an agent wallet."""

    user: Wallet = ""
    """Address of the account the agent trades for."""

    def secrets(self, venue: str) -> tuple[str, ...]:  # noqa: ARG002 - as every account
        """The names of its secrets."""
        return ("HYPERLIQUID_KEY",)

    def missing(self) -> str:
        """See ``AccountSettings``."""
        return "" if self.user else "user"


class ExtendedAccount(AccountSettings):
    """An account at Extended. Its secrets are EXTENDED_API_KEY and EXTENDED_STARK_KEY."""

    vault: Annotated[PositiveInt | None, BeforeValidator(unset)] = None
    """Its number on the chain."""

    def secrets(self, venue: str) -> tuple[str, ...]:  # noqa: ARG002 - as every account
        """The names of its secrets."""
        return ("EXTENDED_API_KEY", "EXTENDED_STARK_KEY")

    def missing(self) -> str:
        """See ``AccountSettings``."""
        return "" if self.vault else "vault"


class LighterAccount(AccountSettings):
    """An account at Lighter. Its secrets are LIGHTER_KEY_4 and LIGHTER_KEY_5, numbered as api_keys."""

    index: Annotated[NonNegativeInt | None, BeforeValidator(unset)] = None
    """Its number."""
    api_keys: Annotated[
        tuple[Annotated[int, Field(ge=2, le=254)], ...], BeforeValidator(listed), Field(min_length=2, max_length=2)
    ] = (4, 5)
    """Two of its API keys: one for what can wait, one for emergencies. Each numbers its transactions by itself."""
    signer: Annotated[str, AfterValidator(_signer)] = ""
    """What signs: the library that comes with the venue's lighter-sdk 1.1.8, such as lighter-signer-linux-amd64.so; or
    package.module:function, which makes a LighterSigner of the account's number, the key's number and the key."""

    def secrets(self, venue: str) -> tuple[str, ...]:  # noqa: ARG002 - as every account
        """The names of its secrets."""
        return tuple(f"LIGHTER_KEY_{number}" for number in self.api_keys)

    def missing(self) -> str:
        """See ``AccountSettings``."""
        return "index" if self.index is None else "" if self.signer else "signer"


class AccountsSettings(Section):
    """The accounts the executor may use with mode shadow and live. Keys must not be allowed to withdraw."""

    aster: AsterAccount = AsterAccount()
    lighter: LighterAccount = LighterAccount()
    extended: ExtendedAccount = ExtendedAccount()
    hyperliquid: HyperliquidAccount = HyperliquidAccount()
    binance_usdm: AccountSettings = AccountSettings()
    bybit: AccountSettings = AccountSettings()
    okx: PassphraseAccount = PassphraseAccount()
    gate: AccountSettings = AccountSettings()
    bitget: PassphraseAccount = PassphraseAccount()
    kucoin: PassphraseAccount = PassphraseAccount()
    bitfinex: AccountSettings = AccountSettings()

    def enabled(self) -> Iterator[tuple[str, AccountSettings]]:
        """Venue and account of those in use."""
        for venue in type(self).model_fields:
            account: AccountSettings = getattr(self, venue)
            if account.enabled:
                yield venue, account
