"""BitMEX perpetuals and futures.

| channel | what it tells | evidence |
|---|---|---|
| ``liquidation`` | a **table** of the liquidation orders now open, keyed ``orderID`` | vendor docs, recorded session |
| ``instrument:<symbol>`` | mark, index, open interest, running funding; updates: changed columns | recorded body |
| ``funding`` | funding paid | vendor docs |
| ``trade`` | not subscribed; its XBT prices are remembered for quanto contracts | recorded frames |

The table says what is *to be* liquidated, not what was filled, and has no clock: events carry the receive time, the
order's price as ``order``, and coverage is partial. Each contract is counted once:

* ``insert`` is an event of ``leavesQty`` at ``price`` (``partial``, the table at subscription, the same as backfill);
* ``update`` with **more** ``leavesQty`` is an event of what was added, at the price then valid;
* ``update`` with less says that part of what was already told was filled, ``update`` of the price that it was moved,
  and ``delete`` that the order is gone, filled or not: nothing is told again and nothing is taken back.

So the quantities of one order sum to all that was ever asked of it. USD is what it was asked at, not what a later
price made of the rest. ``side`` is the order's: ``Sell`` closes a long. The id is of ``orderID``, and of the running
total for what was added. ADL is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

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
from connectors.intake import BACKFILL, VenueIntake, terms, text_key
from schemas.instruments import Instrument

_CLOSED = {"Sell": terms("long", "order", "contracts"), "Buy": terms("short", "order", "contracts")}
_TOPICS = 20
"""Topics named in one subscription message."""
_HOURS = 8.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""A ``fundingInterval`` is a time after this instant."""
_SETTLE = {"XBt": ("BTC", 1e8), "USDt": ("USDT", 1e6), "MAMUSd": ("USD", 1e6), "Gwei": ("ETH", 1e9)}
"""Settlement unit -> coin, and how many units one coin is."""


class _Row(Struct, gc=False):
    """``{"orderID":"…","symbol":"XBTUSD","side":"Sell","price":61000.5,"leavesQty":1200}``; less in an update."""

    orderID: str  # noqa: N815 - the venue's own field name
    symbol: str
    side: str = ""
    price: float | None = None
    leavesQty: float | None = None  # noqa: N815 - the venue's own field name


class _Table(Struct, gc=False):
    """``{"table":"liquidation","action":"insert","data":[…]}``."""

    table: str
    action: str
    data: list[_Row]


class _Order:
    """An open liquidation order as last told."""

    __slots__ = ("leaves", "price", "side", "told")

    def __init__(self, side: str, price: float, leaves: float) -> None:
        self.side, self.price, self.leaves = side, price, leaves
        self.told = leaves
        """Contracts told so far."""


_table = msgspec.json.Decoder(_Table, strict=False).decode
_any = msgspec.json.Decoder().decode


