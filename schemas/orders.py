"""Orders, positions and what comes of them: the words the executor, a venue port and the venue simulator share.

Money, prices and quantities are ``Decimal``, quantities in base units of the canonical asset. Times are integer
nanoseconds UTC. What a venue did not tell is a value of its own (``Unknown``), never zero, never flat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Literal, Protocol

from msgspec import Struct

from schemas.records import AccountEvent, FeedStatus

OrderSide = Literal["buy", "sell"]
TimeInForce = Literal["gtc", "ioc", "post_only"]
OutcomeKind = Literal["done", "refused", "throttled", "duplicate", "unknown"]
OrderState = Literal["open", "partial", "filled", "cancelled", "expired", "rejected"]
Fence = Literal["voided", "used", "unsupported", "unknown"]
"""What became of a request whose nonce was spent on something harmless: it can never run (``voided``), it did run
(``used``), the venue knows no fence, or nobody knows."""

FINAL: frozenset[OrderState] = frozenset({"filled", "cancelled", "expired", "rejected"})
"""States an order does not leave. A fill told after ``cancelled`` is still a fill."""


class Order(Struct, frozen=True, kw_only=True):
    """What is wanted of a venue."""

    venue: str
    instrument: str
    """The venue's own symbol."""
    side: OrderSide
    quantity: Decimal
    """Positive, a multiple of the contract's step."""
    price: Decimal | None
    """A multiple of the tick; ``None`` for a market order."""
    time_in_force: TimeInForce
    reduce_only: bool
    client_id: str
    """As the venue's rule wants it spelled: see ``ClientIdRule``."""


class ContractRules(Struct, frozen=True, kw_only=True):
    """What a venue lets an order of one contract be."""

    instrument: str
    asset: str
    tick: Decimal
    step: Decimal
    """Quantities are multiples of this, base units."""
    min_quantity: Decimal
    min_notional: Decimal
    """USD; some venues do not ask it of reduce-only orders, none asks more."""
    max_quantity: Decimal | None = None


class ClientIdRule(Struct, frozen=True, kw_only=True):
    """How a venue wants the client's id of an order."""

    form: Literal["text", "hex128", "integer"]
    limit: int
    """Characters of a text, bits of an integer; 128 for ``hex128``."""
    prefix: str = ""
    unique: Literal["open", "forever", "day", "none"]
    """Among which orders the venue refuses a second one of the same id."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a venue natively offers; each line is the venue's documentation or a stated assumption (see the port)."""

    venue: str
    client_id: ClientIdRule
    liquidation_stream: bool
    """Tells a forced close of our own position by itself."""
    adl_stream: bool
    margin_stream: bool
    """Tells margin calls."""
    reduce_only: Literal["trim", "refuse", "drop"]
    """What becomes of a reduce-only order larger than the position, or on the wrong side: cut to it, refused, or
    dropped without a word."""
    post_only: bool
    modify: bool
    fence: Literal["noop", "transaction", "none"]
    """How a nonce can be spent on something harmless."""
    validity: int
    """Nanoseconds after which an unanswered request can no longer take effect."""
    visibility: int
    """Nanoseconds after which what happened is surely seen by a query."""
    deadman: bool
    funding_hours: float
    requests_per_minute: int
    emergency_share: float = 0.25
    """Of the request budget, kept for emergencies."""


class SignedRequest(Struct, frozen=True, kw_only=True):
    """An order or a cancel as it will go over the wire, so that a journal can hold it before a byte leaves.

    Sending the same request again is harmless within ``valid_until`` where the venue guards against replay.
    """

    venue: str
    instrument: str
    client_id: str
    method: str
    path: str
    body: bytes
    """Holds a signature and never a key."""
    headers: tuple[tuple[str, str], ...] = ()
    """Where the signature is among the headers; what only identifies us is added when it is sent."""
    nonce: int | None
    valid_until: int


class Outcome(Struct, frozen=True, kw_only=True):
    """What a venue answered, read from its own codes. ``unknown`` is an answer: the order may live or not."""

    kind: OutcomeKind
    order_id: str = ""
    state: OrderState | None = None
    """With ``done``, where the answer tells."""
    filled: Decimal | None = None
    average_price: Decimal | None = None
    code: str = ""
    """The venue's own code or words."""
    retry_after: int | None = None
    """With ``throttled``, nanoseconds."""


class OrderStatus(Struct, frozen=True, kw_only=True, tag="status"):
    """An order as a venue tells it."""

    client_id: str
    order_id: str
    instrument: str
    side: OrderSide
    state: OrderState
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    reduce_only: bool
    time: int

    def outcome(self) -> Outcome:
        """Of the request whose answer was this row."""
        return Outcome(
            kind="done", order_id=self.order_id, state=self.state, filled=self.filled, average_price=self.average_price
        )


class Absent(Struct, frozen=True, tag="absent"):
    """The venue answered and does not know the order. No proof while a request may be in flight or queries lag."""


class Unknown(Struct, frozen=True, tag="unknown"):
    """The question was not answered: nothing follows from it."""

    reason: str


class Flat(Struct, frozen=True, tag="flat"):
    """The venue answered completely and there is no position."""


class Known(Struct, frozen=True, kw_only=True, tag="known"):
    """A position as the venue tells it."""

    instrument: str
    quantity: Decimal
    """Signed base units, never zero: positive is long."""
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    leverage: Decimal | None = None
    margin: Decimal | None = None
    """USD put behind it where isolated."""
    adl_rank: float | None = None
    """0 (last in the queue) to 1 (first)."""


