"""Bybit v5 linear and inverse contracts.

| channel | what it tells | evidence |
|---|---|---|
| ``allLiquidation.{symbol}`` | every liquidation, each 500 ms, at the bankruptcy price | vendor docs, recorded |
| ``liquidation.{symbol}``, retired 2025-11 | the same, one per symbol and second | history of the vendor docs |
| ``tickers.{symbol}`` | mark, index, open interest, funding; a snapshot, then changes | vendor docs |
| ``execution`` (private) | own fills; ``BustTrade`` and ``AdlTrade`` are forced | vendor docs |

``S`` is the side of the POSITION: ``Buy`` closed a long (vendor text; 30 of 30 such events met sells hitting the bid).
``openInterest`` counts both sides; ``singleOpenInterest``, told since 2026-06-09, counts each contract once. ADL of
others is not told: ``adlAlert`` reports insurance pools. There is no wildcard; a connection takes 21,000 characters of
topics.
"""

from __future__ import annotations

import math
import re
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
    RateLimit,
    Request,
    Session,
    fields,
)
from connectors.intake import SAMPLED, VenueIntake, terms
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument
from schemas.records import Coverage, Position


class _Close(Struct, gc=False):
    """``{"T":1791565600992,"s":"BTCUSDT","S":"Buy","v":"0.25","p":"61000.5"}``."""

    T: int
    s: str
    S: str
    v: float
    p: float


class _Frame(Struct, gc=False):
    """``{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1791565601482,"data":[...]}``."""

    topic: str = ""
    data: list[_Close] = []


class _RetiredClose(Struct, gc=False):
    """``{"updatedTime":1703485237953,"symbol":"BTCUSDT","side":"Buy","size":"0.25","price":"61000.5"}``."""

    updatedTime: int  # noqa: N815 - the venue's own field name
    symbol: str
    side: str
    size: float
    price: float


class _Execution(Struct, gc=False):
    """``{"symbol":"BTCUSDT","side":"Sell","execType":"AdlTrade","execPrice":"61000.5","execQty":"0.25",...}``."""

    symbol: str
    side: str
    execType: str  # noqa: N815 - the venue's own field name
    execPrice: float  # noqa: N815 - same
    execQty: float  # noqa: N815 - same
    execTime: int  # noqa: N815 - same
    execId: str  # noqa: N815 - same
    orderId: str  # noqa: N815 - same
    orderLinkId: str = ""  # noqa: N815 - same
    createType: str = ""  # noqa: N815 - same
    category: str = "linear"


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_LIQUIDATIONS = "allLiquidation."
_CLOSED_POSITION: dict[str, Position] = {"Buy": "long", "Sell": "short"}
_CLOSED = {side: terms(held, "bankruptcy", "contracts") for side, held in _CLOSED_POSITION.items()}
_RETIRED_CLOSED = {side: told | SAMPLED for side, told in _CLOSED.items()}
_RETIRED_AT = 1764547200000
"""2025-12-01, milliseconds: no ``liquidation.`` frame is genuine from here on."""
_UNUSED = (
    "adlAlert",
    "execution.fast",
    "greeks",
    "insurance",
    "kline",
    "order",
    "position",
    "priceLimit",
    "publicTrade",
    "wallet",
)
"""Beginnings of topics that tell nothing Breakwater records. ``order`` covers ``orderbook``."""
_FORCED: dict[str, Literal["liquidation", "adl"]] = {
    "BustTrade": "liquidation",
    "AdlTrade": "adl",
    "CreateByLiq": "liquidation",
    "CreateByTakeOver_PassThrough": "liquidation",
    "CreateByAdl_PassThrough": "adl",
}
_FUNDING = frozenset({"fundingRate", "nextFundingTime", "fundingIntervalHour"})
_NUMBERS = _FUNDING | {"markPrice", "indexPrice", "openInterest", "singleOpenInterest"}
"""The fields of a ticker that are read."""
_DERIVATIVES = frozenset({"linear", "inverse"})


class _Retired:
    """Reads the ``liquidation.`` topic, for recordings made before ``_RETIRED_AT``.

    One object per frame, at most one per symbol and second: its sums are floors. The side means what it means today;
    the vendor's page called it the order side until 2023-08-31, which inverted many readers.
    """

    def __init__(self, intake: VenueIntake) -> None:
        self._intake = intake

    def read(self, data: Any, stamped: int) -> None:
        """Append the one close; a frame stamped after the topic's end is refused."""
        if stamped >= _RETIRED_AT:
            raise ValueError("the topic liquidation ended in 2025-11: subscribe allLiquidation")
        close = msgspec.convert(data, _RetiredClose, strict=False)
        self._intake.forced_close(
            close.symbol, _RETIRED_CLOSED[close.side], close.price, close.size, close.updatedTime * MILLISECOND
        )


