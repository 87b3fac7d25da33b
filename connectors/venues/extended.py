"""Extended: orders whose settlement is signed on the Stark curve, everything else by API key.

An order's external id is unique for ever, so sending it again is harmless. Its signed expiry bounds how long a lost one
can still run: short for IOC, ``lifetime`` for one that rests, because it bounds its life in the book too. There is no
fence, no market order, and no change of an order under its own id. ``rules`` must have been asked before ``prepare``:
the settlement counts in units of the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from pydantic import SecretStr

from connectors.exchange import Endpoints
from connectors.exchanges.extended import EXCHANGES
from connectors.venues.access import AccountModes, Permission, admitted
from connectors.venues.capabilities import EXTENDED
from connectors.venues.extended_wire import (
    StarkMarket,
    fill,
    order_status,
    outcome,
    position,
    salt_of,
    settlement,
)
from connectors.venues.private_stream import PrivateMessage, PrivateStream
from connectors.venues.signing import StarkKey
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
from schemas.clock import MILLISECOND, MINUTE, SECOND, Clock
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

_ORDER = "/api/v1/user/order"
_LIFETIME = 5 * MINUTE
_TAKER_FEE = Decimal("0.0005")
"""The most a trade may cost, as a fraction: signed with the order."""
MAINNET = "SN_MAIN"


class ExtendedPort:
    """One account.

    :arg api_key: of the account.
    :arg key: its private Stark key.
    :arg vault: its number on the chain.
    :arg lifetime: nanoseconds an order may rest.
    :arg timeout: seconds after which a request is unknown.
    :arg markets: what was learned of contracts, shared with the other connections to the account.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        api_key: SecretStr,
        key: SecretStr,
        vault: int,
        instruments: Sequence[Instrument],
        clock: Clock,
        *,
        permission: Permission = None,
        chain: str = MAINNET,
        lifetime: int = _LIFETIME,
        timeout: float = 2.0,
        patience: float = 45.0,
        markets: dict[str, StarkMarket] | None = None,
    ) -> None:
        self._endpoints = admitted("extended", endpoints, permission)
        self._api_key = api_key
        self._key = StarkKey(key)
        self._vault = vault
        self._instruments = {i.instrument: unscaled(i) for i in instruments}
        self._clock = clock
        self._chain = chain
        self._lifetime = lifetime
        self._markets = {} if markets is None else markets
        self._transport = Transport(endpoints.rest, timeout=timeout, permission=permission)
        self._stream = _AccountStream(endpoints, api_key, instruments, clock, patience)

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return EXTENDED

    def _headers(self) -> dict[str, str]:
        return {"X-Api-Key": self._api_key.get_secret_value(), "Content-Type": "application/json"}

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: it has no price, or ``rules`` was not asked for its contract before.
        """
        market = self._markets.get(order.instrument)
        if order.price is None or market is None:
            raise UsageError(f"{order.instrument}: ask for its rules first, and give the order a price")
        valid_until = now + (EXTENDED.validity if order.time_in_force == "ioc" else self._lifetime)
        salt = salt_of(order.client_id)
        expires = valid_until // MILLISECOND
        moved = settlement(
            order, market, position=self._vault, fee=_TAKER_FEE, expires=expires, salt=salt, public=self._key.public
        )
        r, s = self._key.sign(moved.digest(self._chain))
        body = {
            "id": order.client_id,
            "market": order.instrument,
            "type": "LIMIT",
            "side": order.side.upper(),
            "qty": plain(order.quantity),
            "price": plain(order.price),
            "reduceOnly": order.reduce_only,
            "postOnly": order.time_in_force == "post_only",
            "timeInForce": "IOC" if order.time_in_force == "ioc" else "GTT",
            "expiryEpochMillis": expires,
            "fee": plain(_TAKER_FEE),
            "nonce": str(salt),
            "selfTradeProtectionLevel": "ACCOUNT",
            "settlement": {
                "signature": {"r": hex(r), "s": hex(s)},
                "starkKey": hex(self._key.public),
                "collateralPosition": str(self._vault),
            },
        }
        return self._request("POST", _ORDER, msgspec.json.encode(body), order, valid_until)

    @staticmethod
    def _request(method: str, path: str, body: bytes, order: Order, valid_until: int) -> SignedRequest:
        return SignedRequest(
            venue="extended",
            instrument=order.instrument,
            client_id=order.client_id,
            method=method,
            path=path,
            body=body,
            nonce=None,
            valid_until=valid_until,
        )

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``. A cancel carries no signature: the API key goes with it when it is sent."""
        return SignedRequest(
            venue="extended",
            instrument=instrument,
            client_id=client_id,
            method="DELETE",
            path=f"{_ORDER}?{urlencode({'externalId': client_id})}",
            body=b"",
            nonce=None,
            valid_until=now + EXTENDED.validity,
        )

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:  # noqa: ARG002 - the port's contract
        """See ``VenuePort``.

        :raises UsageError: always; the venue replaces an order by one of another id.
        """
        raise UsageError(f"{order.client_id}: Extended changes no order under its own id; cancel it and place another")

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``."""
        return outcome(await self._transport.request(request.method, request.path, request.body, self._headers()))

    async def fence(self, request: SignedRequest) -> Fence:  # noqa: ARG002 - there is none
        """See ``VenuePort``."""
        return "unsupported"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``. Counted in whole seconds."""
        path = f"/api/v1/user/deadmanswitch?countdownTime={-(-ttl // SECOND)}"
        return outcome(await self._transport.request("POST", path, b"", self._headers())).kind == "done"

    # -- queries

    async def _get(self, path: str, *, private: bool = True) -> Answer | Lost:
        return await self._transport.request("GET", f"/api/v1{path}", b"", self._headers() if private else None)

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``."""
        answer = await self._get(f"/info/markets?{urlencode({'market': instrument})}", private=False)
        try:
            row = next((r for r in data(answer) if r["name"] == instrument), None)
            if row is None:
                return Unknown(f"no market {instrument}")
            chain, config = row["l2Config"], row["tradingConfig"]
            self._markets[instrument] = StarkMarket(
                chain["syntheticId"],
                decimal(chain["syntheticResolution"]),
                chain["collateralId"],
                decimal(chain["collateralResolution"]),
            )
            smallest = decimal(config["minOrderSize"])
            return ContractRules(
                instrument=instrument,
                asset=row["assetName"],
                tick=decimal(config["minPriceChange"]),
                step=decimal(config["minOrderSizeChange"]),
                min_quantity=smallest,
                min_notional=Decimal(0),
            )
        except UNREAD as error:
            return unread(error)

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """See ``VenuePort``."""
        answer = await self._get(f"/user/orders/external/{quote(client_id, safe='')}")
        try:
            found = [order_status(row) for row in data(answer)]
        except UNREAD as error:
            return unread(error)
        return next((o for o in found if o.instrument == instrument), Absent())

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``."""
        try:
            return [order_status(row) for row in data(await self._get("/user/orders"))]
        except UNREAD as error:
            return unread(error)

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``. The venue's newest thousand."""
        trades, living, done = await asyncio.gather(
            self._get("/user/trades?limit=1000"), self._get("/user/orders"), self._get("/user/orders/history")
        )
        try:
            ids = {str(row["id"]): str(row["externalId"]) for row in [*data(living), *data(done)]}
            found = [fill(row, ids.get(str(row.get("orderId")), "")) for row in data(trades)]
        except UNREAD as error:
            return unread(error)
        return sorted((f for f in found if f.time >= since), key=lambda f: (f.time, int(f.trade_id)))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``."""
        held, balance = await asyncio.gather(self._get("/user/positions"), self._get("/user/balance"))
        try:
            positions = [position(row) for row in data(held) if decimal(row["size"])]
            money = data(balance)
            return Account(
                venue="extended",
                positions={p.instrument: p for p in positions},
                equity=decimal(money["equity"]),
                free_margin=decimal(money["availableForTrade"]),
                time=self._clock(),
            )
        except UNREAD as error:
            return unread(error)

    async def modes(self) -> AccountModes | Unknown:
        """Whether the Stark key and the vault are those the venue has."""
        try:
            told = data(await self._get("/user/account/info"))
            ours = (int(told["l2Key"], 16), int(told["l2Vault"])) == (self._key.public, self._vault)
            return AccountModes(one_way=True, trades=ours and told["status"] == "ACTIVE")
        except UNREAD as error:
            return unread(error)

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``."""
        name = quote(instrument, safe="")
        depth, stats = await asyncio.gather(
            self._get(f"/info/markets/{name}/orderbook", private=False),
            self._get(f"/info/markets/{name}/stats", private=False),
        )
        try:
            rows = data(depth)
            mark = optional(data(stats)["markPrice"]) if isinstance(stats, Answer) and stats.good else None
            return Book(
                instrument=instrument,
                bids=tuple(BookLevel(decimal(r["price"]), decimal(r["qty"])) for r in rows["bid"]),
                asks=tuple(BookLevel(decimal(r["price"]), decimal(r["qty"])) for r in rows["ask"]),
                mark_price=mark,
                time=self._clock(),
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


def data(answer: Answer | Lost) -> Any:
    """``data`` of a good answer.

    :raises ValueError: there is none; says why.
    """
    body = expect(answer)
    if body.get("status") != "OK":
        raise ValueError(str(body.get("error", body))[:100])
    return body["data"]


class _AccountStream(PrivateStream):
    """Orders, trades, positions of the account; a hole in ``seq`` is told by the dialect."""

    def __init__(
        self,
        endpoints: Endpoints,
        api_key: SecretStr,
        instruments: Sequence[Instrument],
        clock: Clock,
        patience: float,
    ) -> None:
        super().__init__(EXCHANGES[0], instruments, clock, patience=patience)
        self._url = f"{endpoints.websocket}/stream.extended.exchange/v1/account"
        self._api_key = api_key
        self._ids: dict[str, str] = {}

    async def address(self) -> str:
        """By address."""
        return self._url

    def headers(self) -> dict[str, str]:
        """The key."""
        return {"X-Api-Key": self._api_key.get_secret_value()}

    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """Orders, and trades under the id of their order."""
        match frame:
            case {"type": "ORDER", "data": {"orders": list(rows)}}:
                self._ids |= {str(row["id"]): str(row["externalId"]) for row in rows}
                return [order_status(row) for row in rows]
            case {"type": "TRADE", "data": {"trades": list(rows)}}:
                known = self._ids
                return [fill(row, row.get("externalOrderId") or known.get(str(row["orderId"]), "")) for row in rows]
        return []
