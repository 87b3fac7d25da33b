"""Gate, Bitget, KuCoin and Bitfinex for the strict loopback server."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from tests.connectors.venues.ccxt_loopback import KEY, NOW, PASSPHRASE, Placed, Refusal, Request, State, Voice, mac


class GateVoice(Voice):
    name = "gate"
    headers = frozenset({"key", "timestamp", "sign", "x-gate-size-decimal", "x-gate-exptime"})
    order_path = "/api/v4/futures/usdt/orders"
    order_fields = frozenset({"contract", "size", "price", "tif", "text", "reduce_only"})

    def public(self, request: Request) -> bool:
        return "key" not in request.headers

    def denied(self, why: str) -> Refusal:
        return Refusal(400, {"label": "INVALID_PARAM_VALUE", "message": why})

    def signed(self, request: Request) -> bool:
        told = request.headers
        digest = hashlib.sha512(request.body.encode()).hexdigest()
        text = "\n".join((request.method, request.path, request.query, digest, told["timestamp"]))
        return (told["key"], told["sign"]) == (KEY, mac(text, hashlib.sha512).hex())

    def row(self, order: Placed) -> dict[str, Any]:
        sign = 1 if order.side == "buy" else -1
        size = sign * int(order.quantity)
        return {
            "id": order.number, "text": order.client_id, "contract": "BTC_USDT", "size": str(size),
            "left": "0" if order.state == "filled" else str(size), "price": order.price,
            "fill_price": "60000.5" if order.state == "filled" else "0",
            "status": "open" if order.state == "open" else "finished",
            "finish_as": {"open": "", "filled": "filled", "cancelled": "cancelled"}[order.state],
            "is_reduce_only": order.reduce_only, "create_time": NOW / 1000,
        }  # fmt: skip

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        path = request.path.removeprefix("/api/v4/futures/usdt/")
        match request.method, path.partition("/")[0], path.partition("/")[2]:
            case "POST", "orders", "":
                assert said["text"].startswith("t-")
                assert len(said["text"]) <= 28
                assert int(request.headers["x-gate-exptime"]) > 0
                kind = "market" if said["price"] == "0" else GATE_KINDS[said.get("tif", "gtc")]
                side = "buy" if said["size"] > 0 else "sell"
                reduce_only = said.get("reduce_only") is True
                placed = Placed(said["text"], side, str(abs(said["size"])), said["price"], reduce_only, kind)
                return self.row(state.place(placed, None))
            case "DELETE", "orders", "":
                raise AssertionError("that cancels everything")
            case "GET", "orders", "":
                return [self.row(o) for o in state.orders.values() if o.state == "open"]
            case method, "orders", name:
                order = state.orders.get(name)
                if order is None or (method != "GET" and order.state != "open"):
                    raise Refusal(404, {"label": "ORDER_NOT_FOUND", "message": "not found"})
                if method == "DELETE":
                    order.state = "cancelled"
                if method == "PUT":
                    order.quantity, order.price = str(abs(said["size"])), said["price"]
                return self.row(order)
            case "GET", "my_trades_timerange", "":
                return [
                    {
                        "trade_id": str(9000 + o.number), "create_time": NOW / 1000, "contract": "BTC_USDT",
                        "order_id": str(o.number), "size": self.row(o)["size"], "price": "60000.5", "role": "taker",
                        "text": o.client_id, "fee": "1.25",
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ]  # fmt: skip
            case "GET", "positions", "":
                return [{
                    "contract": "BTC_USDT", "size": state.position, "mode": "single", "entry_price": "60000.5",
                    "mark_price": "60010", "liq_price": "30000", "leverage": "0", "margin": "0",
                }]  # fmt: skip
            case "GET", "accounts", "":
                return {"total": "1000", "unrealised_pnl": "0.5", "available": "900.25"}
            case "GET", "order_book", "":
                bids, asks = [{"p": "60000", "s": "20000"}], [{"p": "60001", "s": "30000"}]
                return {"current": NOW / 1000, "bids": bids, "asks": asks}
            case "GET", "contracts", "BTC_USDT":
                return {"mark_price": "60000.7"}
            case "POST", "countdown_cancel_all", "":
                return {"triggerTime": str(NOW)}
        raise self.denied(request.path)


GATE_KINDS = {"gtc": "gtc", "ioc": "ioc", "poc": "post_only"}


class BitgetVoice(Voice):
    name = "bitget"
    headers = frozenset({"access-key", "access-sign", "access-timestamp", "access-passphrase"})
    order_path = "/api/v2/mix/order/place-order"
    order_fields = frozenset({
        "symbol", "productType", "marginMode", "marginCoin", "size", "price", "side", "orderType", "force",
        "clientOid", "reduceOnly",
    })  # fmt: skip

    def denied(self, why: str) -> Refusal:
        return self.bad("400172", why)

    @staticmethod
    def bad(code: str, why: str) -> Refusal:
        return Refusal(400, {"code": code, "msg": why, "data": None})

    def signed(self, request: Request) -> bool:
        told = request.headers
        path = f"{request.path}?{request.query}" if request.query else request.path
        text = told["access-timestamp"] + request.method + path + request.body
        expected = (KEY, PASSPHRASE, b64encode(mac(text)).decode())
        return (told["access-key"], told["access-passphrase"], told["access-sign"]) == expected

    def row(self, order: Placed) -> dict[str, Any]:
        done = order.state == "filled"
        return {
            "symbol": "BTCUSDT", "clientOid": order.client_id, "orderId": str(order.number), "side": order.side,
            "size": order.quantity, "baseVolume": order.quantity if done else "0",
            "priceAvg": "60000.5" if done else "", "reduceOnly": "YES" if order.reduce_only else "NO",
            "uTime": str(NOW), "state": {"open": "live", "filled": "filled", "cancelled": "canceled"}[order.state],
        }  # fmt: skip

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        match request.path.removeprefix("/api/v2/mix/"):
            case "order/place-order":
                kind = "market" if said["orderType"] == "market" else BITGET_KINDS[said["force"]]
                placed = Placed(
                    said["clientOid"], said["side"], said["size"], said.get("price", ""),
                    said.get("reduceOnly") == "YES", kind,
                )  # fmt: skip
                order = state.place(placed, lambda: self.bad("40786", "Duplicate clientOid"))
                return self.good({"orderId": str(order.number), "clientOid": order.client_id})
            case ("order/cancel-order" | "order/detail") as what:
                found = state.orders.get(said["clientOid"])
                if found is None or (what != "order/detail" and found.state != "open"):
                    raise self.bad("40109" if what == "order/detail" else "40768", "Order does not exist")
                if what == "order/detail":
                    return self.good(self.row(found))
                found.state = "cancelled"
                return self.good({"orderId": str(found.number), "clientOid": found.client_id})
            case ("order/orders-pending" | "order/orders-history") as what:
                rows = [self.row(o) for o in state.orders.values() if (o.state == "open") == what.endswith("pending")]
                for row in rows:
                    row["status"] = row.pop("state")
                return self.good({"entrustedList": rows or None, "endId": None})
            case "order/fills":
                return self.good({"fillList": [
                    {
                        "tradeId": str(9000 + o.number), "symbol": "BTCUSDT", "orderId": str(o.number),
                        "price": "60000.5", "baseVolume": o.quantity, "side": o.side, "tradeSide": "sell_single",
                        "tradeScope": "taker", "feeDetail": [{"feeCoin": "USDT", "totalFee": "-1.25"}],
                        "cTime": str(NOW),
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ]})  # fmt: skip
            case "position/all-position":
                size = float(state.position)
                row = {
                    "symbol": "BTCUSDT", "holdSide": "long" if size > 0 else "short",
                    "total": state.position.lstrip("-"), "openPriceAvg": "60000.5", "markPrice": "60010",
                    "liquidationPrice": "30000", "leverage": "5", "marginSize": "1", "posMode": "one_way_mode",
                }  # fmt: skip
                return self.good([row] if size else [])
            case "account/accounts":
                return self.good(
                    [
                        {"marginCoin": "BTC", "accountEquity": "9", "crossedMaxAvailable": "9"},
                        {"marginCoin": "USDT", "accountEquity": "1000.5", "crossedMaxAvailable": "900.25"},
                    ]
                )
            case "market/merge-depth":
                return self.good({"bids": [[60000, 2]], "asks": [[60001, 3]], "ts": str(NOW)})
            case "market/symbol-price":
                return self.good([{"markPrice": "60000.7"}])
        raise self.denied(request.path)

    @staticmethod
    def good(data: Any) -> Any:
        return {"code": "00000", "msg": "success", "data": data}


BITGET_KINDS = {"GTC": "gtc", "IOC": "ioc", "post_only": "post_only"}


class KucoinVoice(Voice):
    name = "kucoin"
    headers = frozenset({
        "kc-api-key", "kc-api-sign", "kc-api-timestamp", "kc-api-passphrase", "kc-api-key-version",
    })  # fmt: skip
    order_path = "/api/v1/orders"
    order_fields = frozenset({
        "clientOid", "side", "symbol", "type", "leverage", "marginMode", "size", "price", "timeInForce", "postOnly",
        "reduceOnly",
    })  # fmt: skip

    def denied(self, why: str) -> Refusal:
        return self.bad("400100", why)

    @staticmethod
    def bad(code: str, why: str) -> Refusal:
        return Refusal(200, {"code": code, "msg": why})

    def signed(self, request: Request) -> bool:
        told = request.headers
        path = f"{request.path}?{request.query}" if request.query else request.path
        text = told["kc-api-timestamp"] + request.method + path + request.body
        phrase = b64encode(mac(PASSPHRASE)).decode()
        expected = (KEY, phrase, "2", b64encode(mac(text)).decode())
        said = (told["kc-api-key"], told["kc-api-passphrase"], told["kc-api-key-version"], told["kc-api-sign"])
        return said == expected

    def row(self, order: Placed) -> dict[str, Any]:
        done = order.state == "filled"
        size = int(order.quantity)
        return {
            "id": f"k{order.number}", "clientOid": order.client_id, "symbol": "XBTUSDTM", "side": order.side,
            "size": size, "dealSize": size if done else 0, "dealValue": f"{size * 60.0005:.7f}" if done else "0",
            "isActive": order.state == "open", "reduceOnly": order.reduce_only, "updatedAt": NOW,
        }  # fmt: skip

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        path = request.path.removeprefix("/api/v1/")
        if request.method == "DELETE":
            found = state.orders.get(path.removeprefix("orders/client-order/"))
            if found is None or found.state != "open":
                raise self.bad("100004", "The order cannot be canceled.")
            found.state = "cancelled"
            return self.good({"clientOid": found.client_id})
        if request.method == "POST" and path == "orders":
            kind = (
                "market" if said["type"] == "market"
                else "post_only" if said.get("postOnly")
                else said.get("timeInForce", "GTC").lower()
            )  # fmt: skip
            reduce_only = said.get("reduceOnly") is True
            placed = Placed(
                said["clientOid"], said["side"], str(said["size"]), said.get("price", ""), reduce_only, kind
            )
            order = state.place(placed, lambda: self.bad("126044", "clientOid duplicate"))
            return self.good({"orderId": f"k{order.number}"})
        match path:
            case "orders/byClientOid":
                if said["clientOid"] not in state.orders:
                    raise self.bad("100001", "error.getOrder.orderNotExist")
                return self.good(self.row(state.orders[said["clientOid"]]))
            case "orders":
                active = said["status"] == "active"
                return self.good(
                    {"items": [self.row(o) for o in state.orders.values() if (o.state == "open") == active]}
                )
            case "fills":
                return self.good({"items": [
                    {
                        "tradeId": f"t{o.number}", "symbol": "XBTUSDTM", "orderId": f"k{o.number}", "side": o.side,
                        "liquidity": "taker", "price": "60000.5", "size": int(o.quantity), "fee": "1.25",
                        "feeCurrency": "USDT", "tradeType": "trade", "tradeTime": NOW * 1_000_000,
                    }
                    for o in state.orders.values()
                    if o.state == "filled"
                ]})  # fmt: skip
            case "positions":
                row = {
                    "symbol": "XBTUSDTM", "currentQty": int(state.position), "avgEntryPrice": 60000.5,
                    "markPrice": 60010, "liquidationPrice": 30000, "leverage": 5, "posMargin": 1.5,
                    "positionSide": "BOTH",
                }  # fmt: skip
                return self.good([row] if int(state.position) else [])
            case "account-overview":
                return self.good({"accountEquity": 1000.5, "availableBalance": 900.25, "currency": said["currency"]})
            case "level2/depth20":
                return self.good({"bids": [[60000, 2000]], "asks": [[60001, 3000]], "ts": NOW * 1_000_000})
            case "mark-price/XBTUSDTM/current":
                return self.good({"value": 60000.7})
        raise self.denied(request.path)

    @staticmethod
    def good(data: Any) -> Any:
        return {"code": "200000", "data": data}


class BitfinexVoice(Voice):
    name = "bitfinex"
    headers = frozenset({"bfx-nonce", "bfx-apikey", "bfx-signature"})
    order_path = "/v2/auth/w/order/submit"
    order_fields = frozenset({"symbol", "amount", "price", "type", "flags", "cid"})

    def __init__(self) -> None:
        self.nonce = 0

    def denied(self, why: str) -> Refusal:
        return Refusal(500, ["error", 10020, why])

    def signed(self, request: Request) -> bool:
        told = request.headers
        text = f"/api{request.path}{told['bfx-nonce']}{request.body}"
        if (told["bfx-apikey"], told["bfx-signature"]) != (KEY, mac(text, hashlib.sha384).hex()):
            return False
        if int(told["bfx-nonce"]) <= self.nonce:
            raise Refusal(500, ["error", 10114, "nonce: small"])
        self.nonce = int(told["bfx-nonce"])
        return True

    def row(self, order: Placed) -> list[Any]:
        size = float(order.quantity) * (1 if order.side == "buy" else -1)
        done = order.state == "filled"
        status = {"open": "ACTIVE", "filled": "EXECUTED @ 60000.5(0.5)", "cancelled": "CANCELED"}[order.state]
        row: list[Any] = [None] * 32
        row[0:3] = [order.number, None, int(order.client_id)]
        row[3:8] = ["tBTCF0:USTF0", NOW, NOW, 0 if done else size, size]
        row[12], row[13] = 1024 if order.reduce_only else 0, status
        row[16], row[17] = order.price, 60000.5 if done else 0
        return row

    def answer(self, request: Request, state: State) -> Any:
        said = request.fields
        match request.path.removeprefix("/v2/"):
            case "auth/w/order/submit":
                kind = {"MARKET": "market", "IOC": "ioc", "LIMIT": "gtc"}[said["type"]]
                flags = said.get("flags", 0)
                placed = Placed(
                    str(said["cid"]), "sell" if said["amount"].startswith("-") else "buy", said["amount"].lstrip("-"),
                    said.get("price", ""), bool(flags & 1024), "post_only" if flags & 4096 else kind,
                )  # fmt: skip
                order = state.place(placed, lambda: Refusal(500, ["error", 10001, "Invalid order: duplicate cid"]))
                return [NOW, "on-req", None, None, [self.row(order)], None, "SUCCESS", "Submitting 1 orders."]
            case "auth/w/order/cancel":
                found = [
                    o
                    for o in state.orders.values()
                    if (o.number == said.get("id") or o.client_id == str(said.get("cid"))) and o.state == "open"
                ]
                if not found:
                    return [NOW, "oc-req", None, None, None, None, "ERROR", "Order not found."]
                found[0].state = "cancelled"
                return [NOW, "oc-req", None, None, self.row(found[0]), None, "SUCCESS", "Submitted for cancellation"]
            case "auth/r/orders" | "auth/r/orders/tBTCF0:USTF0":
                return [self.row(o) for o in state.orders.values() if o.state == "open"]
            case "auth/r/orders/tBTCF0:USTF0/hist":
                return [self.row(o) for o in state.orders.values() if o.state != "open"]
            case "auth/r/trades/tBTCF0:USTF0/hist":
                return [
                    [9000 + o.number, "tBTCF0:USTF0", NOW, o.number, self.row(o)[7], 60000.5, "IOC", 60000.5, -1,
                     -1.25, "USTF0", int(o.client_id)]
                    for o in state.orders.values()
                    if o.state == "filled"
                ]  # fmt: skip
            case "auth/r/positions":
                row = ["tBTCF0:USTF0", "ACTIVE", float(state.position), 60000.5, 0, 0, 1.5, 0.1, 30000, 5]
                return [row] if row[2] else []
            case "auth/r/wallets":
                return [["exchange", "USTF0", 7, 0, 7], ["margin", "USTF0", 1000.5, 0, 900.25]]
            case "book/tBTCF0:USTF0/P0":
                return [[60000, 1, 2], [60001, 1, -3]]
            case "status/deriv":
                row = [None] * 23
                row[0], row[1], row[15] = said["keys"], NOW, 60000.7
                return [row]
        raise self.denied(request.path)
