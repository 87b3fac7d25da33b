"""The ``forceOrder`` grammar Binance made and Aster speaks: sockets, REST bodies and the user stream.

One object per forced order, never an array despite the stream's name ``!forceOrder@arr``::

    {"e":"forceOrder","E":…,"o":{"s":"BTCUSDT","S":"SELL","q":"0.190","p":"82338.30","ap":"82651.90",
                                 "X":"FILLED","l":"0.155","z":"0.190","T":1791565602120}}

``S`` is the order side: SELL closed a long. ``z`` is the filled quantity (``l`` only the last fill), ``ap`` the price it
filled at (``p`` the limit, near bankruptcy). At most one order per symbol and 1000 ms is sent: sums are floors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from connectors.exchange import Acknowledged, Denied, Session
from connectors.intake import Unit, VenueIntake, terms
from schemas.clock import MILLISECOND
from schemas.instruments import ContractUnit, Instrument


class _Order(Struct, gc=False):
    s: str
    S: str
    T: int
    z: float = 0.0
    ap: float = 0.0
    p: float = 0.0
    q: float = 0.0


class _Event(Struct, gc=False):
    e: str = ""
    E: int = 0
    o: _Order | None = None
    data: _Event | None = None


class _Mark(Struct, gc=False):
    s: str
    E: int
    p: float
    i: float
    r: str
    T: int


class _UserOrder(Struct, gc=False):
    s: str
    c: str
    S: str
    o: str
    x: str
    X: str
    i: int
    z: float
    ap: float
    T: int
    ps: str = ""
    l: float = 0.0  # noqa: E741 - the venue's own field name
    L: float = 0.0


class _UserEvent(Struct, gc=False):
    e: str
    T: int
    o: _UserOrder


_event = msgspec.json.Decoder(_Event, strict=False).decode
_user = msgspec.json.Decoder(_UserEvent, strict=False).decode
_any = msgspec.json.Decoder().decode
_mark = msgspec.json.Decoder(_Mark, strict=False).decode

_DELIVERY = 0
"""``T`` of a delivery contract, which pays no funding and sends ``r`` empty."""


class ForceOrderSession(Session):
    """Reads every frame and REST body of a venue of this grammar."""

    unit: Unit = "base"
    """What ``z`` and the open interest count."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._closed = {
            side: (terms(position, "fill", self.unit), terms(position, "order", self.unit))
            for side, position in _POSITION_OF.items()
        }

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            event = _event(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload), payload)
            return
        event = event.data or event
        if event.e == "forceOrder" and event.o is not None:
            self._forced(event.o)
        else:
            self._read_other(_any(payload), payload)

    def _forced(self, order: _Order) -> None:
        fill, limit = self._closed[order.S]
        filled = order.ap > 0
        price = order.ap if filled else order.p
        self.intake.forced_close(order.s, fill if filled else limit, price, order.z or order.q, order.T * MILLISECOND)

    def _read_other(self, body: Any, payload: bytes) -> None:
        if isinstance(body, dict) and "data" in body and "stream" in body:
            body, payload = body["data"], msgspec.json.encode(body["data"])
        rows = body if isinstance(body, list) else [body]
        if not rows:
            self.intake.control("ignored", "empty list")
        for row in rows:
            self._read_row(row, payload)

    def _read_row(self, row: dict[str, Any], payload: bytes) -> None:
        match row:
            case {"e": "forceOrder", "o": order}:
                self._forced(msgspec.convert(order, _Order, strict=False))
            case {"e": "markPriceUpdate"}:
                self._marked(msgspec.convert(row, _Mark, strict=False))
            case {"e": "ORDER_TRADE_UPDATE"}:
                self._own(_user(payload).o)
            case {"e": "aggTrade" | "trade"}:
                self._traded(row)
            case {"e": name}:
                self.intake.control("ignored", f"event {name}")
            case {"openInterest": quantity, "symbol": symbol, "time": time}:
                self.intake.open_interest(symbol, float(quantity), self.unit, int(time) * MILLISECOND)
            case {"lastFundingRate": rate, "symbol": symbol, "markPrice": mark, "time": time}:
                self._premium(symbol, rate, mark, row.get("indexPrice"), row.get("nextFundingTime", 0), time)
            case {"fundingIntervalHours": hours, "symbol": symbol}:
                self.intake.funding_hours[symbol] = float(hours)
                self.intake.control("metadata", f"{symbol} pays funding every {hours} h")
            case {"symbols": list(symbols), "timezone": _}:
                self.intake.control("metadata", f"{len(symbols)} instruments")
            case {"result": None, "id": _}:
                self.intake.control("ack")
            case {"error": error} | {"code": _, "msg": error}:
                self.intake.control("refused", str(error))
            case _:
                raise ValueError(f"no frame of this venue has the fields {sorted(row)[:12]}")

    def _marked(self, mark: _Mark) -> None:
        time = mark.E * MILLISECOND
        self.intake.mark_price(mark.s, mark.p, time, index_price=mark.i)
        if mark.T != _DELIVERY and mark.r:
            hours = self.intake.funding_hours.get(mark.s, 8.0)
            self.intake.funding(mark.s, float(mark.r), hours, time, next_time=mark.T * MILLISECOND)

    def _premium(self, symbol: str, rate: str, mark: str, index: str | None, following: int, time: int) -> None:
        at = int(time) * MILLISECOND
        self.intake.mark_price(symbol, float(mark), at, index_price=float(index) if index else None)
        if following and rate:
            hours = self.intake.funding_hours.get(symbol, 8.0)
            self.intake.funding(symbol, float(rate), hours, at, next_time=int(following) * MILLISECOND)

    def _traded(self, row: dict[str, Any]) -> None:
        if row.get("X", "MARKET") != "MARKET":
            self.intake.control("ignored", f"{row['X']} transfer, no trade of the book")
            return
        self.intake.trade(
            row["s"], "sell" if row["m"] else "buy", float(row["p"]), float(row["q"]), self.unit,
            int(row["T"]) * MILLISECOND, str(row["a"] if "a" in row else row["t"]),
        )  # fmt: skip

    def _own(self, order: _UserOrder) -> None:
        """The desk's own order. Forced ones are told by client id and type, never by execution type.

        The documentation says ``x=CALCULATED``; an account really liquidated (2025-01-23) got ``x=TRADE``.
        """
        cause = _forced_by(order)
        filled = order.z > 0
        held: Literal["long", "short"] = "long" if order.S == "SELL" else "short"
        self.intake.account(
            order.s,
            cause or "fill",
            order.T * MILLISECOND,
            position=held if cause else None,
            order_side="sell" if order.S == "SELL" else "buy",
            price=order.ap if filled else None,
            quantity=order.z,
            unit=self.unit,
            order_id=str(order.i),
            client_id=order.c,
            detail=f"{order.o} {order.x} {order.X}",
        )


