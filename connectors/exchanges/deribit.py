"""Deribit futures and perpetuals.

| channel | what it tells | evidence |
|---|---|---|
| ``trades.<instrument>.100ms`` | every trade; ``liquidation`` marks who was liquidated | vendor docs, recorded frames |
| ``ticker.<instrument>.100ms`` | mark, index, open interest, running funding | recorded frames |
| ``GET public/get_last_trades_by_instrument`` | the same trades, flag included: backfill | vendor docs |

``direction`` is the **taker's** side and ``liquidation`` says whose order was forced: ``T`` the taker's, ``M`` the
maker's, ``MT`` both, which is two liquidations in one trade. So T + sell closed a long, and M + buy closed a long as
well (the maker sold). ``amount`` is USD on inverse contracts (``BTC-PERPETUAL``) and base coins on linear ones
(``BTC_USDC-PERPETUAL``); it is read as such, whatever the contract size. Price is the fill. ``current_funding`` is the
running 8-hour rate, paid continuously. ADL is not told. Options are no perpetuals and are ignored. The venue closes a
socket that does not answer ``test_request``. A flagged trade was documented, not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, Unit, terms, text_key
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument
from schemas.records import Position

_CHANNELS = 400
"""Subscriptions of one connection; the venue allows 500."""
_HOURS = 8.0
_POSITIONS: tuple[Position, ...] = ("long", "short")
_UNITS: tuple[Unit, ...] = ("base", "quote")
_TERMS = {(p, u): terms(p, "fill", u) for p in _POSITIONS for u in _UNITS}
_CLOSED: dict[tuple[str, str], tuple[tuple[str, Position], ...]] = {
    ("T", "sell"): (("T", "long"),),
    ("T", "buy"): (("T", "short"),),
    ("M", "sell"): (("M", "short"),),
    ("M", "buy"): (("M", "long"),),
    ("MT", "sell"): (("T", "long"), ("M", "short")),
    ("MT", "buy"): (("T", "short"), ("M", "long")),
}
"""Flag and taker side -> which party was liquidated in which position."""
_TAKER: dict[str, Literal["buy", "sell"]] = {"buy": "buy", "sell": "sell"}


class _Trade(Struct, gc=False):
    """``{"trade_id":"9001","timestamp":1790000000000,"price":61250.5,"amount":40.0,"direction":"sell",
    "instrument_name":"BTC-PERPETUAL","contracts":4.0,"liquidation":"T",…}``.
    """

    trade_id: str
    timestamp: int
    price: float
    amount: float
    direction: str
    instrument_name: str
    liquidation: str = ""


class _Params(Struct, gc=False):
    channel: str
    data: list[_Trade]


class _Notice(Struct, gc=False):
    """``{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[…]}}``."""

    params: _Params


_notice = msgspec.json.Decoder(_Notice, strict=False).decode
_any = msgspec.json.Decoder().decode


class _Session(Session):
    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            params = _notice(payload).params
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if params.data and params.channel.startswith("trades."):
            self.each(params.data, self._traded)
        else:
            self.intake.control("ignored", f"{params.channel}: no trades")

    def _traded(self, trade: _Trade, backfill: int = 0) -> None:
        symbol = trade.instrument_name
        if _is_option(symbol):
            self.intake.control("ignored", f"option trade {symbol}")
            return
        unit, time = _unit(symbol), trade.timestamp * MILLISECOND
        if not trade.liquidation:
            self.intake.trade(
                symbol, _TAKER[trade.direction], trade.price, trade.amount, unit, time, trade.trade_id,
                backfill=backfill != 0,
            )  # fmt: skip
            return
        for party, position in _CLOSED[trade.liquidation, trade.direction]:
            key = text_key(f"{trade.trade_id}:{party}")
            self.intake.forced_close(symbol, _TERMS[position, unit] | backfill, trade.price, trade.amount, time, key)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"method": "subscription", "params": {"channel": str(channel), "data": data}}:
                self._told(channel, data)
            case {"method": "heartbeat", "params": {"type": "test_request"}}:
                self.intake.control("ping", "test_request")
            case {"method": "heartbeat"}:
                self.intake.control("heartbeat")
            case {"error": {"message": reason}}:
                self.intake.control("refused", str(reason))
            case {"result": {"trades": list(trades)}}:
                self._read_trades(trades, BACKFILL)
            case {"result": [{"instrument_name": _, "contract_size": _}, *_] as rows}:
                self.intake.control("metadata", f"{len(rows)} instruments")
            case {"result": {"version": _}}:
                self.intake.control("pong")
            case {"result": list() | "ok"}:
                self.intake.control("ack")
            case {"trade_id": _, "direction": _}:
                self._read_trades([body], 0)
            case _:
                raise ValueError("no frame of this venue")

    def _told(self, channel: str, data: Any) -> None:
        match channel.split(".", 1)[0]:
            case "trades":
                self._read_trades(data, 0)
            case "ticker":
                self._ticker(data)
            case _:
                self.intake.control("ignored", f"channel {channel}")

    def _read_trades(self, trades: list[Any], backfill: int) -> None:
        if not trades:
            self.intake.control("ignored", "no trades")
        self.each(trades, lambda trade: self._traded(msgspec.convert(trade, _Trade, strict=False), backfill))

    def _ticker(self, ticker: dict[str, Any]) -> None:
        symbol, time = ticker["instrument_name"], int(ticker["timestamp"]) * MILLISECOND
        if _is_option(symbol):
            self.intake.control("ignored", f"option ticker {symbol}")
            return
        index = ticker.get("index_price")
        self.intake.mark_price(
            symbol, float(ticker["mark_price"]), time, index_price=float(index) if index is not None else None
        )
        self.intake.open_interest(symbol, float(ticker["open_interest"]), _unit(symbol), time)
        if (rate := ticker.get("current_funding")) is not None:
            self.intake.funding(symbol, float(rate), _HOURS, time)


def _unit(symbol: str) -> Unit:
    """What ``amount`` counts: a linear contract names its quote (``SOL_USDC-PERPETUAL``)."""
    return "base" if "_" in symbol else "quote"


def _is_option(symbol: str) -> bool:
    return symbol.endswith(("-C", "-P"))


class Deribit(Exchange):
    """Inverse contracts, counted in USD, and USDC-linear ones, counted in base coins."""

    venue = "deribit"
    title = "Deribit"
    coverage = "complete"
    production = Endpoints("wss://www.deribit.com", "https://www.deribit.com")
    rate_limit = RateLimit(5, 1.0)
    session_type = _Session

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """Trades and tickers of every instrument, as many to a socket as the venue allows."""
        half = _CHANNELS // 2
        groups = [instruments[start : start + half] for start in range(0, len(instruments), half)]
        return tuple(
            Connection(
                f"trades-{number + 1}" if number else "trades",
                f"{endpoints.websocket}/ws/api/v2",
                (_call(0, "public/set_heartbeat", {"interval": 30}), *_subscribe(group)),
                2,
            )
            for number, group in enumerate(groups)
        )

    def metadata_requests(self) -> Sequence[Request]:
        """Every future and perpetual of every currency."""
        return (Request("/api/v2/public/get_instruments?currency=any&kind=future&expired=false"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """``amount`` counts USD or coins, so the contract size is 1 whatever the venue's lot is."""
        for row in _any(body)["result"]:
            if row["kind"] != "future":
                continue
            symbol, quote = row["instrument_name"], row["quote_currency"]
            unit: Literal["base", "usd"] = "base" if _unit(symbol) == "base" else "usd"
            yield Instrument(
                self.venue, symbol, row["base_currency"], 1.0, unit, quote,
                row.get("settlement_currency", quote), float(row["tick_size"]),
            )  # fmt: skip

    def reply(self, frame: bytes) -> str | None:
        """``public/test`` to a ``test_request``."""
        if len(frame) < 200 and b'"test_request"' in frame:
            return _call(1, "public/test", {})
        return None

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """The channels subscribed; an empty list means that none of them exists."""
        if b'"method"' in frame[:60]:
            return None
        match _any(frame):
            case {"error": {"message": reason}}:
                return Denied(str(reason))
            case {"id": int(number), "result": list(channels)} if number >= _FIRST:
                return Acknowledged() if channels else Denied("no such channel")
        return None


_FIRST = 10
"""Id of the first subscription; smaller ones are heartbeats."""


def _subscribe(instruments: Sequence[Instrument]) -> tuple[str, ...]:
    return tuple(
        _call(_FIRST + number, "public/subscribe", {"channels": [f"{c}.{i.instrument}.100ms" for i in instruments]})
        for number, c in enumerate(("trades", "ticker"))
    )


def _call(number: int, method: str, params: dict[str, Any]) -> str:
    call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return msgspec.json.encode(call).decode()


EXCHANGES: tuple[Exchange, ...] = (Deribit(),)
