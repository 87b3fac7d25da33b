"""KuCoin futures: market context only, for there is no public liquidation feed.

| topic or request | what it tells | evidence |
|---|---|---|
| (none) | forced closes: no topic in the vendor's SDK, guessed topics answer 404 | vendor SDK, probed |
| ``/contract/instrument:{symbols}`` | mark and index price, funding | recorded frame, vendor docs |
| ``GET contracts/active`` | open interest in lots, funding, marks, instruments | recorded rows |
| ``/contractMarket/execution:{symbol}`` | trades | vendor SDK test data |
| ``/contract/position:{symbol}`` | own position | vendor SDK test data |

The address comes with a token from ``POST bullet-public``, and so does the ping interval. A lot is ``multiplier``
coins; the multiplier -1 of inverse contracts is 1 USD. Of ``funding.rate``, granularity 60000 is the prediction and a
whole interval (28800000) the settled rate. ``nextFundingRateTime`` is milliseconds REMAINING,
``nextFundingRateDateTime`` the instant. Trades are stamped in nanoseconds, the rest in milliseconds. ``changeReason``
values other than ``positionChange`` and ``markPriceChange`` are general knowledge: a liquidation or ADL is believed
when named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct, convert

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
)
from schemas.clock import HOUR, MILLISECOND
from schemas.errors import ConnectionLost
from schemas.instruments import Instrument

_USUAL_FUNDING_HOURS = 8.0
_PREDICTION = 60_000
"""``granularity`` of a predicted rate, ms."""
_TOPIC_SYMBOLS = 100
"""Symbols one subscription names."""
_MARKETS = Request("/api/v1/contracts/active")


class _Prices(Struct, gc=False, rename="camel"):
    """``{"markPrice":90000.5,"indexPrice":90001.5,"granularity":1000,"timestamp":1790000000000}``."""

    mark_price: float
    timestamp: int
    index_price: float | None = None


class _Rate(Struct, gc=False, rename="camel"):
    """``{"granularity":60000,"fundingRate":0.0001,"timestamp":1790000000000}``."""

    granularity: int
    funding_rate: float
    timestamp: int


class _Match(Struct, gc=False, rename="camel"):
    """``{"symbol":"ETHUSDTM","side":"sell","size":3,"price":"3000","tradeId":"9","ts":1790000000123456789}``."""

    symbol: str
    side: Literal["buy", "sell"]
    size: float
    price: float
    trade_id: str
    ts: int


class _Contract(Struct, gc=False, rename="camel"):
    """A row of ``contracts/active``: ``{"symbol":"ETHUSDTM","openInterest":"500","markPrice":3000.1,
    "fundingFeeRate":0.0001,"currentFundingRateGranularity":28800000,"nextFundingRateTime":1000,…}``.
    """

    symbol: str
    open_interest: float | None = None
    mark_price: float | None = None
    index_price: float | None = None
    funding_fee_rate: float | None = None
    funding_rate_granularity: int | None = None
    current_funding_rate_granularity: int | None = None
    next_funding_rate_time: int | None = None
    next_funding_rate_date_time: int | None = None


_any = msgspec.json.Decoder().decode


class KucoinSession(Session):
    """Reads instrument topics, REST rows and the private position topic."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        match body := _any(payload):
            case {"topic": str(topic), "subject": str(subject), "data": dict(data)}:
                self._told(topic.rpartition(":")[2], subject, data)
            case {"symbol": _, "multiplier": _}:
                self._contract(body)
            case {"code": "200000", "data": list(rows)}:
                self.each(rows, self._contract)
            case {"code": "200000", "data": {"token": _}}:
                self.intake.control("welcome", "token for the socket")
            case {"type": "welcome" | "ack" | "pong" as what}:
                self.intake.control(what)
            case {"type": "error", "data": reason} | {"code": _, "msg": reason}:
                self.intake.control("refused", str(reason))
            case _:
                raise ValueError(f"no frame of this venue is {str(body)[:120]}")

    def _told(self, symbol: str, subject: str, data: dict[str, Any]) -> None:
        match subject:
            case "mark.index.price":
                prices = convert(data, _Prices, strict=False)
                time = prices.timestamp * MILLISECOND
                self.intake.mark_price(symbol, prices.mark_price, time, index_price=prices.index_price)
            case "funding.rate":
                self._funding(symbol, convert(data, _Rate, strict=False))
            case "match":
                trade = convert(data, _Match, strict=False)
                self.intake.trade(
                    trade.symbol, trade.side, trade.price, trade.size, "contracts", trade.ts, trade.trade_id
                )
            case "position.change" if "currentQty" in data:
                self._position(str(data.get("symbol", symbol)), data)
            case "position.change" | "position.settlement" | "position.adjustRiskLimit":
                self.intake.control("ignored", f"{subject} without a new size")
            case "tickerV2" | "ticker" | "level2" | "funding.begin" | "funding.end" | "snapshot.24h":
                self.intake.control("ignored", f"subject {subject}")
            case _:
                raise ValueError(f"no message of this venue has the subject {subject!r}")

    def _funding(self, symbol: str, rate: _Rate) -> None:
        settled = rate.granularity > _PREDICTION
        hours = self.intake.funding_hours.get(symbol, _USUAL_FUNDING_HOURS)
        if settled:
            hours = rate.granularity * MILLISECOND / HOUR
        self.intake.funding(symbol, rate.funding_rate, hours, rate.timestamp * MILLISECOND, settled=settled)

    def _contract(self, row: Any) -> None:
        contract = convert(row, _Contract, strict=False)
        symbol = contract.symbol
        if not self.intake.knows(symbol):
            raise LookupError(f"instrument {symbol!r} is not known: load the metadata and re-drive")
        if contract.mark_price is None and contract.open_interest is None and contract.funding_fee_rate is None:
            raise ValueError(f"contract {symbol!r} comes without price, open interest and funding")
        if contract.mark_price is not None:
            self.intake.mark_price(symbol, contract.mark_price, 0, index_price=contract.index_price)
        if contract.open_interest is not None:
            self.intake.open_interest(symbol, contract.open_interest, "contracts", 0)
        every = contract.current_funding_rate_granularity or contract.funding_rate_granularity
        if contract.funding_fee_rate is not None and every:
            hours = self.intake.funding_hours[symbol] = every * MILLISECOND / HOUR
            self.intake.funding(symbol, contract.funding_fee_rate, hours, 0, next_time=self._following(contract))

    def _following(self, contract: _Contract) -> int | None:
        if contract.next_funding_rate_date_time:
            return contract.next_funding_rate_date_time * MILLISECOND
        if contract.next_funding_rate_time and self.intake.receive_time:
            return self.intake.receive_time + contract.next_funding_rate_time * MILLISECOND
        return None

    def _position(self, symbol: str, data: dict[str, Any]) -> None:
        reason = str(data.get("changeReason", ""))
        left = float(data["currentQty"])
        mark = data.get("markPrice")
        if mark is not None:
            self.intake.observe(symbol, float(mark))
        held: Literal["long", "short"] = "long" if left > 0 else "short"
        self.intake.account(
            symbol,
            _EVENTS.get(reason, "position"),
            int(data.get("currentTimestamp", 0)) * MILLISECOND,
            position=held if left else None,
            remaining=left,
            trade_id=repr(left),
            detail=reason,
        )


