"""What the venues signed for by ccxt have in common: their contracts, their requests, the reading of their answers.

A ``CcxtVenue`` is pure data and small functions: it neither signs nor sends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

from connectors.exchange import Endpoints
from connectors.venues.access import AccountModes
from connectors.venues.transport import Answer, Lost, decimal, troubled
from schemas.clock import HOUR, MILLISECOND, MINUTE, SECOND
from schemas.errors import UsageError
from schemas.instruments import DOLLARS, Instrument, scale
from schemas.orders import (
    BookLevel,
    Capabilities,
    ContractRules,
    Fill,
    Known,
    Order,
    OrderState,
    OrderStatus,
    Outcome,
)

Cause = Literal["order", "liquidation", "adl", "settlement", "unknown"]
Side = Literal["buy", "sell"]


class Market(Struct, frozen=True, kw_only=True):
    """A linear contract the desk trades: nothing is asked of the venue about it."""

    rules: ContractRules
    """In base units, as everywhere; ``asset`` as the venue's order grammar spells it."""
    contract: Decimal = Decimal(1)
    """Base units of one contract; 1 where the venue counts coins."""
    quote: str = "USDT"
    settle: str = "USDT"

    def of_venue(self, venue: str) -> Instrument:
        """The instrument the dialects know.

        :raises UsageError: it counts thousands of coins; orders in base units would be off by as much.
        """
        rules = self.rules
        told = Instrument(
            venue, rules.instrument, rules.asset, float(self.contract), "base", self.quote, self.settle,
            float(rules.tick),
        )  # fmt: skip
        if scale(told)[1:] != (1.0, 1.0):
            raise UsageError(f"{venue} {rules.instrument} does not count single coins: not traded")
        return told


class Ask(NamedTuple):
    """A request, in the words of ccxt's ``sign``: ``path`` may have ``{names}`` of ``fields``."""

    method: str
    api: tuple[str, ...]
    path: str
    fields: Mapping[str, Any] = {}


class Codes(NamedTuple):
    """What a venue's own codes say of a request; all others are refusals."""

    duplicate: frozenset[str]
    unknown: frozenset[str]
    throttled: frozenset[str]
    absent: frozenset[str]
    """Of a question for one order."""


class OrderTable(NamedTuple):
    """Where an order's row has what: names, or places where rows are lists."""

    client_id: Any
    order_id: Any
    side: Any
    state: Any
    quantity: Any
    filled: Any
    average: Any
    reduce_only: Any
    time: Any


class PositionTable(NamedTuple):
    """Where a position's row has what; ``None`` for what is not told."""

    quantity: Any
    entry: Any
    mark: Any
    liquidation: Any
    leverage: Any
    margin: Any


