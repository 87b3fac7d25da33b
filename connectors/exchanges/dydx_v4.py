"""dYdX v4, read from its indexer.

| channel | what it tells | evidence |
|---|---|---|
| ``v4_trades`` per market | fills; ``type`` LIQUIDATED and DELEVERAGED are forced | vendor source, measured |
| ``v4_markets`` | oracle price, open interest, next funding rate, as deltas | vendor docs |
| ``GET perpetualMarkets`` | the same, and instruments | recorded body |
| ``GET historicalFunding`` | settled hourly funding | recorded body |

LIQUIDATED is a fill with a liquidated taker order and ``side`` is that taker's: SELL closed a long. In DELEVERAGED
``side`` is likewise the account that ran out of margin; the accounts it was offset against are not told apart.
Positions are valued at the oracle price, so that is the mark. Sizes and open interest are base coins, one-sided;
funding is hourly. The ``subscribed`` frame replays past trades: they are backfill, and the venue's id makes them the
same events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, convert

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, terms, text_key
from schemas.clock import SECOND
from schemas.instruments import Instrument

_HOURLY = 1.0
_CHANNEL_LIMIT = 32
"""Subscriptions to one channel the indexer takes per connection."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Instant = Annotated[datetime, Meta(tz=True)]


class _Trade(Struct, gc=False, rename="camel"):
    """``{"id":"05f5e1000000000200000003","side":"SELL","size":"0.5","price":"61000","type":"LIQUIDATED",
    "createdAt":"2026-01-02T03:04:05.678Z","createdAtHeight":"100000000"}``.
    """

    id: str
    side: Literal["BUY", "SELL"]
    size: float
    price: float
    type: str
    created_at: _Instant


class _Contents(Struct, gc=False):
    trades: list[_Trade] | None = None


class _Frame(Struct, gc=False):
    """``{"type":"channel_data","channel":"v4_trades","id":"BTC-USD","contents":{"trades":[…]}}``; with
    ``channel_batch_data`` the contents are a list.
    """

    type: str = ""
    channel: str = ""
    id: str = ""
    contents: _Contents | list[_Contents] | None = None


class _Loose(Struct, gc=False):
    trades: list[Any] | None = None


class _Kind(Struct, gc=False):
    type: str = ""
    message: str = ""


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode
_kind = msgspec.json.Decoder(_Kind).decode

_FORCED = {
    ("LIQUIDATED", "SELL"): terms("long", "fill", "base"),
    ("LIQUIDATED", "BUY"): terms("short", "fill", "base"),
    ("DELEVERAGED", "SELL"): terms("long", "fill", "base", "adl"),
    ("DELEVERAGED", "BUY"): terms("short", "fill", "base", "adl"),
}
_ORDINARY = frozenset({"LIMIT", "MARKET", "TWAP_SUBORDER"})
_UNUSED = frozenset({
    "v4_orderbook", "v4_candles", "v4_subaccounts", "v4_parent_subaccounts", "v4_block_height",
})  # fmt: skip


