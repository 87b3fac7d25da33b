"""Lighter.

| channel | what it tells | evidence |
|---|---|---|
| ``trade/{market id}`` | ``trades`` and, apart from them, ``liquidation_trades`` | recorded frames, vendor docs |
| ``market_stats/all`` | mark, index, funding, open interest | recorded frames |
| ``GET funding-rates`` | funding of this and other venues | recorded body |
| ``GET orderBookDetails`` | instruments, open interest | vendor docs |
| ``notification/{account}`` | own liquidations and deleverages | vendor docs |

Only ``liquidation_trades`` has the forced closes: a reader of ``trades`` misses all of them. The liquidated account is
the taker, so ``is_maker_ask`` false (the taker sold) closed a long; 15 of 15 recorded ones agree in fee, client id and
sign of ``taker_position_size_before``. For ``deleverage`` the same reading is ours, not yet seen recorded.

Units differ between the two faces of the venue. Open interest is QUOTE notional on the socket and base coins on REST;
funding is PERCENT per hour on the socket and a fraction per 8 h on REST (both by exact arithmetic on recorded data).
``subscribed/trade`` replays old trades, liquidations among them days old: backfill. Frames name markets by number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct, convert

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    Heartbeat,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, VenueIntake, terms
from schemas.clock import MILLISECOND, SECOND
from schemas.instruments import Instrument

_SUBSCRIPTIONS = 100
"""Markets per connection."""
_PERCENT = 0.01
_FIRST_MILLISECONDS = 10**11
"""Below this a time stamp counts seconds: the documentation of notifications does not say which it is."""


class _Trade(Struct, gc=False):
    """``{"trade_id":41,"type":"liquidation","market_id":2,"size":"12.5","price":"140.2","is_maker_ask":false,
    "timestamp":1790000000123,"taker_position_size_before":"12.5","ask_account_id":7,…}``.
    """

    trade_id: int
    type: str
    market_id: int
    size: float
    price: float
    is_maker_ask: bool
    timestamp: int


class _Frame(Struct, gc=False):
    """``{"type":"update/trade","channel":"trade:2","trades":[…],"liquidation_trades":[…],"nonce":9}``."""

    type: str = ""
    channel: str = ""
    trades: list[_Trade] | None = None
    liquidation_trades: list[_Trade] | None = None


class _Loose(Struct, gc=False):
    type: str = ""
    channel: str = ""
    trades: list[Any] | None = None
    liquidation_trades: list[Any] | None = None


class _Stats(Struct, gc=False):
    """``{"market_id":2,"mark_price":"140.1","index_price":"140.2","open_interest":"5000000.5",
    "current_funding_rate":"0.0012","funding_rate":"0.0010","funding_timestamp":1790000000004,…}``.
    """

    market_id: int
    mark_price: float
    open_interest: float
    index_price: float | None = None
    current_funding_rate: float | None = None
    funding_rate: float | None = None
    funding_timestamp: int = 0


class _Notice(Struct, gc=False):
    """``content`` of a notification: ``{"id":"5","is_ask":true,"usdc_amount":"1400","size":"10","market_index":2,
    "price":"140","timestamp":1790000000123,"avg_price":"140.1"}``.
    """

    id: str
    is_ask: bool
    size: float
    market_index: int
    price: float
    timestamp: int
    avg_price: float = 0.0


class _Kind(Struct, gc=False):
    type: str = ""
    error: Any = None


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode
_kind = msgspec.json.Decoder(_Kind, strict=False).decode

_FORCED = {
    ("liquidation", False): terms("long", "fill", "base"),
    ("liquidation", True): terms("short", "fill", "base"),
    ("deleverage", False): terms("long", "fill", "base", "adl"),
    ("deleverage", True): terms("short", "fill", "base", "adl"),
}
_UNUSED = (
    "account_", "bbo", "candle", "height", "mark_price_candle", "order_book", "pool_", "spot_market_stats", "ticker",
    "transaction", "user_stats",
)  # fmt: skip
"""How the names of channels nothing here needs begin."""


class LighterSession(Session):
    """Reads trades and market statistics of the socket, and REST bodies."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._symbols: dict[int, str] = {}
        self._paid: dict[str, int] = {}
        """When each market's last told settled funding was paid, as sent."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if frame.trades is None and frame.liquidation_trades is None:
            self._read_other(_any(payload))
            return
        replayed = self._replayed(frame.type, frame.channel)
        forced, ordinary = frame.liquidation_trades or (), frame.trades or ()
        if not (forced or ordinary or replayed):
            self.intake.control("ignored", "no trades")
        for trade in forced:
            self._traded(trade, replayed)
        for trade in ordinary:
            self._traded(trade, replayed)

    def _replayed(self, kind: str, channel: str) -> bool:
        if kind.startswith("subscribed/"):
            self.intake.control("ack", channel)
            return True
        return False

    def _symbol(self, market: int) -> str:
        known = self._symbols.get(market)
        if known is None:
            known = self.intake.instrument_of(str(market))
            if known is None:
                return f"market {market}"
            self._symbols[market] = known
        return known

    def _traded(self, trade: _Trade, replayed: bool) -> None:
        symbol = self._symbol(trade.market_id)
        time = trade.timestamp * MILLISECOND
        forced = _FORCED.get((trade.type, trade.is_maker_ask))
        if forced is not None:
            code = forced | BACKFILL * replayed
            self.intake.forced_close(symbol, code, trade.price, trade.size, time, trade.trade_id)
        elif trade.type == "trade":
            taker: Literal["buy", "sell"] = "buy" if trade.is_maker_ask else "sell"
            number = str(trade.trade_id)
            self.intake.trade(symbol, taker, trade.price, trade.size, "base", time, number, backfill=replayed)
        else:
            self.intake.reject(f"{symbol}: trade {trade.trade_id} is of the unknown type {trade.type!r}")

    def _traded_row(self, replayed: bool, row: Any) -> None:
        self._traded(convert(row, _Trade, strict=False), replayed)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"trades": _} | {"liquidation_trades": _}:
                frame = convert(body, _Loose, strict=False)
                read = partial(self._traded_row, self._replayed(frame.type, frame.channel))
                self.each([*(frame.liquidation_trades or ()), *(frame.trades or ())], read)
            case {"market_stats": stats, "type": str(kind), "channel": str(channel)}:
                self._replayed(kind, channel)
                rows = [stats] if "market_id" in stats else list(stats.values())
                self.each(rows, partial(self._statistics, int(body.get("timestamp", 0)) * MILLISECOND))
            case {"trade_id": _, "market_id": _, "is_maker_ask": _}:
                self._traded_row(False, body)
            case {"funding_rates": list(rows)}:
                self.each([row for row in rows if row["exchange"] == "lighter"], self._rate)
            case {"order_book_details": list(rows)}:
                self.intake.control("metadata", f"{len(rows)} instruments")
                self.each(rows, self._details)
            case {"notifs": list(rows)}:
                self.each(rows, self._notified)
            case {"type": str(kind)}:
                self._control(kind, str(body.get("channel", "")))
            case {"error": error}:
                self.intake.control("refused", str(error))
            case _:
                raise ValueError(f"no frame of this venue is {str(body)[:120]}")

    def _control(self, kind: str, channel: str) -> None:
        match kind.partition("/"):
            case ("connected", "", _):
                self.intake.control("welcome")
            case ("ping", "", _):
                self.intake.control("ping")
            case ("pong", "", _):
                self.intake.control("pong")
            case ("unsubscribed", "", _):
                self.intake.control("ack", f"unsubscribed {channel}")
            case ("subscribed" | "update", "/", name) if name.startswith(_UNUSED):
                self.intake.control("ignored", f"channel {channel}")
            case ("subscribed", "/", "trade" | "notification"):
                self.intake.control("ack", channel)
            case _:
                raise ValueError(f"no frame of this venue is of the type {kind!r}")

    def _statistics(self, time: int, row: Any) -> None:
        stats = convert(row, _Stats, strict=False)
        symbol = self._symbol(stats.market_id)
        self.intake.mark_price(symbol, stats.mark_price, time, index_price=stats.index_price)
        if not self.intake.knows(symbol):
            return
        self.intake.open_interest(symbol, stats.open_interest, "quote", time)
        if stats.current_funding_rate is not None:
            self.intake.funding(symbol, stats.current_funding_rate * _PERCENT, 1.0, time)
        if stats.funding_rate is not None and self._paid.get(symbol, 0) != stats.funding_timestamp:
            self._paid[symbol] = stats.funding_timestamp
            paid = stats.funding_timestamp * MILLISECOND
            self.intake.funding(symbol, stats.funding_rate * _PERCENT, 1.0, paid, settled=True)

    def _rate(self, row: dict[str, Any]) -> None:
        self.intake.funding(self._symbol(int(row["market_id"])), float(row["rate"]), 8.0, 0)

    def _details(self, row: dict[str, Any]) -> None:
        symbol = self._symbol(int(row["market_id"]))
        if "open_interest" in row and self.intake.knows(symbol):
            self.intake.observe(symbol, float(row.get("mark_price") or row.get("last_trade_price") or 0))
            self.intake.open_interest(symbol, float(row["open_interest"]), "base", 0)

    def _notified(self, row: dict[str, Any]) -> None:
        kind = row["kind"]
        if kind not in {"liquidation", "deleverage"}:
            self.intake.control("ignored", f"notification {kind}")
            return
        notice = convert(row["content"], _Notice, strict=False)
        unit = MILLISECOND if notice.timestamp >= _FIRST_MILLISECONDS else SECOND
        self.intake.account(
            self._symbol(notice.market_index),
            "adl" if kind == "deleverage" else "liquidation",
            notice.timestamp * unit,
            position="long" if notice.is_ask else "short",
            order_side="sell" if notice.is_ask else "buy",
            price=notice.avg_price or notice.price,
            quantity=notice.size,
            unit="base",
            order_id=notice.id,
            detail=kind,
        )


class Lighter(Exchange):
    """Every perpetual of the main deployment."""

    venue = "lighter"
    title = "Lighter"
    coverage = "complete"
    production = Endpoints("wss://mainnet.zklighter.elliot.ai", "https://mainnet.zklighter.elliot.ai")
    rate_limit = RateLimit(30, 60.0)
    session_type = LighterSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for the statistics of all markets, and one for the trades of each hundred."""
        url = f"{endpoints.websocket}/stream"
        beat = Heartbeat('{"type":"ping"}', 50.0)
        asked: tuple[str, ...] = (_subscribe("market_stats/all"),)
        found = [Connection("statistics", url, asked, 1, beat, carries_liquidations=False, expected_gap=1.0)]
        for start in range(0, len(instruments), _SUBSCRIPTIONS):
            some = instruments[start : start + _SUBSCRIPTIONS]
            asked = tuple(_subscribe(f"trade/{i.number}") for i in some)
            found.append(Connection(f"trades-{start // _SUBSCRIPTIONS + 1}", url, asked, len(asked), beat))
        return found

    def metadata_requests(self) -> Sequence[Request]:
        """``orderBookDetails``."""
        return (Request("/api/v1/orderBookDetails"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every perpetual, with its market id as number."""
        for row in _any(body)["order_book_details"]:
            if row.get("market_type", "perp") != "perp":
                continue
            decimals = row.get("supported_price_decimals", row.get("price_decimals"))
            tick = 10.0 ** -int(decimals) if decimals is not None else None
            symbol = row["symbol"]
            yield Instrument(self.venue, symbol, symbol, 1.0, "base", "USDC", "USDC", tick, str(row["market_id"]))

    def reply(self, frame: bytes) -> str | None:
        """A JSON ping wants a JSON pong."""
        if len(frame) < 64 and b'"ping"' in frame:
            return '{"type":"pong"}'
        return None

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """The first frame of a channel is its answer; an error refuses."""
        answer = _kind(frame)
        if answer.error is not None:
            return Denied(str(answer.error))
        return Acknowledged() if answer.type.startswith("subscribed/") else None


def _subscribe(channel: str) -> str:
    return json.dumps({"type": "subscribe", "channel": channel})


EXCHANGES: tuple[Exchange, ...] = (Lighter(),)
