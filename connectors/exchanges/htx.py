"""HTX (Huobi) linear and coin-margined swaps.

| channel | what it tells | evidence |
|---|---|---|
| ``public.*.liquidation_orders``, per margin currency | forced orders, order price | vendor docs, recorded frame |
| ``public.*.funding_rate``, likewise | running rate and its settlement time | vendor docs |
| ``public.*.contract_elements``, linear only | hours between settlements (``settle_period``) | vendor docs |
| ``market.<contract>.mark_price.1min`` on ``/ws_index`` | mark price | vendor docs |
| ``GET swap_open_interest`` | open interest, **both sides** ("sum of both buy and sell sides") | vendor docs |
| ``GET swap_liquidation_orders`` | past forced orders, the same rows: backfill | vendor docs |

``direction`` is the side of the closing order: ``sell`` closed a long. ``amount`` counts coins, ``volume`` contracts
whose size varies. A frame names the concrete contract in ``topic`` even where the wildcard was subscribed; subscribing
both is refused with 2014. Frames are gzip. The venue pings every 5 s and drops a reader that does not echo ``ts``,
which may be a string, verbatim. Whether every forced order is told is not stated. ADL is not told. Funding is paid
every 8 h where the venue did not say otherwise. Coin-margined delivery contracts (``/notification``) are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    Poll,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, terms
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument

_LIQUIDATIONS = ".liquidation_orders"
_CLOSED = {"sell": terms("long", "order", "base"), "buy": terms("short", "order", "base")}
_CLOSING = frozenset({"close", "both"})
"""``offset`` of an order that reduces a position; ``both`` in one-way mode."""
_HOURS = 8.0


class _Order(Struct, gc=False):
    """``{"contract_code":"SOL-USDT","direction":"sell","offset":"close","volume":40,"amount":40,"price":180.5,…}``."""

    contract_code: str
    direction: str
    price: float
    amount: float
    created_at: int
    offset: str


class _Notice(Struct, gc=False):
    """``{"op":"notify","topic":"public.SOL-USDT.liquidation_orders","ts":1790000000100,"data":[…]}``."""

    op: str
    topic: str
    data: list[_Order]


class _Ping(Struct, gc=False):
    """``{"op":"ping","ts":"1790000000000"}`` on notification routes, ``{"ping":1790000000000}`` on ``/ws_index``."""

    op: str = ""
    ts: Raw = Raw(b"0")
    ping: Raw = Raw(b"")


_notice = msgspec.json.Decoder(_Notice, strict=False).decode
_any = msgspec.json.Decoder().decode
_ping = msgspec.json.Decoder(_Ping).decode


class _Session(Session):
    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            notice = _notice(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if notice.op == "notify" and notice.data and notice.topic.endswith(_LIQUIDATIONS):
            self.each(notice.data, self._forced)
        else:
            self._read_other(_any(payload))

    def _forced(self, order: _Order, backfill: int = 0) -> None:
        if order.offset not in _CLOSING:
            raise ValueError(f"a forced order with offset {order.offset!r} closes nothing")
        closed = _CLOSED[order.direction] | backfill
        self.intake.forced_close(order.contract_code, closed, order.price, order.amount, order.created_at * MILLISECOND)

    def _read_other(self, body: Any) -> None:
        match body:
            case {"op": "notify", "topic": str(topic), "data": list(rows)}:
                self._read_rows(rows, body.get("ts", 0), topic, 0)
            case {"op": "ping"} | {"ping": _}:
                self.intake.control("ping")
            case {"op": "sub" | "unsub", "err-code": 0, "topic": topic} | {"status": "ok", "subbed": topic}:
                self.intake.control("ack", str(topic))
            case {"op": str(), "err-code": code} if code != 0:
                self.intake.control("refused", f"{code}: {body.get('err-msg', '')}")
            case {"op": "close" | "error"}:
                self.intake.control("refused", "the venue closes the connection")
            case {"status": "error", "err-msg": reason}:
                self.intake.control("refused", str(reason))
            case {"ch": str(channel), "tick": {"close": close}, "ts": ts} if ".mark_price." in channel:
                self.intake.mark_price(channel.split(".")[1], float(close), int(ts) * MILLISECOND)
            case {"ch": str(channel)}:
                self.intake.control("ignored", f"channel {channel}")
            case {"data": {"orders": list(rows)}, "ts": ts} | {"data": list(rows), "ts": ts}:
                self._read_rows(rows, ts, "rest", BACKFILL)
            case _:
                raise ValueError("no frame of this venue")

    def _read_rows(self, rows: list[Any], ts: Any, topic: str, backfill: int) -> None:
        time = int(ts) * MILLISECOND
        match rows:
            case []:
                self.intake.control("ignored", f"{topic}: no rows")
            case [{"contract_size": _, "contract_code": _}, *_]:
                self.intake.control("metadata", f"{len(rows)} instruments")
            case _:
                self.each(rows, lambda row: self._read_row(row, time, backfill))

    def _read_row(self, row: Any, time: int, backfill: int) -> None:
        match row:
            case {"direction": _, "offset": _, "created_at": _}:
                self._forced(msgspec.convert(row, _Order, strict=False), backfill)
            case {"contract_code": symbol, "funding_rate": rate}:
                self._funded(symbol, rate, row.get("settlement_time") or row.get("funding_time"), time)
            case {"contract_code": str(symbol), "settle_period": hours}:
                self.intake.funding_hours[symbol] = float(hours)
                self.intake.control("metadata", f"{symbol} pays funding every {hours} h")
            case {"contract_code": symbol, "amount": amount, "volume": _}:
                self.intake.open_interest(symbol, float(amount), "base", time, sides=2)
            case _:
                raise ValueError("no row of this venue")

    def _funded(self, symbol: str, rate: Any, following: Any, time: int) -> None:
        if rate is None:
            self.intake.control("ignored", f"{symbol}: no funding rate yet")
            return
        hours = self.intake.funding_hours.get(symbol, _HOURS)
        next_time = int(following) * MILLISECOND if following else None
        self.intake.funding(symbol, float(rate), hours, time, next_time=next_time)


def _subscribe(*channels: str) -> tuple[str, ...]:
    topics = (f"public.*.{channel}" for channel in channels)
    return tuple(f'{{"op":"sub","cid":"{number}","topic":"{topic}"}}' for number, topic in enumerate(topics))


class Htx(Exchange):
    """Linear swaps (coins of the base asset) and coin-margined swaps (contracts of 100 or 10 USD)."""

    venue = "htx"
    title = "HTX"
    coverage = "partial"
    production = Endpoints("wss://api.hbdm.com", "https://api.hbdm.com")
    rate_limit = RateLimit(240, 3.0)
    session_type = _Session
    compressed = True

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One notification socket per margin currency, and one for mark prices."""
        found = []
        for feed, route, channels, inverse in _ROUTES:
            if any((i.contract_unit == "usd") == inverse for i in instruments):
                messages = _subscribe(*channels)
                found.append(
                    Connection(feed, f"{endpoints.websocket}/{route}", messages, len(messages), stale_after=30.0)
                )
        marks = tuple(f'{{"sub":"market.{i.instrument}.mark_price.1min","id":"{i.instrument}"}}' for i in instruments)
        if marks:
            url = f"{endpoints.websocket}/ws_index"
            found.append(
                Connection(
                    "marks", url, marks, len(marks), stale_after=30.0, carries_liquidations=False, expected_gap=1.0
                )
            )
        return found

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        """Open interest of all contracts of a margin currency in one answer."""
        return tuple(
            Poll(f"open-interest{suffix}", Request(f"/{api}/v1/swap_open_interest"), 15.0)
            for suffix, api, inverse in (("", "linear-swap-api", False), ("-coin", "swap-api", True))
            if any((i.contract_unit == "usd") == inverse for i in instruments)
        )

    def metadata_requests(self) -> Sequence[Request]:
        """``swap_contract_info`` of both margin currencies."""
        return (
            Request("/linear-swap-api/v1/swap_contract_info?business_type=all"),
            Request("/swap-api/v1/swap_contract_info"),
        )

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every contract; ``BTC-USD`` is coin-margined, ``BTC-USDT`` linear."""
        for row in _any(body)["data"]:
            symbol, asset = row["contract_code"], row["symbol"]
            size, tick = float(row["contract_size"]), float(row["price_tick"])
            if symbol.endswith("-USD"):
                yield Instrument(self.venue, symbol, asset, size, "usd", "USD", asset, tick)
            else:
                quote = row.get("trade_partition") or "USDT"
                yield Instrument(self.venue, symbol, asset, size, "base", quote, quote, tick)

    def reply(self, frame: bytes) -> str | None:
        """The pong that echoes ``ts`` exactly as it came, string or number."""
        if len(frame) > 200 or b'"ping"' not in frame:
            return None
        try:
            ping = _ping(frame)
        except msgspec.MsgspecError:
            return None
        if ping.op == "ping":
            return f'{{"op":"pong","ts":{bytes(ping.ts).decode()}}}'
        return f'{{"pong":{bytes(ping.ping).decode()}}}' if bytes(ping.ping) else None

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """``err-code`` 0 is yes; 2014 is a topic subscribed twice, as itself and by the wildcard."""
        if len(frame) > 1000 or not (b'"sub"' in frame or b'"subbed"' in frame or b'"status"' in frame):
            return None
        match _any(frame):
            case {"op": "sub", "err-code": 0} | {"status": "ok", "subbed": _}:
                return Acknowledged()
            case {"op": "sub", "err-code": code, **rest}:
                return Denied(f"{code}: {rest.get('err-msg', '')}")
            case {"status": "error", "err-msg": reason}:
                return Denied(str(reason))
        return None


_ROUTES = (
    ("liquidations", "linear-swap-notification", ("liquidation_orders", "funding_rate", "contract_elements"), False),
    ("liquidations-coin", "swap-notification", ("liquidation_orders", "funding_rate"), True),
)
"""Feed, route, channels, and whether it is coin-margined."""

EXCHANGES: tuple[Exchange, ...] = (Htx(),)
