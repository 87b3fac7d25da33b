"""Binance USD-M and COIN-M futures.

| channel | what it tells | evidence |
|---|---|---|
| ``!forceOrder@arr``, USD-M on ``/market`` | forced orders, one per symbol and second | vendor docs, recorded frames |
| ``!markPrice@arr@1s``, on COIN-M ``<symbol>@markPrice@1s`` | mark, index, running funding rate | recorded frames |
| ``GET openInterest`` (weight 1) | open interest, base coin or contracts | vendor docs |
| ``GET fundingInfo`` | funding intervals that are not 8 h | vendor docs |
| ``GET exchangeInfo`` | instruments, contract sizes | recorded body of 2021 |
| user stream | own orders: forced ones by client id ``c`` and type ``o`` | vendor docs, a user's log |

The un-routed address still connects and acknowledges and has delivered nothing since 2026-04-23. ADL is not told on
public streams. The venue pings every 3 minutes and cuts each connection at 24 h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    Poll,
    RateLimit,
    Request,
)
from connectors.force_order import ForceOrderSession, acknowledgement, metadata
from connectors.intake import Unit
from schemas.instruments import ContractUnit, Instrument
from schemas.records import Coverage

_DAY = 24 * 3600.0
_STREAMS = 199
"""What one COIN-M connection takes beside the forced orders."""


class _CoinSession(ForceOrderSession):
    """COIN-M counts contracts: 100 USD for BTC, 10 USD for the rest."""

    unit: Unit = "contracts"


class _Binance(Exchange):
    coverage: ClassVar[Coverage] = "sampled"
    rate_limit = RateLimit(1200, 60.0)
    api: ClassVar[str]
    route: ClassVar[str]
    unit: ClassVar[ContractUnit]
    intervals: ClassVar[bool] = False

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket; subscribing is by URL."""
        streams = "/".join(("!forceOrder@arr", *self.marks(instruments)))
        url = f"{endpoints.websocket}{self.route}/stream?streams={streams}"
        return (Connection("market", url, lifetime=_DAY, stale_after=240.0, expected_gap=1.0),)

    def marks(self, instruments: Sequence[Instrument]) -> Sequence[str]:
        """The streams that bring mark prices and funding."""
        return ("!markPrice@arr@1s",)

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """Open interest symbol by symbol, each as often as half the allowance permits, and funding intervals hourly."""
        every = max(15.0, len(instruments) * 0.1)
        found = [
            Poll("open-interest", Request(f"/{self.api}/v1/openInterest?symbol={i.instrument}"), every)
            for i in instruments
        ]
        if self.intervals:
            found.append(Poll("funding-intervals", Request(f"/{self.api}/v1/fundingInfo"), 3600.0))
        return found

    def metadata_requests(self) -> Sequence[Request]:
        """``exchangeInfo``."""
        return (Request(f"/{self.api}/v1/exchangeInfo"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of ``exchangeInfo``."""
        return metadata(self.venue, body, self.unit)

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a SUBSCRIBE."""
        return acknowledgement(frame)


class BinanceUsdM(_Binance):
    """USDT- and USDC-margined contracts; quantities are base coins."""

    venue = "binance_usdm"
    title = "Binance USD-M"
    production = Endpoints("wss://fstream.binance.com", "https://fapi.binance.com")
    session_type = ForceOrderSession
    api = "fapi"
    route = "/market"
    unit: ClassVar[ContractUnit] = "base"
    intervals = True


class BinanceCoinM(_Binance):
    """Coin-margined contracts; quantities are contracts of 100 or 10 USD."""

    venue = "binance_coinm"
    title = "Binance COIN-M"
    production = Endpoints("wss://dstream.binance.com", "https://dapi.binance.com")
    session_type = _CoinSession
    api = "dapi"
    route = ""
    unit: ClassVar[ContractUnit] = "usd"

    def marks(self, instruments: Sequence[Instrument]) -> Sequence[str]:
        """One stream per symbol: this host documents none for all. 200 streams fit one address."""
        return [f"{i.instrument.lower()}@markPrice@1s" for i in instruments[:_STREAMS]]


EXCHANGES: tuple[Exchange, ...] = (BinanceUsdM(), BinanceCoinM())
