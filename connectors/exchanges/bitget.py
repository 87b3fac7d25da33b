"""Bitget futures through the unified (v3) interface; the classic v2 one has no liquidation channel.

| channel | what it tells | evidence |
|---|---|---|
| ``liquidation`` per product | largest long and largest short of each pair and second | vendor docs, no recording |
| ``ticker`` | mark, index, running funding rate, open interest in base coin | vendor docs, recorded REST rows |
| ``GET instruments`` | funding intervals | vendor docs |
| ``ticker`` of v1, retired | the same under older names | recorded frames of 2022 |
| ``adl-notification``, on v2 ``adl-noti`` (private) | own ADL; ``side`` is the position's | vendor docs |

``side`` is the POSITION: ``buy`` closed a long. ``amount`` is quote currency, not coins. ``price`` is the liquidation
price, at which the venue took the position over, not a fill. Sums are floors. Open interest is taken as one-sided,
which the vendor does not say. ADL of others is not told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    Heartbeat,
    Poll,
    RateLimit,
    Request,
    Session,
    fields,
)
from connectors.intake import terms
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument
from schemas.records import Coverage, Position


class _Close(Struct, gc=False):
    """``{"symbol":"BTCUSDT","side":"buy","price":"61000.5","amount":"24400.2","ts":"1791565600992"}``."""

    symbol: str
    side: str
    price: float
    amount: float
    ts: int
    status: str = ""
    """Of an ADL notification, which has the same fields but counts coins."""


class _Argument(Struct, gc=False):
    topic: str = ""


class _Frame(Struct, gc=False):
    """``{"action":"update","arg":{"instType":"usdt-futures","topic":"liquidation"},"data":[...],"ts":1791565601000}``."""

    arg: _Argument
    data: list[_Close]


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_POSITION: dict[str, Position] = {"buy": "long", "sell": "short"}
_CLOSED = {side: terms(held, "takeover", "quote") for side, held in _POSITION.items()}
_UNUSED = frozenset(
    {
        "account",
        "books",
        "books1",
        "books5",
        "books15",
        "books50",
        "fast-fill",
        "fill",
        "order",
        "position",
        "publicTrade",
        "strategy-order",
    }
)
_RETIRED_UNUSED = ("books", "candle", "market", "trade")


class BitgetSession(Session):
    """Reads every frame and REST body of the venue."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        if payload == b"pong":
            self.intake.control("pong")
            return
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if frame.arg.topic != "liquidation":
            self._read_other(_any(payload))
            return
        for close in frame.data:
            self._close(close)
        if not frame.data:
            self.intake.control("ignored", "empty list")

    def _close(self, close: _Close) -> None:
        told = _CLOSED.get(close.side)
        if told is None:
            self.intake.reject(f"{close.symbol}: side {close.side!r} is neither buy nor sell")
            return
        self.intake.forced_close(close.symbol, told, close.price, close.amount, close.ts * MILLISECOND)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"event": "subscribe" | "unsubscribe" | "login" as event}:
                self.intake.control("ack", event)
            case {"event": "error", "msg": why}:
                self.intake.control("refused", f"{body.get('code', '')}: {why}")
            case {"arg": {"topic": str(topic)} as argument, "data": list(rows)}:
                self._read_topic(topic, rows, argument, body)
            case {"arg": {"channel": "adl-noti"}, "data": list(rows)}:
                self.each(rows, self._deleveraged)
            case {"arg": {"channel": "ticker"}, "data": list(rows)}:
                self.each(rows, self._retired_ticker)
            case {"arg": {"channel": str(channel)}, "data": _} if channel.startswith(_RETIRED_UNUSED):
                self.intake.control("ignored", f"retired channel {channel}")
            case {"code": "00000", "data": list(rows)}:
                self._read_body(rows)
            case {"code": code, "msg": why}:
                self.intake.control("refused", f"{code}: {why}")
            case {"symbol": str(symbol), "category": _}:
                self._ticker(symbol, body, body)
            case _:
                raise ValueError(f"no frame of this venue has the fields {fields(body)}")

    def _read_topic(self, topic: str, rows: list[Any], argument: dict[str, Any], body: dict[str, Any]) -> None:
        if topic == "liquidation":
            self.each(rows, lambda row: self._close(msgspec.convert(row, _Close, strict=False)))
        elif topic == "ticker":
            symbol = str(argument.get("symbol") or argument.get("instId"))
            self.each(rows, lambda row: self._ticker(row.get("symbol") or symbol, row, body))
        elif topic == "adl-notification":
            self.each(rows, self._deleveraged)
        elif topic in _UNUSED or topic.startswith("kline"):
            self.intake.control("ignored", f"topic {topic}")
        else:
            raise ValueError(f"topic {topic!r} is not known")

    def _read_body(self, rows: list[Any]) -> None:
        match rows:
            case [{"baseCoin": _}, *_]:
                self.each(rows, self._remember)
                self.intake.control("metadata", f"{len(rows)} instruments")
            case _:
                self.each(rows, lambda row: self._ticker(row["symbol"], row, row))

    def _remember(self, row: dict[str, Any]) -> None:
        hours = float(row.get("fundInterval") or 0)
        if 0 < hours < math.inf:
            self.intake.funding_hours[row["symbol"]] = hours

    def _ticker(self, symbol: str, row: dict[str, Any], stamped: dict[str, Any]) -> None:
        """Spot and thin tickers tell none of the three."""
        self._context(
            symbol,
            int(row.get("ts") or stamped.get("ts") or 0),
            mark=row.get("markPrice"),
            index=row.get("indexPrice"),
            coins=row.get("openInterest"),
            rate=row.get("fundingRate"),
            following=row.get("nextFundingTime"),
        )

    def _retired_ticker(self, row: dict[str, Any]) -> None:
        self._context(
            row["instId"],
            int(row["systemTime"]),
            mark=row.get("markPrice"),
            index=row.get("indexPrice"),
            coins=row.get("holding"),
            rate=row.get("capitalRate"),
            following=row.get("nextSettleTime"),
        )

    def _context(
        self, symbol: str, time: int, *, mark: str | None, index: str | None, coins: str | None, rate: str | None,
        following: str | int | None,
    ) -> None:  # fmt: skip
        time *= MILLISECOND
        if mark:
            self.intake.mark_price(symbol, float(mark), time, index_price=float(index) if index else None)
        if coins:
            self.intake.open_interest(symbol, float(coins), "base", time)
        if rate:
            due = int(following or 0) * MILLISECOND or None
            self.intake.funding(symbol, float(rate), self.intake.funding_hours.get(symbol, 8.0), time, next_time=due)
        if not (mark or coins or rate):
            self.intake.control("ignored", "ticker without mark, open interest or funding")

    def _deleveraged(self, row: Any) -> None:
        """The desk's own ADL: the position's side, and coins."""
        done = msgspec.convert(row, _Close, strict=False)
        held = _POSITION[done.side]
        self.intake.account(
            done.symbol,
            "adl",
            done.ts * MILLISECOND,
            position=held,
            order_side="sell" if held == "long" else "buy",
            price=done.price,
            quantity=done.amount,
            unit="base",
            detail=f"{done.side} {done.status}",
        )


