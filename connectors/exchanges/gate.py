"""Gate.io perpetual contracts, settled in USDT, BTC or USD1.

| channel | what it tells | evidence |
|---|---|---|
| ``futures.public_liquidates`` | liquidation orders, aggregated each second | vendor docs; no frame recorded |
| ``GET liq_orders`` rows | the same with fill price and what was filled | vendor docs, 40 recorded rows |
| ``futures.tickers`` | mark, index, running funding rate, open interest of both sides | vendor docs, recorded rows |
| ``futures.contract_stats`` | mark and open interest of both sides | vendor docs, recorded body |
| ``GET contracts`` | funding intervals | recorded body |
| ``futures.liquidates``, ``futures.auto_deleverages`` (private) | own forced closes | vendor docs |

The same word has two signs. In the socket ``size`` is the ORDER: negative sold, so a long was closed (documentation
wording and six readers; one reader disagrees). In REST rows ``size`` is the POSITION: positive was long, and
``order_size`` of the opposite sign is what was traded (40 of 40 rows), which can be far less: the rest went to ADL or
takeover. Both count contracts of ``quanto_multiplier``; without the header ``X-Gate-Size-Decimal`` sizes are rounded.
``total_size`` of one moment was exactly twice ``position_size`` of the contract. ADL of others is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

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
from schemas.clock import MILLISECOND, SECOND
from schemas.instruments import ContractUnit, Instrument
from schemas.records import Coverage, Position, PriceKind


class _Close(Struct, gc=False):
    """``{"price":61000.5,"size":"-12","time_ms":1791565600992,"contract":"BTC_USDT"}``."""

    contract: str
    price: float
    size: float
    time_ms: int


class _Frame(Struct, gc=False):
    """``{"channel":"futures.public_liquidates","event":"update","time_ms":1791565601000,"result":[...]}``."""

    channel: str = ""
    event: str = ""
    result: list[_Close] = []


class _RestClose(Struct, gc=False):
    """``{"contract":"BTC_USDT","size":"12","order_size":"-12","fill_price":"61000.5","order_price":"60900","time":...}``.

    Rows of before 2024 have no ``order_size``.
    """

    contract: str
    size: float
    time: int
    fill_price: float = 0.0
    order_price: float = 0.0
    order_size: float | None = None


class _OwnClose(Struct, gc=False):
    """``{"contract":"BTC_USDT","size":"-12","fill_price":61000.5,"order_id":7,"time_ms":1791565600992,...}``."""

    contract: str
    size: float
    fill_price: float
    time_ms: int
    order_id: int = 0
    order_size: float | None = None
    liq_price: float = 0.0


class _OwnDeleverage(Struct, gc=False):
    """``{"contract":"BTC_USDT","position_size":"12","trade_size":"12","fill_price":61000.5,"time_ms":1791565600992}``."""

    contract: str
    position_size: float
    trade_size: float
    fill_price: float
    time_ms: int


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_LIQUIDATIONS = "futures.public_liquidates"
_ORDER_SOLD = terms("long", "order", "contracts")
_ORDER_BOUGHT = terms("short", "order", "contracts")
_CLOSED: dict[tuple[Position, PriceKind], int] = {
    (position, kind): terms(position, kind, "contracts") for position in ("long", "short") for kind in ("fill", "order")
}
_UNUSED = frozenset(
    f"futures.{name}"
    for name in (
        "autoorders",
        "balances",
        "book_ticker",
        "candlesticks",
        "obu",
        "order_book",
        "order_book_update",
        "orders",
        "position_closes",
        "positions",
        "reduce_risk_limits",
        "trades",
        "usertrades",
    )
)


class GateSession(Session):
    """Reads every frame and REST body of the venue."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if frame.channel != _LIQUIDATIONS or frame.event != "update":
            self._read_other(_any(payload))
            return
        for close in frame.result:
            self._ordered(close)
        if not frame.result:
            self.intake.control("ignored", "empty list")

    def _ordered(self, close: _Close) -> None:
        """The socket's row: the sign is the order's."""
        self.intake.forced_close(
            close.contract,
            _ORDER_SOLD if close.size < 0 else _ORDER_BOUGHT,
            close.price,
            abs(close.size),
            close.time_ms * MILLISECOND,
        )

    def _liquidated(self, row: Any) -> None:
        """The REST row: the sign is the position's, and only ``order_size`` was traded. Seconds."""
        close = msgspec.convert(row, _RestClose, strict=False)
        filled = close.fill_price > 0
        self.intake.forced_close(
            close.contract,
            _CLOSED[_position(close.size), "fill" if filled else "order"],
            close.fill_price if filled else close.order_price,
            abs(close.size if close.order_size is None else close.order_size),
            close.time * SECOND,
        )

    def _read_other(self, body: Any) -> None:
        match body:
            case list(rows):
                self._read_body(rows)
            case {"channel": "futures.pong" | "futures.ping"}:
                self.intake.control("pong")
            case {"channel": str(channel), "error": {"message": why}}:
                self.intake.control("refused", f"{channel}: {why}")
            case {"channel": str(channel), "event": "subscribe" | "unsubscribe"}:
                self.intake.control("ack", channel)
            case {"channel": str(channel), "event": "update" | "all", "result": told}:
                self._read_channel(channel, told if isinstance(told, list) else [told], body)
            case {"label": label, "message": why}:
                self.intake.control("refused", f"{label}: {why}")
            case _:
                self._read_row(body, 0)

    def _read_channel(self, channel: str, rows: list[Any], body: dict[str, Any]) -> None:
        if channel == _LIQUIDATIONS:
            self.each(rows, lambda row: self._ordered(msgspec.convert(row, _Close, strict=False)))
        elif channel == "futures.tickers":
            time = int(body["time_ms"]) * MILLISECOND
            self.each(rows, lambda row: self._read_row(row, time))
        elif channel == "futures.contract_stats":
            self.each(rows, self._counted)
        elif channel == "futures.liquidates":
            self.each(rows, self._own_close)
        elif channel == "futures.auto_deleverages":
            self.each(rows, self._own_deleverage)
        elif channel in _UNUSED:
            self.intake.control("ignored", f"channel {channel}")
        else:
            raise ValueError(f"channel {channel!r} is not known")

    def _read_body(self, rows: list[Any]) -> None:
        """A list of rows of one kind; contracts and statistics are told once for all of them."""
        match rows:
            case [{"quanto_multiplier": _, "name": _}, *_]:
                self.each(rows, self._remember)
                self.intake.control("metadata", f"{len(rows)} instruments")
            case [{"lsr_taker": _}, *_] if "contract" not in rows[0]:
                self.intake.control("ignored", "contract statistics that name no contract")
            case _:
                self.each(rows, lambda row: self._read_row(row, 0))

    def _read_row(self, row: Any, time: int) -> None:
        match row:
            case {"contract": _, "size": _, "time": _, "order_price": _} | {"contract": _, "size": _, "order_size": _}:
                self._liquidated(row)
            case {"contract": str(symbol), "mark_price": mark, "total_size": _}:
                self._ticker(symbol, mark, row, time)
            case {"contract": _, "open_interest": _, "lsr_taker": _}:
                self._counted(row)
            case {"name": str(name), "quanto_multiplier": _}:
                self._remember(row)
                self.intake.control("metadata", name)
            case _:
                raise ValueError(f"no row of this venue has the fields {fields(row)}")

    def _remember(self, row: dict[str, Any]) -> None:
        seconds = int(row.get("funding_interval", 0))
        if seconds > 0:
            self.intake.funding_hours[row["name"]] = seconds / 3600

    def _ticker(self, symbol: str, mark: str, row: dict[str, Any], time: int) -> None:
        index = row.get("index_price")
        self.intake.mark_price(symbol, float(mark), time, index_price=float(index) if index else None)
        self.intake.open_interest(symbol, float(row["total_size"]), "contracts", time, sides=2)
        if row.get("funding_rate"):
            hours = self.intake.funding_hours.get(symbol, 8.0)
            self.intake.funding(symbol, float(row["funding_rate"]), hours, time)

    def _counted(self, row: dict[str, Any]) -> None:
        symbol, time = row["contract"], int(row["time"]) * SECOND
        self.intake.mark_price(symbol, float(row["mark_price"]), time)
        self.intake.open_interest(symbol, float(row["open_interest"]), "contracts", time, sides=2)

    def _own_close(self, row: Any) -> None:
        """The desk's own liquidation: ``size`` is the position's (entry 209, closed at 213, size negative: short)."""
        close = msgspec.convert(row, _OwnClose, strict=False)
        self._own(
            "liquidation", close.contract, close.size, close.order_size, close.fill_price, close.time_ms,
            str(close.order_id or ""), f"liquidation price {close.liq_price}",
        )  # fmt: skip

    def _own_deleverage(self, row: Any) -> None:
        done = msgspec.convert(row, _OwnDeleverage, strict=False)
        self._own(
            "adl", done.contract, done.position_size, done.trade_size, done.fill_price, done.time_ms,
            "", f"position {done.position_size}",
        )  # fmt: skip

    def _own(
        self, event: Literal["liquidation", "adl"], contract: str, size: float, traded: float | None, price: float,
        time: int, order_id: str, detail: str,
    ) -> None:  # fmt: skip
        held = _position(size)
        self.intake.account(
            contract,
            event,
            time * MILLISECOND,
            position=held,
            order_side="sell" if held == "long" else "buy",
            price=price,
            quantity=abs(size if traded is None else traded),
            order_id=order_id,
            detail=detail,
        )