class _Session(Session):
    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._orders: dict[str, _Order] = {}
        self._rates: dict[str, float] = {}
        self._next: dict[str, int] = {}

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        if payload == b"pong":
            self.intake.control("pong")
            return
        try:
            table = _table(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if table.table == "liquidation" and table.data:
            self._orders_changed(table.action, table.data)
        else:
            self._read_other(_any(payload))

    def _orders_changed(self, action: str, rows: list[_Row]) -> None:
        match action:
            case "insert":
                self.each(rows, self._inserted)
            case "partial":
                self.each(rows, lambda row: self._inserted(row, BACKFILL))
            case "update":
                self.each(rows, self._updated)
            case "delete":
                self.each(rows, self._deleted)
            case _:
                raise ValueError(f"no table action {action!r} is known")

    def _inserted(self, row: _Row, backfill: int = 0) -> None:
        if row.price is None or row.leavesQty is None:
            raise ValueError("an inserted liquidation order has a price and leavesQty")
        closed = _CLOSED[row.side] | backfill
        self._orders[row.orderID] = _Order(row.side, row.price, row.leavesQty)
        self._told(row.symbol, closed, row.price, row.leavesQty, row.orderID)

    def _updated(self, row: _Row) -> None:
        order = self._orders.get(row.orderID)
        if order is None:
            if row.leavesQty is not None:
                raise ValueError("the insert of this order was not seen, so whose position it closes is unknown")
            self.intake.control("ignored", f"{row.symbol}: the price of an unseen order moved")
            return
        if row.price is not None:
            order.price = row.price
        if row.leavesQty is None or row.leavesQty <= order.leaves:
            order.leaves = order.leaves if row.leavesQty is None else row.leavesQty
            self.intake.control("ignored", f"{row.symbol}: order moved or part filled, {order.leaves:g} left")
            return
        added = row.leavesQty - order.leaves
        order.leaves = row.leavesQty
        order.told += added
        self._told(row.symbol, _CLOSED[order.side], order.price, added, f"{row.orderID}+{order.told:g}")

    def _told(self, symbol: str, closed: int, price: float, contracts: float, identity: str) -> None:
        if symbol.startswith("XBT"):
            self.intake.observe(symbol, price)
        self.intake.forced_close(symbol, closed, price, contracts, 0, text_key(identity))

    def _deleted(self, row: _Row) -> None:
        self._orders.pop(row.orderID, None)
        self.intake.control("ignored", f"{row.symbol}: order gone")

    def _read_other(self, body: Any) -> None:
        match body:
            case {"table": str(table), "action": str(action), "data": list(rows)}:
                self._read_table(table, action, rows)
            case {"success": True}:
                self.intake.control("ack", str(body.get("subscribe", "")))
            case {"success": False} | {"error": _}:
                self.intake.control("refused", str(body.get("error", ""))[:200])
            case {"info": _, "version": _}:
                self.intake.control("welcome")
            case {"info": reason}:
                self.intake.control("ignored", str(reason)[:200])
            case [{"symbol": _, "rootSymbol": _}, *_]:
                self.intake.control("metadata", f"{len(body)} instruments")
            case _:
                raise ValueError("no frame of this venue")

    def _read_table(self, table: str, action: str, rows: list[Any]) -> None:
        if not rows:
            self.intake.control("ignored", f"{table}: empty {action}")
            return
        match table:
            case "liquidation":
                self.each(rows, lambda row: self._orders_changed(action, [msgspec.convert(row, _Row, strict=False)]))
            case "instrument":
                self.each(rows, self._instrument)
            case "funding":
                self.each(rows, self._paid)
            case "trade":
                self.each(rows, self._traded)
                self.intake.control("ignored", "table trade")
            case _:
                self.intake.control("ignored", f"table {table}")

    def _instrument(self, row: dict[str, Any]) -> None:
        symbol, time = row["symbol"], _nanoseconds(row["timestamp"]) if "timestamp" in row else 0
        mark, interest = row.get("markPrice"), row.get("openInterest")
        if mark is not None:
            index = row.get("indicativeSettlePrice")
            self.intake.mark_price(symbol, float(mark), time, index_price=float(index) if index is not None else None)
        if interest is not None:
            self.intake.open_interest(symbol, float(interest), "contracts", time)
        funded = self._funding(symbol, row, time)
        if mark is None and interest is None and not funded:
            self.intake.control("ignored", f"{symbol}: no column of interest changed")

    def _funding(self, symbol: str, row: dict[str, Any], time: int) -> bool:
        """Remember the columns an update leaves out; tell the rate when one of them changed."""
        if (interval := row.get("fundingInterval")) is not None:
            self.intake.funding_hours[symbol] = _hours(interval)
        if (following := row.get("fundingTimestamp")) is not None:
            self._next[symbol] = _nanoseconds(following)
        if (rate := row.get("fundingRate")) is not None:
            self._rates[symbol] = float(rate)
        if symbol not in self._rates or (rate is None and following is None):
            return False
        hours = self.intake.funding_hours.get(symbol, _HOURS)
        self.intake.funding(symbol, self._rates[symbol], hours, time, next_time=self._next.get(symbol))
        return True

    def _paid(self, row: dict[str, Any]) -> None:
        symbol, hours = row["symbol"], _hours(row["fundingInterval"])
        if not self.intake.knows(symbol):
            self.intake.control("ignored", f"{symbol}: funding of a contract not watched")
            return
        self.intake.funding(symbol, float(row["fundingRate"]), hours, _nanoseconds(row["timestamp"]), settled=True)

    def _traded(self, row: dict[str, Any]) -> None:
        if row["symbol"].startswith("XBT"):
            self.intake.observe(row["symbol"], float(row["price"]))


def _nanoseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000


def _hours(interval: str) -> float:
    return (datetime.fromisoformat(interval) - _NO_TIME) / timedelta(hours=1)


class Bitmex(Exchange):
    """Inverse (1 USD), linear (lots of the base coin) and quanto contracts."""

    venue = "bitmex"
    title = "BitMEX"
    coverage = "partial"
    production = Endpoints("wss://ws.bitmex.com", "https://www.bitmex.com")
    rate_limit = RateLimit(30, 60.0)
    session_type = _Session

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket: the liquidation and funding tables of all, the instrument table contract by contract."""
        topics = ["liquidation", "funding", *(f"instrument:{i.instrument}" for i in instruments)]
        groups = (topics[start : start + _TOPICS] for start in range(0, len(topics), _TOPICS))
        messages = tuple(msgspec.json.encode({"op": "subscribe", "args": group}).decode() for group in groups)
        url = f"{endpoints.websocket}/realtime"
        return (Connection("tables", url, messages, len(topics), Heartbeat("ping", 15.0), stale_after=45.0),)

    def metadata_requests(self) -> Sequence[Request]:
        """Every open contract."""
        return (Request("/api/v1/instrument/active"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Futures and perpetuals; spot pairs, indices and unknown settlement units are left out."""
        for row in _any(body):
            if str(row.get("typ", "")).startswith("FF") and (found := _instrument(self.venue, row)):
                yield found

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """One ``success`` per topic; an ``error`` names the request it answers."""
        if not frame.startswith((b'{"success"', b'{"status"', b'{"error"')):
            return None
        match _any(frame):
            case {"success": True, "subscribe": _}:
                return Acknowledged()
            case {"error": reason, "request": {"op": "subscribe"}}:
                return Denied(str(reason))
        return None


def _instrument(venue: str, row: dict[str, Any]) -> Instrument | None:
    symbol, asset, quote, tick = row["symbol"], row["underlying"], row["quoteCurrency"], row.get("tickSize")
    settle = _SETTLE.get(row["settlCurrency"])
    if settle is None:
        return None
    coin, units = settle
    if row["isInverse"]:
        return Instrument(venue, symbol, asset, 1.0, "usd" if quote == "USD" else "quote", quote, coin, tick)
    if row["isQuanto"]:
        return Instrument(venue, symbol, asset, row["multiplier"] / units, "quanto", quote, coin, tick)
    lots = row["underlyingToPositionMultiplier"]
    return Instrument(venue, symbol, asset, 1 / lots, "base", quote, coin, tick)


EXCHANGES: tuple[Exchange, ...] = (Bitmex(),)
