"""Lighter: transactions signed by somebody else's library, numbered one by one per API key.

A transaction is taken in at once and carried out later: what came of an order is told by the stream and by queries, and
a reduce-only order may be dropped without a word. A lost transaction can run for ten minutes unless its number is used
up, so ``fence`` sends a cancel of the same order under it. ``rules`` must have been asked before ``prepare``: it learns
the contract's units and the next number. Give each lane that sends an API key of its own; lanes that
share what they ``learned`` can each send again, or fence, what the other sent: by the key it was signed with.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection

from connectors.exchange import Endpoints
from connectors.exchanges.lighter import EXCHANGES
from connectors.venues.access import AccountModes, Permission, admitted
from connectors.venues.capabilities import LIGHTER
from connectors.venues.lighter_keys import ApiKey, Learned
from connectors.venues.lighter_wire import (
    ABORTED,
    CANCEL,
    CANCEL_ALL,
    CREATE,
    INVALID_NONCE,
    MODIFY,
    SCHEDULED,
    TIME_IN_FORCE,
    LighterMarket,
    LighterSigner,
    code_of,
    fill,
    order_status,
    outcome,
    position,
)
from connectors.venues.private_stream import PrivateMessage, PrivateStream
from connectors.venues.transport import (
    UNREAD,
    Answer,
    Lost,
    Transport,
    decimal,
    expect,
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

_SEND = "/api/v1/sendTx"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_REST = 24 * HOUR
"""How long an order may rest."""
_TOKEN = 8 * HOUR
_PING = 50.0


class LighterPort:
    """One account and API key.

    :arg account: its index.
    :arg api_key: index of the key ``signer`` signs with; 0 to 3 are the venue's own.
    :arg instruments: the contracts the desk trades, with their market id as number.
    :arg timeout: seconds after which a request is unknown.
    :arg learned: shared with the other connections to the account.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        account: int,
        api_key: int,
        signer: LighterSigner,
        instruments: Sequence[Instrument],
        clock: Clock,
        *,
        permission: Permission = None,
        timeout: float = 2.0,
        patience: float = 120.0,
        learned: Learned | None = None,
    ) -> None:
        self._endpoints = admitted("lighter", endpoints, permission)
        self._account = account
        self._instruments = {i.instrument: unscaled(i) for i in instruments}
        self._clock = clock
        self._learned = learned or Learned()
        self._key = self._learned.keys.setdefault(api_key, ApiKey(api_key, signer))
        self._transport = Transport(endpoints.rest, timeout=timeout, permission=permission)
        self._stream = _AccountStream(endpoints, account, self.token, instruments, clock, patience)

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return LIGHTER

    def token(self) -> str:
        """Opens private queries and channels for some hours."""
        return self._key.signer.token((self._clock() + _TOKEN) // SECOND)

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: it has no price or too many decimals, or ``rules`` was not asked for its contract before.
        """
        market = self._market(order.instrument)
        if order.price is None:
            raise UsageError("give an IOC order a price: a market order of this venue needs one too")
        fields = {
            "ClientOrderIndex": int(order.client_id),
            "BaseAmount": market.size(order.quantity),
            "Price": market.price(order.price),
            "IsAsk": int(order.side == "sell"),
            "Type": 0,
            "TimeInForce": TIME_IN_FORCE[order.time_in_force],
            "ReduceOnly": int(order.reduce_only),
            "TriggerPrice": 0,
            "OrderExpiry": 0 if order.time_in_force == "ioc" else (now + _REST) // MILLISECOND,
        }
        return self._request(CREATE, {"MarketIndex": market.number, **fields}, order.instrument, order.client_id, now)

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        fields = {"MarketIndex": self._market(instrument).number, "Index": int(client_id)}
        return self._request(CANCEL, fields, instrument, client_id, now)

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        market = self._market(order.instrument)
        if order.price is None:
            raise UsageError("only a limit order can be modified: give it a price")
        fields = {
            "MarketIndex": market.number,
            "Index": int(order.client_id),
            "BaseAmount": market.size(order.quantity),
            "Price": market.price(order.price),
            "TriggerPrice": 0,
        }
        return self._request(MODIFY, fields, order.instrument, order.client_id, now)

    def _market(self, instrument: str) -> LighterMarket:
        if instrument not in self._learned.markets:
            raise UsageError(f"{instrument}: ask for its rules first")
        return self._learned.markets[instrument]

    def _take(self) -> tuple[ApiKey, int]:
        if self._key.nonce is None:
            raise UsageError("the next nonce is not known: ask for the rules of a contract first")
        self._key.nonce += 1
        return self._key, self._key.nonce - 1

    def _request(
        self,
        kind: int,
        fields: dict[str, Any],
        instrument: str,
        client_id: str,
        now: int,
        numbered: tuple[ApiKey, int] | None = None,
    ) -> SignedRequest:
        """Signed, with the key and nonce given or the next of our own."""
        key, nonce = numbered or self._take()
        valid_until = now + LIGHTER.validity
        transaction = {
            "AccountIndex": self._account,
            "ApiKeyIndex": key.number,
            **fields,
            "ExpiredAt": valid_until // MILLISECOND,
            "Nonce": nonce,
        }
        signed = key.signer.sign(kind, transaction)
        # The venue's own signer sets the end itself.
        until = max(valid_until, json.loads(signed)["ExpiredAt"] * MILLISECOND)
        body = urlencode({"tx_type": kind, "tx_info": signed}).encode()
        return SignedRequest(
            venue="lighter",
            instrument=instrument,
            client_id=client_id,
            method="POST",
            path=_SEND,
            body=body,
            nonce=nonce,
            valid_until=until,
        )

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``. A refused nonce is looked into: one that was used before is ``duplicate``."""
        answer = await self._transport.request(request.method, request.path, request.body, _FORM)
        found = outcome(answer)
        if code_of(answer) != INVALID_NONCE or request.nonce is None:
            return found
        key = self._learned.signed(request.body)
        following = await self._next_nonce(key) if key is not None else None
        if following is None:
            return Outcome(kind="unknown", code=found.code)
        return Outcome(kind="duplicate" if request.nonce < following else "refused", code=found.code)

    async def _next_nonce(self, key: ApiKey) -> int | None:
        """Ask the venue, and go on from there."""
        asked = urlencode({"account_index": self._account, "api_key_index": key.number})
        try:
            key.nonce = int(expect(await self._get(f"/nextNonce?{asked}"))["nonce"])
        except UNREAD:
            return None
        return key.nonce

    async def fence(self, request: SignedRequest) -> Fence:
        """See ``VenuePort``."""
        if request.nonce is None or not request.client_id:
            return "unsupported"
        key = self._learned.signed(request.body)
        if key is None:
            return "unknown"
        fields = {"MarketIndex": self._market(request.instrument).number, "Index": int(request.client_id)}
        now = self._clock()
        again = (key, request.nonce)
        found = await self.send(self._request(CANCEL, fields, request.instrument, request.client_id, now, again))
        if found.kind == "done":
            return "voided"
        return "used" if found.kind == "duplicate" else "unknown"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``."""
        now = self._clock()
        fields = {"TimeInForce": SCHEDULED if ttl else ABORTED, "Time": (now + ttl) // MILLISECOND if ttl else 0}
        return (await self.send(self._request(CANCEL_ALL, fields, "", "", now))).kind == "done"

    # -- queries

    async def _get(self, path: str, *, private: bool = False) -> Answer | Lost:
        headers = {"Authorization": self.token()} if private else None
        return await self._transport.request("GET", f"/api/v1{path}", b"", headers)

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``."""
        answer = await self._get("/orderBookDetails")
        try:
            rows = expect(answer)["order_book_details"]
            row = next((r for r in rows if r["symbol"] == instrument), None)
            if row is None:
                return Unknown(f"no market {instrument}")
            sizes, prices = int(row["size_decimals"]), int(row["price_decimals"])
            for key in self._learned.keys.values():
                if key.nonce is None and await self._next_nonce(key) is None:
                    return Unknown("nextNonce was not answered")
            self._learned.markets[instrument] = LighterMarket(int(row["market_id"]), sizes, prices)
            return ContractRules(
                instrument=instrument,
                asset=self._instruments[instrument].asset if instrument in self._instruments else instrument,
                tick=Decimal(1).scaleb(-prices),
                step=Decimal(1).scaleb(-sizes),
                min_quantity=decimal(row["min_base_amount"]),
                min_notional=decimal(row["min_quote_amount"]),
            )
        except UNREAD as error:
            return unread(error)

    async def _orders(self, path: str, instrument: str) -> list[OrderStatus]:
        """Orders of one market.

        :raises ValueError: the venue did not tell.
        """
        asked = urlencode({"account_index": self._account, "market_id": self._instruments[instrument].number})
        answer = await self._get(
            f"/{path}?{asked}{'&limit=100' if path == 'accountInactiveOrders' else ''}", private=True
        )
        return [order_status(row, instrument) for row in expect(answer)["orders"]]

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """See ``VenuePort``. Living orders and the last hundred done."""
        try:
            # One after the other: an order that is done between the two is in the second.
            found = [*await self._orders("accountActiveOrders", instrument)]
            found += await self._orders("accountInactiveOrders", instrument)
        except UNREAD as error:
            return unread(error)
        return next((o for o in found if o.client_id == client_id), Absent())

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``."""
        try:
            rows = await asyncio.gather(*(self._orders("accountActiveOrders", name) for name in self._instruments))
        except UNREAD as error:
            return unread(error)
        return [order for some in rows for order in some]

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``. The venue's newest hundred."""
        asked = urlencode({"sort_by": "timestamp", "account_index": self._account, "limit": 100})
        names = {int(contract.number): name for name, contract in self._instruments.items()}
        try:
            rows = expect(await self._get(f"/trades?{asked}", private=True))["trades"]
            found = [fill(r, names[r["market_id"]], self._account) for r in rows if r["market_id"] in names]
        except UNREAD as error:
            return unread(error)
        return sorted((f for f in found if f.time >= since), key=lambda f: (f.time, int(f.trade_id)))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``."""
        answer = await self._get(f"/account?{urlencode({'by': 'index', 'value': self._account})}")
        try:
            (told,) = expect(answer)["accounts"]
            held = [position(row) for row in told["positions"] if decimal(row["position"])]
            return Account(
                venue="lighter",
                positions={p.instrument: p for p in held},
                equity=decimal(told["total_asset_value"]),
                free_margin=decimal(told["available_balance"]),
                time=self._clock(),
            )
        except UNREAD as error:
            return unread(error)

    async def modes(self) -> AccountModes | Unknown:
        """There is one mode only; what the keys may do is not told."""
        return AccountModes(one_way=True)

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``. Without a mark: it is told on the public stream."""
        try:
            asked = urlencode({"market_id": self._instruments[instrument].number, "limit": 50})
            rows = expect(await self._get(f"/orderBookOrders?{asked}"))
            bids, asks = (
                tuple(BookLevel(decimal(r["price"]), decimal(r["remaining_base_amount"])) for r in rows[side])
                for side in ("bids", "asks")
            )
            return Book(instrument=instrument, bids=bids, asks=asks, mark_price=None, time=self._clock())
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


class _AccountStream(PrivateStream):
    """Orders, trades and notices of the account."""

    def __init__(
        self,
        endpoints: Endpoints,
        account: int,
        token: Any,
        instruments: Sequence[Instrument],
        clock: Clock,
        patience: float,
    ) -> None:
        super().__init__(EXCHANGES[0], instruments, clock, patience=patience, acknowledgements=3)
        self._url = f"{endpoints.websocket}/stream"
        self._account = account
        self._token = token
        self._names = {i.number: i.instrument for i in instruments}

    async def address(self) -> str:
        """The one socket."""
        return self._url

    async def greet(self, socket: ClientConnection) -> None:
        """Subscribe."""
        for channel in ("account_all_orders", "account_all_trades", "notification"):
            wanted = {"type": "subscribe", "channel": f"{channel}/{self._account}", "auth": self._token()}
            await socket.send(json.dumps(wanted))

    async def tend(self, socket: ClientConnection) -> None:
        """The venue closes a socket that says nothing for two minutes."""
        while True:
            await asyncio.sleep(_PING)
            await socket.send('{"type":"ping"}')

    def public(self, payload: bytes) -> bool:
        """The account's own channels are read here."""
        return b"/account_all_" not in payload[:200]

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """What happened from here on; what the subscription replays is not told again."""
        match frame:
            case {"type": "update/account_all_orders", "orders": dict(markets)}:
                return [order_status(row, self._names[m]) for m, rows in markets.items() for row in rows]
            case {"type": "update/account_all_trades", "trades": dict(markets)}:
                return [fill(row, self._names[m], self._account) for m, rows in markets.items() for row in rows]
        return []
