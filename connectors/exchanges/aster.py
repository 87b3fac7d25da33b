"""Aster perpetuals, which speak the Binance grammar on hosts of their own.

| channel | what it tells | evidence |
|---|---|---|
| ``!forceOrder@arr`` | forced orders, the latest per symbol and second | vendor docs, a recorded frame |
| ``!markPrice@arr@1s`` | mark, index, running funding rate | vendor docs |
| ``GET openInterest`` (weight 1) | open interest, base coin | answers in practice; not in the vendor's documentation |
| ``GET fundingInfo`` | funding intervals that are not 8 h | vendor docs |
| ``GET exchangeInfo`` | instruments | vendor docs |
| user stream | own orders, with statuses NEW_INSURANCE and NEW_ADL | vendor docs |

SELL is the order that closed a long; ``z`` and ``ap`` are what filled and at which price. ADL is not told publicly.
Rows of the raw trade stream whose ``X`` is not MARKET (INSURANCE_FUND has been seen) are no trades of the book.
The venue pings every 5 minutes, waits 15 for the pong, and cuts each connection at 24 h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from schemas.instruments import Instrument

_DAY = 24 * 3600.0


class Aster(Exchange):
    """USDT-margined contracts; quantities are base coins."""

    venue = "aster"
    title = "Aster"
    coverage = "sampled"
    production = Endpoints("wss://fstream.asterdex.com", "https://fapi.asterdex.com")
    rate_limit = RateLimit(1200, 60.0)
    session_type = ForceOrderSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for all symbols; subscribing is by URL."""
        url = f"{endpoints.websocket}/stream?streams=!forceOrder@arr/!markPrice@arr@1s"
        return (Connection("market", url, lifetime=_DAY, stale_after=360.0, expected_gap=1.0),)

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """Open interest symbol by symbol within half the allowance, funding intervals hourly."""
        every = max(15.0, len(instruments) * 0.1)
        return [
            *(
                Poll("open-interest", Request(f"/fapi/v1/openInterest?symbol={i.instrument}"), every)
                for i in instruments
            ),
            Poll("funding-intervals", Request("/fapi/v3/fundingInfo"), 3600.0),
        ]

    def metadata_requests(self) -> Sequence[Request]:
        """``exchangeInfo``."""
        return (Request("/fapi/v1/exchangeInfo"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of ``exchangeInfo``."""
        return metadata(self.venue, body, "base")

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a SUBSCRIBE."""
        return acknowledgement(frame)


EXCHANGES: tuple[Exchange, ...] = (Aster(),)
