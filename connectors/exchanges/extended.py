"""Extended, formerly X10.

| stream or request | what it tells | evidence |
|---|---|---|
| ``publicTrades``, all markets | trades; ``tT`` LIQUIDATION and DELEVERAGE are forced | vendor docs; TRADE recorded |
| ``prices/mark``, all markets | mark price | recorded frames |
| ``funding``, all markets | funding paid, hourly | vendor docs |
| ``GET info/markets`` | open interest, running funding, mark, index, instruments | recorded row |
| ``account`` | own trades with ``tradeType``, positions | vendor docs |

Streams are chosen by address; there is no subscribe message. ``S`` is the taker: SELL with LIQUIDATION closed a long.
The same is taken for DELEVERAGE, which nobody has recorded. ``seq`` 1 is a backfill, and a hole in ``seq`` is a loss:
it is told as a gap. Trade ids exceed 2^53 and stay integers. The venue pings every 15 s and refuses clients without a
User-Agent. In ``marketStats`` ``openInterest`` is USD, ``openInterestBase`` base coins, ``nextFundingRate`` a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct, convert

from connectors.exchange import (
    Connection,
    Endpoints,
    Exchange,
    Poll,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, VenueIntake, terms
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument

_HOURLY = 1.0
_AGENT = (("User-Agent", "breakwater"),)
_MARKETS = Request("/api/v1/info/markets", headers=_AGENT)
_STREAMS = "/stream.extended.exchange/v1"


class _Trade(Struct, gc=False):
    """``{"i":1900000000000000001,"m":"ETH-USD","S":"SELL","tT":"LIQUIDATION","T":1790000000123,"p":"3000","q":"2"}``."""

    i: int
    m: str
    S: Literal["BUY", "SELL"]
    tT: str  # noqa: N815 - the venue's own field name
    T: int
    p: float
    q: float


class _Frame(Struct, gc=False):
    """``{"data":[…],"ts":1790000000130,"seq":7}``."""

    data: list[_Trade]
    seq: int = 0


class _Stats(Struct, gc=False, rename="camel"):
    """``marketStats``: ``{"markPrice":"3001.5","indexPrice":"3002","fundingRate":"0.00001",
    "nextFundingRate":1790002800000,"openInterest":"6003000","openInterestBase":"2000",…}``.
    """

    mark_price: float
    open_interest: float
    open_interest_base: float
    funding_rate: float
    index_price: float | None = None
    next_funding_rate: int = 0


class _OwnTrade(Struct, gc=False, rename="camel"):
    """``{"id":1,"market":"ETH-USD","orderId":2,"externalOrderId":"a","side":"SELL","price":"3000","qty":"2",
    "tradeType":"LIQUIDATION","createdTime":1790000000123,"isTaker":true}``.
    """

    id: int
    market: str
    side: Literal["BUY", "SELL"]
    price: float
    qty: float
    trade_type: str
    created_time: int
    is_taker: bool = True
    order_id: int | str = ""
    external_order_id: str = ""


class _OwnPosition(Struct, gc=False, rename="camel"):
    """``{"market":"ETH-USD","side":"SHORT","size":"0.3","markPrice":"3000","updatedAt":1790000000123,…}``."""

    market: str
    side: Literal["LONG", "SHORT"]
    size: float
    updated_at: int = 0
    mark_price: float | None = None


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_FORCED = {
    ("LIQUIDATION", "SELL"): terms("long", "fill", "base"),
    ("LIQUIDATION", "BUY"): terms("short", "fill", "base"),
    ("DELEVERAGE", "SELL"): terms("long", "fill", "base", "adl"),
    ("DELEVERAGE", "BUY"): terms("short", "fill", "base", "adl"),
}
_FIRST = 1
"""The ``seq`` of the replay a fresh connection begins with."""


class ExtendedSession(Session):
    """Reads one stream, or REST bodies."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._seq = 0

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        self._follow(frame.seq)
        replayed = frame.seq == _FIRST
        for trade in frame.data:
            self._traded(trade, replayed)
        if not frame.data:
            self.intake.control("ignored", "no trades")

    def _follow(self, seq: int) -> None:
        if self._seq and seq > self._seq + 1:
            self.intake.control("gap", f"seq {seq} after {self._seq}: frames between were lost")
        self._seq = seq

    def _traded(self, trade: _Trade, replayed: bool) -> None:
        forced = _FORCED.get((trade.tT, trade.S))
        time = trade.T * MILLISECOND
        if forced is not None:
            self.intake.forced_close(trade.m, forced | BACKFILL * replayed, trade.p, trade.q, time, trade.i)
        elif trade.tT == "TRADE":
            taker: Literal["buy", "sell"] = "buy" if trade.S == "BUY" else "sell"
            self.intake.trade(trade.m, taker, trade.p, trade.q, "base", time, str(trade.i), backfill=replayed)
        else:
            self.intake.reject(f"{trade.m}: trade {trade.i} is of the unknown type {trade.tT!r}")

    def _traded_row(self, replayed: bool, row: Any) -> None:
        self._traded(convert(row, _Trade, strict=False), replayed)

    def _read_other(self, body: Any) -> None:
        if isinstance(body, dict) and isinstance(body.get("seq"), int):
            self._follow(body["seq"])
        match body:
            case {"type": "MP", "data": {"m": market, "p": price} as row, "ts": sent}:
                time = int(row.get("ts") or sent) * MILLISECOND
                self.intake.mark_price(market, float(price), time)
            case {"data": {"m": market, "f": rate, "T": time}}:
                self.intake.funding(market, float(rate), _HOURLY, int(time) * MILLISECOND, settled=True)
            case {"type": "TRADE", "data": {"trades": list(rows)}}:
                self.each(rows, self._own_trade)
            case {"type": "POSITION", "data": {"positions": list(rows)}}:
                self.each(rows, self._own_position)
            case {"type": "IP" | "ORDER" | "BALANCE" | "SNAPSHOT" | "DELTA" as kind, "data": _}:
                self.intake.control("ignored", f"frame of type {kind}")
            case {"name": _, "marketStats": _}:
                self._market(body)
            case {"data": list(rows)}:
                self._rows(rows, body.get("seq") == _FIRST)
            case {"status": "ERROR", "error": reason}:
                self.intake.control("refused", str(reason))
            case _:
                raise ValueError(f"no frame of this venue is {str(body)[:120]}")

    def _rows(self, rows: list[Any], replayed: bool) -> None:
        if any(isinstance(row, dict) and "marketStats" in row for row in rows):
            self.each(rows, self._market)
        else:
            self.each(rows, partial(self._traded_row, replayed))

    def _market(self, row: dict[str, Any]) -> None:
        market = row["name"]
        if row.get("status", "ACTIVE") != "ACTIVE":
            self.intake.control("ignored", f"{market} is {row['status']}")
            return
        stats = convert(row["marketStats"], _Stats, strict=False)
        self.intake.mark_price(market, stats.mark_price, 0, index_price=stats.index_price)
        if not self.intake.knows(market):
            return
        following = stats.next_funding_rate * MILLISECOND
        self.intake.open_interest(market, stats.open_interest_base, "base", 0, usd=stats.open_interest)
        self.intake.funding(market, stats.funding_rate, _HOURLY, 0, next_time=following)

    def _own_trade(self, row: Any) -> None:
        """The maker a liquidated taker met is not the one liquidated."""
        trade = convert(row, _OwnTrade, strict=False)
        forced = _OWN.get((trade.trade_type, trade.is_taker))
        held: Literal["long", "short"] = "long" if trade.side == "SELL" else "short"
        self.intake.account(
            trade.market,
            forced or "fill",
            trade.created_time * MILLISECOND,
            position=held if forced else None,
            order_side="sell" if trade.side == "SELL" else "buy",
            price=trade.price,
            quantity=trade.qty,
            unit="base",
            order_id=str(trade.order_id),
            client_id=trade.external_order_id,
            trade_id=str(trade.id),
            detail=trade.trade_type,
        )

    def _own_position(self, row: Any) -> None:
        own = convert(row, _OwnPosition, strict=False)
        long = own.side == "LONG"
        self.intake.account(
            own.market,
            "position",
            own.updated_at * MILLISECOND,
            position="long" if long else "short",
            price=own.mark_price,
            unit="base",
            remaining=own.size if long else -own.size,
            detail=f"POSITION {own.side}",
        )


