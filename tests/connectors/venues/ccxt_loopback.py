"""The REST face of venues signed for by ccxt, on 127.0.0.1: strict about every header, field and signature.

Each voice checks the signature with the shared secret by the venue's documented recipe, refuses any header and any
field of an order it does not document, and answers from a small book of orders.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

KEY, SECRET, PASSPHRASE = "desk-key-4711", "desk-secret-4711", "desk-phrase-4711"
TRANSPORT = {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length", "content-type"}
NOW = 1_790_000_000_000
"""Milliseconds: the time every row tells."""
BINANCE_KINDS = {"GTC": "gtc", "IOC": "ioc", "GTX": "post_only"}
BYBIT_KINDS = {"GTC": "gtc", "IOC": "ioc", "PostOnly": "post_only"}
OKX_KINDS = {"limit": "gtc", "ioc": "ioc", "post_only": "post_only", "market": "market"}


class Request(NamedTuple):
    """What arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str

    @property
    def fields(self) -> dict[str, Any]:
        """Of the query and the body together."""
        found: dict[str, Any] = dict(parse_qsl(self.query))
        if self.body.startswith("{"):
            return found | json.loads(self.body)
        return found | dict(parse_qsl(self.body))


class Refusal(Exception):
    """What the venue would answer with an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


@dataclass
class Placed:
    """An order that arrived, in the venue's own counting."""

    client_id: str
    side: str
    quantity: str
    price: str
    reduce_only: bool
    kind: str
    """As ``TimeInForce``, or ``market``."""
    number: int = 0
    state: str = ""

    def __post_init__(self) -> None:
        self.state = "filled" if self.kind in {"ioc", "market"} else "open"


@dataclass
class State:
    """What the venue knows, and what it was sent."""

    orders: dict[str, Placed] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    position: str = "0"
    script: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    """Answers to give instead, first come first served: status, headers, body (``None`` cuts the connection)."""
    pages: dict[str, Any] = field(default_factory=dict)
    """Answers that replace a path's own."""

    def place(self, order: Placed, duplicate: Callable[[], Refusal] | None) -> Placed:
        known = self.orders.get(order.client_id)
        if duplicate is not None and known is not None and known.state == "open":
            raise duplicate()
        order.number = 7001 + len(self.orders)
        self.orders[order.client_id] = order
        return order


class Voice:
    """One venue: override ``signed`` and ``answer``."""

    name = ""
    headers: frozenset[str] = frozenset()
    order_fields: frozenset[str] = frozenset()
    order_path = ""

    def signed(self, request: Request) -> bool:
        raise NotImplementedError

    def public(self, request: Request) -> bool:
        return not request.headers.keys() & self.headers

    def answer(self, request: Request, state: State) -> Any:
        raise NotImplementedError

    def denied(self, why: str) -> Refusal:
        raise NotImplementedError


def mac(text: str, kind: Any = hashlib.sha256) -> bytes:
    return hmac.new(SECRET.encode(), text.encode(), kind).digest()


def strict(voice: Voice, request: Request, state: State) -> Any:
    """The answer, if nothing about the request is strange."""
    strange = request.headers.keys() - TRANSPORT - voice.headers
    if strange:
        raise voice.denied(f"headers {sorted(strange)}")
    if not voice.public(request) and not voice.signed(request):
        raise voice.denied("signature")
    if request.path == voice.order_path and request.method == "POST":
        unknown = request.fields.keys() - voice.order_fields
        if unknown:
            raise voice.denied(f"fields {sorted(unknown)}")
    if request.path in state.pages:
        return state.pages[request.path]
    return voice.answer(request, state)


