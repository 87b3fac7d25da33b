"""OKX swaps and futures.

| channel | what it tells | evidence |
|---|---|---|
| ``liquidation-orders`` per type | liquidations, not all, some minutes late | vendor docs, recorded frames |
| ``open-interest`` | open interest, contracts, coins and USD, one-sided | vendor docs, recorded frames |
| ``funding-rate`` | the running rate, paid at ``fundingTime`` | vendor docs, recorded body |
| ``mark-price`` | mark price | vendor docs |
| ``orders`` (private) | own fills; ``category`` tells forced ones | vendor docs |
| ``balance_and_position`` (private) | own positions | vendor docs |
| ``liquidation-warning`` (private) | margin calls | vendor docs |

``posSide`` names the position; where it is ``net``, ``side`` is the order: sell closed a long. ``sz`` counts
contracts of ``ctVal`` x ``ctMult``. ``bkPx`` is defined as the price of the transaction with the liquidation account:
seven closes within 1.3 s carried three prices, so it is a takeover price and not each position's own bankruptcy. The
first frame after a subscription replays recent rows. ADL of others is not told: ``adl-warning`` reports insurance
pools.
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
    RateLimit,
    Request,
    Session,
    fields,
)
from connectors.intake import BACKFILL, VenueIntake, terms
from schemas.clock import HOUR, MILLISECOND, SECOND
from schemas.instruments import Instrument
from schemas.records import Coverage, Position


class _Detail(Struct, gc=False):
    """``{"bkPx":"61000.5","sz":"8.5","side":"sell","posSide":"long","ts":"1791565600771","bkLoss":"0","ccy":""}``."""

    side: str
    posSide: str  # noqa: N815 - the venue's own field name
    bkPx: float  # noqa: N815 - same
    sz: float
    ts: int


class _Row(Struct, gc=False):
    """``{"instId":"BTC-USDT-SWAP","instType":"SWAP","instFamily":"BTC-USDT","uly":"BTC-USDT","details":[...]}``."""

    instId: str  # noqa: N815 - the venue's own field name
    instType: str  # noqa: N815 - same
    details: list[_Detail]


class _Argument(Struct, gc=False):
    channel: str = ""


class _Frame(Struct, gc=False):
    """``{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[...]}``."""

    arg: _Argument
    data: list[_Row]


class _Order(Struct, gc=False):
    """``{"instId":"BTC-USDT-SWAP","category":"adl","side":"sell","posSide":"net","fillPx":"61000.5",...}``."""

    instId: str  # noqa: N815 - the venue's own field name
    instType: str  # noqa: N815 - same
    category: str
    side: Literal["buy", "sell"]
    state: str
    ordId: str  # noqa: N815 - same
    clOrdId: str = ""  # noqa: N815 - same
    posSide: str = "net"  # noqa: N815 - same
    fillPx: str = ""  # noqa: N815 - same; empty before the first fill
    fillSz: str = ""  # noqa: N815 - same
    fillTime: str = ""  # noqa: N815 - same
    tradeId: str = ""  # noqa: N815 - same


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_LONG = terms("long", "takeover", "contracts")
_SHORT = terms("short", "takeover", "contracts")
_NET = {"sell": _LONG, "buy": _SHORT}
_CLOSED = {"long": _LONG, "short": _SHORT}
_REPLAYED_AFTER = 60 * SECOND
"""A row of a subscription's first frame older than this was replayed."""
_CONTRACTS = frozenset({"SWAP", "FUTURES"})
"""Instrument types whose liquidations are read; a margin liquidation closes a spot loan."""
_FORCED: dict[str, Literal["liquidation", "adl"]] = {
    "full_liquidation": "liquidation",
    "partial_liquidation": "liquidation",
    "adl": "adl",
}
_UNUSED = frozenset(
    {
        "account",
        "account-greeks",
        "adl-warning",
        "bbo-tbt",
        "estimated-price",
        "fills",
        "index-tickers",
        "opt-summary",
        "orders-algo",
        "positions",
        "price-limit",
        "status",
        "tickers",
        "trades",
        "trades-all",
    }
)
_UNUSED_FAMILIES = ("books", "candle", "index-candle", "mark-price-candle")


