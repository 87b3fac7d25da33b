"""Hyperliquid: no public liquidation feed, so what can be known is told with how it is known.

| channel | what it tells | evidence |
|---|---|---|
| ``trades`` per coin | every trade and both parties, no liquidation mark | recorded frames |
| ``userFills``, ``userEvents``, ``node_fills`` | fills; ``liquidation`` names the liquidated user | recorded frames |
| ``allDexsAssetCtxs``, ``activeAssetCtx`` | mark, oracle, hourly funding, open interest in coins | recorded frames |
| ``metaAndAssetCtxs`` (REST) | the same with the names | recorded body |
| ``allPerpMetas`` (REST) | instruments of every dex; HIP-3 coins are ``dex:COIN`` | public code |

**Proven: fills.** A fill with ``liquidation`` is part of a forced close, on BOTH parties' streams. On the liquidated
user's own fill the side is the closing order (A sold: a long); on the counterparty's it is the inverse. Which of the
two a fill is follows from the account where it is known (the frame's ``user``, the first of a node's pair). Where it is
not, a liquidated user is always the taker (``crossed``) and never opens, so that decides. A ``dir`` of ``Liquidated …
Long`` says it in words and stands above all; ``Auto-Deleveraging`` is the ADL of the fill's own account. Method
``market`` trades against the book at a fill price; ``backstop`` hands the position to a vault at a takeover price. Both
parties' fills of one trade have one id, from hash, liquidated user, coin and trade id.

**Guessed: trades with a liquidator vault.** When one of ``users`` is a liquidator child of HLP, the trade is told as a
forced close of cause ``unknown``: the vault takes positions over, so a buying vault closed the seller's long. It is
weak evidence. Market liquidations, the majority, never touch a vault (low recall); and the vault also sells what it
took to people nobody liquidated, which reads here as a short closed (low precision). A trade between two vaults stays a
trade. A zero hash proves nothing: 27.9 % of ordinary trades have one. A backstop seen both ways has two ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, convert

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
from schemas.clock import MILLISECOND
from schemas.instruments import Instrument
from schemas.records import Cause, Position, PriceKind

_HOURLY = 1.0
_LIQUIDATORS = frozenset({
    "0x2e3d94f0562703b25c83308a05046ddaf9a8dd14",
    "0xb0a55f13d22f66e6d495ac98113841b2326e9540",
    "0x5e177e5e39c0f4e421f5865a6d8beed8d921cb70",
    "0x2ed5c4484ea3ff8b57d5f2fb152a40d9f2b68308",
})  # fmt: skip
"""The vaults published as HLP Liquidator 1 to 4. The venue has rotated them before."""


class _Trade(Struct, gc=False):
    """``{"coin":"ETH","side":"A","px":"3000.5","sz":"2","time":1790000000123,"hash":"0x…","tid":77,
    "users":["0x…buyer","0x…seller"]}``; ``side`` is the taker's.
    """

    coin: str
    side: Literal["A", "B"]
    px: float
    sz: float
    time: int
    tid: int
    hash: str = ""
    users: tuple[str, str] | None = None


class _Frame(Struct, gc=False):
    """``{"channel":"trades","data":[…]}``."""

    channel: str
    data: list[_Trade]


class _Liquidated(Struct, gc=False, rename="camel"):
    liquidated_user: str
    method: str


class _Fill(Struct, gc=False, rename="camel"):
    """``{"coin":"ETH","px":"3000.5","sz":"2","side":"A","time":1790000000123,"startPosition":"2","dir":"Close Long",
    "hash":"0x…","oid":5,"crossed":true,"tid":77,"liquidation":{"liquidatedUser":"0x…","markPx":"3001","method":"market"}}``.
    """

    coin: str
    px: float
    sz: float
    side: Literal["A", "B"]
    time: int
    dir: str = ""
    crossed: bool = False
    hash: str = ""
    tid: int = 0
    oid: int = 0
    cloid: str | None = None
    start_position: float | None = None
    liquidation: _Liquidated | None = None


class _Context(Struct, gc=False, rename="camel"):
    """``{"funding":"0.0000125","openInterest":"500.5","markPx":"3000.5","oraclePx":"3001","midPx":null,…}``."""

    mark_px: float | None = None
    oracle_px: float | None = None
    mid_px: float | None = None
    funding: float | None = None
    open_interest: float | None = None


class _Held(Struct, gc=False):
    """``{"coin":"ETH","szi":"-2.5"}``."""

    coin: str
    szi: float


_frame = msgspec.json.Decoder(_Frame, strict=False).decode
_any = msgspec.json.Decoder().decode

_CAUSES: dict[str, Cause] = {"market": "liquidation", "backstop": "backstop"}
_POSITION_OF: dict[str, Position] = {"A": "long", "B": "short"}
"""Side of the order that closed -> what it closed."""
_OTHER: dict[str, str] = {"A": "B", "B": "A"}
_GUESSED = {
    "long": terms("long", "fill", "base", "unknown"),
    "short": terms("short", "fill", "base", "unknown"),
}
_PRICES: dict[Cause, PriceKind] = {"liquidation": "fill", "backstop": "takeover", "adl": "fill", "unknown": "fill"}
_PROVEN = {
    (position, cause): terms(position, kind, "base", cause)
    for position in _POSITION_OF.values()
    for cause, kind in _PRICES.items()
}
_UNUSED = frozenset({
    "activeAssetData", "activeSpotAssetCtx", "allMids", "bbo", "candle", "clearinghouseState", "l2Book", "notification",
    "openOrders", "orderUpdates", "spotState", "twapStates", "userFundings", "userHistoricalOrders",
    "userTwapHistory", "userTwapSliceFills", "webData2", "webData3",
})  # fmt: skip


class HyperliquidSession(Session):
    """Reads trades, fills and contexts of the socket, a node's fills, and REST bodies."""

    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._coins: dict[str, str] = {}

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _frame(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if frame.channel != "trades":
            self._read_other(_any(payload))
            return
        for trade in frame.data:
            self._traded(trade)
        if not frame.data:
            self.intake.control("ignored", "no trades")

    def _traded(self, trade: _Trade) -> None:
        time = trade.time * MILLISECOND
        closed = _taken_over(trade.users)
        if closed is not None:
            key = text_key(f"{trade.hash}|{trade.coin}|{trade.tid}")
            self.intake.forced_close(trade.coin, _GUESSED[closed], trade.px, trade.sz, time, key)
        else:
            taker: Literal["buy", "sell"] = "sell" if trade.side == "A" else "buy"
            self.intake.trade(trade.coin, taker, trade.px, trade.sz, "base", time, str(trade.tid))

    def _traded_row(self, row: Any) -> None:
        self._traded(convert(row, _Trade, strict=False))

    def _read_other(self, body: Any) -> None:
        match body:
            case {"channel": str(channel), "data": data}:
                self._told(channel, data)
            case {"channel": "pong"}:
                self.intake.control("pong")
            case {"coin": _, "tid": _, "users": _}:
                self._traded_row(body)
            case {"coin": _, "px": _, "dir": _}:
                self._filled(body)
            case {"type": "liquidation", "liquidatedPositions": []}:
                self.intake.control("ignored", "liquidation of no positions")
            case {"type": "liquidation", "liquidatedPositions": list()}:
                self._ledger(body, 0)
            case {"events": list(pairs)}:
                self.each(pairs, self._pair)
            case {"universe": list(universe)}:
                self.intake.control("metadata", f"{len(universe)} instruments")
            case [str(), {"coin": _, "px": _}]:
                self._pair(body)
            case [{"universe": list(universe)}, [*contexts]]:
                self._named(universe, contexts)
            case [{"universe": _}, *_]:
                self.intake.control("metadata", f"instruments of {len(body)} dexes")
            case _:
                raise ValueError(f"no frame of this venue is {str(body)[:120]}")

    def _told(self, channel: str, data: Any) -> None:
        match channel, data:
            case "trades", list(rows):
                self.each(rows, self._traded_row)
            case "userFills", {"user": str(user), "fills": list(fills)}:
                self._own_fills(fills, user, bool(data.get("isSnapshot")))
            case "user" | "userEvents", {"fills": list(fills)}:
                self._own_fills(fills, str(data.get("user", "")), False)
            case "user" | "userEvents", {"liquidation": {"lid": lid, "liquidated_user": user}}:
                self.intake.control("ignored", f"liquidation {lid} of {user}: its fills tell what was closed")
            case "user" | "userEvents", {"funding": _} | {"nonUserCancel": _} | {"twapHistory": _}:
                self.intake.control("ignored", f"user event {sorted(data)}")
            case "userNonFundingLedgerUpdates", {"nonFundingLedgerUpdates": list(updates)}:
                self.each(updates, self._ledger_update)
            case "activeAssetCtx", {"coin": str(coin), "ctx": context}:
                self.each([(coin, context)], self._context)
            case "allDexsAssetCtxs", {"ctxs": list(dexes)}:
                self._all_contexts(dexes)
            case _:
                self._control(channel, data)

    def _control(self, channel: str, data: Any) -> None:
        match channel:
            case "subscriptionResponse":
                self.intake.control("ack", str(data)[:200])
            case "error":
                self.intake.control("refused", str(data))
            case "pong":
                self.intake.control("pong")
            case _ if channel in _UNUSED:
                self.intake.control("ignored", f"channel {channel}")
            case _:
                raise ValueError(f"no channel {channel!r} of this venue carries {str(data)[:120]}")

    def _pair(self, pair: Any) -> None:
        """A node's ``[user, fill]``: of anybody, so it is no account event."""
        user, fill = convert(pair, tuple[str, _Fill], strict=False)
        if not self._closed(fill, user, False):
            self.intake.control("ignored", f"ordinary fill {fill.tid} on {fill.coin}")

    def _filled(self, row: Any) -> None:
        """A fill cut out of its frame: whose, nobody says."""
        fill = convert(row, _Fill, strict=False)
        if not self._closed(fill, "", False):
            self.intake.control("ignored", f"ordinary fill {fill.tid} on {fill.coin}")

    def _own_fills(self, rows: list[Any], user: str, replayed: bool) -> None:
        """Fills of the subscribed account."""

        def read(row: Any) -> None:
            fill = convert(row, _Fill, strict=False)
            self._closed(fill, user, replayed)
            self._account(fill, user)

        self.each(rows, read)

    def _closed(self, fill: _Fill, account: str, replayed: bool) -> bool:
        """Tell the forced close a fill is part of; whether it is one."""
        told = fill.liquidation or _Liquidated("", "")
        if fill.liquidation is None and fill.dir != _ADL:
            return False
        cause: Cause = "adl" if fill.dir == _ADL else _CAUSES.get(told.method, "unknown")
        code = _PROVEN[_position(fill, account), cause]
        key = text_key(f"{fill.hash}|{told.liquidated_user}|{fill.coin}|{fill.tid}") if fill.tid else 0
        time = fill.time * MILLISECOND
        self.intake.forced_close(fill.coin, code | BACKFILL * replayed, fill.px, fill.sz, time, key)
        return True

    def _account(self, fill: _Fill, user: str) -> None:
        event: Literal["liquidation", "adl", "fill"] = "fill"
        if fill.dir == _ADL:
            event = "adl"
        elif fill.liquidation is not None and _is_own(fill, user):
            event = "liquidation"
        signed = fill.sz if fill.side == "B" else -fill.sz
        start = fill.start_position
        guessed = "" if user or event != "liquidation" else ", account not named by the frame"
        self.intake.account(
            fill.coin,
            event,
            fill.time * MILLISECOND,
            position=None if event == "fill" else _position(fill, user),
            order_side="buy" if fill.side == "B" else "sell",
            price=fill.px,
            quantity=fill.sz,
            unit="base",
            remaining=None if start is None else round(start + signed, 9),
            order_id=str(fill.oid),
            client_id=fill.cloid or "",
            trade_id=str(fill.tid),
            detail=fill.dir + guessed,
        )

    def _ledger_update(self, row: dict[str, Any]) -> None:
        delta = row["delta"]
        if delta.get("type") == "liquidation":
            self._ledger(delta, int(row["time"]) * MILLISECOND)
        else:
            self.intake.control("ignored", f"ledger entry {delta.get('type')}")

    def _ledger(self, delta: dict[str, Any], time: int) -> None:
        """What was held when the account was liquidated: sizes, no prices."""
        detail = f"{delta.get('leverageType', '')} account value {delta.get('accountValue', '')}"
        for held in convert(delta["liquidatedPositions"], list[_Held], strict=False):
            self.intake.account(
                held.coin, "liquidation", time, position="long" if held.szi > 0 else "short",
                order_side="sell" if held.szi > 0 else "buy", quantity=abs(held.szi), unit="base", detail=detail,
            )  # fmt: skip

    def _all_contexts(self, dexes: list[Any]) -> None:
        """Contexts by place in each dex's universe; the catalogue has the places as instrument numbers."""
        found: list[tuple[str, Any]] = []
        unlisted = 0
        for dex, contexts in dexes:
            for place, context in enumerate(contexts):
                coin = self._coin(_number(dex, place))
                if coin:
                    found.append((coin, context))
                else:
                    unlisted += 1
        self.each(found, self._context)
        if unlisted or not found:
            self.intake.control("ignored", f"contexts of {unlisted} markets the catalogue has no number for")

    def _coin(self, number: str) -> str | None:
        known = self._coins.get(number)
        if known is None:
            known = self.intake.instrument_of(number)
            if known is not None:
                self._coins[number] = known
        return known

    def _named(self, universe: list[Any], contexts: list[Any]) -> None:
        listed = [
            (row["name"], context) for row, context in zip(universe, contexts, strict=True) if not row.get("isDelisted")
        ]
        self.intake.control("metadata", f"{len(listed)} listed instruments")
        self.each(listed, self._context)

    def _context(self, item: tuple[str, Any]) -> None:
        coin, row = item
        if not self.intake.knows(coin):
            raise LookupError(f"instrument {coin!r} is not known: load the metadata and re-drive")
        context = convert(row, _Context, strict=False)
        if context.mark_px is None and context.funding is None and context.open_interest is None:
            self.intake.control("ignored", f"empty context of {coin}")
        if context.mark_px is not None:
            self.intake.mark_price(coin, context.mark_px, 0, index_price=context.oracle_px)
        if context.funding is not None:
            self.intake.funding(coin, context.funding, _HOURLY, 0)
        if context.open_interest is not None:
            self.intake.open_interest(coin, context.open_interest, "base", 0)


_ADL = "Auto-Deleveraging"


def _taken_over(users: tuple[str, str] | None) -> Position | None:
    """Whose position a liquidator vault took in a trade between buyer and seller, if one did."""
    if users is None:
        return None
    bought, sold = (user.lower() in _LIQUIDATORS for user in users)
    if bought == sold:
        return None
    return "long" if bought else "short"


def _said(fill: _Fill) -> Position | None:
    """Whose position the words of ``dir`` say was closed, if they do."""
    if fill.dir == _ADL:
        return _POSITION_OF[fill.side]
    if fill.dir.startswith("Liquidated"):
        return "long" if fill.dir.endswith("Long") else "short"
    return None


def _is_own(fill: _Fill, account: str) -> bool:
    """Whether the fill is the liquidated user's side of the trade."""
    told, said = fill.liquidation, _said(fill)
    if told is not None and account:
        return told.liquidated_user.lower() == account.lower()
    if said is not None:
        return _POSITION_OF[fill.side] == said
    return fill.crossed and not fill.dir.startswith("Open")


def _position(fill: _Fill, account: str) -> Position:
    """Whose position a forced fill closed: the words of ``dir``, else the side of the liquidated user's order."""
    return _said(fill) or _POSITION_OF[fill.side if _is_own(fill, account) else _OTHER[fill.side]]


def _number(dex: str, place: int) -> str:
    return f"{dex}:{place}" if dex else str(place)


def _subscribe(**subscription: str) -> str:
    return json.dumps({"method": "subscribe", "subscription": subscription})


class Hyperliquid(Exchange):
    """Every perpetual of the main dex and of the HIP-3 dexes."""

    venue = "hyperliquid"
    title = "Hyperliquid"
    coverage = "partial"
    production = Endpoints("wss://api.hyperliquid.xyz", "https://api.hyperliquid.xyz")
    rate_limit = RateLimit(600, 60.0)
    session_type = HyperliquidSession

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """One socket for all trades (the venue takes 1000 subscriptions per address), one for all contexts."""
        url = f"{endpoints.websocket}/ws"
        beat = Heartbeat('{"method":"ping"}', 30.0)
        trades = tuple(_subscribe(type="trades", coin=i.instrument) for i in instruments)
        contexts = (_subscribe(type="allDexsAssetCtxs"),)
        return (
            Connection("trades", url, trades, len(trades), beat),
            Connection("contexts", url, contexts, 1, beat, carries_liquidations=False, expected_gap=1.0),
        )

    def metadata_requests(self) -> Sequence[Request]:
        """``allPerpMetas``."""
        kind = (("Content-Type", "application/json"),)
        return (Request("/info", "POST", '{"type":"allPerpMetas"}', kind),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """Every perpetual still listed, with its place in its dex's universe as number."""
        metas = _any(body)
        for meta in metas if isinstance(metas, list) else [metas]:
            for place, row in enumerate(meta["universe"] if isinstance(meta, dict) and "universe" in meta else ()):
                coin = row["name"]
                dex, _, name = coin.rpartition(":")
                if not row.get("isDelisted"):
                    yield Instrument(self.venue, coin, name, 1.0, "base", "USD", "USDC", number=_number(dex, place))

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """Whether the frame answers a subscription."""
        if len(frame) > 1000:
            return None
        match _any(frame):
            case {"channel": "subscriptionResponse"}:
                return Acknowledged()
            case {"channel": "error", "data": reason}:
                return Denied(str(reason))
        return None


EXCHANGES: tuple[Exchange, ...] = (Hyperliquid(),)
