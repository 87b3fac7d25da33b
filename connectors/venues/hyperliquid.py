"""Hyperliquid: actions signed by an agent wallet, questions to ``info``, a socket for fills and orders.

An action is hashed with its nonce (milliseconds) and ``expiresAfter``, which bounds how long a lost one can still run.
``noop`` with the nonce of an order kills it if it has not run. There are no market orders. Prices have five significant
figures, so the tick moves with the price: ask ``rules`` again after a large move.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection

from connectors.exchange import Endpoints
from connectors.exchanges.hyperliquid import EXCHANGES
from connectors.venues.access import AccountModes, Permission, admitted
from connectors.venues.capabilities import HYPERLIQUID
from connectors.venues.hyperliquid_wire import fill, order_status, outcome, position, spent, tick
from connectors.venues.private_stream import PrivateMessage, PrivateStream
from connectors.venues.signing import EthKey, hyperliquid_agent
from connectors.venues.transport import (
    UNREAD,
    Answer,
    Lost,
    Transport,
    decimal,
    expect,
    plain,
    unread,
    unscaled,
)
from schemas.clock import HOUR, MILLISECOND, SECOND, Clock
from schemas.errors import UsageError
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

_JSON = {"Content-Type": "application/json"}
_TIME_IN_FORCE = {"gtc": "Gtc", "ioc": "Ioc", "post_only": "Alo"}
_MIN_NOTIONAL = Decimal(10)
_SHORTEST_DEADMAN = 5 * SECOND
_PING = 30.0
_HISTORY = 7 * 24 * HOUR


class HyperliquidPort:
    """One account.

    :arg user: address of the account the agent trades for.
    :arg key: private key of the agent wallet.
    :arg instruments: the contracts the desk trades, with their place in the universe as number.
    :arg mainnet: which chain the signature is for.
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
        mainnet: bool = True,
        timeout: float = 2.0,
        patience: float = 70.0,
    ) -> None:
        self._endpoints = admitted("hyperliquid", endpoints, permission)
        self._user = user
        self._key = EthKey(key)
        self._instruments = {i.instrument: unscaled(i) for i in instruments}
        self._clock = clock
        self._mainnet = mainnet
        self._nonce = 0
        self._transport = Transport(endpoints.rest, timeout=timeout, permission=permission)
        self._stream = _UserStream(endpoints, user, instruments, clock, patience)

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return HYPERLIQUID

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: it has no price: the venue knows no market orders.
        """
        action = {"type": "order", "orders": [self._wire(order)], "grouping": "na"}
        return self._request(action, order.instrument, order.client_id, now)

    def _wire(self, order: Order) -> dict[str, Any]:
        """The order; the signature covers the fields in this order."""
        if order.price is None:
            raise UsageError("Hyperliquid has no market orders: give an IOC order a price")
        return {
            "a": self._asset(order.instrument),
            "b": order.side == "buy",
            "p": plain(order.price),
            "s": plain(order.quantity),
            "r": order.reduce_only,
            "t": {"limit": {"tif": _TIME_IN_FORCE[order.time_in_force]}},
            "c": order.client_id,
        }

    def _asset(self, instrument: str) -> int:
        return int(self._instruments[instrument].number)

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        cancels = [{"asset": self._asset(instrument), "cloid": client_id}]
        return self._request({"type": "cancelByCloid", "cancels": cancels}, instrument, client_id, now)

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        action = {"type": "batchModify", "modifies": [{"oid": order.client_id, "order": self._wire(order)}]}
        return self._request(action, order.instrument, order.client_id, now)

    def _request(self, action: dict[str, Any], instrument: str, client_id: str, now: int) -> SignedRequest:
        self._nonce = max(self._nonce + 1, now // MILLISECOND)
        valid_until = now + HYPERLIQUID.validity
        return SignedRequest(
            venue="hyperliquid",
            instrument=instrument,
            client_id=client_id,
            method="POST",
            path="/exchange",
            body=self._signed(action, self._nonce, valid_until),
            nonce=self._nonce,
            valid_until=valid_until,
        )

    def _signed(self, action: dict[str, Any], nonce: int, valid_until: int) -> bytes:
        expires = valid_until // MILLISECOND
        r, s, v = self._key.sign(hyperliquid_agent(action, nonce, expires, mainnet=self._mainnet))
        return msgspec.json.encode(
            {
                "action": action,
                "nonce": nonce,
                # As numbers, without leading zeros.
                "signature": {"r": hex(int(r, 16)), "s": hex(int(s, 16)), "v": v},
                "vaultAddress": None,
                "expiresAfter": expires,
            }
        )

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``."""
        answer = await self._transport.request(request.method, request.path, request.body, _JSON)
        return outcome(answer, _quantity(request.body))

    async def fence(self, request: SignedRequest) -> Fence:
        """See ``VenuePort``."""
        if request.nonce is None:
            return "unsupported"
        until = self._clock() + HYPERLIQUID.validity
        body = self._signed({"type": "noop"}, request.nonce, until)
        found = outcome(await self._transport.request("POST", "/exchange", body, _JSON))
        if found.kind == "done":
            return "voided"
        return "used" if spent(found.code) else "unknown"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``. The venue takes nothing shorter than five seconds."""
        if 0 < ttl < _SHORTEST_DEADMAN:
            return False
        now = self._clock()
        action: dict[str, Any] = {"type": "scheduleCancel"}
        if ttl:
            action["time"] = (now + ttl) // MILLISECOND
        return (await self.send(self._request(action, "", "", now))).kind == "done"

    # -- queries

    async def _info(self, kind: str, **fields: Any) -> Answer | Lost:
        body = msgspec.json.encode({"type": kind, **fields})
        return await self._transport.request("POST", "/info", body, _JSON)

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``."""
        answer = await self._info("metaAndAssetCtxs")
        try:
            meta, contexts = expect(answer)
            names = [row["name"] for row in meta["universe"]]
            if instrument not in names:
                return Unknown(f"the universe has no {instrument}")
            place = names.index(instrument)
            decimals = int(meta["universe"][place]["szDecimals"])
            step = Decimal(1).scaleb(-decimals)
            return ContractRules(
                instrument=instrument,
                asset=self._instruments[instrument].asset if instrument in self._instruments else instrument,
                tick=tick(decimal(contexts[place]["markPx"]), decimals),
                step=step,
                min_quantity=step,
                min_notional=_MIN_NOTIONAL,
            )
        except UNREAD as error:
            return unread(error)

    async def lookup(self, instrument: str, client_id: str) -> Lookup:  # noqa: ARG002 - ids are the account's here
        """See ``VenuePort``."""
        answer = await self._info("orderStatus", user=self._user, oid=client_id)
        try:
            match expect(answer):
                case {"status": "unknownOid"}:
                    return Absent()
                case {"status": "order", "order": {"order": row, "status": status, "statusTimestamp": time}}:
                    return order_status(row, status, int(time))
                case body:
                    return Unknown(f"not understood: {str(body)[:100]}")
        except UNREAD as error:
            return unread(error)

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``."""
        answer = await self._info("frontendOpenOrders", user=self._user)
        try:
            return [order_status(row, "open", int(row["timestamp"])) for row in expect(answer)]
        except UNREAD as error:
            return unread(error)

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``. Of a week at most: an answer holds the first two thousand from where it begins."""
        start = max(since, self._clock() - _HISTORY)
        answer = await self._info("userFillsByTime", user=self._user, startTime=start // MILLISECOND)
        try:
            found = [fill(row, self._user) for row in expect(answer)]
        except UNREAD as error:
            return unread(error)
        return sorted(found, key=lambda f: (f.time, int(f.trade_id)))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``."""
        answer = await self._info("clearinghouseState", user=self._user)
        try:
            state = expect(answer)
            rows = [row["position"] for row in state["assetPositions"]]
            held = [position(row) for row in rows if decimal(row["szi"])]
            return Account(
                venue="hyperliquid",
                positions={p.instrument: p for p in held},
                equity=decimal(state["marginSummary"]["accountValue"]),
                free_margin=decimal(state["withdrawable"]),
                time=int(state["time"]) * MILLISECOND,
            )
        except UNREAD as error:
            return unread(error)

    async def modes(self) -> AccountModes | Unknown:
        """Whose agent the key is. Agents cannot withdraw; the account's own key can."""
        answer = await self._info("userRole", user=self._key.address.lower())
        try:
            ours = self._key.address.lower() == self._user.lower()
            match expect(answer):
                case {"role": "agent", "data": {"user": str(user)}}:
                    return AccountModes(one_way=True, trades=user.lower() == self._user.lower(), withdraws=False)
                case {"role": str()}:
                    return AccountModes(one_way=True, trades=ours, withdraws=ours)
                case body:
                    return Unknown(f"not understood: {str(body)[:100]}")
        except UNREAD as error:
            return unread(error)

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``. Without a mark: asking for it costs ten times what the book does."""
        answer = await self._info("l2Book", coin=instrument)
        try:
            body = expect(answer)
            bids, asks = (
                tuple(BookLevel(decimal(row["px"]), decimal(row["sz"])) for row in side) for side in body["levels"]
            )
            return Book(
                instrument=instrument, bids=bids, asks=asks, mark_price=None, time=int(body["time"]) * MILLISECOND
            )
        except UNREAD as error:
            return unread(error)

    # -- the stream

    async def events(self) -> AsyncIterator[PrivateMessage]:
        """See ``VenuePort``."""
        async for message in self._stream.read():
            yield message

    async def close(self) -> None:
        """See ``VenuePort``."""
        await self._transport.close()


def _quantity(body: bytes) -> Decimal | None:
    """What the order in a request asks for."""
    match msgspec.json.decode(body)["action"]:
        case {"orders": [{"s": quantity}]} | {"modifies": [{"order": {"s": quantity}}]}:
            return decimal(quantity)
    return None


class _UserStream(PrivateStream):
    """Fills and order updates of the account."""

    def __init__(
        self, endpoints: Endpoints, user: str, instruments: Sequence[Instrument], clock: Clock, patience: float
    ) -> None:
        super().__init__(EXCHANGES[0], instruments, clock, patience=patience, acknowledgements=2)
        self._url = f"{endpoints.websocket}/ws"
        self._user = user

    async def address(self) -> str:
        """The one socket."""
        return self._url

    async def greet(self, socket: ClientConnection) -> None:
        """Subscribe."""
        for kind in ("userFills", "orderUpdates"):
            subscription = {"type": kind, "user": self._user}
            await socket.send(json.dumps({"method": "subscribe", "subscription": subscription}))

    async def tend(self, socket: ClientConnection) -> None:
        """The venue closes a socket that says nothing for a minute."""
        while True:
            await asyncio.sleep(_PING)
            await socket.send('{"method":"ping"}')

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """What happened from here on; the snapshot of old fills is not told again."""
        match frame:
            case {"channel": "userFills", "data": {"isSnapshot": True}}:
                return []
            case {"channel": "userFills", "data": {"fills": list(rows)}}:
                return [fill(row, self._user) for row in rows]
            case {"channel": "orderUpdates", "data": list(rows)}:
                return [order_status(row["order"], row["status"], int(row["statusTimestamp"])) for row in rows]
        return []