class OkxSession(Session):
    """Reads every frame and REST body of the venue; knows which subscriptions have had their first frame."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._begun: set[str] = set()

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
        if frame.arg.channel != "liquidation-orders":
            self._read_other(_any(payload))
            return
        before = self._replayed_before(frame.data[0].instType if frame.data else "", receive_time)
        for row in frame.data:
            self._liquidated(row, before)
        if not frame.data:
            self.intake.control("ignored", "empty list")

    def _replayed_before(self, kind: str, receive_time: int) -> int:
        """Rows older than this are backfill: in the first frame of a subscription, where receipt is known; else 0."""
        if kind in self._begun:
            return 0
        self._begun.add(kind)
        return receive_time - _REPLAYED_AFTER if receive_time else 0

    def _liquidated(self, row: _Row, before: int) -> None:
        if row.instType not in _CONTRACTS:
            self.intake.control("ignored", f"liquidation of {row.instType}")
            return
        for detail in row.details:
            self._close(row.instId, detail, before)
        if not row.details:
            self.intake.control("ignored", "empty list")

    def _close(self, instrument: str, detail: _Detail, before: int) -> None:
        told = _CLOSED.get(detail.posSide) or (_NET.get(detail.side) if detail.posSide == "net" else None)
        if told is None:
            self.intake.reject(f"{instrument}: side {detail.side!r} of position {detail.posSide!r} is not known")
            return
        time = detail.ts * MILLISECOND
        self.intake.forced_close(instrument, told | BACKFILL if time < before else told, detail.bkPx, detail.sz, time)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"event": "subscribe" | "unsubscribe" | "login" as event}:
                self.intake.control("ack", event)
            case {"event": "error", "msg": why}:
                self.intake.control("refused", f"{body.get('code', '')}: {why}")
            case {"event": "notice" | "channel-conn-count" as event}:
                self.intake.control("ignored", event)
            case {"arg": {"channel": str(channel)}, "data": list(rows)}:
                self._read_channel(channel, rows)
            case {"code": "0", "data": list(rows)}:
                self._read_body(rows)
            case {"code": code, "msg": why}:
                self.intake.control("refused", f"{code}: {why}")
            case {"instId": str(), "details": list()}:
                self._read_liquidations([body])
            case {"instId": str()}:
                self._read_row(body)
            case _:
                raise ValueError(f"no frame of this venue has the fields {fields(body)}")

    def _read_body(self, rows: list[Any]) -> None:
        if rows and "ctVal" in rows[0]:
            self.intake.control("metadata", f"{len(rows)} instruments")
        elif rows and "details" in rows[0]:
            self._read_liquidations(rows)
        else:
            self.each(rows, self._read_row)

    def _read_liquidations(self, rows: list[Any]) -> None:
        """Rows the typed decoder would not take, each on its own: only the unsound ones are lost."""
        before = self._replayed_before(str(rows[0]["instType"]) if rows else "", self.intake.receive_time)

        def read(row: Any) -> None:
            if row["instType"] not in _CONTRACTS:
                self.intake.control("ignored", f"liquidation of {row['instType']}")
                return
            details, symbol = row["details"], row["instId"]
            self.each(details, lambda told: self._close(symbol, msgspec.convert(told, _Detail, strict=False), before))

        self.each(rows, read)

    def _read_channel(self, channel: str, rows: list[Any]) -> None:
        if channel == "liquidation-orders":
            self._read_liquidations(rows)
        elif channel in {"open-interest", "funding-rate", "mark-price"}:
            self.each(rows, self._read_row)
        elif channel == "orders":
            self.each(rows, self._ordered)
        elif channel == "balance_and_position":
            self.each(rows, self._positioned)
        elif channel == "liquidation-warning":
            self.each(rows, self._warned)
        elif channel == "instruments":
            self.intake.control("metadata", f"{len(rows)} instruments")
        elif channel in _UNUSED or channel.startswith(_UNUSED_FAMILIES):
            self.intake.control("ignored", f"channel {channel}")
        else:
            raise ValueError(f"channel {channel!r} is not known")

    def _read_row(self, row: Any) -> None:
        match row:
            case {"instId": symbol, "oiCcy": coins, "ts": time}:
                worth = row.get("oiUsd")
                self.intake.open_interest(
                    symbol, float(coins), "base", int(time) * MILLISECOND, usd=float(worth) if worth else None
                )
            case {"instId": symbol, "fundingRate": "", "fundingTime": _}:
                self.intake.control("ignored", f"{symbol} has no funding rate")
            case {"instId": symbol, "fundingRate": rate, "fundingTime": paid}:
                time = int(row.get("ts") or 0) * MILLISECOND
                due = int(paid) * MILLISECOND
                self.intake.funding(symbol, float(rate), self._hours(symbol, row), time, next_time=due)
            case {"instId": symbol, "markPx": mark, "ts": time}:
                self.intake.mark_price(symbol, float(mark), int(time) * MILLISECOND)
            case _:
                raise ValueError(f"no row of this venue has the fields {fields(row)}")

    def _hours(self, symbol: str, row: dict[str, Any]) -> float:
        """The interval is between the two payments told; either neighbour of ``fundingTime`` will do."""
        paid = int(row["fundingTime"])
        interval = 0
        if row.get("nextFundingTime"):
            interval = int(row["nextFundingTime"]) - paid
        elif row.get("prevFundingTime"):
            interval = paid - int(row["prevFundingTime"])
        if interval > 0:
            self.intake.funding_hours[symbol] = interval * MILLISECOND / HOUR
        return self.intake.funding_hours.get(symbol, 8.0)

    def _ordered(self, row: Any) -> None:
        order = msgspec.convert(row, _Order, strict=False)
        if order.instType not in _CONTRACTS or not float(order.fillSz or 0):
            self.intake.control("ignored", f"{order.instType} order {order.state} without a fill")
            return
        forced = _FORCED.get(order.category)
        self.intake.account(
            order.instId,
            forced or "fill",
            int(order.fillTime) * MILLISECOND,
            position=_held(order.posSide, order.side) if forced else None,
            order_side=order.side,
            price=float(order.fillPx),
            quantity=float(order.fillSz),
            order_id=order.ordId,
            client_id=order.clOrdId,
            trade_id=order.tradeId,
            detail=f"{order.category} {order.state}",
        )

    def _positioned(self, row: Any) -> None:
        """Positions after an event; the price of a position is its average entry."""
        event = row["eventType"]
        held = [p for p in row["posData"] if p["instType"] in _CONTRACTS]
        if not held:
            self.intake.control("ignored", f"balance after {event}")
            return
        self.each(held, lambda p: self._position(p, event, int(row["pTime"])))

    def _position(self, held: dict[str, Any], after: str, time: int) -> None:
        event: Literal["liquidation", "adl", "position"] = "position"
        if after in {"liquidation", "adl"}:
            event = "adl" if after == "adl" else "liquidation"
        size = float(held["pos"])
        signed = {"long": abs(size), "short": -abs(size)}.get(held["posSide"], size)
        self.intake.account(
            held["instId"],
            event,
            time * MILLISECOND,
            position="long" if signed > 0 else "short" if signed < 0 else None,
            price=float(held["avgPx"] or 0),
            remaining=signed,
            trade_id=held["posId"],
            detail=after,
        )

    def _warned(self, row: Any) -> None:
        """The position stands: a warning is no event of the market."""
        held = _held(row["posSide"], "sell" if float(row["pos"]) > 0 else "buy")
        size = abs(float(row["pos"]))
        self.intake.account(
            row["instId"],
            "margin_call",
            int(row["pTime"]) * MILLISECOND,
            position=held,
            price=float(row["markPx"]),
            quantity=size,
            remaining=size if held == "long" else -size,
            trade_id=row["posId"],
            detail=f"margin ratio {row['mgnRatio']}",
        )


def _held(pos_side: str, order: str) -> Position:
    """Whose position an order of that side reduces."""
    if pos_side in {"long", "short"}:
        return "long" if pos_side == "long" else "short"
    return "long" if order == "sell" else "short"


class Okx(Exchange):
    """Swaps and dated futures, linear and inverse; X-perps are futures here."""

    venue = "okx"
    title = "OKX"
    coverage: ClassVar[Coverage] = "partial"
    production = Endpoints("wss://ws.okx.com:8443", "https://www.okx.com")
    rate_limit = RateLimit(20, 2.0)
    session_type = OkxSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for the liquidations of both instrument types, one for the context of ``instruments``."""
        url = f"{endpoints.websocket}/ws/v5/public"
        heartbeat = Heartbeat("ping", 20.0)
        kinds = [{"channel": "liquidation-orders", "instType": kind} for kind in sorted(_CONTRACTS)]
        found = [Connection("liquidations", url, (_subscribe(kinds),), len(kinds), heartbeat)]
        context = [
            {"channel": channel, "instId": i.instrument}
            for i in instruments
            for channel in ("open-interest", "mark-price", "funding-rate")
            if channel != "funding-rate" or i.instrument.endswith("-SWAP") or "XPERP" in i.instrument
        ]
        if context:
            messages = tuple(_subscribe(run) for run in _chunks(context))
            found.append(
                Connection(
                    "context", url, messages, len(context), heartbeat, carries_liquidations=False, expected_gap=1.0
                )
            )
        return found

    def metadata_requests(self) -> Sequence[Request]:
        """``instruments`` of both types."""
        return tuple(Request(f"/api/v5/public/instruments?instType={kind}") for kind in sorted(_CONTRACTS))

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract of an ``instruments`` body; ``ctVal`` x ``ctMult`` is base coins, or USD where inverse."""
        for row in _any(body)["data"]:
            if row["instType"] not in _CONTRACTS or not row["ctVal"]:
                continue
            linear = row["ctType"] == "linear"
            yield Instrument(
                self.venue,
                row["instId"],
                row["instId"].split("-")[0],
                float(row["ctVal"]) * float(row["ctMult"] or 1),
                "base" if linear else "usd",
                row["settleCcy"] if linear else "USD",
                row["settleCcy"],
                float(row["tickSz"]) if row.get("tickSz") else None,
            )

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


_MESSAGE_BYTES = 64 * 1024


def _subscribe(arguments: list[dict[str, str]]) -> str:
    return msgspec.json.encode({"op": "subscribe", "args": arguments}).decode()


def _chunks(arguments: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Arguments in runs whose message the venue takes."""
    each = max(len(msgspec.json.encode(argument)) for argument in arguments) + 1
    run = (_MESSAGE_BYTES - len(_subscribe([]))) // each
    for start in range(0, len(arguments), run):
        yield arguments[start : start + run]


EXCHANGES: tuple[Exchange, ...] = (Okx(),)