_OWN: dict[tuple[str, bool], Literal["liquidation", "adl"]] = {
    ("LIQUIDATION", True): "liquidation",
    ("DELEVERAGE", True): "adl",
    ("DELEVERAGE", False): "adl",
}


class Extended(Exchange):
    """Every perpetual, settled in USD."""

    venue = "extended"
    title = "Extended (X10)"
    coverage = "complete"
    production = Endpoints("wss://api.starknet.extended.exchange", "https://api.starknet.extended.exchange")
    rate_limit = RateLimit(1000, 60.0)
    session_type = ExtendedSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket per stream, each for all markets."""
        base = endpoints.websocket + _STREAMS
        return (
            Connection("trades", f"{base}/publicTrades", headers=_AGENT),
            Connection("marks", f"{base}/prices/mark", headers=_AGENT, carries_liquidations=False, expected_gap=1.0),
            Connection("funding", f"{base}/funding", headers=_AGENT, carries_liquidations=False),
        )

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """Open interest and running funding of all markets."""
        return (Poll("markets", _MARKETS, 10.0),)

    def metadata_requests(self) -> Sequence[Request]:
        """``info/markets``."""
        return (_MARKETS,)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every perpetual market."""
        for row in _any(body)["data"]:
            if row.get("type", "PERPETUAL") != "PERPETUAL":
                continue
            step = row.get("tradingConfig", {}).get("minPriceChange")
            settle = row.get("collateralAssetName", "USD")
            yield Instrument(
                self.venue, row["name"], row["assetName"], 1.0, "base", "USD", settle, float(step) if step else None
            )


EXCHANGES: tuple[Exchange, ...] = (Extended(),)
