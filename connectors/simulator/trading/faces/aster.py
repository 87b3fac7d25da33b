"""The simulated venue as Aster v3 speaks: signed forms, a user stream by listen key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from connectors.simulator.trading.commands import Cancel, Command, Deadman, Envelope, Modify, Noop, Place, Reply
from connectors.simulator.trading.faces.server import Face, Handler, Malformed, only, respond
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.venues.signing import aster_message, signer_of
from schemas.clock import MILLISECOND, Clock, system_clock
from schemas.orders import Account, Book, Fill, Order, OrderStatus, TimeInForce, Unknown
from schemas.records import AccountEvent

_CODES: dict[str, tuple[int, int]] = {
    "duplicate_id": (400, -4116),
    "nonce_used": (400, -4225),
    "nonce_wrong": (400, -4225),
    "expired": (400, -4225),
    "signature": (400, -1022),
    "fields": (400, -1104),
    "order_unknown": (400, -2011),
    "reduce_only_no_position": (400, -2022),
    "reduce_only_wrong_side": (400, -2022),
    "reduce_only_oversize": (400, -2022),
    "reduce_only_mode": (400, -2022),
    "post_only_crosses": (400, -5022),
    "insufficient_margin": (400, -2019),
    "min_notional": (400, -4164),
    "min_quantity": (400, -4004),
    "too_large": (400, -4005),
    "off_step": (400, -4023),
    "off_tick": (400, -4014),
    "price_band": (400, -4016),
    "instrument_unknown": (400, -1121),
    "rate_limit": (429, -1003),
    "banned": (418, -1003),
    "unavailable": (503, -1007),
    "maintenance": (400, -4022),
}
_STATES = {
    "open": "NEW",
    "partial": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
_FORCE: dict[str, TimeInForce] = {"GTC": "gtc", "IOC": "ioc", "GTX": "post_only"}
_FORCED_ID = {"liquidation": "autoclose-", "adl": "adl_autoclose", "unknown": "autoclose-", "settlement": "autoclose-"}
_SIGNED = ("nonce", "user", "signer", "signature")


class AsterFace(Face):
    """Aster.

    :arg signers: the account each API wallet signs for, by its address.
    """

    def __init__(self, venue: SimulatedVenue, signers: Mapping[str, str], clock: Clock = system_clock) -> None:
        super().__init__(venue, clock)
        self._signers = {address.lower(): account for address, account in signers.items()}
        self._keys: dict[str, str] = {}
        self.refreshed: list[int] = []
        """When listen keys were prolonged, nanoseconds."""

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """The documented part of v3 this desk uses."""
        base = "/fapi/v3"
        return {
            ("POST", f"{base}/order"): self._place,
            ("PUT", f"{base}/order"): self._modify,
            ("DELETE", f"{base}/order"): self._cancel,
            ("GET", f"{base}/order"): self._order,
            ("GET", f"{base}/openOrders"): self._open_orders,
            ("GET", f"{base}/allOrders"): self._all_orders,
            ("GET", f"{base}/userTrades"): self._trades,
            ("GET", f"{base}/positionRisk"): self._positions,
            ("GET", f"{base}/accountWithJoinMargin"): self._account,
            ("GET", f"{base}/positionSide/dual"): self._mode,
            ("GET", f"{base}/depth"): self._depth,
            ("GET", f"{base}/premiumIndex"): self._premium,
            ("GET", f"{base}/exchangeInfo"): self._information,
            ("GET", "/fapi/v1/exchangeInfo"): self._information,
            ("POST", f"{base}/noop"): self._noop,
            ("POST", f"{base}/countdownCancelAll"): self._countdown,
            ("POST", f"{base}/listenKey"): self._listen,
            ("PUT", f"{base}/listenKey"): self._prolong,
        }

    def streams(self) -> Mapping[str, Callable[[WebSocket], Awaitable[None]]]:
        """The user data stream."""
        return {"/ws/{key}": self._stream}

    def complaint(self, error: Malformed) -> Response:
        """Code and message."""
        status, code = _CODES.get(error.code, (400, -1102))
        return respond({"code": code, "msg": error.reason}, status)

    async def _signed(self, request: Request, needed: Sequence[str], allowed: Sequence[str] = ()) -> dict[str, str]:
        """The parameters, if complete, documented and signed by a known wallet; ``account`` is added."""
        text = request.url.query if request.method == "GET" else (await request.body()).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True))
        only(fields, [*needed, *_SIGNED], allowed)
        message, _, signature = text.rpartition("&signature=")
        digits = signature.removeprefix("0x")
        signer = signer_of(aster_message(message), digits[:64], digits[64:128], int(digits[128:], 16))
        if signer.lower() != fields["signer"].lower() or signer.lower() not in self._signers:
            raise Malformed("signature", "Signature for this request is not valid.")
        return {**fields, "account": self._signers[signer.lower()]}

    async def _obey(self, fields: dict[str, str], command: Command) -> Reply:
        return await self.submit(Envelope(account=fields["account"], command=command, nonce=int(fields["nonce"])))

    def _answer(self, reply: Reply) -> Response:
        if reply.kind == "done":
            return respond(_row(reply.order) if reply.order is not None else {"code": 200, "msg": "success"})
        status, code = _CODES.get(reply.reason, (400, -2010))
        return respond({"code": code, "msg": reply.reason}, status, reply.retry_after)

    # -- orders

    async def _place(self, request: Request) -> Response:
        fields = await self._signed(
            request,
            ("symbol", "side", "type", "quantity"),
            ("price", "timeInForce", "newClientOrderId", "reduceOnly", "newOrderRespType", "positionSide", "stpMode"),
        )
        if fields.get("reduceOnly", "false") not in {"true", "false"}:
            raise Malformed("fields", "reduceOnly is true or false")
        limit = fields["type"] == "LIMIT"
        order = Order(
            venue="aster",
            instrument=fields["symbol"],
            side="buy" if fields["side"] == "BUY" else "sell",
            quantity=Decimal(fields["quantity"]),
            price=Decimal(fields["price"]) if limit else None,
            time_in_force=_FORCE[fields["timeInForce"]] if limit else "ioc",
            reduce_only=fields.get("reduceOnly") == "true",
            client_id=fields.get("newClientOrderId", ""),
        )
        return self._answer(await self._obey(fields, Place(order)))

    async def _modify(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol", "origClientOrderId", "quantity", "price"))
        order = Order(
            venue="aster",
            instrument=fields["symbol"],
            side="buy",
            quantity=Decimal(fields["quantity"]),
            price=Decimal(fields["price"]),
            time_in_force="gtc",
            reduce_only=False,
            client_id=fields["origClientOrderId"],
        )
        return self._answer(await self._obey(fields, Modify(order)))

    async def _cancel(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol", "origClientOrderId"))
        return self._answer(await self._obey(fields, Cancel(fields["symbol"], fields["origClientOrderId"])))

    async def _noop(self, request: Request) -> Response:
        return self._answer(await self._obey(await self._signed(request, ()), Noop()))

    async def _countdown(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol", "countdownTime"))
        reply = await self._obey(fields, Deadman(int(fields["countdownTime"]) * MILLISECOND))
        if reply.kind != "done":
            return self._answer(reply)
        return respond({"symbol": fields["symbol"], "countdownTime": fields["countdownTime"]})

    # -- queries

    async def _asked(self, account: str, question: Callable[[], Any]) -> Response:
        found = await self.ask(account, question)
        if isinstance(found, Unknown):
            status = int(found.reason[-3:]) if found.reason.startswith("HTTP ") else 503
            return respond({"code": -1003 if status in {418, 429} else -1000, "msg": found.reason}, status)
        if found is None:
            return respond({"code": -2013, "msg": "Order does not exist."}, 400)
        return respond(found)

    async def _order(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol", "origClientOrderId"))
        view = self.venue.accounts.views[fields["account"]]

        def find() -> Any:
            found = view.order(fields["symbol"], fields["origClientOrderId"], self.venue.agenda.now)
            return _row(found) if found is not None else None

        return await self._asked(fields["account"], find)

    async def _open_orders(self, request: Request) -> Response:
        fields = await self._signed(request, (), ("symbol",))
        view = self.venue.accounts.views[fields["account"]]
        return await self._asked(fields["account"], lambda: [_row(o) for o in view.open_orders(self.venue.agenda.now)])

    async def _all_orders(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol",), ("startTime",))
        view = self.venue.accounts.views[fields["account"]]

        def find() -> Any:
            now = self.venue.agenda.now
            rows = [_row(o) for o in view.orders(now) if o.instrument == fields["symbol"]]
            return rows + [_forced_row(f) for f in view.fills(0, now) if not f.client_id]

        return await self._asked(fields["account"], find)

    async def _trades(self, request: Request) -> Response:
        fields = await self._signed(request, ("symbol",), ("startTime",))
        view = self.venue.accounts.views[fields["account"]]
        since = int(fields.get("startTime", "0")) * MILLISECOND

        def find() -> Any:
            fills = view.fills(since, self.venue.agenda.now)
            return [_trade(f) for f in fills if f.instrument == fields["symbol"]]

        return await self._asked(fields["account"], find)

    async def _positions(self, request: Request) -> Response:
        fields = await self._signed(request, (), ("symbol",))

        def find() -> Any:
            return [_position(p) for p in self.venue.accounts.account(fields["account"]).positions.values()]

        return await self._asked(fields["account"], find)

    async def _account(self, request: Request) -> Response:
        fields = await self._signed(request, ())

        def find() -> Any:
            account: Account = self.venue.accounts.account(fields["account"])
            return {"totalMarginBalance": str(account.equity), "availableBalance": str(account.free_margin)}

        return await self._asked(fields["account"], find)

    async def _depth(self, request: Request) -> Response:
        only(request.query_params, ("symbol",), ("limit",))
        book = self.venue.book(request.query_params["symbol"])
        if not isinstance(book, Book):
            raise Malformed("instrument_unknown", "Invalid symbol.")
        stamp = book.time // MILLISECOND
        sides = {
            "bids": [[str(x.price), str(x.quantity)] for x in book.bids],
            "asks": [[str(x.price), str(x.quantity)] for x in book.asks],
        }
        return respond({"lastUpdateId": 1, "E": stamp, "T": stamp, **sides})

    async def _premium(self, request: Request) -> Response:
        only(request.query_params, ("symbol",))
        contract = self.venue.contract(request.query_params["symbol"])
        return respond({
            "symbol": contract.instrument, "markPrice": str(contract.mark), "indexPrice": str(contract.mark),
            "lastFundingRate": str(contract.funding_rate), "nextFundingTime": 0,
            "time": self.venue.agenda.now // MILLISECOND,
        })  # fmt: skip

    async def _mode(self, request: Request) -> Response:
        await self._signed(request, ())
        return respond({"dualSidePosition": False})

    async def _information(self, request: Request) -> Response:
        only(request.query_params, ())
        return respond({"timezone": "UTC", "symbols": [_symbol(c.rules) for c in self.venue.contracts()]})

    # -- the stream

    async def _listen(self, request: Request) -> Response:
        fields = await self._signed(request, ())
        key = f"key-of-{fields['account']}"
        self._keys[key] = fields["account"]
        return respond({"listenKey": key})

    async def _prolong(self, request: Request) -> Response:
        await self._signed(request, ())
        self.refreshed.append(self.venue.agenda.now)
        return respond({})

    async def _stream(self, socket: WebSocket) -> None:
        account = self._keys.get(socket.path_params["key"])
        await socket.accept()
        if account is None:
            await socket.close(1008)
            return
        waiting: dict[str, Fill] = {}
        await self.tell(socket, account, lambda message: _words(message, waiting))


def _row(order: OrderStatus) -> dict[str, Any]:
    return {
        "clientOrderId": order.client_id,
        "orderId": int(order.order_id),
        "symbol": order.instrument,
        "side": order.side.upper(),
        "positionSide": "BOTH",
        "status": _STATES[order.state],
        "origQty": str(order.quantity),
        "executedQty": str(order.filled),
        "avgPrice": str(order.average_price or 0),
        "reduceOnly": order.reduce_only,
        "type": "LIMIT",
        "origType": "LIMIT",
        "updateTime": order.time // MILLISECOND,
    }


def _forced_row(fill: Fill) -> dict[str, Any]:
    return {
        "clientOrderId": f"{_FORCED_ID[fill.cause]}{fill.trade_id}",
        "orderId": _number(fill.order_id),
        "symbol": fill.instrument,
        "origType": "LIQUIDATION",
    }


def _number(order_id: str) -> int:
    """Forced orders have numbers of their own."""
    return int(order_id) if order_id.isdigit() else 9_000_000 + int(order_id.rpartition("-")[2])


def _trade(fill: Fill) -> dict[str, Any]:
    return {
        "id": int(fill.trade_id),
        "orderId": _number(fill.order_id),
        "symbol": fill.instrument,
        "side": fill.side.upper(),
        "price": str(fill.price),
        "qty": str(fill.quantity),
        "commission": str(-fill.fee),
        "commissionAsset": "USDT",
        "maker": fill.maker,
        "time": fill.time // MILLISECOND,
    }


def _position(known: Any) -> dict[str, Any]:
    return {
        "symbol": known.instrument,
        "positionSide": "BOTH",
        "positionAmt": str(known.quantity),
        "entryPrice": str(known.entry_price or 0),
        "markPrice": str(known.mark_price or 0),
        "liquidationPrice": str(known.liquidation_price or 0),
        "leverage": str(known.leverage or 0),
        "isolatedMargin": str(known.margin or 0),
    }


def _symbol(rules: Any) -> dict[str, Any]:
    return {
        "symbol": rules.instrument,
        "baseAsset": rules.asset,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": str(rules.tick)},
            {"filterType": "LOT_SIZE", "stepSize": str(rules.step), "minQty": str(rules.min_quantity),
             "maxQty": str(rules.max_quantity or 0)},
            {"filterType": "MIN_NOTIONAL", "notional": str(rules.min_notional)},
        ],
    }  # fmt: skip


def _words(message: Message, waiting: dict[str, Fill]) -> list[dict[str, Any]]:
    """A fill of an order and the state it left the order in are one frame, so the fill waits for the state."""
    match message:
        case Fill() if message.client_id:
            waiting[message.order_id] = message
        case Fill():
            return [_update(None, message)]
        case OrderStatus():
            return [_update(message, waiting.pop(message.order_id, None))]
        case AccountEvent(event="position"):
            row = {"s": message.instrument, "pa": str(message.remaining), "ps": "BOTH"}
            stamp = message.event_time // MILLISECOND
            return [{"e": "ACCOUNT_UPDATE", "E": stamp, "T": stamp, "a": {"m": "ORDER", "B": [], "P": [row]}}]
        case AccountEvent(event="margin_call"):
            row = {"s": message.instrument, "pa": str(message.remaining), "ps": "BOTH", "mp": str(message.price)}
            return [{"e": "MARGIN_CALL", "E": message.event_time // MILLISECOND, "p": [row]}]
    return []


def _update(order: OrderStatus | None, fill: Fill | None) -> dict[str, Any]:
    source = order if order is not None else fill
    assert source is not None, "one of the two is told"  # noqa: S101 - the caller has one
    stamp = (fill.time if fill is not None else source.time) // MILLISECOND
    forced = fill is not None and not fill.client_id
    row: dict[str, Any] = {
        "s": source.instrument,
        "c": f"{_FORCED_ID[fill.cause]}{fill.trade_id}" if forced and fill is not None else source.client_id,
        "S": source.side.upper(),
        "o": "LIQUIDATION" if forced else "LIMIT",
        "x": "TRADE" if fill is not None else _STATES[order.state] if order is not None else "CALCULATED",
        "X": "FILLED" if order is None else _STATES[order.state],
        "i": _number(source.order_id),
        "q": str(source.quantity),
        "z": str(source.quantity if order is None else order.filled),
        "ap": str((order.average_price if order is not None else None) or 0),
        "R": order.reduce_only if order is not None else False,
        "T": stamp,
    }
    if fill is not None:
        row |= {
            "l": str(fill.quantity), "L": str(fill.price), "n": str(fill.fee), "N": "USDT", "t": int(fill.trade_id),
            "m": fill.maker,
        }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": stamp, "T": stamp, "o": row}