_POSITION_OF: dict[str, Literal["long", "short"]] = {"SELL": "long", "BUY": "short"}


def _forced_by(order: _UserOrder) -> Literal["liquidation", "adl"] | None:
    if order.c.startswith("adl_autoclose"):
        return "adl"
    if order.c.startswith("autoclose-") or order.o == "LIQUIDATION":
        return "liquidation"
    return None


def acknowledgement(frame: bytes) -> Acknowledged | Denied | None:
    """Whether the frame answers a SUBSCRIBE."""
    if len(frame) > 400 or b'"id"' not in frame:
        return None
    match _any(frame):
        case {"result": None, "id": _}:
            return Acknowledged()
        case {"error": error} | {"code": _, "msg": error}:
            return Denied(str(error))
    return None


def metadata(venue: str, body: bytes, unit: ContractUnit) -> Iterable[Instrument]:
    """The perpetual and dated contracts of an ``exchangeInfo`` body."""
    for row in _any(body)["symbols"]:
        if row.get("contractType") in {None, ""} or row.get("status", row.get("contractStatus")) == "SETTLING":
            continue
        steps = [f["tickSize"] for f in row.get("filters", ()) if f.get("filterType") == "PRICE_FILTER"]
        yield Instrument(
            venue,
            row["symbol"],
            row["baseAsset"],
            float(row.get("contractSize", 1)),
            unit,
            row["quoteAsset"],
            row.get("marginAsset", row["quoteAsset"]),
            float(steps[0]) if steps else None,
        )