@contextmanager
def loopback(voice: Voice) -> Iterator[tuple[str, State]]:
    """The voice behind a real HTTP server; gives its base URL and what it knows."""
    state = State()

    class Handle(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            url = urlsplit(self.path)
            request = Request(self.command, url.path, url.query, {k.lower(): v for k, v in self.headers.items()}, body)
            state.seen.append(request)
            if state.script:
                status, extra, told = state.script.pop(0)
                if told is None:
                    self.close_connection = True
                    return
                self._say(status, told, extra)
                return
            try:
                self._say(200, strict(voice, request, state), {})
            except Refusal as refusal:
                state.refused.append(str(refusal))
                self._say(refusal.status, refusal.body, {})

        def _say(self, status: int, told: Any, extra: dict[str, str]) -> None:
            content = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - the names http.server calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handle)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class BinanceVoice(Voice):
    name = "binance_usdm"
    headers = frozenset({"x-mbx-apikey"})
    order_path = "/fapi/v1/order"
    order_fields = frozenset({
        "symbol", "side", "type", "timeInForce", "quantity", "price", "reduceOnly", "newClientOrderId",
        "newOrderRespType", "recvWindow", "timestamp", "signature",
    })  # fmt: skip

    def denied(self, why: str) -> Refusal:
        return Refusal(400, {"code": -1104, "msg": f"not all sent parameters were read: {why}"})

    def signed(self, request: Request) -> bool:
        text, _, signature = (request.body or request.query).rpartition("&signature=")
        return request.headers["x-mbx-apikey"] == KEY and signature == mac(text).hex()

    def row(self, order: Placed) -> dict[str, Any]:
        done = order.state == "filled"
        return {
            "clientOrderId": order.client_id, "orderId": order.number, "symbol": "BTCUSDT", "side": order.side,
            "status": {"open": "NEW", "filled": "FILLED", "cancelled": "CANCELED"}[order.state],
            "origQty": order.quantity, "executedQty": order.quantity if done else "0",
            "avgPrice": "60000.5" if done else "0.00", "reduceOnly": order.reduce_only, "updateTime": NOW,
        }  # fmt: skip

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        match request.method, request.path:
            case "POST", "/fapi/v1/order":
                placed = Placed(
                    said["newClientOrderId"], said["side"], said["quantity"], said.get("price", ""),
                    said.get("reduceOnly") == "true",
                    "market" if said["type"] == "MARKET" else BINANCE_KINDS[said["timeInForce"]],
                )  # fmt: skip
                twice = Refusal(400, {"code": -4116, "msg": "ClientOrderId is duplicated."})
                return self.row(state.place(placed, lambda: twice))
            case ("GET" | "DELETE" | "PUT") as method, "/fapi/v1/order":
                order = state.orders.get(said["origClientOrderId"])
                if order is None or (method != "GET" and order.state != "open"):
                    code = -2013 if method == "GET" else -2011
                    raise Refusal(400, {"code": code, "msg": "Unknown order."})
                if method == "DELETE":
                    order.state = "cancelled"
                if method == "PUT":
                    order.quantity, order.price = said["quantity"], said["price"]
                return self.row(order)
            case "GET", "/fapi/v1/openOrders":
                return [self.row(o) for o in state.orders.values() if o.state == "open"]
            case "GET", "/fapi/v1/allOrders":
                return [self.row(o) for o in state.orders.values()]
            case "GET", "/fapi/v1/userTrades":
                return [
                    {
                        "id": 9000 + o.number, "symbol": "BTCUSDT", "orderId": o.number, "side": o.side,
                        "price": "60000.5", "qty": o.quantity, "commission": "-1.25", "commissionAsset": "USDT",
                        "maker": False, "time": NOW,
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ]  # fmt: skip
            case "GET", "/fapi/v3/positionRisk":
                row = {
                    "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": state.position, "entryPrice": "60000.5",
                    "markPrice": "60010", "liquidationPrice": "30000", "isolatedMargin": "0",
                }  # fmt: skip
                return [row] if float(state.position) else []
            case "GET", "/fapi/v3/account":
                return {"totalMarginBalance": "1000.5", "availableBalance": "900.25"}
            case "GET", "/fapi/v1/depth":
                return {"bids": [["60000", "2"]], "asks": [["60001", "3"]], "T": NOW}
            case "GET", "/fapi/v1/premiumIndex":
                return {"markPrice": "60000.7"}
            case "POST", "/fapi/v1/countdownCancelAll":
                return {"symbol": said["symbol"], "countdownTime": said["countdownTime"]}
        raise self.denied(request.path)


class BybitVoice(Voice):
    name = "bybit"
    headers = frozenset({"x-bapi-api-key", "x-bapi-timestamp", "x-bapi-recv-window", "x-bapi-sign"})
    order_path = "/v5/order/create"
    order_fields = frozenset({
        "category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "reduceOnly",
    })  # fmt: skip

    def denied(self, why: str) -> Refusal:
        return Refusal(200, {"retCode": 10001, "retMsg": why, "result": {}})

    def signed(self, request: Request) -> bool:
        told = request.headers
        text = told["x-bapi-timestamp"] + KEY + told["x-bapi-recv-window"] + (request.body or request.query)
        return (told["x-bapi-api-key"], told["x-bapi-sign"]) == (KEY, mac(text).hex())

    def row(self, order: Placed) -> dict[str, Any]:
        done = order.state == "filled"
        return {
            "orderLinkId": order.client_id, "orderId": f"u-{order.number}", "symbol": "BTCUSDT", "side": order.side,
            "orderStatus": {"open": "New", "filled": "Filled", "cancelled": "Cancelled"}[order.state],
            "qty": order.quantity, "cumExecQty": order.quantity if done else "0",
            "avgPrice": "60000.5" if done else "", "reduceOnly": order.reduce_only, "updatedTime": str(NOW),
        }  # fmt: skip

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        match request.path:
            case "/v5/order/create":
                placed = Placed(
                    said["orderLinkId"], said["side"], said["qty"], said.get("price", ""),
                    said.get("reduceOnly") is True,
                    "market" if said["orderType"] == "Market" else BYBIT_KINDS[said["timeInForce"]],
                )  # fmt: skip
                twice = Refusal(200, {"retCode": 110072, "retMsg": "OrderLinkedID is duplicate", "result": {}})
                return self.good({"orderId": self.row(state.place(placed, lambda: twice))["orderId"]})
            case "/v5/order/cancel" | "/v5/order/amend":
                order = state.orders.get(said["orderLinkId"])
                if order is None or order.state != "open":
                    raise Refusal(200, {"retCode": 110001, "retMsg": "order not exists", "result": {}})
                if request.path.endswith("cancel"):
                    order.state = "cancelled"
                else:
                    order.quantity, order.price = said["qty"], said["price"]
                return self.good({"orderId": f"u-{order.number}"})
            case "/v5/order/realtime" | "/v5/order/history":
                old = request.path.endswith("history")
                found = [
                    self.row(o)
                    for o in state.orders.values()
                    if said.get("orderLinkId", o.client_id) == o.client_id and (o.state != "open") == old
                ]
                return self.good({"list": found, "nextPageCursor": "abc"})
            case "/v5/execution/list":
                rows = [
                    {
                        "execId": f"x-{o.number}", "symbol": "BTCUSDT", "orderId": f"u-{o.number}",
                        "orderLinkId": o.client_id, "side": o.side, "execPrice": "60000.5", "execQty": o.quantity,
                        "execFee": "1.25", "feeCurrency": "", "isMaker": False, "execType": "Trade",
                        "execTime": str(NOW),
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ]  # fmt: skip
                funding = {"execType": "Funding", "execId": "f", "symbol": "BTCUSDT"}
                return self.good({"list": [*rows, funding]})
            case "/v5/position/list":
                size = float(state.position)
                row = {
                    "symbol": "BTCUSDT", "side": "Buy" if size > 0 else "Sell" if size else "",
                    "size": state.position.lstrip("-"), "avgPrice": "60000.5", "markPrice": "60010",
                    "liqPrice": "30000", "leverage": "5", "positionBalance": "0", "positionIdx": 0,
                }  # fmt: skip
                return self.good({"list": [row]})
            case "/v5/account/wallet-balance":
                return self.good({"list": [{"totalEquity": "1000.5", "totalAvailableBalance": "900.25"}]})
            case "/v5/market/orderbook":
                return self.good({"b": [["60000", "2"]], "a": [["60001", "3"]], "ts": NOW})
            case "/v5/market/tickers":
                return self.good({"list": [{"markPrice": "60000.7"}]})
        raise self.denied(request.path)

    @staticmethod
    def good(result: Any) -> Any:
        return {"retCode": 0, "retMsg": "OK", "result": result}


class OkxVoice(Voice):
    name = "okx"
    headers = frozenset({"ok-access-key", "ok-access-passphrase", "ok-access-timestamp", "ok-access-sign", "exptime"})
    order_path = "/api/v5/trade/order"
    order_fields = frozenset({"instId", "tdMode", "side", "ordType", "sz", "px", "clOrdId", "reduceOnly"})

    def denied(self, why: str) -> Refusal:
        return Refusal(400, {"code": "50014", "msg": why, "data": []})

    def signed(self, request: Request) -> bool:
        told = request.headers
        path = f"{request.path}?{request.query}" if request.query else request.path
        text = told["ok-access-timestamp"] + request.method + path + request.body
        expected = (KEY, PASSPHRASE, b64encode(mac(text)).decode())
        return (told["ok-access-key"], told["ok-access-passphrase"], told["ok-access-sign"]) == expected

    def row(self, order: Placed) -> dict[str, Any]:
        done = order.state == "filled"
        return {
            "clOrdId": order.client_id, "ordId": str(order.number), "instId": "BTC-USDT-SWAP", "side": order.side,
            "state": {"open": "live", "filled": "filled", "cancelled": "canceled"}[order.state],
            "sz": order.quantity, "accFillSz": order.quantity if done else "0", "avgPx": "60000.5" if done else "",
            "reduceOnly": "true" if order.reduce_only else "false", "uTime": str(NOW), "tag": "",
        }  # fmt: skip

    @staticmethod
    def bad(code: str, why: str) -> Refusal:
        return Refusal(200, {"code": "1", "msg": "", "data": [{"sCode": code, "sMsg": why, "ordId": ""}]})

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        match request.method, request.path.removeprefix("/api/v5/"):
            case "POST", "trade/order":
                if not said["clOrdId"].isalnum() or len(said["clOrdId"]) > 32:
                    raise self.bad("51000", "Parameter clOrdId error")
                assert int(request.headers["exptime"]) > 0
                placed = Placed(
                    said["clOrdId"], said["side"], said["sz"], said.get("px", ""), said.get("reduceOnly") is True,
                    OKX_KINDS[said["ordType"]],
                )  # fmt: skip
                order = state.place(placed, lambda: self.bad("51016", "Client order ID already exists."))
                return self.good([{"ordId": str(order.number), "sCode": "0", "sMsg": "", "tag": ""}])
            case "POST", ("trade/cancel-order" | "trade/amend-order") as what:
                found = state.orders.get(said["clOrdId"])
                if found is None or found.state != "open":
                    raise self.bad("51400", "Cancellation failed as the order does not exist.")
                if what == "trade/cancel-order":
                    found.state = "cancelled"
                else:
                    found.quantity, found.price = said["newSz"], said["newPx"]
                return self.good([{"ordId": str(found.number), "sCode": "0", "sMsg": ""}])
            case "GET", "trade/order":
                if said["clOrdId"] not in state.orders:
                    raise Refusal(200, {"code": "51603", "msg": "Order does not exist", "data": []})
                return self.good([self.row(state.orders[said["clOrdId"]])])
            case "GET", "trade/orders-pending":
                return self.good([self.row(o) for o in state.orders.values() if o.state == "open"])
            case "GET", "trade/fills":
                return self.good([
                    {
                        "tradeId": str(9000 + o.number), "instId": "BTC-USDT-SWAP", "ordId": str(o.number),
                        "clOrdId": o.client_id, "side": o.side, "fillPx": "60000.5", "fillSz": o.quantity,
                        "fee": "-1.25", "feeCcy": "USDT", "execType": "T", "subType": "1", "ts": str(NOW),
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ])  # fmt: skip
            case "GET", "account/positions":
                row = {
                    "instId": "BTC-USDT-SWAP", "posSide": "net", "pos": state.position, "avgPx": "60000.5",
                    "markPx": "60010", "liqPx": "30000", "lever": "5", "margin": "",
                }  # fmt: skip
                return self.good([row] if float(state.position) else [])
            case "GET", "account/balance":
                return self.good([
                    {"totalEq": "1000.5", "availEq": "", "details": [
                        {"ccy": "USDT", "availEq": "900.25"}, {"ccy": "BTC", "availEq": "3"},
                    ]}
                ])  # fmt: skip
            case "GET", "market/books":
                book = {"bids": [["60000", "200", "0", "1"]], "asks": [["60001", "300", "0", "1"]], "ts": str(NOW)}
                return self.good([book])
            case "GET", "public/mark-price":
                return self.good([{"markPx": "60000.7"}])
            case "POST", "trade/cancel-all-after":
                return self.good([{"triggerTime": str(NOW)}])
        raise self.denied(request.path)

    @staticmethod
    def good(rows: Any) -> Any:
        return {"code": "0", "msg": "", "data": rows}
