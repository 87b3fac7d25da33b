"""Private streams of venues signed for by ccxt, read by our own dialects: Binance USD-M, Bybit, OKX.

ccxt's streams drop the messages that tell a forced close, and mark no gap; they are not used. The other four venues
are watched by polling (``ccxt_polling``).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection

from connectors.exchange import Endpoints
from connectors.exchanges.binance import EXCHANGES as BINANCE
from connectors.exchanges.bybit import EXCHANGES as BYBIT
from connectors.exchanges.okx import EXCHANGES as OKX
from connectors.venues.aster_wire import updated
from connectors.venues.ccxt_bybit import Bybit
from connectors.venues.ccxt_codec import Credentials
from connectors.venues.ccxt_okx import Okx
from connectors.venues.ccxt_venue import Market, dollars, side_of
from connectors.venues.private_stream import PrivateStream
from connectors.venues.transport import Lost, Transport, decimal
from schemas.clock import MILLISECOND, SECOND, Clock
from schemas.errors import ConnectionLost, Refused
from schemas.orders import Fill, OrderStatus

_KEEP_ALIVE = 25 * 60.0
"""Seconds between refreshes of a listen key that lives for an hour."""
_PING = 15.0
_CAUSES = {"full_liquidation": "liquidation", "partial_liquidation": "liquidation", "adl": "adl"}


class _Stream(PrivateStream):
    """What the three share: an account's key, and its contracts by name."""

    venue: str

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        markets: Mapping[str, Market],
        clock: Clock,
        transport: Transport,
    ) -> None:
        exchange = {e.venue: e for e in (*BINANCE, *BYBIT, *OKX)}[self.venue]
        instruments = [market.of_venue(self.venue) for market in markets.values()]
        super().__init__(exchange, instruments, clock, patience=self.patience, acknowledgements=self.answers)
        self._base = endpoints.websocket
        self._credentials = credentials
        self._markets = markets
        self._now = clock
        self._rest = transport

    patience = 45.0
    answers = 0

    def _mac(self, text: str) -> bytes:
        secret = self._credentials.secret.get_secret_value().encode()
        return hmac.new(secret, text.encode(), hashlib.sha256).digest()

    async def _say(self, socket: ClientConnection, message: Any) -> None:
        await socket.send(json.dumps(message))

    async def _agreed(self, socket: ClientConnection) -> None:
        """The answer to a login.

        :raises Refused: no.
        """
        async with asyncio.timeout(self.patience):
            answer = msgspec.json.decode(await socket.recv())
        if answer.get("success") is not True and str(answer.get("code")) != "0":
            raise Refused(self.venue, str(answer.get("ret_msg") or answer.get("msg") or "login"))


class BinanceStream(_Stream):
    """The user data stream: by listen key, which must be prolonged. The venue pings every three minutes."""

    venue = "binance_usdm"
    patience = 360.0
    keep_alive = _KEEP_ALIVE

    async def _listen_key(self, method: str) -> str:
        identity = {"X-MBX-APIKEY": self._credentials.key.get_secret_value()}
        answer = await self._rest.request(method, "/fapi/v1/listenKey", b"", identity)
        if isinstance(answer, Lost) or not answer.good:
            raise ConnectionLost(f"{method} listenKey: {answer}")
        return str(answer.body.get("listenKey", ""))

    async def address(self) -> str:
        """A fresh key each time: an expired one connects and tells nothing."""
        return f"{self._base}/private/ws/{await self._listen_key('POST')}"

    async def tend(self, socket: ClientConnection) -> None:  # noqa: ARG002 - it is prolonged over REST
        """Prolong the key."""
        while True:
            await asyncio.sleep(self.keep_alive)
            await self._listen_key("PUT")

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """ORDER_TRADE_UPDATE, of the grammar Aster took over."""
        match frame:
            case {"e": "listenKeyExpired"}:
                raise ConnectionLost("the listen key has expired")
            case {"e": "ORDER_TRADE_UPDATE", "o": row} if row["s"] in self._markets:
                return [
                    msgspec.structs.replace(told, venue=self.venue, fee=dollars(told.fee, row.get("N")))
                    if isinstance(told, Fill)
                    else told
                    for told in updated(row)
                ]
        return []


