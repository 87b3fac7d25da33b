"""The simulated venue as a ``VenuePort``, in process: what the executor is tested against, and the paper venue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from connectors.simulator.trading.commands import (
    Cancel,
    Command,
    Deadman,
    Envelope,
    Modify,
    Noop,
    Place,
    Reply,
)
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from schemas.clock import SECOND
from schemas.orders import (
    Absent,
    Account,
    Book,
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
from schemas.records import AccountEvent, FeedStatus

T = TypeVar("T")


class _Signed(Struct, frozen=True):
    envelope: Envelope
    signature: str


_KEPT = 100_000
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(_Signed).decode


class SimulatedPort:
    """One account at a simulated venue.

    :arg key: which API key signs; nonces are counted per key, so each lane that sends should have its own.
    :arg timeout: nanoseconds after which a request without answer is ``unknown``.
    """

    def __init__(self, venue: SimulatedVenue, account: str, *, key: int = 0, timeout: int = 2 * SECOND) -> None:
        self._venue = venue
        self._account = account
        self._key = key
        self._timeout = timeout / SECOND
        self._nonce = venue.next_nonce(account, key) - 1 if venue.profile.nonces.rule == "sequential" else 0
        self._leave: list[Callable[[], None]] = []
        self.sent: deque[SignedRequest] = deque(maxlen=_KEPT)
        """The requests that went over the wire, in order, for tests that compare it with a journal."""

    @property
    def capabilities(self) -> Capabilities:
        """See ``VenuePort``."""
        return self._venue.profile.capabilities

    # -- orders

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        return self._sign(Place(order), order.instrument, order.client_id, now)

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """See ``VenuePort``."""
        return self._sign(Cancel(instrument, client_id), instrument, client_id, now)

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """See ``VenuePort``. The quantity is the whole order's, what is filled included."""
        return self._sign(Modify(order), order.instrument, order.client_id, now)

    def _sign(
        self, command: Command, instrument: str, client_id: str, now: int, *, nonce: int | None = None
    ) -> SignedRequest:
        valid_until = now + self.capabilities.validity
        nonce = self._next(now) if nonce is None else nonce
        envelope = Envelope(account=self._account, command=command, key=self._key, nonce=nonce, valid_until=valid_until)
        body = _encode(_Signed(envelope, _signature(envelope)))
        return SignedRequest(
            venue=self.capabilities.venue,
            instrument=instrument,
            client_id=client_id,
            method="POST",
            path="/order",
            body=body,
            nonce=nonce,
            valid_until=valid_until,
        )

    def _next(self, now: int) -> int | None:
        nonces = self._venue.profile.nonces
        if nonces.rule == "none":
            return None
        self._nonce = self._nonce + 1 if nonces.rule == "sequential" else max(self._nonce + 1, now // nonces.unit)
        return self._nonce

    async def send(self, request: SignedRequest) -> Outcome:
        """See ``VenuePort``."""
        self.sent.append(request)
        signed = _decode(request.body)
        if signed.signature != _signature(signed.envelope):
            return Outcome(kind="refused", code="signature")
        reply: Reply | None = await self._await(lambda answer: self._venue.submit(signed.envelope, answer))
        if reply is None:
            return Outcome(kind="unknown", code="timeout")
        if reply.reason == "nonce_wrong" and self._venue.profile.nonces.rule == "sequential":
            await self._resynchronise()
        return _outcome(reply)

    async def _resynchronise(self) -> None:
        """Ask which nonce the venue expects, as a client does after it was told that its own is none."""
        found = await self._ask(lambda: self._venue.next_nonce(self._account, self._key))
        if not isinstance(found, Unknown):
            self._nonce = found - 1

    async def fence(self, request: SignedRequest) -> Fence:
        """See ``VenuePort``."""
        if self.capabilities.fence == "none" or request.nonce is None:
            return "unsupported"
        now = self._venue.agenda.now
        noop = self._sign(Noop(), request.instrument, "", now, nonce=request.nonce)
        outcome = await self.send(noop)
        if outcome.kind == "done":
            return "voided"
        return "used" if outcome.code == "nonce_used" else "unknown"

    async def deadman(self, ttl: int) -> bool:
        """See ``VenuePort``."""
        if not self.capabilities.deadman:
            return False
        outcome = await self.send(self._sign(Deadman(ttl), "", "", self._venue.agenda.now))
        return outcome.kind == "done"

    # -- queries

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """See ``VenuePort``."""

        def find() -> ContractRules | Unknown:
            contract = self._venue.accounts.contracts.get(instrument)
            return contract.rules if contract is not None else Unknown(f"no contract {instrument!r}")

        return await self._ask(find)

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """See ``VenuePort``."""
        view = self._venue.accounts.views[self._account]

        def find() -> Lookup:
            return view.order(instrument, client_id, self._venue.agenda.now) or Absent()

        return await self._ask(find)

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """See ``VenuePort``."""
        view = self._venue.accounts.views[self._account]
        return await self._ask(lambda: view.open_orders(self._venue.agenda.now))

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """See ``VenuePort``."""
        view = self._venue.accounts.views[self._account]
        return await self._ask(lambda: view.fills(since, self._venue.agenda.now))

    async def account(self) -> Account | Unknown:
        """See ``VenuePort``."""
        return await self._ask(lambda: self._venue.accounts.account(self._account))

    async def book(self, instrument: str) -> Book | Unknown:
        """See ``VenuePort``."""
        return await self._ask(lambda: self._venue.book(instrument))

    async def _ask(self, question: Callable[[], T]) -> T | Unknown:
        found: T | Unknown | None = await self._await(lambda a: self._venue.ask(self._account, question, a))
        return found if found is not None else Unknown("timeout")

    async def _await(self, start: Callable[[Callable[[Any], None]], None]) -> Any:
        """What ``start`` is answered, or ``None`` after the timeout."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(found: Any) -> None:
            if not future.done():
                future.set_result(found)

        timer = loop.call_later(self._timeout, settle, None)
        try:
            start(settle)
            return await future
        finally:
            timer.cancel()

    # -- the stream

    async def events(self) -> AsyncIterator[AccountEvent | Fill | OrderStatus | FeedStatus]:
        """See ``VenuePort``. A snapshot of positions and living orders follows each (re)connection."""
        waiting: deque[Message] = deque()
        came = asyncio.Event()

        def told(message: Message) -> None:
            waiting.append(message)
            came.set()

        leave = self._venue.accounts.streams[self._account].listen(told)
        self._leave.append(leave)
        try:
            while True:
                while waiting:
                    yield waiting.popleft()
                came.clear()
                await came.wait()
        finally:
            leave()

    async def close(self) -> None:
        """See ``VenuePort``."""
        for leave in self._leave:
            leave()


def _signature(envelope: Envelope) -> str:
    """Stands for a signature: changes with every byte, and needs no key because nobody is to be kept out."""
    return blake2b(_encode(envelope), digest_size=8).hexdigest()


def _outcome(reply: Reply) -> Outcome:
    order = reply.order
    return Outcome(
        kind=reply.kind,
        order_id=order.order_id if order is not None else "",
        state=order.state if order is not None else None,
        filled=order.filled if order is not None else None,
        average_price=order.average_price if order is not None else None,
        code=reply.reason,
        retry_after=reply.retry_after,
    )


def contract_rules(
    instrument: str, asset: str, *, tick: str = "0.1", step: str = "0.001", min_notional: str = "5"
) -> ContractRules:
    """Rules of a usual contract."""
    return ContractRules(
        instrument=instrument,
        asset=asset,
        tick=Decimal(tick),
        step=Decimal(step),
        min_quantity=Decimal(step),
        min_notional=Decimal(min_notional),
    )
