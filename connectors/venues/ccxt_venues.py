"""The venues that are signed for by ccxt, by name, and the secrets each wants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connectors.venues.access import secret
from connectors.venues.ccxt_binance import Binance
from connectors.venues.ccxt_bitfinex import Bitfinex
from connectors.venues.ccxt_bitget import Bitget
from connectors.venues.ccxt_bybit import Bybit
from connectors.venues.ccxt_codec import Credentials
from connectors.venues.ccxt_gate import Gate
from connectors.venues.ccxt_kucoin import Kucoin
from connectors.venues.ccxt_okx import Okx
from connectors.venues.ccxt_venue import CcxtVenue

CCXT_VENUES: dict[str, CcxtVenue] = {
    venue.name: venue for venue in (Binance(), Bybit(), Okx(), Gate(), Bitget(), Kucoin(), Bitfinex())
}
_WITH_PASSPHRASE = frozenset({"okx", "bitget", "kucoin"})


def credentials(name: str, environment: Mapping[str, str], directory: Path | None = None) -> Credentials:
    """The API key of a venue: ``OKX_API_KEY``, ``OKX_API_SECRET`` and, where it has one, ``OKX_API_PASSPHRASE``.

    :arg directory: where files of these names are looked for when the environment does not have them.
    :raises SettingsError: one is missing, or its file may be read by others.
    """

    def told(what: str) -> str:
        return f"{name}_api_{what}".upper()

    return Credentials(
        secret(told("key"), environment, directory),
        secret(told("secret"), environment, directory),
        secret(told("passphrase"), environment, directory) if name in _WITH_PASSPHRASE else None,
    )
