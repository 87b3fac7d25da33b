"""Aster v3: signed form requests, a user stream by listen key.

A request is its parameters as a form, signed as one text (EIP-712); the microsecond nonce among them guards against
replay. ``noop`` with the nonce of an order kills the order if it has not run. Trades do not name the client's id, so
fills are joined with the orders of the same time. Funding, fees and symbols of ``exchangeInfo`` are the venue's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection

from connectors.exchange import Endpoints
from connectors.exchanges.aster import EXCHANGES
from connectors.venues.access import AccountModes, Permission, admitted
from connectors.venues.aster_wire import NO_ORDER, USED_NONCE, fill, order_status, outcome, position, updated
from connectors.venues.capabilities import ASTER
from connectors.venues.private_stream import PrivateMessage, PrivateStream
from connectors.venues.signing import EthKey, aster_message
from connectors.venues.transport import (
    UNREAD,
    Answer,
    Lost,
    Transport,
    decimal,
    expect,
    optional,
    plain,
    unread,
    unscaled,
)
from schemas.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, Clock
from schemas.errors import ConnectionLost, UsageError
from schemas.instruments import Instrument
from schemas.orders import (
    Absent,
    Account,
    Book,
    BookLevel,
    Capabilities,
    ContractRules,
    Fence,
    Fill,
    Lookup,
    Order,
    OrderStatus,
    Outcome,
    SignedRequest,
    Unknown,
)

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ORDER = "/fapi/v3/order"
_LISTEN = "/fapi/v3/listenKey"
_HISTORY = 7 * 24 * HOUR - MINUTE
_KEEP_ALIVE = 25 * 60.0
"""Seconds between refreshes of a listen key that lives for an hour."""
_TIME_IN_FORCE = {"gtc": "GTC", "ioc": "IOC", "post_only": "GTX"}


class AsterPort:
    """One account.

    :arg user: address of the account.
    :arg key: private key of the API wallet that signs for it.
    :arg instruments: the contracts the desk trades; the venue is asked contract by contract.
    :arg timeout: seconds after which a request is unknown.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        user: str,
        key: SecretStr,
        instruments: Sequence[Instrument],
        clock: Clock,
        *,
        permission: Permission = None,
        timeout: float = 2.0,
        keep_alive: float = _KEEP_ALIVE,
        patience: float = 360.0,
    ) -> None:
        self._endpoints = admitted("aster", endpoints, permission)
        self._user = user
        self._key = EthKey(key)
        self._instruments = {i.instrument: unscaled(i) for i in instruments}
        self._clock = clock
        self._nonce = 0
        self._transport = Transport(endpoints.rest, timeout=timeout, permission=permission)
        self._stream = _UserStream(self, instruments, clock, keep_alive=keep_alive, patience=patience)

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return ASTER

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        fields = {
            "symbol": order.instrument,
            "side": order.side.upper(),
            "type": "MARKET" if order.price is None else "LIMIT",
            "quantity": plain(order.quantity),
            "newClientOrderId": order.client_id,
            "reduceOnly": "true" if order.reduce_only else "false",
            "newOrderRespType": "RESULT",
        }
        if order.price is not None:
            fields |= {"price": plain(order.price), "timeInForce": _TIME_IN_FORCE[order.time_in_force]}
        return self._request("POST", _ORDER, fields, order.instrument, order.client_id, now)

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        fields = {"symbol": instrument, "origClientOrderId": client_id}
        return self._request("DELETE", _ORDER, fields, instrument, client_id, now)

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: a market order cannot be modified.
        """
        if order.price is None:
            raise UsageError("only a limit order can be modified: give it a price")
        fields = {
            "symbol": order.instrument,
            "origClientOrderId": order.client_id,
            "quantity": plain(order.quantity),
            "price": plain(order.price),
        }
        return self._request("PUT", _ORDER, fields, order.instrument, order.client_id, now)

    def _request(
        self, method: str, path: str, fields: dict[str, str], instrument: str, client_id: str, now: int
    ) -> SignedRequest:
        nonce = self._next(now)
        return SignedRequest(
            venue="aster",
            instrument=instrument,
            client_id=client_id,
            method=method,
            path=path,
            body=self._signed(fields, nonce),
            nonce=nonce,
            valid_until=now + ASTER.validity,
        )

    def _next(self, now: int) -> int:
        self._nonce = max(self._nonce + 1, now // MICROSECOND)
        return self._nonce

    def _signed(self, fields: dict[str, str], nonce: int) -> bytes:
        text = urlencode({**fields, "nonce": str(nonce), "user": self._user, "signer": self._key.address})
        r, s, v = self._key.sign(aster_message(text))
        return f"{text}&signature={r}{s[2:]}{v:02x}".encode()

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``."""
        return outcome(await self._transport.request(request.method, request.path, request.body, _FORM))

    async def fence(self, request: SignedRequest) -> Fence:
        """See ``VenuePort``. The venue does not promise that a noop succeeds: its answer counts, not its sending."""
        if request.nonce is None:
            return "unsupported"
        answer = await self._transport.request("POST", "/fapi/v3/noop", self._signed({}, request.nonce), _FORM)
        if isinstance(answer, Lost) or not isinstance(answer.body, dict):
            return "unknown"
        if answer.good and answer.body.get("code") == 200:
            return "voided"
        # Past its window every nonce is called expired, used or not.
        used = answer.body.get("code") == USED_NONCE and self._clock() < request.valid_until
        return "used" if used else "unknown"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``."""
        answers = await asyncio.gather(
            *(
                self._transport.request(
                    "POST",
                    "/fapi/v3/countdownCancelAll",
                    self._signed({"symbol": name, "countdownTime": str(ttl // MILLISECOND)}, self._next(self._clock())),
                    _FORM,
                )
                for name in self._instruments
            )
        )
        return all(isinstance(a, Answer) and a.good and "countdownTime" in a.body for a in answers)

    # -- queries

    async def _get(self, path: str, fields: dict[str, str] | None = None, *, signed: bool = True) -> Answer | Lost:
        wanted = fields or {}
        query = self._signed(wanted, self._next(self._clock())).decode() if signed else urlencode(wanted)
        return await self._transport.request("GET", f"{path}?{query}")

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``."""
        answer = await self._get("/fapi/v3/exchangeInfo", signed=False)
        try:
            rows = expect(answer)["symbols"]
            row = next((r for r in rows if r["symbol"] == instrument), None)
            if row is None:
                return Unknown(f"exchangeInfo has no {instrument}")
            filters = {f["filterType"]: f for f in row["filters"]}
            lot = filters["LOT_SIZE"]
            return ContractRules(
                instrument=instrument,
                asset=row["baseAsset"],
                tick=decimal(filters["PRICE_FILTER"]["tickSize"]),
                step=decimal(lot["stepSize"]),
                min_quantity=decimal(lot["minQty"]),
                min_notional=decimal(filters["MIN_NOTIONAL"]["notional"]),
                max_quantity=optional(lot.get("maxQty")),
            )
        except UNREAD as error:
            return unread(error)

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """See ``VenuePort``."""
        answer = await self._get(_ORDER, {"symbol": instrument, "origClientOrderId": client_id})
        if isinstance(answer, Answer) and isinstance(answer.body, dict) and answer.body.get("code") in NO_ORDER:
            return Absent()
        try:
            return order_status(expect(answer))
        except UNREAD as error:
            return unread(error)

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``."""
        try:
            return [order_status(row) for row in expect(await self._get("/fapi/v3/openOrders"))]
        except UNREAD as error:
            return unread(error)

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``. Of a week at most: asked from further back, it tells the first days, not the last."""
        found: list[Fill] = []
        start = str(max(since, self._clock() - _HISTORY) // MILLISECOND)
        try:
            for name in self._instruments:
                asked = {"symbol": name, "startTime": start}
                # Orders may have begun before their fills: a week is what the venue gives.
                trades, orders = await asyncio.gather(
                    self._get("/fapi/v3/userTrades", asked), self._get("/fapi/v3/allOrders", {"symbol": name})
                )
                known = {str(row["orderId"]): row for row in expect(orders)}
                found += [fill(row, known.get(str(row["orderId"]))) for row in expect(trades)]
        except UNREAD as error:
            return unread(error)
        return sorted(found, key=lambda fill: (fill.time, int(fill.trade_id)))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``."""
        risks, margin = await asyncio.gather(
            self._get("/fapi/v3/positionRisk"), self._get("/fapi/v3/accountWithJoinMargin")
        )
        try:
            positions = [position(row) for row in expect(risks) if decimal(row["positionAmt"])]
            total = expect(margin)
            return Account(
                venue="aster",
                positions={p.instrument: p for p in positions},
                equity=decimal(total["totalMarginBalance"]),
                free_margin=decimal(total["availableBalance"]),
                time=self._clock(),
            )
        except UNREAD as error:
            return unread(error)

    async def modes(self) -> AccountModes | Unknown:
        """What the venue tells of the account's modes."""
        try:
            answer = expect(await self._get("/fapi/v3/positionSide/dual"))
            return AccountModes(one_way=not answer["dualSidePosition"])
        except UNREAD as error:
            return unread(error)

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``."""
        depth, premium = await asyncio.gather(
            self._get("/fapi/v3/depth", {"symbol": instrument, "limit": "20"}, signed=False),
            self._get("/fapi/v3/premiumIndex", {"symbol": instrument}, signed=False),
        )
        try:
            rows = expect(depth)
            mark = optional(expect(premium)["markPrice"]) if isinstance(premium, Answer) and premium.good else None
            return Book(
                instrument=instrument,
                bids=tuple(BookLevel(decimal(p), decimal(q)) for p, q in rows["bids"]),
                asks=tuple(BookLevel(decimal(p), decimal(q)) for p, q in rows["asks"]),
                mark_price=mark,
                time=int(rows["T"]) * MILLISECOND,
            )
        except UNREAD as error:
            return unread(error)

    # -- the stream

    async def listen_key(self, method: Literal["POST", "PUT"]) -> str:
        """Start or prolong the user stream.

        :raises ConnectionLost: the venue did not.
        """
        answer = await self._transport.request(method, _LISTEN, self._signed({}, self._next(self._clock())), _FORM)
        if isinstance(answer, Lost) or not answer.good:
            raise ConnectionLost(f"{method} listenKey: {answer}")
        return str(answer.body.get("listenKey", ""))

    @property
    def websocket(self) -> str:
        """Base of the stream's address."""
        return self._endpoints.websocket

    async def events(self) -> AsyncIterator[PrivateMessage]:
        """See ``VenuePort``."""
        async for message in self._stream.read():
            yield message

    async def close(self) -> None:
        """See ``VenuePort``."""
        await self._transport.close()


class _UserStream(PrivateStream):
    """The user data stream: by listen key, which must be prolonged."""

    def __init__(
        self, port: AsterPort, instruments: Sequence[Instrument], clock: Clock, *, keep_alive: float, patience: float
    ) -> None:
        super().__init__(EXCHANGES[0], instruments, clock, patience=patience)
        self._port = port
        self._keep_alive = keep_alive

    async def address(self) -> str:
        """A fresh key each time: an expired one connects and tells nothing."""
        return f"{self._port.websocket}/ws/{await self._port.listen_key('POST')}"

    async def tend(self, socket: ClientConnection) -> None:  # noqa: ARG002 - it is prolonged over REST
        """Prolong the key."""
        while True:
            await asyncio.sleep(self._keep_alive)
            await self._port.listen_key("PUT")

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """ORDER_TRADE_UPDATE."""
        match frame:
            case {"e": "listenKeyExpired"}:
                raise ConnectionLost("the listen key has expired")
            case {"e": "ORDER_TRADE_UPDATE", "o": row}:
                return updated(row)
        return []