_EVENTS: dict[str, Literal["liquidation", "adl"]] = {"liquidation": "liquidation", "adl": "adl"}


class Kucoin(Exchange):
    """Context of linear and inverse contracts; no forced closes."""

    venue = "kucoin"
    title = "KuCoin Futures"
    coverage = "partial"
    has_liquidations = False
    production = Endpoints("wss://ws-api-futures.kucoin.com", "https://api-futures.kucoin.com")
    rate_limit = RateLimit(1000, 30.0)
    session_type = KucoinSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for the instruments; the token's answer says where."""
        symbols = [i.instrument for i in instruments]
        asked = tuple(
            json.dumps({
                "id": str(start), "type": "subscribe", "privateChannel": False, "response": True,
                "topic": "/contract/instrument:" + ",".join(symbols[start : start + _TOPIC_SYMBOLS]),
            })
            for start in range(0, len(symbols), _TOPIC_SYMBOLS)
        )  # fmt: skip
        return (
            Connection(
                "instruments",
                endpoints.websocket,
                asked,
                len(asked),
                Heartbeat('{"id":"breakwater","type":"ping"}', 18.0),
                carries_liquidations=False,
                token=Request("/api/v1/bullet-public", "POST"),
            ),
        )

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """Open interest and running funding of all contracts."""
        return (Poll("contracts", _MARKETS, 15.0, weight=3),)

    def metadata_requests(self) -> Sequence[Request]:
        """``contracts/active``."""
        return (_MARKETS,)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract; a lot is ``multiplier`` coins, or as many USD where inverse."""
        for row in _any(body)["data"]:
            tick = float(row["tickSize"]) if row.get("tickSize") else None
            yield Instrument(
                self.venue, row["symbol"], row["baseCurrency"], abs(float(row["multiplier"])),
                "usd" if row["isInverse"] else "base", row["quoteCurrency"], row["settleCurrency"], tick,
            )  # fmt: skip

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription."""
        if len(frame) > 1000 or b'"type"' not in frame:
            return None
        match _any(frame):
            case {"type": "ack"}:
                return Acknowledged()
            case {"type": "error", "data": reason}:
                return Denied(str(reason))
        return None

    def address(self, answer: bytes) -> tuple[str, float]:
        """Where to connect and how often to ping, from the answer to ``bullet-public``."""
        match _any(answer):
            case {"data": {"token": str(token), "instanceServers": [{"endpoint": str(url)} as server, *_]}}:
                every = float(server.get("pingInterval", 18_000)) / 1000
                return f"{url}?token={quote(token)}&connectId=breakwater", every
            case {"msg": reason}:
                raise ConnectionLost(f"kucoin gave no token: {reason}")
        raise ConnectionLost("kucoin gave no token and no server")


EXCHANGES: tuple[Exchange, ...] = (Kucoin(),)