class DydxSession(Session):
    """Reads trades and markets of the indexer's socket and its REST bodies."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload), feed)
            return
        if frame.channel != "v4_trades" or frame.contents is None:
            self._read_other(_any(payload), feed)
            return
        replayed = self._subscribed(frame.type, f"v4_trades {frame.id}")
        parts = frame.contents if isinstance(frame.contents, list) else [frame.contents]
        trades = [trade for part in parts for trade in part.trades or ()]
        if not trades and not replayed:
            self.intake.control("ignored", "no trades")
        for trade in trades:
            self._traded(trade, frame.id, replayed)

    def _subscribed(self, kind: str, what: str) -> bool:
        if kind == "subscribed":
            self.intake.control("ack", what)
        return kind == "subscribed"

    def _traded(self, trade: _Trade, market: str, replayed: bool) -> None:
        forced = _FORCED.get((trade.type, trade.side))
        time = _nanoseconds(trade.created_at)
        if forced is not None:
            key = text_key(trade.id)
            self.intake.forced_close(market, forced | BACKFILL * replayed, trade.price, trade.size, time, key)
        elif trade.type in _ORDINARY:
            taker: Literal["buy", "sell"] = "buy" if trade.side == "BUY" else "sell"
            self.intake.trade(market, taker, trade.price, trade.size, "base", time, trade.id, backfill=replayed)
        else:
            self.intake.reject(f"{market}: trade {trade.id} is of the unknown type {trade.type!r}")

    def _read_other(self, body: Any, feed: str) -> None:
        match body:
            case {"channel": "v4_trades", "type": kind, "id": market, "contents": contents}:
                read = partial(self._traded_row, market, self._subscribed(kind, f"v4_trades {market}"))
                for part in convert(contents if isinstance(contents, list) else [contents], list[_Loose]):
                    self.each(part.trades or [], read)
            case {"channel": "v4_markets", "type": kind, "contents": contents}:
                self._subscribed(kind, "v4_markets")
                self.each(contents if isinstance(contents, list) else [contents], self._markets)
            case {"markets": dict()}:
                self._markets(body)
            case {"historicalFunding": list(rows)}:
                self.each(rows, self._paid)
            case {"createdAt": _, "side": _, "price": _}:
                self._traded_row(self._market_of(feed), False, body)
            case {"channel": str(channel), "type": _} if channel in _UNUSED:
                self.intake.control("ignored", f"channel {channel}")
            case {"type": "unsubscribed"}:
                self.intake.control("ack", "unsubscribed")
            case {"type": "connected"}:
                self.intake.control("welcome")
            case {"type": "error", "message": reason}:
                self.intake.control("refused", str(reason))
            case {"errors": reason}:
                self.intake.control("refused", str(reason))
            case _:
                raise ValueError(f"no frame of this venue is {str(body)[:120]}")

    def _traded_row(self, market: str, replayed: bool, row: Any) -> None:
        self._traded(convert(row, _Trade, strict=False), market, replayed)

    def _market_of(self, feed: str) -> str:
        """A trade object cut out of its frame names no market; the feed it came by may (``trades:BTC-USD``)."""
        for part in feed.split(":"):
            if self.intake.knows(part):
                return part
        raise ValueError(f"a trade without its frame names no market, and neither does the feed {feed!r}")

    def _markets(self, contents: dict[str, Any]) -> None:
        parts = [contents.get(part) or {} for part in ("markets", "trading", "oraclePrices")]
        if not any(parts):
            self.intake.control("ignored", f"market update of {sorted(contents)[:5]}")
        self.each([item for part in parts for item in part.items()], self._market)

    def _market(self, item: tuple[str, dict[str, Any]]) -> None:
        """One market, whole or only what changed."""
        market, row = item
        told = {name: float(row[name]) for name in _CONTEXT if row.get(name) is not None}
        if not told or not self.intake.knows(market):
            self._unused(market, bool(told))
            return
        time = _nanoseconds(convert(row["effectiveAt"], _Instant)) if "effectiveAt" in row else 0
        if "oraclePrice" in told:
            self.intake.mark_price(market, told["oraclePrice"], time)
        if "nextFundingRate" in told:
            self.intake.funding(market, told["nextFundingRate"], _HOURLY, time)
        if "openInterest" in told:
            self.intake.open_interest(market, told["openInterest"], "base", time)

    def _unused(self, market: str, told: bool) -> None:
        if told:
            raise ValueError(f"market {market!r} is not known: load the metadata and re-drive")
        self.intake.control("ignored", f"update of {market} without price, funding or open interest")

    def _paid(self, row: dict[str, Any]) -> None:
        time = _nanoseconds(convert(row["effectiveAt"], _Instant))
        self.intake.funding(row["ticker"], float(row["rate"]), _HOURLY, time, settled=True)


_CONTEXT = ("oraclePrice", "nextFundingRate", "openInterest")


def _nanoseconds(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


def _subscribe(channel: str, market: str = "") -> str:
    return json.dumps({"type": "subscribe", "channel": channel} | ({"id": market} if market else {}))


class Dydx(Exchange):
    """Every perpetual of the chain."""

    venue = "dydx_v4"
    title = "dYdX v4"
    coverage = "complete"
    production = Endpoints("wss://indexer.dydx.trade", "https://indexer.dydx.trade")
    rate_limit = RateLimit(50, 10.0)
    session_type = DydxSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for the markets, and one for the trades of each 32 of them."""
        url = f"{endpoints.websocket}/v4/ws"
        found = [Connection("markets", url, (_subscribe("v4_markets"),), 1, carries_liquidations=False)]
        for start in range(0, len(instruments), _CHANNEL_LIMIT):
            some = instruments[start : start + _CHANNEL_LIMIT]
            asked = tuple(_subscribe("v4_trades", i.instrument) for i in some)
            found.append(Connection(f"trades-{start // _CHANNEL_LIMIT + 1}", url, asked, len(asked)))
        return found

    def metadata_requests(self) -> Sequence[Request]:
        """``perpetualMarkets``."""
        return (Request("/v4/perpetualMarkets"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every market still open. An isolated one's ticker carries its pool: ``NAME,pool,address-USD``."""
        for ticker, row in _any(body)["markets"].items():
            if row.get("status") == "FINAL_SETTLEMENT":
                continue
            asset = ticker.rpartition("-")[0].partition(",")[0]
            tick = float(row["tickSize"]) if row.get("tickSize") else None
            yield Instrument(self.venue, ticker, asset, 1.0, "base", "USD", "USDC", tick)

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription; the answer carries the replay and may be large."""
        match _kind(frame):
            case _Kind(type="subscribed"):
                return Acknowledged()
            case _Kind(type="error", message=reason):
                return Denied(reason)
        return None


EXCHANGES: tuple[Exchange, ...] = (Dydx(),)