class CcxtVenue(ABC):
    """One venue in one-way mode and cross margin."""

    ccxt_id: ClassVar[str]
    production: ClassVar[Endpoints]
    """Hosts of the private interface."""
    capabilities: ClassVar[Capabilities]
    options: ClassVar[Mapping[str, Any]] = {}
    """Switches ccxt must be given so that it asks nothing and claims nothing for itself."""
    order_path: ClassVar[str]
    headers: ClassVar[frozenset[str]] = frozenset()
    """Of a signed request."""
    credentials: ClassVar[frozenset[str]]
    """Headers that hold a key or passphrase: never journalled."""
    stripped: ClassVar[frozenset[str]] = frozenset()
    """Headers ccxt cannot be talked out of, which claim a fee share: they are not signed and not sent."""
    signing_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of a form that belong to the signature."""
    counts: ClassVar[bool] = False
    """Each nonce must be larger than the last."""
    codes: ClassVar[Codes]
    states: ClassVar[Mapping[str, OrderState]]
    orders: ClassVar[OrderTable]
    positions_table: ClassVar[PositionTable]
    page: ClassVar[int] = 100
    """Rows after which an answer may be cut off."""
    reach: ClassVar[int] = 7 * 24 * HOUR - MINUTE
    """How far back fills are asked for: asked from further back, venues tell the first days and not the last."""
    fill_order: ClassVar[Any] = None
    """Where a fill has its order's number, if fills do not name the client's id."""

    # -- what is said

    @property
    def name(self) -> str:
        """Identifier of the venue."""
        return self.capabilities.venue

    def symbol(self, market: Market) -> str:
        """ccxt's."""
        return f"{market.rules.asset}/{market.quote}:{market.settle}"

    def settle_id(self, market: Market) -> str:
        """The settlement currency as requests spell it."""
        return market.settle

    def contracts(self, order: Order, market: Market) -> Decimal:
        """The quantity as the venue counts it.

        :raises UsageError: no whole multiple of the step.
        """
        if order.quantity <= 0 or order.quantity % market.rules.step:
            raise UsageError(f"{order.quantity} {order.instrument} is no multiple of {market.rules.step}")
        return order.quantity / market.contract

    def order_options(self, order: Order) -> dict[str, Any]:
        """What ccxt must be told besides side, quantity and price."""
        options: dict[str, Any] = {"clientOrderId": order.client_id}
        if order.reduce_only:
            options["reduceOnly"] = True
        if order.price is not None and order.time_in_force != "gtc":
            options |= {"postOnly": True} if order.time_in_force == "post_only" else {"timeInForce": "IOC"}
        return options

    def order_headers(self, now: int) -> tuple[tuple[str, str], ...]:  # noqa: ARG002 - venues override it
        """Unsigned headers of an order, such as when it is too late for it."""
        return ()

    @abstractmethod
    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """Exactly what an order's body says."""

    @abstractmethod
    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:
        """The cancel of an order; ``order_id`` is the venue's number of it, empty where it was never told."""

    def modify(self, order: Order, market: Market) -> Ask | None:  # noqa: ARG002 - venues override it
        """A new price and quantity; ``None`` where the venue changes no order under its own id."""
        return None

    @abstractmethod
    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """Where an order may be found, most likely first."""

    @abstractmethod
    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """All living orders."""

    @abstractmethod
    def fills(self, market: Market, since: int) -> Ask:
        """Our fills of one contract."""

    def history(self, market: Market) -> Ask | None:  # noqa: ARG002 - venues override it
        """The orders of one contract, where fills do not name the client's id."""
        return None

    def modes(self, markets: Sequence[Market]) -> Ask | None:  # noqa: ARG002 - venues override it
        """Where the account's modes and the key's rights are told; ``None`` where nowhere."""
        return None

    def modes_of(self, body: Any) -> AccountModes:  # noqa: ARG002 - venues override it
        """Of the payload of ``modes``."""
        return AccountModes()

    @abstractmethod
    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """All positions."""

    @abstractmethod
    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """Equity and margin: one request."""

    @abstractmethod
    def book(self, market: Market) -> tuple[Ask, Ask]:
        """The book, and what tells the mark price."""

    def deadman(self, ttl: int, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - venues override it
        """Requests that arm the venue's dead man's switch; none where it has none that REST can arm."""
        return ()

    # -- what is answered

    @abstractmethod
    def word(self, body: Any) -> tuple[str, str]:
        """Code and message of a refusal; two empty texts for a success."""

    def failed(self, answer: Answer) -> bool:  # noqa: ARG002 - venues override it
        """Whether the body of a 5xx is the venue's own word after all."""
        return False

    def outcome(self, answer: Answer | Lost, markets: Mapping[str, Market]) -> Outcome:
        """What became of an order or cancel, from the venue's own codes."""
        trouble = troubled(answer)
        if trouble is not None and (isinstance(answer, Lost) or not self.failed(answer)):
            return trouble
        assert isinstance(answer, Answer)  # noqa: S101 - lost ones are trouble
        code, message = self.word(answer.body)
        if code:
            kind: Literal["duplicate", "unknown", "throttled", "refused"] = (
                "duplicate" if code in self.codes.duplicate
                else "unknown" if code in self.codes.unknown
                else "throttled" if code in self.codes.throttled
                else "refused"
            )  # fmt: skip
            wait = answer.retry_after or (SECOND if kind == "throttled" else None)
            return Outcome(kind=kind, code=f"{code} {message}".strip(), retry_after=wait)
        try:
            return self.accepted(answer.body, markets)
        except UNREADABLE as error:
            return Outcome(kind="unknown", code=f"no order in the answer: {error}"[:200])

    @abstractmethod
    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:
        """What a success tells of the order."""

    def payload(self, answer: Answer | Lost) -> Any:
        """What an answer is about.

        :raises NotThere: the venue does not know the order asked for.
        :raises ValueError: it is a refusal, or none at all.
        """
        if isinstance(answer, Lost):
            raise ValueError(answer.reason)
        if answer.body is None:
            raise ValueError(f"HTTP {answer.status}, no JSON")
        code, message = self.word(answer.body)
        if code in self.codes.absent:
            raise NotThereError(code)
        if code or not answer.good:
            raise ValueError(f"HTTP {answer.status} {code} {message}")
        return self.inner(answer.body)

    def inner(self, body: Any) -> Any:
        """The rows of a successful body, or the one row."""
        return body

    def instrument_of(self, row: Any) -> str:
        """Of an order, fill or position."""
        return str(row["symbol"])

    def order_status(self, row: Any, market: Market) -> OrderStatus:
        """An order as a row tells it."""
        table = self.orders
        filled = decimal(row[table.filled] or 0) * market.contract
        state = self.states[row[table.state]]
        return OrderStatus(
            client_id=str(row[table.client_id] or ""),
            order_id=str(row[table.order_id]),
            instrument=market.rules.instrument,
            side=side_of(row[table.side]),
            state="partial" if state == "open" and filled else state,
            quantity=abs(decimal(row[table.quantity])) * market.contract,
            filled=filled,
            average_price=positive(row[table.average]),
            reduce_only=row[table.reduce_only] in {True, "true", "YES"},
            time=int(row[table.time]) * MILLISECOND,
        )

    @abstractmethod
    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:
        """A fill; nothing for a row that is none. ``client_id`` where it was known from its order."""

    def position(self, row: Any, market: Market) -> Known | None:
        """A position; nothing for a flat one.

        :raises ValueError: the account is in hedge mode.
        """
        if self.hedged(row):
            raise ValueError("the account is in hedge mode: set one-way mode")
        table = self.positions_table
        quantity = self.signed(row) * market.contract
        if not quantity:
            return None
        return Known(
            instrument=market.rules.instrument,
            quantity=quantity,
            entry_price=_told(row, table.entry),
            mark_price=_told(row, table.mark),
            liquidation_price=_told(row, table.liquidation),
            leverage=_told(row, table.leverage),
            margin=_told(row, table.margin),
        )

    def hedged(self, row: Any) -> bool:  # noqa: ARG002 - venues override it
        """Whether the row is of an account that holds long and short at once."""
        return False

    def signed(self, row: Any) -> Decimal:
        """Contracts of a position, positive where long."""
        return decimal(row[self.positions_table.quantity])

    @abstractmethod
    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """Equity and free margin, USD, of the payload of ``balance``."""

    @abstractmethod
    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """Bids, asks and time of the payload of the book; time 0 where it is not told."""

    @abstractmethod
    def mark(self, body: Any) -> Decimal | None:
        """The mark price of the payload beside the book."""


class NotThereError(Exception):
    """The venue answered and does not know the order."""


UNREADABLE = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError)
"""What reading an answer of the wrong shape raises."""


