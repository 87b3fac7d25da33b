"""One account at a venue signed for by ccxt: Binance, Bybit, OKX, Gate, Bitget, KuCoin, Bitfinex.

ccxt makes and signs orders (``ccxt_codec``); it never sends, waits or judges. Requests go over our own connection,
outcomes are read from the venue's own codes, and quantities here are base units whatever the venue counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Literal

from connectors.exchange import Endpoints
from connectors.venues.access import AccountModes, Permission, admitted
from connectors.venues.ccxt_codec import Codec, Credentials, Signed
from connectors.venues.ccxt_polling import polled
from connectors.venues.ccxt_streams import STREAMS
from connectors.venues.ccxt_venue import UNREADABLE, Ask, CcxtVenue, Market, NotThereError
from connectors.venues.private_stream import PrivateMessage
from connectors.venues.transport import Answer, Lost, Transport, unread
from schemas.clock import Clock
from schemas.errors import UsageError
from schemas.instruments import canonical
from schemas.orders import (
    Absent,
    Account,
    Book,
    Capabilities,
    ContractRules,
    Fence,
    Fill,
    Known,
    Lookup,
    Order,
    OrderStatus,
    Outcome,
    SignedRequest,
    Unknown,
)


class CcxtPort:
    """One account.

    :arg markets: the contracts the desk trades, with their rules: the venue is not asked for them.
    :arg timeout: seconds after which a request is unknown.
    :arg watch: by the private stream, where we read the venue's; by polling everywhere else, or if wanted.
    :arg every: seconds between two looks when polling.
    :raises ExtraMissing: ccxt is not installed.
    :raises UsageError: another release of it is, the endpoints need a permission, or a contract cannot be traded.
    """

    def __init__(
        self,
        venue: CcxtVenue,
        endpoints: Endpoints,
        credentials: Credentials,
        markets: Sequence[Market],
        clock: Clock,
        *,
        permission: Permission = None,
        timeout: float = 2.0,
        every: float = 2.0,
        watch: Literal["stream", "polling"] = "stream",
    ) -> None:
        self._venue = venue
        self._endpoints = admitted(venue.name, endpoints, permission)
        self._markets = {market.of_venue(venue.name).instrument: market for market in markets}
        self._assets = {name: canonical(market.rules.asset)[0] for name, market in self._markets.items()}
        self._codec = Codec(venue, credentials, markets)
        self._clock = clock
        self._every = every
        self._ids: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._transport = Transport(endpoints.rest, timeout=timeout, permission=permission)
        kind = STREAMS.get(venue.name) if watch == "stream" else None
        self._stream = kind(endpoints, credentials, self._markets, clock, self._transport) if kind else None

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return self._venue.capabilities

    def _market(self, instrument: str) -> Market:
        if instrument not in self._markets:
            raise UsageError(f"{self._venue.name} {instrument}: its rules were not given, known are {[*self._markets]}")
        return self._markets[instrument]

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: ccxt would say anything else than the order, or the order breaks the contract's rules.
        """
        signed = self._codec.order(order, self._market(order.instrument), now=now)
        return self._request(signed, order.instrument, order.client_id, now)

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        number = self._numbers.get(client_id, "")
        ask = self._venue.cancel(self._market(instrument), client_id, number, now)
        return self._request(self._codec.signed(ask, now=now), instrument, client_id, now)

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``.

        :raises UsageError: a market order, or the venue changes no order under its own id.
        """
        if order.price is None:
            raise UsageError("only a limit order can be modified: give it a price")
        ask = self._venue.modify(order, self._market(order.instrument))
        if ask is None:
            raise UsageError(
                f"{order.client_id}: {self._venue.name} changes no order under its own id; cancel it and place another"
            )
        return self._request(self._codec.signed(ask, now=now), order.instrument, order.client_id, now)

    def _request(self, signed: Signed, instrument: str, client_id: str, now: int) -> SignedRequest:
        return SignedRequest(
            venue=self._venue.name,
            instrument=instrument,
            client_id=client_id,
            method=signed.method,
            path=signed.path,
            body=signed.body,
            headers=signed.headers,
            nonce=signed.nonce,
            valid_until=now + self.capabilities.validity,
        )

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``."""
        answer = await self._sent(request.method, request.path, request.body, request.headers)
        outcome = self._venue.outcome(answer, self._markets)
        if outcome.order_id:
            self._learn(outcome.order_id, request.client_id)
        return outcome

    async def _sent(
        self, method: str, path: str, body: bytes, headers: Iterable[tuple[str, str]], *, private: bool = True
    ) -> Answer | Lost:
        identity = self._codec.credential_headers if private else {}
        return await self._transport.request(method, path, body, {**dict(headers), **identity})

    async def fence(self, request: SignedRequest) -> Fence:  # noqa: ARG002 - there is none
        """See ``VenuePort``. A lost request is waited out: none of these venues lets a nonce be spent."""
        return "unsupported"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``. False where the venue has no switch that requests arm."""
        asks = self._venue.deadman(ttl, list(self._markets.values()))
        outcomes = [self._venue.word(a.body) for a in await self._asked(asks) if isinstance(a, Answer) and a.good]
        return bool(asks) and len(outcomes) == len(asks) and not any(code for code, _ in outcomes)

    # -- queries

    async def _asked(self, asks: Iterable[Ask]) -> list[Answer | Lost]:
        if self._venue.counts:
            # One after the other: each nonce must arrive after the last.
            return [await self._ask(ask) for ask in asks]
        return await asyncio.gather(*(self._ask(ask) for ask in asks))

    async def _ask(self, ask: Ask) -> Answer | Lost:
        signed = self._codec.signed(ask, now=self._clock())
        private = not ask.api[0].lower().endswith("public")
        return await self._sent(signed.method, signed.path, signed.body, signed.headers, private=private)

    async def _rows(self, asks: Iterable[Ask]) -> list[Any]:
        """All rows of all answers.

        :raises ValueError: one is missing.
        """
        return self._listed(await self._asked(asks))

    def _listed(self, answers: Iterable[Answer | Lost]) -> list[Any]:
        found: list[Any] = []
        for answer in answers:
            rows = self._venue.payload(answer)
            if not isinstance(rows, list):
                raise TypeError(f"expected rows, got {type(rows).__name__}")
            found += rows
        return found

    def _whole(self, rows: list[Any]) -> list[Any]:
        if len(rows) >= self._venue.page:
            raise ValueError(f"{len(rows)} rows fill a page: there may be more")
        return rows

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``. As they were given."""
        market = self._markets.get(instrument)
        return market.rules if market is not None else Unknown(f"the rules of {instrument} were not given")

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """See ``VenuePort``."""
        market = self._market(instrument)
        try:
            for ask in self._venue.lookup(market, client_id):
                answer = await self._ask(ask)
                try:
                    found = self._venue.payload(answer)
                except NotThereError:
                    continue
                for row in found if isinstance(found, list) else [found]:
                    status = self._venue.order_status(row, market)
                    if status.client_id == client_id:
                        return self._learnt(status)
        except UNREADABLE as error:
            return unread(error)
        return Absent()

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``. Those of contracts whose rules were not given cannot be read and make it unknown."""
        try:
            rows = self._whole(await self._rows(self._venue.open_orders(list(self._markets.values()))))
            return [self._learnt(self._venue.order_status(row, self._known(row))) for row in rows]
        except (NotThereError, *UNREADABLE) as error:
            return unread(error)

    def _known(self, row: Any) -> Market:
        instrument = self._venue.instrument_of(row)
        if instrument not in self._markets:
            raise ValueError(f"{instrument} is in the account and its rules were not given")
        return self._markets[instrument]

    def _learnt(self, status: OrderStatus) -> OrderStatus:
        self._learn(status.order_id, status.client_id)
        return status

    def _learn(self, order_id: str, client_id: str) -> None:
        self._ids[order_id] = client_id
        self._numbers[client_id] = order_id

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``. What is older than the venue's ``reach`` had to be read when it was new."""
        found: list[Fill] = []
        start = max(since, self._clock() - self._venue.reach)
        try:
            for market in self._markets.values():
                rows = self._whole(await self._rows([self._venue.fills(market, start)]))
                await self._join(market, rows)
                told = [self._venue.fill(row, market, self._client_id(row)) for row in rows]
                found += [fill for fill in told if fill is not None and fill.time >= since]
        except (NotThereError, *UNREADABLE) as error:
            return unread(error)
        return sorted(found, key=lambda fill: (fill.time, fill.trade_id))

    def _client_id(self, row: Any) -> str | None:
        return self._ids.get(str(row[self._venue.fill_order])) if self._venue.fill_order else None

    async def _join(self, market: Market, rows: list[Any]) -> None:
        """Learn the client ids of fills that do not name them."""
        ask = self._venue.history(market)
        if ask is None or all(self._client_id(row) is not None for row in rows):
            return
        for row in await self._rows([ask]):
            self._learnt(self._venue.order_status(row, market))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``. A position in a contract whose rules were not given makes it unknown, never flat."""
        markets = list(self._markets.values())
        try:
            wanted = self._venue.positions(markets)
            *held, balance = await self._asked([*wanted, *self._venue.balance(markets)])
            found = [self._position(row) for row in self._listed(held)]
            equity, free = self._venue.margin(self._venue.payload(balance))
            return Account(
                venue=self._venue.name,
                positions={p.instrument: p for p in found if p is not None},
                equity=equity,
                free_margin=free,
                time=self._clock(),
            )
        except (NotThereError, *UNREADABLE) as error:
            return unread(error)

    def _position(self, row: Any) -> Known | None:
        if self._venue.instrument_of(row) not in self._markets and not self._venue.signed(row):
            return None
        return self._venue.position(row, self._known(row))

    async def modes(self) -> AccountModes | Unknown:
        """What the venue tells of the account's modes and of the key."""
        ask = self._venue.modes(list(self._markets.values()))
        if ask is None:
            return AccountModes()
        try:
            return self._venue.modes_of(self._venue.payload(await self._ask(ask)))
        except (NotThereError, *UNREADABLE) as error:
            return unread(error)

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``."""
        market = self._market(instrument)
        try:
            book, mark = await self._asked(self._venue.book(market))
            bids, asks, time = self._venue.levels(self._venue.payload(book), market)
            return Book(
                instrument=instrument,
                bids=bids,
                asks=asks,
                mark_price=self._venue.mark(self._venue.payload(mark)),
                time=time or self._clock(),
            )
        except (NotThereError, *UNREADABLE) as error:
            return unread(error)

    async def events(self) -> AsyncIterator[PrivateMessage]:
        """See ``VenuePort``. Polling is marked so: what came and went between two looks is not seen."""
        if self._stream is not None:
            async for message in self._stream.read():
                yield message
        async for message in polled(self, self._venue.name, self._assets, self._clock, every=self._every):
            yield message

    async def close(self) -> None:
        """See ``VenuePort``."""
        await self._transport.close()
