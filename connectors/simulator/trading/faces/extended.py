"""The simulated venue as Extended speaks: Stark-signed orders, an account stream with ``seq``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from connectors.simulator.trading.commands import Cancel, Command, Deadman, Envelope, Place, Reply
from connectors.simulator.trading.faces.server import Face, Handler, Malformed, only, respond
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.venues.extended_wire import StarkMarket, settlement
from connectors.venues.signing import stark_signed
from schemas.clock import MILLISECOND, SECOND, Clock, system_clock
from schemas.orders import Account, Book, Fill, Order, OrderStatus, TimeInForce, Unknown
from schemas.records import AccountEvent

_CODES = {
    "duplicate_id": 1134,
    "reduce_only_oversize": 1136,
    "reduce_only_no_position": 1137,
    "reduce_only_wrong_side": 1138,
    "insufficient_margin": 1140,
    "order_unknown": 1142,
    "off_step": 1121,
    "off_tick": 1125,
    "price_band": 1141,
    "min_notional": 1120,
    "signature": 1101,
    "fields": 400,
}
_STATES = {
    "open": "NEW",
    "partial": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
_ORDER = (
    "id", "market", "type", "side", "qty", "price", "timeInForce", "expiryEpochMillis", "fee", "nonce", "settlement",
    "selfTradeProtectionLevel", "reduceOnly", "postOnly",
)  # fmt: skip
CHAIN = "SN_MAIN"
_RESOLUTION = Decimal(1_000_000)


def stark_market(place: int) -> StarkMarket:
    """How the n-th contract is called on the chain."""
    return StarkMarket(hex(0x4554482D0000 + place), _RESOLUTION, "0x1", _RESOLUTION)


class ExtendedFace(Face):
    """Extended.

    :arg keys: the account behind each API key, with its public Stark key and vault.
    """

    def __init__(
        self, venue: SimulatedVenue, keys: Mapping[str, tuple[str, int, int]], clock: Clock = system_clock
    ) -> None:
        super().__init__(venue, clock)
        self._keys = dict(keys)

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """The documented part this desk uses."""
        user, market = "/api/v1/user", "/api/v1/info/markets"
        return {
            ("POST", f"{user}/order"): self._place,
            ("DELETE", f"{user}/order"): self._cancel,
            ("POST", f"{user}/deadmanswitch"): self._deadman,
            ("GET", f"{user}/orders"): partial(self._private, self._open_orders),
            ("GET", f"{user}/orders/history"): partial(self._private, self._history),
            ("GET", f"{user}/orders/external/{{id}}"): partial(self._private, self._external),
            ("GET", f"{user}/trades"): partial(self._private, self._trades),
            ("GET", f"{user}/positions"): partial(self._private, self._positions),
            ("GET", f"{user}/balance"): partial(self._private, self._balance),
            ("GET", f"{user}/account/info"): self._information,
            ("GET", market): self._markets,
            ("GET", f"{market}/{{name}}/orderbook"): self._book,
            ("GET", f"{market}/{{name}}/stats"): self._stats,
        }

    def streams(self) -> Mapping[str, Callable[[WebSocket], Awaitable[None]]]:
        """The account stream."""
        return {"/stream.extended.exchange/v1/account": self._stream}

    def complaint(self, error: Malformed) -> Response:
        """Code and message."""
        return respond(
            {"status": "ERROR", "error": {"code": _CODES.get(error.code, 400), "message": error.reason}}, 400
        )

    def _who(self, headers: Mapping[str, str]) -> tuple[str, int, int]:
        known = self._keys.get(headers.get("x-api-key", ""))
        if known is None or "user-agent" not in headers:
            raise Malformed("signature", "unauthorised")
        return known

    # -- orders

    async def _place(self, request: Request) -> Response:
        account, public, vault = self._who(request.headers)
        body = msgspec.json.decode(await request.body())
        only(body, _ORDER)
        only(body["settlement"], ("signature", "starkKey", "collateralPosition"))
        kinds: dict[tuple[str, bool], TimeInForce] = {
            ("IOC", False): "ioc",
            ("GTT", False): "gtc",
            ("GTT", True): "post_only",
        }
        order = Order(
            venue="extended",
            instrument=body["market"],
            side="buy" if body["side"] == "BUY" else "sell",
            quantity=Decimal(body["qty"]),
            price=Decimal(body["price"]),
            time_in_force=kinds[body["timeInForce"], body["postOnly"]],
            reduce_only=body["reduceOnly"],
            client_id=body["id"],
        )
        self._verify(order, body, public, vault)
        expires = body["expiryEpochMillis"] * MILLISECOND
        reply = await self._obey(account, Place(order), expires)
        if reply.kind == "done":
            self.venue.agenda.at(expires, lambda: self._expire(account, order.client_id))
        return self._answer(reply)

    def _verify(self, order: Order, body: dict[str, Any], public: int, vault: int) -> None:
        names = [c.instrument for c in self.venue.contracts()]
        if order.instrument not in names:
            raise Malformed("fields", f"no market {order.instrument}")
        moved = settlement(
            order, stark_market(names.index(order.instrument)), position=vault, fee=Decimal(body["fee"]),
            expires=body["expiryEpochMillis"], salt=int(body["nonce"]), public=public,
        )  # fmt: skip
        told = body["settlement"]["signature"]
        if not stark_signed(public, moved.digest(CHAIN), int(told["r"], 16), int(told["s"], 16)):
            raise Malformed("signature", "Invalid StarkEx signature")

    def _expire(self, account: str, client_id: str) -> None:
        if self.venue.desk.living(account, client_id) is not None:
            self.venue.desk.cancel(account, client_id)

    async def _cancel(self, request: Request) -> Response:
        account, _, _ = self._who(request.headers)
        only(request.query_params, ("externalId",))
        return self._answer(await self._obey(account, Cancel("", request.query_params["externalId"])))

    async def _deadman(self, request: Request) -> Response:
        account, _, _ = self._who(request.headers)
        only(request.query_params, ("countdownTime",))
        ttl = int(request.query_params["countdownTime"]) * SECOND
        return self._answer(await self._obey(account, Deadman(ttl)))

    async def _obey(self, account: str, command: Command, valid_until: int | None = None) -> Reply:
        return await self.submit(Envelope(account=account, command=command, valid_until=valid_until))

    def _answer(self, reply: Reply) -> Response:
        if reply.kind == "throttled":
            return respond(None, 418 if reply.reason == "banned" else 429, reply.retry_after)
        if reply.kind == "unknown":
            return respond(None, 503)
        if reply.kind != "done":
            error = {"code": _CODES.get(reply.reason, 1000), "message": reply.reason}
            return respond({"status": "ERROR", "error": error}, 400)
        order = reply.order
        data = {"id": int(order.order_id), "externalId": order.client_id} if order is not None else {}
        return respond({"status": "OK", "data": data} if data else {"status": "OK"})

    # -- queries

    async def _private(self, question: Callable[[Request, str], Any], request: Request) -> Response:
        account, _, _ = self._who(request.headers)
        found = await self.ask(account, partial(question, request, account))
        if isinstance(found, Unknown):
            return respond(None, int(found.reason[-3:]))
        return respond({"status": "OK", "data": found})

    def _orders(self, account: str) -> list[OrderStatus]:
        return self.venue.accounts.views[account].orders(self.venue.agenda.now)

    def _open_orders(self, request: Request, account: str) -> Any:
        only(request.query_params, (), ("market",))
        return [_row(o) for o in self.venue.accounts.views[account].open_orders(self.venue.agenda.now)]

    def _history(self, request: Request, account: str) -> Any:
        only(request.query_params, (), ("market", "limit"))
        return [_row(o) for o in self._orders(account)]

    def _external(self, request: Request, account: str) -> Any:
        return [_row(o) for o in self._orders(account) if o.client_id == request.path_params["id"]]

    def _trades(self, request: Request, account: str) -> Any:
        only(request.query_params, (), ("limit",))
        fills = self.venue.accounts.views[account].fills(0, self.venue.agenda.now)
        return [_trade(f) for f in reversed(fills)]

    def _positions(self, request: Request, account: str) -> Any:
        only(request.query_params, (), ("market",))
        found: Account = self.venue.accounts.account(account)
        return [_position(p) for p in found.positions.values()]

    def _balance(self, request: Request, account: str) -> Any:
        only(request.query_params, ())
        found: Account = self.venue.accounts.account(account)
        return {"equity": str(found.equity), "availableForTrade": str(found.free_margin)}

    async def _information(self, request: Request) -> Response:
        _, public, vault = self._who(request.headers)
        return respond({"status": "OK", "data": {"status": "ACTIVE", "l2Key": hex(public), "l2Vault": str(vault)}})

    async def _markets(self, request: Request) -> Response:
        only(request.query_params, (), ("market",))
        rows = [_market(c.rules, place) for place, c in enumerate(self.venue.contracts())]
        return respond({"status": "OK", "data": rows})

    async def _book(self, request: Request) -> Response:
        book = self.venue.book(request.path_params["name"])
        if not isinstance(book, Book):
            raise Malformed("fields", "no such market")
        sides = {
            name: [{"price": str(x.price), "qty": str(x.quantity)} for x in levels]
            for name, levels in (("bid", book.bids), ("ask", book.asks))
        }
        return respond({"status": "OK", "data": {"market": book.instrument, **sides}})

    async def _stats(self, request: Request) -> Response:
        contract = self.venue.contract(request.path_params["name"])
        return respond({"status": "OK", "data": {"markPrice": str(contract.mark)}})

    # -- the stream

    async def _stream(self, socket: WebSocket) -> None:
        try:
            account, _, _ = self._who(socket.headers)
        except Malformed:
            await socket.close(1008)
            return
        await socket.accept()
        seq = iter(range(1, 1 << 62))

        def words(message: Message) -> list[dict[str, Any]]:
            told = _word(message)
            return [{**told, "ts": self.venue.agenda.now // MILLISECOND, "seq": next(seq)}] if told else []

        await self.tell(socket, account, words)


def _word(message: Message) -> dict[str, Any] | None:
    match message:
        case OrderStatus():
            return {"type": "ORDER", "data": {"orders": [_row(message)]}}
        case Fill():
            return {"type": "TRADE", "data": {"trades": [_trade(message)]}}
        case AccountEvent(event="position"):
            row = {
                "market": message.instrument,
                "side": "SHORT" if message.position == "short" else "LONG",
                "size": str(abs(message.remaining or 0.0)),
                "markPrice": str(message.price),
                "updatedAt": message.event_time // MILLISECOND,
            }
            return {"type": "POSITION", "data": {"positions": [row]}}
    return None


def _row(order: OrderStatus) -> dict[str, Any]:
    return {
        "id": int(order.order_id),
        "externalId": order.client_id,
        "market": order.instrument,
        "type": "LIMIT",
        "side": order.side.upper(),
        "status": _STATES[order.state],
        "qty": str(order.quantity),
        "filledQty": str(order.filled),
        "averagePrice": str(order.average_price or 0),
        "reduceOnly": order.reduce_only,
        "postOnly": False,
        "updatedTime": order.time // MILLISECOND,
    }


def _trade(fill: Fill) -> dict[str, Any]:
    kinds = {"order": "TRADE", "liquidation": "LIQUIDATION", "adl": "DELEVERAGE"}
    forced = fill.cause in {"liquidation", "adl"}
    return {
        "id": int(fill.trade_id),
        "market": fill.instrument,
        "orderId": int(fill.order_id) if fill.order_id.isdigit() else int(fill.order_id.rpartition("-")[2]),
        "side": fill.side.upper(),
        "price": str(fill.price),
        "qty": str(fill.quantity),
        "fee": str(fill.fee),
        "isTaker": forced or not fill.maker,
        "tradeType": kinds.get(fill.cause, "TRADE"),
        "createdTime": fill.time // MILLISECOND,
    }


def _position(known: Any) -> dict[str, Any]:
    return {
        "market": known.instrument,
        "side": "LONG" if known.quantity > 0 else "SHORT",
        "size": str(abs(known.quantity)),
        "openPrice": str(known.entry_price),
        "markPrice": str(known.mark_price),
        "liquidationPrice": str(known.liquidation_price or 0),
        "leverage": str(known.leverage),
        "adl": max(1, round((known.adl_rank or 0) * 5)),
    }


def _market(rules: Any, place: int) -> dict[str, Any]:
    chain = stark_market(place)
    return {
        "name": rules.instrument,
        "assetName": rules.asset,
        "tradingConfig": {
            "minOrderSize": str(rules.min_quantity),
            "minOrderSizeChange": str(rules.step),
            "minPriceChange": str(rules.tick),
        },
        "l2Config": {
            "type": "STARKX",
            "collateralId": chain.collateral,
            "collateralResolution": int(chain.collateral_resolution),
            "syntheticId": chain.synthetic,
            "syntheticResolution": int(chain.synthetic_resolution),
        },
    }
