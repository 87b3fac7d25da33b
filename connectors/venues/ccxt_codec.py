"""ccxt as a signer and nothing else: what it would have sent is taken from it, looked over and handed back.

Its clients add broker ids to orders, sign approvals, ask the account's mode and load every market on the way to the
first order. Here each client is given its markets, has no way out (``fetch`` hands the signed request back instead of
sending it), and what it made of an order must be exactly the fields the venue's table has for that order. A release
that adds a field, a header or a request is refused before anything is journalled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
from pydantic import SecretStr

from connectors.venues.ccxt_venue import Ask, CcxtVenue, Market
from connectors.venues.transport import plain
from schemas.clock import MICROSECOND, MILLISECOND, SECOND
from schemas.errors import ExtraMissing, UsageError
from schemas.orders import Order

VERSION = "4.5.90"
"""The release whose wire was looked at. Another one may add fees: its wire must be looked at first."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account's API key is made of; ``passphrase`` where the venue has one."""

    key: SecretStr
    secret: SecretStr
    passphrase: SecretStr | None = None


class Signed(NamedTuple):
    """A request as it goes over the wire, without the headers that hold a credential."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    nonce: int | None


class _Captured(Exception):
    """Not an error: carries the signed request out of ccxt."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__("captured")
        self.request = request