def _position(size: float) -> Position:
    """Of a signed position."""
    return "long" if size > 0 else "short"


_DECIMAL_SIZES = (("X-Gate-Size-Decimal", "1"),)
_SETTLEMENTS = {"USDT": "usdt", "BTC": "btc", "USD1": "usd1"}
_CONTRACTS_PER_MESSAGE = 100
_REQUEST_TIME = 1_700_000_000
"""Every message must carry a time in seconds; only logged-in channels compare it with the clock."""


class Gate(Exchange):
    """Quantities are contracts of ``quanto_multiplier`` coins, or of 1 USD where the contract is inverse."""

    venue = "gate"
    title = "Gate"
    coverage: ClassVar[Coverage] = "sampled"
    production = Endpoints("wss://fx-ws.gateio.ws", "https://api.gateio.ws")
    rate_limit = RateLimit(200, 10.0)
    session_type = GateSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """Per settlement currency one socket for all liquidations and one for the tickers of ``instruments``."""
        found = []
        for settle, path in _used(instruments):
            names = [i.instrument for i in instruments if i.settle == settle]
            messages = {
                "liquidations": (_subscribe(_LIQUIDATIONS, ["!all"]),),
                "tickers": tuple(_subscribe("futures.tickers", run) for run in _chunks(names)),
            }
            for feed, subscribe in messages.items():
                found.append(
                    Connection(
                        f"{feed}-{path}",
                        f"{endpoints.websocket}/v4/ws/{path}",
                        subscribe,
                        acknowledgements=len(subscribe),
                        heartbeat=Heartbeat(_message("futures.ping"), 15.0),
                        carries_liquidations=feed == "liquidations",
                        expected_gap=None if feed == "liquidations" else 1.0,
                        headers=_DECIMAL_SIZES,
                    )
                )
        return found

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """The contracts hourly, for their funding intervals."""
        return [
            Poll(f"contracts-{path}", Request(f"/api/v4/futures/{path}/contracts", headers=_DECIMAL_SIZES), 3600.0)
            for _, path in _used(instruments)
        ]

    def metadata_requests(self) -> Sequence[Request]:
        """``contracts`` of each settlement currency."""
        return tuple(
            Request(f"/api/v4/futures/{path}/contracts", headers=_DECIMAL_SIZES) for path in _SETTLEMENTS.values()
        )

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of a ``contracts`` body. ``X_USD`` settles in BTC: inverse for BTC itself, else quanto."""
        for row in _any(body):
            asset, _, quote = row["name"].rpartition("_")
            unit: ContractUnit = "base"
            size = float(row["quanto_multiplier"])
            if row["type"] == "inverse":
                unit, size = "usd", 1.0
            elif quote == "USD":
                unit = "quanto"
            settle = "BTC" if quote == "USD" else quote
            tick = row.get("order_price_round")
            yield Instrument(self.venue, row["name"], asset, size, unit, quote, settle, float(tick) if tick else None)

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription."""
        if len(frame) > 1000 or b'"subscribe"' not in frame:
            return None
        match _any(frame):
            case {"event": "subscribe", "error": {"message": why}}:
                return Denied(str(why))
            case {"event": "subscribe"}:
                return Acknowledged()
        return None


def _used(instruments: Sequence[Instrument]) -> list[tuple[str, str]]:
    """Settlement currencies of ``instruments`` and their paths."""
    settled = {i.settle for i in instruments}
    return [(settle, path) for settle, path in _SETTLEMENTS.items() if settle in settled]


def _message(channel: str, **more: object) -> str:
    return msgspec.json.encode({"time": _REQUEST_TIME, "channel": channel, **more}).decode()


def _subscribe(channel: str, payload: list[str]) -> str:
    return _message(channel, event="subscribe", payload=payload)


def _chunks(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _CONTRACTS_PER_MESSAGE):
        yield names[start : start + _CONTRACTS_PER_MESSAGE]


EXCHANGES: tuple[Exchange, ...] = (Gate(),)
