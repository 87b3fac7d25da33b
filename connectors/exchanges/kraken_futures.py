"""Kraken Futures (formerly Crypto Facilities).

| channel | what it tells | evidence |
|---|---|---|
| ``trade`` | every trade; ``type`` ``liquidation`` marks forced ones | vendor docs, recorded frames (fills) |
| ``trade_snapshot`` | the last 100 trades of a product on subscribe, newest first: backfill | recorded frames |
| ``ticker`` | mark, index, open interest, funding | vendor docs |
| ``heartbeat`` | that the socket lives | vendor docs |
| ``ticker_lite`` | best prices only: known and ignored | recorded frames |

``side`` is the taker's, and the taker is who was liquidated: ``sell`` closed a long. ``uid`` names the trade in the
snapshot and live alike. ``qty`` is USD on ``PI_``/``FI_`` and base coins on ``PF_``/``FF_``. The rate is
``relative_funding_rate``, a fraction per hour; ``funding_rate`` is an **absolute** amount per contract and is not read.
Types ``assignment``, ``termination`` and ``block`` are transfers beside the book; whose position they end is not
documented, so they are controls, not events. ADL is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from connectors.exchange import Acknowledged, Connection, Denied, Endpoints, Exchange, RateLimit, Request, Session
from connectors.intake import BACKFILL, Unit, terms, text_key
from schemas.clock import MILLISECOND
from schemas.instruments import ContractUnit, Instrument
from schemas.records import Position

_HOURS = 1.0
_PRODUCTS = 100
"""Products named in one subscription message."""
_UNITS: dict[str, Unit] = {"PI_": "quote", "FI_": "quote", "PF_": "base", "FF_": "base"}
"""Product prefix -> what its quantities count: USD or base coins."""
_TAKER: dict[str, tuple[Literal["buy", "sell"], Position]] = {"sell": ("sell", "long"), "buy": ("buy", "short")}
_CLOSED = {
    (side, unit): terms(position, "fill", unit)
    for side, (_, position) in _TAKER.items()
    for unit in ("quote", "base", "contracts")
}


class _Trade(Struct, gc=False):
    """``{"feed":"trade","product_id":"PF_SOLUSD","uid":"…","side":"sell","type":"liquidation","seq":12,
    "time":1790000000000,"qty":25.5,"price":171.25}``.
    """

    product_id: str
    uid: str
    side: str
    type: str
    time: int
    qty: float
    price: float
    feed: str = ""


_trade = msgspec.json.Decoder(_Trade, strict=False).decode
_any = msgspec.json.Decoder().decode


class _Session(Session):
    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            trade = _trade(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if trade.feed == "trade":
            self._traded(trade)
        else:
            self._read_other(_any(payload))

    def _traded(self, trade: _Trade, backfill: int = 0) -> None:
        symbol, time = trade.product_id, trade.time * MILLISECOND
        unit = _UNITS.get(symbol[:3], "contracts")
        match trade.type:
            case "liquidation":
                closed = _CLOSED[trade.side, unit] | backfill
                self.intake.forced_close(symbol, closed, trade.price, trade.qty, time, text_key(trade.uid))
            case "fill":
                taker = _TAKER[trade.side][0]
                self.intake.trade(symbol, taker, trade.price, trade.qty, unit, time, trade.uid, backfill=backfill != 0)
            case "assignment" | "termination" | "block":
                self.intake.control("ignored", f"{symbol}: {trade.type}, no trade of the book")
            case other:
                raise ValueError(f"no trade type {other!r} is known")

    def _read_other(self, body: Any) -> None:
        match body:
            case {"feed": "trade_snapshot", "trades": list(trades)} | {"result": "success", "history": list(trades)}:
                self._replayed(trades)
            case {"feed": "ticker", "product_id": str(symbol)}:
                self._ticker(symbol, body)
            case {"event": str(event)}:
                self._event(event, body)
            case {"feed": "heartbeat"}:
                self.intake.control("heartbeat")
            case {"feed": "ticker_lite" | "book" | "book_snapshot" as feed}:
                self.intake.control("ignored", f"feed {feed}")
            case {"result": "success", "instruments": list(rows)}:
                self.intake.control("metadata", f"{len(rows)} instruments")
            case {"result": "error", "error": reason}:
                self.intake.control("refused", str(reason))
            case _:
                raise ValueError("no frame of this venue")

    def _replayed(self, trades: list[Any]) -> None:
        if not trades:
            self.intake.control("ignored", "no trades to replay")
        self.each(trades, lambda trade: self._traded(msgspec.convert(trade, _Trade, strict=False), BACKFILL))

    def _ticker(self, symbol: str, ticker: dict[str, Any]) -> None:
        time = int(ticker["time"]) * MILLISECOND
        index = ticker.get("index")
        self.intake.mark_price(
            symbol, float(ticker["markPrice"]), time, index_price=float(index) if index is not None else None
        )
        unit = _UNITS.get(symbol[:3], "contracts")
        self.intake.open_interest(symbol, float(ticker["openInterest"]), unit, time)
        if (rate := ticker.get("relative_funding_rate")) is not None:
            following = ticker.get("next_funding_rate_time")
            next_time = int(following) * MILLISECOND if following else None
            self.intake.funding(symbol, float(rate), _HOURS, time, next_time=next_time)

    def _event(self, event: str, body: dict[str, Any]) -> None:
        match event:
            case "subscribed" | "unsubscribed":
                self.intake.control("ack", f"{body.get('feed')} {body.get('product_ids', '')}")
            case "info" | "challenge":
                self.intake.control("welcome", event)
            case "pong":
                self.intake.control("pong")
            case "subscribed_failed" | "unsubscribed_failed" | "error" | "alert":
                self.intake.control("refused", str(body.get("message", event)))
            case _:
                raise ValueError(f"no event {event!r} is known")


class KrakenFutures(Exchange):
    """Inverse (USD contracts) and flexible (base coins) products."""

    venue = "kraken_futures"
    title = "Kraken Futures"
    coverage = "complete"
    production = Endpoints("wss://futures.kraken.com", "https://futures.kraken.com")
    rate_limit = RateLimit(50, 10.0)
    session_type = _Session

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for all products. The venue answers per product, so each message is answered at least once."""
        names = [i.instrument for i in instruments]
        messages = ['{"event":"subscribe","feed":"heartbeat"}']
        for start in range(0, len(names), _PRODUCTS):
            products = msgspec.json.encode(names[start : start + _PRODUCTS]).decode()
            messages += [
                f'{{"event":"subscribe","feed":"{feed}","product_ids":{products}}}' for feed in ("trade", "ticker")
            ]
        url = f"{endpoints.websocket}/ws/v1"
        return (Connection("trades", url, tuple(messages), len(messages), stale_after=60.0, expected_gap=1.0),)

    def metadata_requests(self) -> Sequence[Request]:
        """Every listed product."""
        return (Request("/derivatives/api/v3/instruments"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every tradeable product; indices and options are left out. Old answers write symbols in lower case."""
        for row in _any(body)["instruments"]:
            symbol = str(row["symbol"]).upper()
            if symbol[:3] not in _UNITS or not row.get("tradeable", True):
                continue
            unit: ContractUnit = "usd" if _UNITS[symbol[:3]] == "quote" else "base"
            asset = symbol.split("_")[1].removesuffix("USD")
            settle = asset if unit == "usd" else "USD"
            tick = row.get("tickSize")
            yield Instrument(
                self.venue, symbol, asset, float(row.get("contractSize") or 1), unit, "USD", settle,
                float(tick) if tick else None,
            )  # fmt: skip

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """``subscribed`` is yes; errors and alerts are no."""
        if b'"event"' not in frame[:40]:
            return None
        match _any(frame):
            case {"event": "subscribed"}:
                return Acknowledged()
            case {"event": "subscribed_failed" | "error" | "alert", **rest}:
                return Denied(str(rest.get("message", rest)))
        return None


EXCHANGES: tuple[Exchange, ...] = (KrakenFutures(),)