class BybitSession(Session):
    """Reads every frame and REST body of the venue; remembers each ticker, of which deltas tell only changes."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._retired = _Retired(intake)
        self._tickers: dict[str, dict[str, float]] = {}

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if not frame.topic.startswith(_LIQUIDATIONS):
            self._read_other(_any(payload))
            return
        for close in frame.data:
            self._close(close)
        if not frame.data:
            self.intake.control("ignored", "empty list")

    def _close(self, close: _Close) -> None:
        told = _CLOSED.get(close.S)
        if told is None:
            self.intake.reject(f"{close.s}: side {close.S!r} is neither Buy nor Sell")
            return
        self.intake.forced_close(close.s, told, close.p, close.v, close.T * MILLISECOND)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"topic": str(topic), "data": data}:
                self._read_topic(topic, data, body)
            case {"op": "ping" | "pong"} | {"ret_msg": "pong"}:
                self.intake.control("pong")
            case {"op": "subscribe" | "unsubscribe" | "auth", "success": bool(sound)}:
                self.intake.control("ack" if sound else "refused", str(body.get("ret_msg", "")))
            case {"retCode": 0, "result": {"list": list(rows)} as result}:
                self._read_rows(rows, result, int(body.get("time", 0)))
            case {"retCode": code, "retMsg": why} | {"ret_code": code, "ret_msg": why} if code != 0:
                self.intake.control("refused", f"{code}: {why}")
            case {"ret_code": 0, "result": list(symbols)}:
                self.intake.control("metadata", f"{len(symbols)} instruments")
            case {"symbol": str(symbol), "markPrice": _}:
                self._told(symbol, _numbers(body), _numbers(body), 0)
            case _:
                raise ValueError(f"no frame of this venue has the fields {fields(body)}")

    def _read_topic(self, topic: str, data: Any, body: dict[str, Any]) -> None:
        name, _, symbol = topic.partition(".")
        if name == "tickers":
            self._read_ticker(symbol, data, body)
        elif name == "execution" and not symbol.startswith("fast"):
            self.each(data, self._executed)
        elif name == "allLiquidation":
            self.each(data, lambda row: self._close(msgspec.convert(row, _Close, strict=False)))
        elif name == "liquidation":
            self._retired.read(data, int(body["ts"]))
        elif topic.startswith(_UNUSED):
            self.intake.control("ignored", f"topic {name}")
        else:
            raise ValueError(f"topic {topic!r} is not known")

    def _read_rows(self, rows: list[Any], result: dict[str, Any], time: int) -> None:
        if rows and "contractType" in rows[0]:
            self.intake.control("metadata", f"{len(rows)} instruments")
        elif rows and "timestamp" in rows[0]:
            symbol = result["symbol"]
            self.each(rows[::-1], lambda row: self._told(symbol, _numbers(row), {}, int(row["timestamp"])))
        else:
            self.each(rows, lambda row: self._told(row["symbol"], _numbers(row), _numbers(row), time))

    def _read_ticker(self, symbol: str, data: dict[str, Any], body: dict[str, Any]) -> None:
        """Deltas are read as what they changed, with the rest as last told."""
        if "markPriceIv" in data or "markIv" in data:
            self.intake.control("ignored", "ticker of an option")
            return
        told, time = _numbers(data), int(body["ts"])
        if body.get("type") != "delta":
            self._tickers[symbol] = {}
        known = self._tickers.setdefault(symbol, {})
        known.update(told)
        self._told(symbol, told, known, time)

    def _told(self, symbol: str, told: dict[str, float], known: dict[str, float], time: int) -> None:
        """Append what is new, ``told``, in the light of all that is ``known``."""
        new = told.keys() & _NUMBERS
        time *= MILLISECOND
        if "markPrice" in new:
            self.intake.mark_price(symbol, told["markPrice"], time, index_price=known.get("indexPrice"))
        if "singleOpenInterest" in new:
            self.intake.open_interest(symbol, told["singleOpenInterest"], "contracts", time)
        elif "openInterest" in new and "singleOpenInterest" not in known:
            self.intake.open_interest(symbol, told["openInterest"], "contracts", time, sides=2)
        if "fundingRate" in known and new & _FUNDING:
            self._funding(symbol, known, time)
        elif new <= {"indexPrice", "nextFundingTime", "fundingIntervalHour"}:
            self.intake.control("ignored", "ticker without mark, open interest or funding")

    def _funding(self, symbol: str, known: dict[str, float], time: int) -> None:
        following = int(known.get("nextFundingTime", 0))
        self.intake.funding(
            symbol,
            known["fundingRate"],
            known.get("fundingIntervalHour", self.intake.funding_hours.get(symbol, 8.0)),
            time,
            next_time=following * MILLISECOND if following else None,
        )

    def _executed(self, row: Any) -> None:
        """The desk's own fill. ``side`` is the ORDER side here, unlike in the public feed."""
        done = msgspec.convert(row, _Execution, strict=False)
        if done.category not in _DERIVATIVES or done.execType in {"Funding", "Settle", "SessionSettlePnL"}:
            self.intake.control("ignored", f"{done.category} execution {done.execType}")
            return
        forced = _FORCED.get(done.execType) or _FORCED.get(done.createType)
        held: Position = "long" if done.side == "Sell" else "short"
        self.intake.account(
            done.symbol,
            forced or "fill",
            done.execTime * MILLISECOND,
            position=held if forced else None,
            order_side=_ORDER_SIDE[done.side],
            price=done.execPrice,
            quantity=done.execQty,
            order_id=done.orderId,
            client_id=done.orderLinkId,
            trade_id=done.execId,
            detail=f"{done.execType} {done.createType}".rstrip(),
        )


