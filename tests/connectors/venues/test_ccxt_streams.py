"""Private streams of Binance, Bybit and OKX: logins checked on loopback, frames of the documented shapes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from connectors.exchange import Endpoints
from connectors.venues.ccxt_port import CcxtPort
from connectors.venues.ccxt_streams import BinanceStream
from schemas.clock import MILLISECOND, system_clock
from schemas.orders import Fill, OrderStatus
from schemas.records import AccountEvent, FeedStatus
from tests.connectors.venues.ccxt_loopback import KEY, NOW, PASSPHRASE, SECRET, BinanceVoice, Refusal, Request, State
from tests.connectors.venues.ccxt_loopback import loopback as rest
from tests.connectors.venues.test_ccxt import CASES, CREDENTIALS, market


def mac(text: str) -> bytes:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()


class ListenKeys(BinanceVoice):
    """Binance with listen keys: the API key alone asks for one, unsigned."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def signed(self, request: Request) -> bool:
        if request.path != "/fapi/v1/listenKey":
            return super().signed(request)
        return request.headers["x-mbx-apikey"] == KEY and not request.query and not request.body

    def answer(self, request: Request, state: State) -> Any:
        if request.path != "/fapi/v1/listenKey":
            return super().answer(request, state)
        self.asked.append(request.method)
        if request.method not in {"POST", "PUT"}:
            raise Refusal(400, {"code": -1, "msg": "no"})
        return {"listenKey": "pass4711"}


async def binance(socket: ServerConnection) -> bool:
    return socket.request is not None and socket.request.path == "/private/ws/pass4711"


async def bybit(socket: ServerConnection) -> bool:
    login = json.loads(await socket.recv())
    key, expires, signature = login["args"]
    sound = (key, signature) == (KEY, mac(f"GET/realtime{expires}").hex())
    await socket.send(json.dumps({"op": "auth", "success": sound, "ret_msg": "" if sound else "bad sign"}))
    if not sound:
        return False
    assert json.loads(await socket.recv())["args"] == ["order.linear", "execution.linear"]
    await socket.send(json.dumps({"op": "subscribe", "success": True, "ret_msg": ""}))
    return True