_PRODUCTS = {"USDT": "usdt-futures", "USD": "coin-futures", "USDC": "usdc-futures"}
_MESSAGE_BYTES = 4096
_TOPICS_PER_CONNECTION = 200


class Bitget(Exchange):
    """USDT, USDC and coin-margined contracts; quantities are base coins except where told otherwise."""

    venue = "bitget"
    title = "Bitget"
    coverage: ClassVar[Coverage] = "sampled"
    production = Endpoints("wss://ws.bitget.com", "https://api.bitget.com")
    rate_limit = RateLimit(20, 1.0)
    session_type = BitgetSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for the liquidations of every product type, more for the tickers of ``instruments``."""
        url = f"{endpoints.websocket}/v3/ws/public"
        heartbeat = Heartbeat("ping", 25.0)
        liquidations = [{"instType": product, "topic": "liquidation"} for product in _used(instruments)]
        tickers = [
            {"instType": _PRODUCTS[i.quote], "topic": "ticker", "symbol": i.instrument}
            for i in instruments
            if i.quote in _PRODUCTS
        ]
        found = [Connection("liquidations", url, (_subscribe(liquidations),), len(liquidations), heartbeat)]
        for number, start in enumerate(range(0, len(tickers), _TOPICS_PER_CONNECTION), 1):
            run = tickers[start : start + _TOPICS_PER_CONNECTION]
            messages = tuple(_subscribe(part) for part in _chunks(run))
            found.append(
                Connection(
                    f"tickers-{number}",
                    url,
                    messages,
                    len(run),
                    heartbeat,
                    carries_liquidations=False,
                    expected_gap=1.0,
                )
            )
        return found

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """The instruments hourly, for their funding intervals."""
        return [
            Poll(f"instruments-{product}", Request(f"/api/v3/market/instruments?category={product.upper()}"), 3600.0)
            for product in _used(instruments)
        ]

    def metadata_requests(self) -> Sequence[Request]:
        """``instruments`` of each product type."""
        return tuple(
            Request(f"/api/v3/market/instruments?category={product.upper()}") for product in _PRODUCTS.values()
        )

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of an ``instruments`` body."""
        for row in _any(body)["data"]:
            base, quote = row["baseCoin"], row["quoteCoin"]
            tick = row.get("priceMultiplier")
            settle = base if quote == "USD" else quote
            yield Instrument(self.venue, row["symbol"], base, 1.0, "base", quote, settle, float(tick) if tick else None)

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription; each argument is answered."""
        if len(frame) > 1000 or b'"event"' not in frame:
            return None
        match _any(frame):
            case {"event": "subscribe"}:
                return Acknowledged()
            case {"event": "error", "msg": why}:
                return Denied(str(why))
        return None


def _used(instruments: Sequence[Instrument]) -> list[str]:
    """The product types of ``instruments``; all where none is known."""
    quotes = {i.quote for i in instruments} & set(_PRODUCTS) or set(_PRODUCTS)
    return [product for quote, product in _PRODUCTS.items() if quote in quotes]


def _subscribe(arguments: list[dict[str, str]]) -> str:
    return msgspec.json.encode({"op": "subscribe", "args": arguments}).decode()


def _chunks(arguments: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Arguments in runs whose message the venue takes."""
    each = max(len(msgspec.json.encode(argument)) for argument in arguments) + 1
    run = (_MESSAGE_BYTES - len(_subscribe([]))) // each
    for start in range(0, len(arguments), run):
        yield arguments[start : start + run]


EXCHANGES: tuple[Exchange, ...] = (Bitget(),)
