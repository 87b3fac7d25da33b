"""The ``forceOrder`` grammar Binance made and Aster speaks: sockets, REST bodies and the user stream.

One object per forced order, never an array despite the stream's name ``!forceOrder@arr``::

    {"e":"forceOrder","E":…,"o":{"s":"BTCUSDT","S":"SELL","q":"0.190","p":"82338.30","ap":"82651.90",
                                 "X":"FILLED","l":"0.155","z":"0.190","T":1791565602120}}

``S`` is the order side: SELL closed a long. ``z`` is the filled quantity (``l`` only the last fill), ``ap`` the price
it filled at (``p`` the limit, near bankruptcy). At most one order per symbol and 1000 ms is sent: sums are floors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct, convert

from connectors.exchange import Acknowledged, Denied, Session
from connectors.intake import Unit, VenueIntake, terms
from schemas.clock import MILLISECOND
from schemas.instruments import ContractUnit, Instrument

USUAL_FUNDING_HOURS = 8.0
"""The interval of a symbol ``fundingInfo`` does not list."""


class _Order(Struct, gc=False):
    s: str
    S: str
    T: int
    z: float
    ap: float = 0.0
    p: float = 0.0


class _Event(Struct, gc=False):
    e: str = ""
    E: int = 0
    o: _Order | None = None
    data: _Event | None = None


class _Mark(Struct, gc=False):
    """``{"e":"markPriceUpdate","s":"SOLUSDT","E":1790000000000,"p":"151.2","i":"151.3","r":"0.0001","T":…}``.

    A delivery contract sends ``r`` empty and ``T`` 0: it pays no funding.
    """

    s: str
    E: int
    p: float
    i: float
    r: str
    T: int


class _Premium(Struct, gc=False):
    """A row of ``GET premiumIndex``: ``{"symbol":…,"markPrice":…,"lastFundingRate":"0.0001","time":…}``."""

    symbol: str
    markPrice: float  # noqa: N815 - the venue's own field name
    lastFundingRate: str  # noqa: N815 - the venue's own field name
    time: int
    indexPrice: float | None = None  # noqa: N815 - the venue's own field name
    nextFundingTime: int = 0  # noqa: N815 - the venue's own field name


class _Trade(Struct, gc=False):
    """``{"e":"trade","s":"SOLUSDT","t":7,"p":"151.2","q":"3","T":1790000000000,"m":true,"X":"MARKET"}``."""

    s: str
    p: float
    q: float
    T: int
    m: bool
    a: int | None = None
    t: int | None = None
    X: str = "MARKET"


class _UserOrder(Struct, gc=False):
    """``o`` of an ORDER_TRADE_UPDATE; ``l`` at ``L`` is this fill, ``z`` at ``ap`` the order so far."""

    s: str
    c: str
    S: str
    o: str
    x: str
    X: str
    i: int
    z: float
    T: int
    l: float = 0.0  # noqa: E741 - the venue's own field name
    L: float = 0.0
    t: int = 0


class _UserPosition(Struct, gc=False):
    """An entry of ``P`` of an ACCOUNT_UPDATE or of ``p`` of a MARGIN_CALL."""

    s: str
    pa: float
    ps: str = "BOTH"
    mp: float | None = None


_event = msgspec.json.Decoder(_Event, strict=False).decode
_any = msgspec.json.Decoder().decode

_UNUSED = frozenset({
    "24hrMiniTicker", "24hrTicker", "ACCOUNT_CONFIG_UPDATE", "ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT",
    "GRID_UPDATE", "STRATEGY_UPDATE", "TRADE_LITE", "assetIndexUpdate", "bookTicker", "compositeIndex",
    "continuous_kline", "contractInfo", "depthUpdate", "indexPriceUpdate", "indexPrice_kline", "kline",
    "listenKeyExpired", "markPrice_kline", "serverShutdown", "tradingSession",
})  # fmt: skip
"""Events the venues document and nothing here needs."""


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
            self._read_other(_any(payload))
            return
        event = event.data or event
        if event.e == "forceOrder" and event.o is not None:
            self._forced(event.o)
        else:
            self._read_other(_any(payload))

    def _forced(self, order: _Order) -> None:
        if order.z == 0:
            self.intake.control("ignored", f"forced order on {order.s} that filled nothing")
            return
        fill, limit = self._closed[order.S]
        filled = order.ap > 0
        price = order.ap if filled else order.p
        self.intake.forced_close(order.s, fill if filled else limit, price, order.z, order.T * MILLISECOND)

    def _read_other(self, body: Any) -> None:
        if isinstance(body, dict) and "data" in body and "stream" in body:
            body = body["data"]
        if not isinstance(body, list):
            self._read_row(body)
        elif all(isinstance(row, dict) and "fundingIntervalHours" in row for row in body):
            self._intervals(body)
        else:
            self.each(body, self._read_row)

    def _read_row(self, row: Any) -> None:
        match row:
            case {"e": str(name)}:
                self._read_event(name, row)
            case {"openInterest": quantity, "symbol": symbol, "time": time}:
                self.intake.open_interest(symbol, float(quantity), self.unit, int(time) * MILLISECOND)
            case {"lastFundingRate": _, "markPrice": _}:
                self._premium(convert(row, _Premium, strict=False))
            case {"symbols": list(symbols), "timezone": _}:
                self.intake.control("metadata", f"{len(symbols)} instruments")
            case {"result": None, "id": _}:
                self.intake.control("ack")
            case {"error": error} | {"code": _, "msg": error}:
                self.intake.control("refused", str(error))
            case _:
                raise ValueError(f"no frame of this venue is {str(row)[:120]}")

    def _read_event(self, name: str, row: dict[str, Any]) -> None:
        match row:
            case {"e": "forceOrder", "o": order}:
                self._forced(convert(order, _Order, strict=False))
            case {"e": "markPriceUpdate"}:
                self._marked(convert(row, _Mark, strict=False))
            case {"e": "aggTrade" | "trade"}:
                self._traded(convert(row, _Trade, strict=False))
            case {"e": "ORDER_TRADE_UPDATE", "o": order}:
                self._own(convert(order, _UserOrder, strict=False))
            case {"e": "ACCOUNT_UPDATE", "T": time, "a": {"P": positions, "m": reason}}:
                self._positions(positions, "position", int(time), f"ACCOUNT_UPDATE {reason}")
            case {"e": "MARGIN_CALL", "E": time, "p": positions}:
                self._positions(positions, "margin_call", int(time), "MARGIN_CALL")
            case _ if name in _UNUSED:
                self.intake.control("ignored", f"event {name}")
            case _:
                raise ValueError(f"no event {name!r} of this venue has the fields {sorted(row)[:12]}")

    def _intervals(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            hours = float(row["fundingIntervalHours"])
            if 0 < hours < math.inf:
                self.intake.funding_hours[row["symbol"]] = hours
        self.intake.control("metadata", f"funding intervals of {len(rows)} instruments")

    def _marked(self, mark: _Mark) -> None:
        time = mark.E * MILLISECOND
        self.intake.mark_price(mark.s, mark.p, time, index_price=mark.i)
        if mark.T and mark.r and self.intake.knows(mark.s):
            self._funding(mark.s, float(mark.r), time, mark.T * MILLISECOND)

    def _premium(self, row: _Premium) -> None:
        time = row.time * MILLISECOND
        self.intake.mark_price(row.symbol, row.markPrice, time, index_price=row.indexPrice)
        if row.nextFundingTime and row.lastFundingRate and self.intake.knows(row.symbol):
            self._funding(row.symbol, float(row.lastFundingRate), time, row.nextFundingTime * MILLISECOND)

    def _funding(self, symbol: str, rate: float, time: int, following: int) -> None:
        hours = self.intake.funding_hours.get(symbol, USUAL_FUNDING_HOURS)
        self.intake.funding(symbol, rate, hours, time, next_time=following)

    def _traded(self, trade: _Trade) -> None:
        if trade.X != "MARKET":
            self.intake.control("ignored", f"{trade.X} transfer of {trade.s}, no trade of the book")
            return
        number = trade.a if trade.a is not None else trade.t
        if number is None:
            raise ValueError("a trade has neither an aggregate id a nor a trade id t")
        taker: Literal["buy", "sell"] = "sell" if trade.m else "buy"
        self.intake.trade(trade.s, taker, trade.p, trade.q, self.unit, trade.T * MILLISECOND, str(number))

    def _own(self, order: _UserOrder) -> None:
        """The desk's own order. Forced ones are told by client id and type, never by execution type.

        The documentation says ``x=CALCULATED``; an account really liquidated (2025-01-23) got ``x=TRADE``. A forced
        order is told when it is placed, before anything fills: that is the earliest warning, of quantity 0.
        """
        cause = _forced_by(order)
        if cause is None and not order.l:
            self.intake.control("ignored", f"own order {order.x}, nothing filled")
            return
        self.intake.account(
            order.s,
            cause or "fill",
            order.T * MILLISECOND,
            position=_POSITION_OF[order.S] if cause else None,
            order_side="sell" if order.S == "SELL" else "buy",
            price=order.L or None,
            quantity=order.l,
            unit=self.unit,
            order_id=str(order.i),
            client_id=order.c,
            trade_id=str(order.t),
            detail=f"{order.o} {order.x} {order.X}",
        )

    def _positions(self, rows: list[Any], event: Literal["position", "margin_call"], time: int, detail: str) -> None:
        if not rows:
            self.intake.control("ignored", f"{detail} of balances only")
        for row in convert(rows, list[_UserPosition], strict=False):
            held = _SIGN.get(row.ps, 0) * abs(row.pa) or row.pa
            position: Literal["long", "short"] = "long" if held > 0 else "short"
            if row.mp is not None:
                self.intake.observe(row.s, row.mp)
            self.intake.account(
                row.s, event, time * MILLISECOND, position=position if held else None, price=row.mp, unit=self.unit,
                remaining=held, trade_id=row.ps, detail=f"{detail} {row.ps}",
            )  # fmt: skip


_SIGN = {"LONG": 1, "SHORT": -1}
"""Hedge mode names the side of each position; one-way mode (BOTH) tells it by the sign of the amount."""
_POSITION_OF: dict[str, Literal["long", "short"]] = {"SELL": "long", "BUY": "short"}
"""Order side -> whose position it closed."""


def _forced_by(order: _UserOrder) -> Literal["liquidation", "adl"] | None:
    """``X`` counts only in the two statuses older and Aster documentation give forced orders."""
    if order.c.startswith("adl_autoclose") or order.X == "NEW_ADL":
        return "adl"
    if order.c.startswith("autoclose-") or order.o == "LIQUIDATION" or order.X == "NEW_INSURANCE":
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