async def okx(socket: ServerConnection) -> bool:
    [login] = json.loads(await socket.recv())["args"]
    sign = b64encode(mac(f"{login['timestamp']}GET/users/self/verify")).decode()
    sound = login == {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": login["timestamp"], "sign": sign}
    answer = {"event": "login", "code": "0", "msg": ""} if sound else {"event": "error", "code": "60009", "msg": "no"}
    await socket.send(json.dumps(answer))
    if not sound:
        return False
    for argument in json.loads(await socket.recv())["args"]:
        await socket.send(json.dumps({"event": "subscribe", "arg": argument}))
    await socket.send("pong")
    return True


def binance_order(client_id: str, kind: str = "LIMIT") -> Any:
    return {
        "e": "ORDER_TRADE_UPDATE", "E": NOW, "T": NOW,
        "o": {
            "s": "BTCUSDT", "c": client_id, "S": "SELL", "o": kind, "x": "TRADE", "X": "FILLED", "i": 7001,
            "q": "0.5", "z": "0.5", "l": "0.5", "L": "60000.5", "ap": "60000.5", "n": "1.25", "N": "USDT", "t": 9,
            "m": False, "R": True, "T": NOW,
        },
    }  # fmt: skip


def bybit_execution(client_id: str, kind: str) -> Any:
    row = {
        "category": "linear", "symbol": "BTCUSDT", "execId": "x9", "orderId": "u7001", "orderLinkId": client_id,
        "side": "Sell", "execPrice": "60000.5", "execQty": "0.5", "execFee": "1.25", "isMaker": False,
        "execType": kind, "createType": "CreateByUser", "execTime": str(NOW),
    }  # fmt: skip
    return {"topic": "execution.linear", "creationTime": NOW, "data": [row]}


def bybit_order(client_id: str) -> Any:
    row = {
        "category": "linear", "symbol": "BTCUSDT", "orderId": "u7001", "orderLinkId": client_id, "side": "Sell",
        "orderStatus": "Filled", "qty": "0.5", "cumExecQty": "0.5", "avgPrice": "60000.5", "reduceOnly": True,
        "updatedTime": str(NOW),
    }  # fmt: skip
    return {"topic": "order.linear", "creationTime": NOW, "data": [row]}


def okx_order(client_id: str, category: str) -> Any:
    row = {
        "instType": "SWAP", "instId": "BTC-USDT-SWAP", "ordId": "7001", "clOrdId": client_id, "category": category,
        "side": "sell", "posSide": "net", "state": "filled", "sz": "50", "accFillSz": "50", "avgPx": "60000.5",
        "fillPx": "60000.5", "fillSz": "50", "fillTime": str(NOW), "tradeId": "9", "fillFee": "-1.25",
        "fillFeeCcy": "USDT", "execType": "T", "reduceOnly": "true", "uTime": str(NOW),
    }  # fmt: skip
    return {"arg": {"channel": "orders", "instType": "SWAP"}, "data": [row]}


@dataclass
class Told:
    greet: Callable[[ServerConnection], Any]
    ours: list[Any]
    forced: list[Any]
    order_id: str
    live: list[ServerConnection] = field(default_factory=list)


def scripts() -> dict[str, Told]:
    return {
        "binance_usdm": Told(binance, [binance_order("bw1")], [binance_order("autoclose-1", "LIQUIDATION")], "7001"),
        "bybit": Told(
            bybit, [bybit_execution("bw1", "Trade"), bybit_order("bw1")], [bybit_execution("", "BustTrade")], "u7001"
        ),
        "okx": Told(okx, [okx_order("bw1", "normal")], [okx_order("", "full_liquidation")], "7001"),
    }


async def until(found: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not found():  # noqa: ASYNC110 - any condition at all
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", scripts())
def test_fills_orders_and_forced_closes_are_told_and_holes_too(name: str) -> None:
    script, case, heard = scripts()[name], CASES[name], list[Any]()

    async def venue(socket: ServerConnection) -> None:
        if await script.greet(socket):
            script.live.append(socket)
            await socket.wait_closed()

    async def story() -> None:
        voice = ListenKeys() if name == "binance_usdm" else case.voice
        with rest(voice) as (url, state):
            async with serve(venue, "127.0.0.1", 0, close_timeout=0.1) as server:
                port = server.sockets[0].getsockname()[1]
                client = CcxtPort(
                    case.venue, Endpoints(f"ws://127.0.0.1:{port}", url), CREDENTIALS, [market(case)], system_clock
                )

                async def listen() -> None:
                    async for message in client.events():
                        heard.append(message)

                task = asyncio.ensure_future(listen())
                try:
                    await told()
                finally:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    await client.close()
            assert state.refused == []

    async def told() -> None:
        await until(lambda: [m for m in heard if isinstance(m, FeedStatus) and m.state == "subscribed"])
        for frame in script.ours:
            await script.live[0].send(json.dumps(frame))
        await until(lambda: {type(m) for m in heard} >= {Fill, OrderStatus})
        [fill] = [m for m in heard if isinstance(m, Fill)]
        assert (fill.venue, fill.client_id, fill.order_id, fill.side, fill.cause) == (
            name, "bw1", script.order_id, "sell", "order",
        )  # fmt: skip
        assert (fill.price, fill.quantity, fill.fee, fill.time) == (
            Decimal("60000.5"), Decimal("0.5"), Decimal("1.25"), NOW * MILLISECOND,
        )  # fmt: skip
        [order] = [m for m in heard if isinstance(m, OrderStatus)]
        assert (order.client_id, order.state, order.filled, order.reduce_only) == (
            "bw1",
            "filled",
            Decimal("0.5"),
            True,
        )
        for frame in script.forced:
            await script.live[0].send(json.dumps(frame))
        await until(lambda: [m for m in heard if isinstance(m, AccountEvent)])
        [event] = [m for m in heard if isinstance(m, AccountEvent)]
        assert (event.event, event.asset, event.position, event.order_side, event.quantity) == (
            "liquidation", "BTC", "long", "sell", 0.5,
        )  # fmt: skip
        forced = [m for m in heard if isinstance(m, Fill)][1:]
        assert [(f.client_id, f.cause) for f in forced] == [("", "liquidation")]
        await script.live[0].close()
        await until(lambda: [m for m in heard if isinstance(m, FeedStatus) and m.state == "subscribed"][1:])
        states = [m.state for m in heard if isinstance(m, FeedStatus)]
        assert states[0] == "subscribed"
        assert states[-2:] == ["gap", "subscribed"]
        assert not [m for m in heard if isinstance(m, FeedStatus) and "not understood" in m.reason]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["bybit", "okx"])
def test_a_refused_login_is_said(name: str) -> None:
    script, case = scripts()[name], CASES[name]

    async def venue(socket: ServerConnection) -> None:
        await script.greet(socket)

    async def story() -> None:
        async with serve(venue, "127.0.0.1", 0, close_timeout=0.1) as server:
            port = server.sockets[0].getsockname()[1]
            wrong = type(CREDENTIALS)(CREDENTIALS.key, CREDENTIALS.key, CREDENTIALS.passphrase)
            ends = Endpoints(f"ws://127.0.0.1:{port}", "http://127.0.0.1:9")
            client = CcxtPort(case.venue, ends, wrong, [market(case)], system_clock)
            events = client.events()
            async with asyncio.timeout(5):
                first = await anext(events)
            assert isinstance(first, FeedStatus)
            assert first.state == "unreachable"
            assert f"{name} refused" in first.reason
            await events.aclose()  # type: ignore[attr-defined]  # it is a generator
            await client.close()

    asyncio.run(story())


def test_a_listen_key_is_prolonged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BinanceStream, "keep_alive", 0.02)
    case, voice = CASES["binance_usdm"], ListenKeys()

    async def venue(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async def story() -> None:
        with rest(voice) as (url, _):
            async with serve(venue, "127.0.0.1", 0, close_timeout=0.1) as server:
                port = server.sockets[0].getsockname()[1]
                ends = Endpoints(f"ws://127.0.0.1:{port}", url)
                client = CcxtPort(case.venue, ends, CREDENTIALS, [market(case)], system_clock)

                async def listen() -> None:
                    async for _ in client.events():
                        pass

                task = asyncio.ensure_future(listen())
                await until(lambda: voice.asked.count("PUT") >= 2)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await client.close()
        assert voice.asked[0] == "POST"
        assert voice.asked.count("POST") == 1

    asyncio.run(story())