class _Mute:
    """Goes before a ccxt client: its clock is ours, its numbers are ours, and it cannot send."""

    breakwater_now = 0
    breakwater_nonce = 0

    def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Where ccxt would send."""
        raise _Captured({"url": url, "method": method, "headers": headers, "body": body})

    def milliseconds(self) -> int:
        """Their clock."""
        return self.breakwater_now // MILLISECOND

    def seconds(self) -> int:
        """Their clock."""
        return self.breakwater_now // SECOND

    def amount_to_precision(self, symbol: str, amount: Any) -> str:  # noqa: ARG002 - ccxt's signature
        """Quantities come rounded and leave as they came."""
        return plain(Decimal(str(amount)))

    def price_to_precision(self, symbol: str, price: Any) -> str:  # noqa: ARG002 - ccxt's signature
        """Prices come rounded to our side and leave as they came."""
        return plain(Decimal(str(price)))


class _MuteCounting(_Mute):
    """Of a venue that wants each nonce larger than the last."""

    def nonce(self) -> int:
        """Microseconds, never the same twice."""
        self.breakwater_nonce = max(self.breakwater_nonce + 1, self.breakwater_now // MICROSECOND)
        return self.breakwater_nonce


class Codec:
    """Signs for one account at one venue.

    :raises ExtraMissing: ccxt is not installed.
    :raises UsageError: another release of it is.
    """

    def __init__(self, venue: CcxtVenue, credentials: Credentials, markets: Sequence[Market]) -> None:
        self._venue = venue
        ccxt = _ccxt()
        self._refusal: type[Exception] = ccxt.BaseError
        self._client = _client(ccxt, venue, credentials)
        self._client.set_markets([_unified(market, venue) for market in markets])
        self._credentials: dict[str, SecretStr] = {}
        # Signing anything shows what the credential headers of this account hold.
        self.signed(venue.balance(markets)[0], now=0)

    def __repr__(self) -> str:
        return f"Codec({self._venue.ccxt_id})"

    @property
    def credential_headers(self) -> dict[str, str]:
        """What identifies the account, for the moment of sending."""
        return {name: value.get_secret_value() for name, value in self._credentials.items()}

    def signed(self, ask: Ask, *, now: int) -> Signed:
        """A request of ours with ccxt's signature.

        :raises UsageError: ccxt put something into it that the venue's table does not have.
        """
        self._client.breakwater_now = now
        made = self._client.sign(ask.path, list(ask.api), ask.method, dict(ask.fields))
        return self._looked_over(made)

    def order(self, order: Order, market: Market, *, now: int) -> Signed:
        """An order as ccxt makes it, if it says what was ordered and nothing else.

        :raises UsageError: it does not, or it wanted to ask or send something else first.
        """
        venue = self._venue
        contracts = venue.contracts(order, market)
        self._client.breakwater_now = now
        extra = venue.order_options(order)
        kind = "market" if order.price is None else "limit"
        try:
            self._client.create_order(venue.symbol(market), kind, order.side, contracts, order.price, extra)
        except _Captured as captured:
            made = self._looked_over(captured.request)
        except self._refusal as error:
            raise UsageError(f"ccxt {venue.ccxt_id} refuses to make an order: {error}") from error
        else:
            raise UsageError(f"ccxt {venue.ccxt_id} made no request of an order: {order}")
        if (made.method, made.path) != ("POST", venue.order_path):
            raise UsageError(f"ccxt {venue.ccxt_id} wants {made.method} {made.path} instead of placing an order")
        said, wanted = _fields(made.body), venue.order_fields(order, market)
        said = {name: value for name, value in said.items() if name not in venue.signing_fields}
        if said != wanted:
            differ = {k: (said.get(k), wanted.get(k)) for k in said.keys() | wanted if said.get(k) != wanted.get(k)}
            raise UsageError(f"ccxt {venue.ccxt_id} says (theirs, ours) {differ} in an order: it is not sent")
        return made._replace(headers=made.headers + venue.order_headers(now))

    def _looked_over(self, made: dict[str, Any]) -> Signed:
        venue = self._venue
        headers: Mapping[str, Any] = {k: v for k, v in (made["headers"] or {}).items() if k not in venue.stripped}
        strange = headers.keys() - venue.headers - venue.credentials
        if strange:
            raise UsageError(f"ccxt {venue.ccxt_id} adds headers {sorted(strange)}: it is not sent")
        self._credentials |= {name: SecretStr(headers[name]) for name in headers.keys() & venue.credentials}
        url = urlsplit(made["url"])
        path = f"{url.path}?{url.query}" if url.query else url.path
        body = (made["body"] or "").encode()
        public = tuple((name, str(value)) for name, value in headers.items() if name not in venue.credentials)
        return Signed(made["method"], path, public, body, self._client.breakwater_nonce or None)


def _ccxt() -> Any:
    try:
        ccxt: Any = import_module("ccxt")  # a second of import and 80 MB: only for who trades there
    except ImportError as error:
        raise ExtraMissing("ccxt", "live") from error
    if ccxt.__version__ != VERSION:
        raise UsageError(f"ccxt is {ccxt.__version__}, only {VERSION} was looked at: pip install ccxt=={VERSION}")
    return ccxt


def _client(ccxt: Any, venue: CcxtVenue, credentials: Credentials) -> Any:
    mute = _MuteCounting if venue.counts else _Mute
    kind = type(f"Mute{venue.ccxt_id.title()}", (mute, getattr(ccxt, venue.ccxt_id)), {})
    return kind(
        {
            "apiKey": credentials.key.get_secret_value(),
            "secret": credentials.secret.get_secret_value(),
            "password": credentials.passphrase.get_secret_value() if credentials.passphrase else None,
            "enableRateLimit": False,
            "options": dict(venue.options),
        }
    )


def _unified(market: Market, venue: CcxtVenue) -> dict[str, Any]:
    """What ccxt would have loaded of a market, as far as placing an order reads it."""
    rules = market.rules
    return {
        "id": rules.instrument, "symbol": venue.symbol(market), "type": "swap",
        "base": rules.asset, "baseId": rules.asset, "quote": market.quote, "quoteId": market.quote,
        "settle": market.settle, "settleId": venue.settle_id(market),
        "spot": False, "margin": False, "swap": True, "future": False, "option": False,
        "contract": True, "linear": True, "inverse": False, "active": True,
        "contractSize": float(market.contract),
        "precision": {"amount": rules.step / market.contract, "price": rules.tick},
        "limits": {name: {} for name in ("amount", "price", "cost", "leverage")},
        "taker": 0, "maker": 0, "info": {"orderTypes": ["LIMIT", "MARKET"]},
    }  # fmt: skip


def _fields(body: bytes) -> dict[str, Any]:
    if body.startswith(b"{"):
        found = msgspec.json.decode(body)
        return dict(found)
    return dict(parse_qsl(body.decode(), keep_blank_values=True))