class BybitStream(_Stream):
    """Orders and executions after a login by signed time; we ping."""

    venue = "bybit"
    answers = 1

    async def address(self) -> str:
        """The private socket."""
        return f"{self._base}/v5/private"

    async def greet(self, socket: ClientConnection) -> None:
        """Log in and subscribe."""
        expires = self._now() // MILLISECOND + 5000
        key = self._credentials.key.get_secret_value()
        await self._say(socket, {"op": "auth", "args": [key, expires, self._mac(f"GET/realtime{expires}").hex()]})
        await self._agreed(socket)
        await self._say(socket, {"op": "subscribe", "args": ["order.linear", "execution.linear"]})

    async def tend(self, socket: ClientConnection) -> None:
        """Ping."""
        while True:
            await asyncio.sleep(_PING)
            await socket.send('{"op":"ping"}')

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """The topics ``order`` and ``execution``: their rows are those of REST."""
        match frame:
            case {"topic": "execution.linear" | "execution", "data": list(rows)}:
                told = [_BYBIT.fill(row, self._markets[row["symbol"]], None) for row in self._ours(rows)]
                return [fill for fill in told if fill is not None]
            case {"topic": "order.linear" | "order", "data": list(rows)}:
                return [_BYBIT.order_status(row, self._markets[row["symbol"]]) for row in self._ours(rows)]
        return []

    def _ours(self, rows: Sequence[Any]) -> list[Any]:
        return [row for row in rows if row["symbol"] in self._markets]


class OkxStream(_Stream):
    """Orders, positions after events, and warnings, after a login by signed time; we ping."""

    venue = "okx"
    patience = 25.0
    answers = 3

    async def address(self) -> str:
        """The private socket."""
        return f"{self._base}/ws/v5/private"

    async def greet(self, socket: ClientConnection) -> None:
        """Log in and subscribe."""
        time = str(self._now() // SECOND)
        phrase = self._credentials.passphrase
        login = {
            "apiKey": self._credentials.key.get_secret_value(),
            "passphrase": phrase.get_secret_value() if phrase else "",
            "timestamp": time,
            "sign": b64encode(self._mac(f"{time}GET/users/self/verify")).decode(),
        }
        await self._say(socket, {"op": "login", "args": [login]})
        await self._agreed(socket)
        channels = [
            {"channel": "orders", "instType": "SWAP"},
            {"channel": "balance_and_position"},
            {"channel": "liquidation-warning", "instType": "SWAP"},
        ]
        await self._say(socket, {"op": "subscribe", "args": channels})

    async def tend(self, socket: ClientConnection) -> None:
        """Ping."""
        while True:
            await asyncio.sleep(_PING)
            await socket.send("ping")

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """The channel ``orders``: a row is the order and, where it traded, its last fill."""
        match frame:
            case {"arg": {"channel": "orders"}, "data": list(rows)}:
                return [told for row in rows if row["instId"] in self._markets for told in self._ordered(row)]
        return []

    def _ordered(self, row: dict[str, Any]) -> list[Fill | OrderStatus]:
        market = self._markets[row["instId"]]
        cause: Any = _CAUSES.get(row["category"], "order")
        found: list[Fill | OrderStatus] = []
        if decimal(row.get("fillSz") or 0):
            found.append(
                Fill(
                    trade_id=str(row["tradeId"]),
                    venue=self.venue,
                    instrument=row["instId"],
                    order_id=str(row["ordId"]),
                    client_id=row["clOrdId"] if cause == "order" else "",
                    side=side_of(row["side"]),
                    price=decimal(row["fillPx"]),
                    quantity=decimal(row["fillSz"]) * market.contract,
                    # Theirs is what the balance changed by.
                    fee=-dollars(row["fillFee"], row["fillFeeCcy"]),
                    maker=row["execType"] == "M",
                    cause=cause,
                    time=int(row["fillTime"]) * MILLISECOND,
                )
            )
        return [*found, _OKX.order_status(row, market)] if cause == "order" else found


_BYBIT, _OKX = Bybit(), Okx()
STREAMS: dict[str, type[_Stream]] = {kind.venue: kind for kind in (BinanceStream, BybitStream, OkxStream)}