def side_of(text: Any) -> Side:
    """``Buy``, ``BUY``, ``buy``.

    :raises ValueError: neither buy nor sell.
    """
    found = str(text).lower()
    if found == "buy":
        return "buy"
    if found == "sell":
        return "sell"
    raise ValueError(f"no side: {text!r}")


def positive(value: Any) -> Decimal | None:
    """A number above zero; venues write nothing, zero or a dash where there is none."""
    if value in {None, "", "-", "--"}:
        return None
    number = decimal(value)
    return number if number > 0 else None


def _told(row: Any, place: Any) -> Decimal | None:
    return positive(row[place]) if place is not None else None


def dollars(amount: Any, currency: Any) -> Decimal:
    """A fee in a dollar currency; one paid in another coin cannot be told in USD here and counts nothing."""
    return decimal(amount or 0) if str(currency).upper() in DOLLARS | {"USTF0"} else Decimal(0)


def ladder(rows: Sequence[Any], market: Market, price: Any = 0, quantity: Any = 1) -> tuple[BookLevel, ...]:
    """One side of a book."""
    return tuple(BookLevel(decimal(r[price]), abs(decimal(r[quantity])) * market.contract) for r in rows)


def settles(markets: Sequence[Market]) -> list[str]:
    """Settlement currencies, each once."""
    return sorted({market.settle for market in markets})
