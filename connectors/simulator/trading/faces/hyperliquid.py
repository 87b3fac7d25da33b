"""The simulated venue as Hyperliquid speaks: ``/exchange``, ``/info``, ``/ws``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from connectors.simulator.trading.commands import Cancel, Command, Deadman, Envelope, Modify, Noop, Place, Reply
from connectors.simulator.trading.faces.server import Face, Handler, Malformed, only, respond
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.venues.signing import hyperliquid_agent, signer_of
from schemas.clock import MILLISECOND, Clock, system_clock
from schemas.orders import Account, Book, Fill, Order, OrderStatus, TimeInForce, Unknown

_TEXTS: dict[str, str] = {
    "nonce_used": "Invalid nonce: duplicate nonce",
    "nonce_wrong": "Invalid nonce: outside of the window",
    "expired": "Action expired",
    "post_only_crosses": "Post only order would have immediately matched",
    "reduce_only_no_position": "Reduce only order would increase position.",
    "reduce_only_wrong_side": "Reduce only order would increase position.",
    "insufficient_margin": "Insufficient margin to place order.",
    "min_notional": "Order must have minimum value of $10.",
    "off_tick": "Price must be divisible by tick size.",
    "off_step": "Order has invalid size.",
    "price_band": "Order price cannot be more than 95% away from the reference price",
    "order_unknown": "Order was never placed, already canceled, or filled.",
    "instrument_unknown": "Asset does not exist",
}
_FORCE: dict[str, TimeInForce] = {"Gtc": "gtc", "Ioc": "ioc", "Alo": "post_only"}
_STATES = {"open": "open", "partial": "open", "filled": "filled", "cancelled": "canceled", "expired": "canceled"}


class HyperliquidFace(Face):
    """Hyperliquid.

    :arg agents: the account each agent wallet trades for, by its address.
    :arg user: address of that account.
    """

    def __init__(
        self, venue: SimulatedVenue, agents: Mapping[str, str], user: str, clock: Clock = system_clock
    ) -> None:
        super().__init__(venue, clock)
        self._agents = {address.lower(): account for address, account in agents.items()}
        self._users = {user.lower(): account for account in agents.values()}
        self._user = user

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """Two addresses for everything."""
        return {("POST", "/exchange"): self._exchange, ("POST", "/info"): self._info}

    def streams(self) -> Mapping[str, Callable[[WebSocket], Awaitable[None]]]:
        """One socket for everything."""
        return {"/ws": self._socket}

    def complaint(self, error: Malformed) -> Response:
        """The venue's words, with status 200."""
        return respond({"status": "err", "response": error.reason})

    def _coins(self) -> list[str]:
        return [contract.instrument for contract in self.venue.contracts()]

    # -- actions

    async def _exchange(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body())
        only(body, ("action", "nonce", "signature"), ("vaultAddress", "expiresAfter"))
        told, action = body["signature"], body["action"]
        only(told, ("r", "s", "v"))
        typed = hyperliquid_agent(action, body["nonce"], body.get("expiresAfter"), mainnet=True)
        agent = signer_of(typed, told["r"], told["s"], told["v"])
        account = self._agents.get(agent.lower())
        if account is None:
            raise Malformed("signature", f"User or API Wallet {agent} does not exist.")
        expires = body.get("expiresAfter")
        envelope = Envelope(
            account=account,
            command=self._command(action),
            nonce=body["nonce"],
            valid_until=expires * MILLISECOND if expires is not None else None,
        )
        return self._answer(action["type"], await self.submit(envelope))

    def _command(self, action: dict[str, Any]) -> Command:
        match action.get("type"):
            case "order":
                only(action, ("type", "orders", "grouping"))
                return Place(self._order(action["orders"]))
            case "batchModify":
                only(action, ("type", "modifies"))
                (change,) = action["modifies"]
                only(change, ("oid", "order"))
                return Modify(self._order([change["order"]]))
            case "cancelByCloid":
                only(action, ("type", "cancels"))
                (cancel,) = action["cancels"]
                only(cancel, ("asset", "cloid"))
                return Cancel(self._coins()[cancel["asset"]], cancel["cloid"])
            case "scheduleCancel":
                only(action, ("type",), ("time",))
                return Deadman(max(0, action.get("time", 0) * MILLISECOND - self.venue.agenda.now))
            case "noop":
                only(action, ("type",))
                return Noop()
        raise Malformed("fields", f"no action {action.get('type')!r} here")

    def _order(self, orders: list[dict[str, Any]]) -> Order:
        (row,) = orders
        only(row, ("a", "b", "p", "s", "r", "t"), ("c",))
        only(row["t"], ("limit",))
        only(row["t"]["limit"], ("tif",))
        return Order(
            venue="hyperliquid",
            instrument=self._coins()[row["a"]],
            side="buy" if row["b"] else "sell",
            quantity=Decimal(row["s"]),
            price=Decimal(row["p"]),
            time_in_force=_FORCE[row["t"]["limit"]["tif"]],
            reduce_only=row["r"],
            client_id=row.get("c", ""),
        )

    def _answer(self, kind: str, reply: Reply) -> Response:
        if reply.kind == "throttled":
            return respond(None, 418 if reply.reason == "banned" else 429, reply.retry_after)
        if reply.kind == "unknown":
            return respond(None, 503)
        text = _TEXTS.get(reply.reason, reply.reason)
        if reply.reason in {"nonce_used", "nonce_wrong", "expired"}:
            return respond({"status": "err", "response": text})
        if kind in {"noop", "scheduleCancel"}:
            return respond({"status": "ok", "response": {"type": "default"}})
        status: Any = {"error": text}
        if reply.kind == "done":
            status = "success" if kind == "cancelByCloid" else _status(reply.order)
        return respond({"status": "ok", "response": {"type": kind, "data": {"statuses": [status]}}})

    # -- questions

    async def _info(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body())
        kind = body.get("type")
        public = {"metaAndAssetCtxs": self._meta, "allPerpMetas": self._metas, "l2Book": self._book}
        public["userRole"] = self._role
        if kind in public:
            return respond(public[kind](body))
        asked: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "orderStatus": self._order_status,
            "frontendOpenOrders": self._open_orders,
            "userFillsByTime": self._fills,
            "clearinghouseState": self._state,
        }
        account = self._users.get(str(body.get("user", "")).lower())
        if kind not in asked or account is None:
            raise Malformed("fields", f"no question {kind!r} of {body.get('user')!r}")
        found = await self.ask(account, partial(asked[kind], body, account))
        if isinstance(found, Unknown):
            return respond(None, int(found.reason[-3:]))
        return respond(found)

    def _meta(self, body: dict[str, Any]) -> Any:
        only(body, ("type",))
        contracts = self.venue.contracts()
        universe = [
            {"name": c.instrument, "szDecimals": max(0, -int(c.rules.step.adjusted())), "maxLeverage": 50}
            for c in contracts
        ]
        return [{"universe": universe}, [{"markPx": str(c.mark), "funding": str(c.funding_rate)} for c in contracts]]

    def _role(self, body: dict[str, Any]) -> Any:
        only(body, ("type", "user"))
        known = body["user"] in self._agents
        return {"role": "agent", "data": {"user": self._user}} if known else {"role": "missing"}

    def _metas(self, body: dict[str, Any]) -> Any:
        return [self._meta(body)[0]]

    def _book(self, body: dict[str, Any]) -> Any:
        only(body, ("type", "coin"))
        book = self.venue.book(body["coin"])
        if not isinstance(book, Book):
            return None
        levels = [
            [{"px": str(x.price), "sz": str(x.quantity), "n": 1} for x in side] for side in (book.bids, book.asks)
        ]
        return {"coin": body["coin"], "time": book.time // MILLISECOND, "levels": levels}

    def _order_status(self, body: dict[str, Any], account: str) -> Any:
        only(body, ("type", "user", "oid"))
        now = self.venue.agenda.now
        view = self.venue.accounts.views[account]
        found = next((o for coin in self._coins() if (o := view.order(coin, body["oid"], now))), None)
        if found is None:
            return {"status": "unknownOid"}
        return {"status": "order", "order": _told(found)}

    def _open_orders(self, body: dict[str, Any], account: str) -> Any:
        only(body, ("type", "user"))
        return [_row(order) for order in self.venue.accounts.views[account].open_orders(self.venue.agenda.now)]

    def _fills(self, body: dict[str, Any], account: str) -> Any:
        only(body, ("type", "user", "startTime"))
        view = self.venue.accounts.views[account]
        fills = view.fills(body["startTime"] * MILLISECOND, self.venue.agenda.now)
        return [_fill(f, self._user, Decimal(0)) for f in fills]

    def _state(self, body: dict[str, Any], account: str) -> Any:
        only(body, ("type", "user"))
        found: Account = self.venue.accounts.account(account)
        return {
            "assetPositions": [{"type": "oneWay", "position": _position(p)} for p in found.positions.values()],
            "marginSummary": {"accountValue": str(found.equity)},
            "withdrawable": str(found.free_margin),
            "time": found.time // MILLISECOND,
        }

    # -- the stream

    async def _socket(self, socket: WebSocket) -> None:
        await socket.accept()
        wanted: set[str] = set()
        first: list[Any] = []
        while wanted != {"userFills", "orderUpdates"}:
            said = msgspec.json.decode(await socket.receive_text())
            wanted.add(said["subscription"]["type"])
            first.append({"channel": "subscriptionResponse", "data": said})
        first.append({"channel": "userFills", "data": {"user": self._user, "isSnapshot": True, "fills": []}})
        account = self._users[self._user.lower()]
        await self.tell(socket, account, partial(self._words, account), first)

    def _words(self, account: str, message: Message) -> list[dict[str, Any]]:
        match message:
            case Fill():
                held = self.venue.ledger.wallets[account].quantity(message.instrument)
                row = _fill(message, self._user, held)
                return [{"channel": "userFills", "data": {"user": self._user, "fills": [row]}}]
            case OrderStatus():
                return [{"channel": "orderUpdates", "data": [_told(message)]}]
        return []


def _status(order: OrderStatus | None) -> dict[str, Any]:
    if order is None or order.state in {"open", "partial"}:
        return {"resting": {"oid": int(order.order_id) if order is not None else 0}}
    if not order.filled:
        return {"error": "Order could not immediately match against any resting orders."}
    return {"filled": {"oid": int(order.order_id), "totalSz": str(order.filled), "avgPx": str(order.average_price)}}


def _row(order: OrderStatus) -> dict[str, Any]:
    return {
        "coin": order.instrument,
        "side": "B" if order.side == "buy" else "A",
        "sz": str(order.quantity - order.filled),
        "origSz": str(order.quantity),
        "oid": int(order.order_id),
        "cloid": order.client_id,
        "reduceOnly": order.reduce_only,
        "timestamp": order.time // MILLISECOND,
    }


def _told(order: OrderStatus) -> dict[str, Any]:
    return {"order": _row(order), "status": _STATES[order.state], "statusTimestamp": order.time // MILLISECOND}


def _fill(fill: Fill, user: str, held: Decimal) -> dict[str, Any]:
    """:arg held: what is held after the fill."""
    buys = fill.side == "buy"
    row: dict[str, Any] = {
        "coin": fill.instrument,
        "px": str(fill.price),
        "sz": str(fill.quantity),
        "side": "B" if buys else "A",
        "time": fill.time // MILLISECOND,
        "startPosition": str(held - fill.quantity if buys else held + fill.quantity),
        "dir": "Buy" if buys else "Sell",
        "hash": f"0x{int(fill.trade_id):064x}",
        "oid": int(fill.order_id) if fill.order_id.isdigit() else int(fill.order_id.rpartition("-")[2]),
        "crossed": not fill.maker,
        "fee": str(fill.fee),
        "feeToken": "USDC",
        "tid": int(fill.trade_id),
    }
    if fill.client_id:
        row["cloid"] = fill.client_id
    if fill.cause == "adl":
        row["dir"] = "Auto-Deleveraging"
    elif fill.cause == "liquidation":
        row["liquidation"] = {"liquidatedUser": user, "markPx": str(fill.price), "method": "market"}
    return row


def _position(known: Any) -> dict[str, Any]:
    return {
        "coin": known.instrument,
        "szi": str(known.quantity),
        "entryPx": str(known.entry_price),
        "positionValue": str(abs(known.quantity) * known.mark_price),
        "liquidationPx": str(known.liquidation_price) if known.liquidation_price is not None else None,
        "leverage": {"type": "cross" if known.margin is None else "isolated", "value": int(known.leverage)},
        "marginUsed": str(known.margin or 0),
    }