PositionState = Known | Flat | Unknown
Lookup = OrderStatus | Absent | Unknown


class Account(Struct, frozen=True, kw_only=True, tag="account"):
    """All positions and the margin of an account at one moment: what is not in ``positions`` is flat."""

    venue: str
    positions: dict[str, Known]
    equity: Decimal | None
    free_margin: Decimal | None
    time: int

    def position(self, instrument: str) -> Known | Flat:
        """The position of one contract."""
        return self.positions.get(instrument, Flat())


class Fill(Struct, frozen=True, kw_only=True, tag="fill"):
    """A fill of our own account."""

    trade_id: str
    """Unique within venue and account."""
    venue: str
    instrument: str
    order_id: str
    client_id: str
    """Empty where the order is not ours: the venue closed us."""
    side: OrderSide
    price: Decimal
    quantity: Decimal
    fee: Decimal
    """USD paid; negative where received."""
    maker: bool
    cause: Literal["order", "liquidation", "adl", "settlement", "unknown"]
    time: int


class BookLevel(Struct, frozen=True, array_like=True):
    """One price of a book."""

    price: Decimal
    quantity: Decimal


class Book(Struct, frozen=True, kw_only=True, tag="book"):
    """The best prices of a contract, best first."""

    instrument: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    mark_price: Decimal | None
    time: int


class VenuePort(Protocol):
    """One account at one venue. Preparing and sending are apart so that a journal can stand between them.

    No method raises for what a venue or a network does: that is an ``Outcome`` or ``Unknown``.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the venue offers."""

    async def rules(self, instrument: str) -> ContractRules | Unknown:
        """What an order of this contract may be."""

    def prepare(self, order: Order, *, now: int) -> SignedRequest:
        """The order, signed, with the next nonce. Talks to nobody."""

    def prepare_cancel(self, instrument: str, client_id: str, *, now: int) -> SignedRequest:
        """The cancel of an order, signed."""

    def prepare_modify(self, order: Order, *, now: int) -> SignedRequest:
        """A new price and quantity for the living order of ``order.client_id``, signed."""

    async def send(self, request: SignedRequest) -> Outcome:
        """Put the bytes on the wire once."""

    async def lookup(self, instrument: str, client_id: str) -> Lookup:
        """The order of this id, living or done."""

    async def fence(self, request: SignedRequest) -> Fence:
        """Spend the request's nonce on something harmless, so that it can never take effect later."""

    async def open_orders(self) -> Sequence[OrderStatus] | Unknown:
        """All living orders of the account."""

    async def fills(self, since: int) -> Sequence[Fill] | Unknown:
        """Our fills from ``since`` on, oldest first."""

    async def account(self) -> Account | Unknown:
        """All positions. An incomplete or failed answer is ``Unknown``."""

    async def book(self, instrument: str) -> Book | Unknown:
        """The book now."""

    async def deadman(self, ttl: int) -> bool:
        """Ask the venue to cancel all living orders in ``ttl`` nanoseconds unless asked again; whether it will."""

    def events(self) -> AsyncIterator[AccountEvent | Fill | OrderStatus | FeedStatus]:
        """The private stream, reconnecting by itself; each hole is a ``FeedStatus`` gap."""

    async def close(self) -> None:
        """Let go of connections."""


IntentKind = Literal["emergency_close", "hedge", "unwind_hedge", "close_pair", "reduce_pair", "open_pair", "cancel"]
IntentState = Literal["waiting", "working", "done", "noop", "refused", "expired", "failed"]


class OrderIntent(Struct, frozen=True, kw_only=True, tag_field="kind", tag="order_intent"):
    """Something that must have one effect, ever. Its id is a hash of what caused it, the policy's version and the
    pair, so that a second telling of the same cause is the same intent."""

    intent_id: str
    intent: IntentKind
    pair: str
    """The two-venue position it is about."""
    asset: str
    cause: str
    """Id of the event or signal behind it."""
    reason: str
    """Such as ``LIQUIDATION_LIGHTER``, ``ADL_ASTER``, ``MARGIN``, ``CASCADE_CRITICAL``, ``MANUAL``."""
    policy: str
    """Version of the policy that decided it."""
    created: int
    """Event time of the cause."""
    expires: int | None
    """``None``: an emergency never grows too old, but is always worked from a fresh position."""
    detected: int
    """When this machine knew."""
    path: str
    """How it was noticed: ``private_notice``, ``own_fill``, ``position_change``, ``sentinel``, ``margin``,
    ``signal``, ``manual``."""


class ExecutionReport(Struct, frozen=True, kw_only=True, tag_field="kind", tag="execution"):
    """One thing that happened to an intent, in the journal's order; topic ``executions.v1``."""

    sequence: int
    """Of the journal: gapless, so that a reader can dedup."""
    intent_id: str
    pair: str
    asset: str
    what: str
    """Such as ``intent``, ``prepared``, ``sent``, ``filled``, ``cancelled``, ``refused``, ``unknown``, ``absent``,
    ``flat``, ``alarm``, ``control``, ``withheld`` (decided on and not sent: the executor only looks)."""
    venue: str
    instrument: str
    client_id: str
    side: OrderSide | None
    quantity: Decimal | None
    price: Decimal | None
    reduce_only: bool | None
    detail: str
    time: int
