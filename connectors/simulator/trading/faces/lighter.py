"""The simulated venue as Lighter speaks: ``sendTx``, queries by token, channels of one socket.

The venue's signatures come from a native library that is not shipped: whoever starts this face says how a transaction's
``Sig`` is checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from connectors.simulator.trading.commands import Cancel, Command, Deadman, Envelope, Modify, Place, Reply
from connectors.simulator.trading.faces.server import Face, Handler, Malformed, only, respond
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.venues.lighter_wire import CANCEL, CANCEL_ALL, CREATE, MODIFY, SCHEDULED, TIME_IN_FORCE
from schemas.clock import MILLISECOND, Clock, system_clock
from schemas.orders import Account, Book, Fill, Order, OrderStatus, TimeInForce, Unknown
from schemas.records import AccountEvent

_CODES = {
    "nonce_used": 21104,
    "nonce_wrong": 21104,
    "duplicate_id": 21728,
    "price_band": 21733,
    "expired": 21703,
    "signature": 21120,
    "fields": 20001,
    "min_notional": 21706,
    "off_step": 21702,
    "off_tick": 21701,
}
_ALWAYS = ("AccountIndex", "ApiKeyIndex", "ExpiredAt", "Nonce", "Sig")
_FIELDS = {
    CREATE: ("MarketIndex", "ClientOrderIndex", "BaseAmount", "Price", "IsAsk", "Type", "TimeInForce", "ReduceOnly",
             "TriggerPrice", "OrderExpiry"),
    CANCEL: ("MarketIndex", "Index"),
    MODIFY: ("MarketIndex", "Index", "BaseAmount", "Price", "TriggerPrice"),
    CANCEL_ALL: ("TimeInForce", "Time"),
}  # fmt: skip
_FORCE: dict[int, TimeInForce] = {0: "ioc", 1: "gtc", 2: "post_only"}
_STATES = {"open": "open", "partial": "open", "filled": "filled", "cancelled": "canceled", "expired": "canceled"}
_OTHERS = 999_999
"""Index of the account everybody else has."""
Check = Callable[[int, dict[str, Any]], bool]


class LighterFace(Face):
    """Lighter.

    :arg account: name and index of the account.
    :arg check: whether the signature of a transaction of that type is good.
    :arg token: what opens private queries.
    """

    def __init__(
        self,
        venue: SimulatedVenue,
        account: tuple[str, int],
        check: Check,
        token: Callable[[str], bool],
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(venue, clock)
        self._account, self._index = account
        self._check = check
        self._token = token

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """The documented part this desk uses."""
        base = "/api/v1"
        return {
            ("POST", f"{base}/sendTx"): self._send,
            ("GET", f"{base}/nextNonce"): self._next,
            ("GET", f"{base}/orderBookDetails"): self._details,
            ("GET", f"{base}/orderBookOrders"): self._book,
            ("GET", f"{base}/account"): partial(self._query, self._state),
            ("GET", f"{base}/accountActiveOrders"): partial(self._private, self._active),
            ("GET", f"{base}/accountInactiveOrders"): partial(self._private, self._inactive),
            ("GET", f"{base}/trades"): partial(self._private, self._trades),
        }

    def streams(self) -> Mapping[str, Callable[[WebSocket], Awaitable[None]]]:
        """One socket for everything."""
        return {"/stream": self._stream}

    def complaint(self, error: Malformed) -> Response:
        """Code and message."""
        return respond({"code": _CODES.get(error.code, 20001), "message": error.reason}, 400)

    def _name(self, market: int) -> str:
        return self.venue.contracts()[market].instrument

    def _number(self, instrument: str) -> int:
        return [c.instrument for c in self.venue.contracts()].index(instrument)

    # -- transactions

    async def _send(self, request: Request) -> Response:
        fields = dict(parse_qsl((await request.body()).decode()))
        only(fields, ("tx_type", "tx_info"))
        kind, transaction = int(fields["tx_type"]), msgspec.json.decode(fields["tx_info"])
        if kind not in _FIELDS:
            raise Malformed("fields", f"transaction type {kind} is not taken here")
        # The venue's own signer says so, where others would be given a share of the fee.
        if transaction.get("L2TxAttributes") is not None:
            raise Malformed("fields", "attributes are not taken here")
        only(transaction, (*_FIELDS[kind], *_ALWAYS), ("L2TxAttributes",))
        if transaction["AccountIndex"] != self._index or not self._check(kind, transaction):
            raise Malformed("signature", "invalid signature")
        envelope = Envelope(
            account=self._account,
            command=self._command(kind, transaction),
            key=transaction["ApiKeyIndex"],
            nonce=transaction["Nonce"],
            valid_until=transaction["ExpiredAt"] * MILLISECOND,
        )
        return self._answer(await self.submit(envelope))

    def _command(self, kind: int, told: dict[str, Any]) -> Command:
        if kind == CANCEL:
            return Cancel(self._name(told["MarketIndex"]), str(told["Index"]))
        if kind == CANCEL_ALL:
            later = told["Time"] * MILLISECOND - self.venue.agenda.now
            return Deadman(max(1, later) if told["TimeInForce"] == SCHEDULED else 0)
        contract = self.venue.contracts()[told["MarketIndex"]]
        create = kind == CREATE
        order = Order(
            venue="lighter",
            instrument=contract.instrument,
            side="sell" if create and told["IsAsk"] else "buy",
            quantity=told["BaseAmount"] * contract.rules.step,
            price=told["Price"] * contract.rules.tick,
            time_in_force=_FORCE[told["TimeInForce"]] if create else _FORCE[TIME_IN_FORCE["gtc"]],
            reduce_only=bool(create and told["ReduceOnly"]),
            client_id=str(told["ClientOrderIndex"] if create else told["Index"]),
        )
        return Place(order) if create else Modify(order)

    def _answer(self, reply: Reply) -> Response:
        if reply.kind == "throttled":
            return respond(None, 418 if reply.reason == "banned" else 429, reply.retry_after)
        if reply.kind == "unknown":
            return respond(None, 503)
        # What is found out when it is carried out is not in the answer.
        if reply.kind == "done" or reply.reason == "order_unknown":
            return respond({"code": 200, "message": "", "tx_hash": "0x00"})
        return respond({"code": _CODES.get(reply.reason, 21000), "message": reply.reason}, 400)

    # -- queries

    async def _next(self, request: Request) -> Response:
        only(request.query_params, ("account_index", "api_key_index"))
        key = int(request.query_params["api_key_index"])
        return respond({"code": 200, "nonce": self.venue.next_nonce(self._account, key)})

    async def _details(self, request: Request) -> Response:
        only(request.query_params, (), ("market_id",))
        rows = [
            {"symbol": c.instrument, "market_id": place, "size_decimals": -int(c.rules.step.adjusted()),
             "price_decimals": -int(c.rules.tick.adjusted()), "min_base_amount": str(c.rules.min_quantity),
             "min_quote_amount": str(c.rules.min_notional), "last_trade_price": float(c.mark)}
            for place, c in enumerate(self.venue.contracts())
        ]  # fmt: skip
        return respond({"code": 200, "order_book_details": rows})

    async def _book(self, request: Request) -> Response:
        only(request.query_params, ("market_id", "limit"))
        book = self.venue.book(self._name(int(request.query_params["market_id"])))
        assert isinstance(book, Book)  # noqa: S101 - the market is listed
        sides = {
            name: [{"price": str(x.price), "remaining_base_amount": str(x.quantity)} for x in levels]
            for name, levels in (("bids", book.bids), ("asks", book.asks))
        }
        return respond({"code": 200, **sides})

    async def _private(self, question: Callable[[Request], Any], request: Request) -> Response:
        if not self._token(request.headers.get("authorization", "")):
            raise Malformed("signature", "invalid auth")
        return await self._query(question, request)

    async def _query(self, question: Callable[[Request], Any], request: Request) -> Response:
        found = await self.ask(self._account, partial(question, request))
        if isinstance(found, Unknown):
            return respond(None, int(found.reason[-3:]))
        return respond({"code": 200, **found})

    def _state(self, request: Request) -> Any:
        only(request.query_params, ("by", "value"))
        found: Account = self.venue.accounts.account(self._account)
        row = {
            "positions": [_position(p, self._number(p.instrument)) for p in found.positions.values()],
            "total_asset_value": str(found.equity),
            "available_balance": str(found.free_margin),
        }
        return {"accounts": [row]}

    def _orders(self, request: Request, *, living: bool) -> Any:
        market = int(request.query_params["market_id"])
        known = self.venue.accounts.views[self._account].orders(self.venue.agenda.now)
        rows = [o for o in known if (o.state in {"open", "partial"}) == living and o.instrument == self._name(market)]
        return {"orders": [_row(order, market) for order in reversed(rows)]}

    def _active(self, request: Request) -> Any:
        only(request.query_params, ("account_index", "market_id"))
        return self._orders(request, living=True)

    def _inactive(self, request: Request) -> Any:
        only(request.query_params, ("account_index", "market_id", "limit"))
        return self._orders(request, living=False)

    def _trades(self, request: Request) -> Any:
        only(request.query_params, ("sort_by", "account_index", "limit"))
        fills = self.venue.accounts.views[self._account].fills(0, self.venue.agenda.now)
        return {"trades": [self._trade(f) for f in reversed(fills)]}

    def _trade(self, fill: Fill) -> dict[str, Any]:
        ours, theirs = ("ask", "bid") if fill.side == "sell" else ("bid", "ask")
        kinds = {"order": "trade", "liquidation": "liquidation", "adl": "deleverage"}
        return {
            "trade_id": int(fill.trade_id),
            "type": kinds.get(fill.cause, "trade"),
            "market_id": self._number(fill.instrument),
            "size": str(fill.quantity),
            "price": str(fill.price),
            "usd_amount": str(fill.quantity * fill.price),
            f"{ours}_id": int(fill.order_id) if fill.order_id.isdigit() else int(fill.order_id.rpartition("-")[2]),
            f"{theirs}_id": 0,
            f"{ours}_client_id": int(fill.client_id or 0),
            f"{theirs}_client_id": 0,
            f"{ours}_account_id": self._index,
            f"{theirs}_account_id": _OTHERS,
            "is_maker_ask": fill.maker == (fill.side == "sell"),
            "taker_fee": 0,
            "maker_fee": 0,
            "timestamp": fill.time // MILLISECOND,
        }

    # -- the stream

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json({"type": "connected"})
        first: list[Any] = []
        while len(first) < 3:
            said = msgspec.json.decode(await socket.receive_text())
            only(said, ("type", "channel", "auth"))
            if not self._token(said["auth"]):
                await socket.send_json({"error": {"code": 20013, "message": "invalid auth"}})
                return
            channel, _, _ = said["channel"].partition("/")
            empty: dict[str, Any] = {"account_all_orders": {"orders": {}}, "account_all_trades": {"trades": {}}}
            name = said["channel"].replace("/", ":")
            first.append({"type": f"subscribed/{channel}", "channel": name, **empty.get(channel, {"notifs": []})})
        await self.tell(socket, self._account, self._words, first)

    def _words(self, message: Message) -> list[dict[str, Any]]:
        match message:
            case OrderStatus():
                market = self._number(message.instrument)
                return [self._frame("account_all_orders", orders={str(market): [_row(message, market)]})]
            case Fill():
                market = self._number(message.instrument)
                return [self._frame("account_all_trades", trades={str(market): [self._trade(message)]})]
            case AccountEvent(event="liquidation" | "adl"):
                return [self._frame("notification", notifs=[self._notice(message)])]
        return []

    def _frame(self, channel: str, **content: Any) -> dict[str, Any]:
        return {"type": f"update/{channel}", "channel": f"{channel}:{self._index}", **content}

    def _notice(self, event: AccountEvent) -> dict[str, Any]:
        content = {
            "id": event.event_id,
            "is_ask": event.order_side == "sell",
            "usdc_amount": str(event.notional_usd),
            "size": str(event.quantity),
            "market_index": self._number(event.instrument),
            "price": str(event.price),
            "avg_price": str(event.price),
            "timestamp": event.event_time // MILLISECOND,
        }
        return {"kind": "deleverage" if event.event == "adl" else "liquidation", "content": content}


def _row(order: OrderStatus, market: int) -> dict[str, Any]:
    return {
        "order_index": int(order.order_id),
        "client_order_index": int(order.client_id),
        "market_index": market,
        "initial_base_amount": str(order.quantity),
        "remaining_base_amount": str(order.quantity - order.filled),
        "filled_base_amount": str(order.filled),
        "filled_quote_amount": str(order.filled * (order.average_price or Decimal(0))),
        "is_ask": order.side == "sell",
        "reduce_only": order.reduce_only,
        "status": _STATES[order.state],
        "timestamp": order.time // MILLISECOND,
    }


def _position(known: Any, market: int) -> dict[str, Any]:
    return {
        "market_id": market,
        "symbol": known.instrument,
        "sign": 1 if known.quantity > 0 else -1,
        "position": str(abs(known.quantity)),
        "avg_entry_price": str(known.entry_price),
        "position_value": str(abs(known.quantity) * known.mark_price),
        "liquidation_price": str(known.liquidation_price or 0),
        "initial_margin_fraction": str(100 / known.leverage),
    }