_ORDER_SIDE: dict[str, Literal["buy", "sell"]] = {"Buy": "buy", "Sell": "sell"}


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """What a ticker tells of ``_NUMBERS``; all or nothing, so that no delta spoils what is known."""
    found = {name: float(row[name]) for name in _NUMBERS if row.get(name) not in {None, ""}}
    if not all(map(math.isfinite, found.values())) or found.get("fundingIntervalHour", 8.0) <= 0:
        raise ValueError(f"a number of the ticker is none: {found}")
    return found


class Bybit(Exchange):
    """USDT, USDC and coin-margined contracts. Quantities are base coins, or USD where the contract is inverse."""

    venue = "bybit"
    title = "Bybit"
    coverage: ClassVar[Coverage] = "complete"
    production = Endpoints("wss://stream.bybit.com", "https://api.bybit.com")
    rate_limit = RateLimit(600, 5.0)
    session_type = BybitSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """Liquidations apart from the far busier tickers, linear apart from inverse, as many as the topics need."""
        found = []
        for category in ("linear", "inverse"):
            symbols = [i.instrument for i in instruments if (i.contract_unit == "usd") == (category == "inverse")]
            for feed, topic in (("liquidations", "allLiquidation"), ("tickers", "tickers")):
                for number, topics in enumerate(_chunks(f"{topic}.{symbol}" for symbol in symbols), 1):
                    found.append(
                        Connection(
                            f"{feed}-{category}-{number}",
                            f"{endpoints.websocket}/v5/public/{category}",
                            (msgspec.json.encode({"op": "subscribe", "args": topics}).decode(),),
                            acknowledgements=1,
                            heartbeat=Heartbeat('{"op":"ping"}', 20.0),
                            carries_liquidations=feed == "liquidations",
                            expected_gap=None if feed == "liquidations" else 1.0,
                        )
                    )
        return found

    def metadata_requests(self) -> Sequence[Request]:
        """``instruments-info`` of both categories."""
        return tuple(
            Request(f"/v5/market/instruments-info?category={category}&limit=1000") for category in ("linear", "inverse")
        )

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of an ``instruments-info`` body."""
        for row in _any(body)["result"]["list"]:
            inverse = row["contractType"].startswith("Inverse")
            yield Instrument(
                self.venue,
                row["symbol"],
                _asset(row["baseCoin"]),
                1.0,
                "usd" if inverse else "base",
                row["quoteCoin"],
                row.get("settleCoin", row["quoteCoin"]),
                float(row["priceFilter"]["tickSize"]),
            )

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription."""
        if len(frame) > 1000 or b'"success"' not in frame:
            return None
        match _any(frame):
            case {"op": "subscribe", "success": True}:
                return Acknowledged()
            case {"op": "subscribe", "success": False, "ret_msg": why}:
                return Denied(str(why))
        return None


_TOPIC_CHARACTERS = 21_000


def _chunks(topics: Iterable[str]) -> Iterator[list[str]]:
    """Topics in runs whose JSON list stays within what one connection takes."""
    run: list[str] = []
    length = 2
    for topic in topics:
        if run and length + len(topic) + 3 > _TOPIC_CHARACTERS:
            yield run
            run, length = [], 2
        run.append(topic)
        length += len(topic) + 3
    if run:
        yield run


def _asset(coin: str) -> str:
    """``SHIB1000`` is written like every other scaled coin: ``1000SHIB``."""
    suffixed = re.fullmatch(r"([A-Z]+)(1000+)", coin)
    return f"{suffixed[2]}{suffixed[1]}" if suffixed else coin


EXCHANGES: tuple[Exchange, ...] = (Bybit(),)
