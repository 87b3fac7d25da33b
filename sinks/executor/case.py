"""All that a decision may look at: a case, its legs, and what is known of them now. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from msgspec import Struct

from schemas.clock import MILLISECOND, SECOND
from schemas.holdings import Holding
from schemas.orders import Book, Capabilities, ContractRules, IntentKind, OrderIntent, OrderSide
from schemas.pairs import Pair
from sinks.executor.attempts import Attempt
from sinks.executor.settling import Pace, may_follow, settle
from sinks.executor.steps import Action, Cancel, LegKey, Look, Place, ReadAccount, ReadBook, Wait

FOREVER = 1 << 62
ZERO = Decimal(0)
_CANCEL_AGAIN = 2 * SECOND


class LegView(Struct, frozen=True, kw_only=True):
    """One contract as the case sees it now."""

    key: LegKey
    holding: Holding
    caps: Capabilities
    attempts: tuple[Attempt, ...] = ()
    """Of this case in this contract, in order."""
    rules: ContractRules | None = None
    book: Book | None = None
    book_at: int = 0
    """When the book was asked for."""
    mark: Decimal | None = None
    """Told with the position."""
    mark_at: int = 0
    read_at: int = 0
    """When its position was last asked for, answered or not."""
    speaking: bool = False
    """Whether its venue's private stream speaks."""
    busy: bool = False
    """An action for it is under way."""
    not_before: int = 0
    """The venue asked for a pause until then, or the last try failed."""
    failing_since: int | None = None
    """Since when its venue answers nothing that helps."""


class Ladder(Struct, frozen=True, kw_only=True):
    """How a reducing order goes after the market. Fractions of the price, nanoseconds."""

    slippage: tuple[Decimal, ...] = (Decimal("0.003"), Decimal("0.006"), Decimal("0.012"), Decimal("0.025"))
    interval: int = 200 * MILLISECOND
    """Between two steps."""
    patience: int = SECOND
    """Between tries once the last step was taken."""


class Watchfulness(Struct, frozen=True, kw_only=True):
    """How fresh knowledge has to be. Nanoseconds."""

    position: int = 6 * SECOND
    """A position seen so long before an emergency began still counts for its first step, if the stream would have
    told of a change."""
    book: int = SECOND
    mark: int = 6 * SECOND
    """The first step may be priced off a mark that old: missing costs a step, a book a round trip every time."""
    reread: int = 100 * MILLISECOND
    """Between two reads of one venue's positions."""


class Case(Struct, frozen=True, kw_only=True):
    """One intent about one pair, and everything around it."""

    intent: OrderIntent
    pair: Pair
    legs: tuple[LegView, LegView]
    hedge: LegView | None = None
    """The third venue, where one may be or is used."""
    ladder: Ladder = Ladder()
    pace: Pace = Pace()
    fresh: Watchfulness = Watchfulness()


def quantized(quantity: Decimal, step: Decimal) -> Decimal:
    """Down to a multiple of the step: more than asked is never sent."""
    return (quantity / step).to_integral_value(ROUND_DOWN) * step


def priced(price: Decimal, tick: Decimal, side: OrderSide) -> Decimal:
    """To a multiple of the tick that is no worse for us: a buyer rounds down, a seller up."""
    rounding = ROUND_FLOOR if side == "buy" else ROUND_CEILING
    return (price / tick).to_integral_value(rounding) * tick


def stand(leg: LegView, case: Case, since: int, now: int) -> Action | Wait | Decimal:
    """How much the leg holds, or what has to be done or waited for before that is known."""
    if leg.busy:
        return Wait(FOREVER)
    if now < leg.not_before:
        return Wait(leg.not_before)
    for attempt in leg.attempts:
        if attempt.over:
            since = max(since, attempt.ended)
        elif attempt.resting and attempt.state in {"acked", "partial"}:
            return withdraw(leg, attempt, case, now)
        elif not may_follow(attempt, to_flat=aims_flat(attempt, leg), pace=case.pace, now=now):
            step = settle(attempt, leg.caps, case.pace, now)
            if step is not None:
                return step
    if leg.holding.known_since(since) and leg.holding.quantity is not None:
        return leg.holding.quantity
    return _read(leg, case, now)


def withdraw(leg: LegView, attempt: Attempt, case: Case, now: int) -> Action | Wait:
    """Take a waiting order out of the book. It counts as living until its end is seen."""
    if now >= attempt.cancelling + _CANCEL_AGAIN:
        return Cancel(leg.key, attempt)
    due = attempt.looked + case.pace.look
    return Look(leg.key, attempt) if now >= due else Wait(due)


def _read(leg: LegView, case: Case, now: int) -> Action | Wait:
    due = leg.read_at + case.fresh.reread
    return ReadAccount(leg.key) if now >= due else Wait(due)


def aims_flat(attempt: Attempt, leg: LegView) -> bool:
    """Whether it was to leave nothing a later order could still reduce."""
    step = leg.rules.step if leg.rules else ZERO
    return attempt.order.reduce_only and abs(attempt.baseline) - attempt.order.quantity < max(step, Decimal("1e-18"))


def open_ends(leg: LegView, case: Case, now: int) -> Action | Wait | None:
    """What is left to find out about the attempts of a leg; nothing where every end was seen."""
    if leg.busy:
        return Wait(FOREVER)
    if now < leg.not_before:
        return Wait(leg.not_before)
    for attempt in leg.attempts:
        if attempt.resting and attempt.state in {"acked", "partial"}:
            return withdraw(leg, attempt, case, now)
        if (step := settle(attempt, leg.caps, case.pace, now)) is not None:
            return step
    return None


def chase(
    leg: LegView,
    case: Case,
    held: Decimal,
    quantity: Decimal,
    now: int,
    intent: IntentKind,
    side: OrderSide,
    first: int = 0,
) -> Action | Wait:
    """The next step of the ladder, begun at the ``first``: an immediate order priced off a fresh book."""
    tried = [a for a in leg.attempts if not a.resting]
    if len(tried) > 1:  # the first may have missed for an old mark: the second, off a fresh book, waits for nothing
        wait = case.ladder.interval if len(tried) < len(case.ladder.slippage) else case.ladder.patience
        if now < tried[-1].prepared + wait:
            return Wait(tried[-1].prepared + wait)
    if leg.rules is None:
        return ReadBook(leg.key)
    slippage = case.ladder.slippage[min(first + len(tried), len(case.ladder.slippage) - 1)]
    reference, mark, seen = _reference(leg, case, side, now, hasty=not tried and first == 0)
    if reference is None:
        again = leg.book_at + case.fresh.reread
        return ReadBook(leg.key) if seen < now - case.fresh.book or now >= again else Wait(again)
    limit = reference * (1 + slippage if side == "buy" else 1 - slippage)
    return Place(
        leg=leg.key, intent=intent, side=side, quantity=quantity, price=priced(limit, leg.rules.tick, side),
        time_in_force="ioc", reduce_only=intent != "hedge", baseline=held, mark_price=mark, mark_time=seen,
        why=f"step {len(tried)}, {slippage:%} beyond {reference:f}, holding {held:f}",
    )  # fmt: skip


def _reference(
    leg: LegView, case: Case, side: OrderSide, now: int, *, hasty: bool
) -> tuple[Decimal | None, Decimal | None, int]:
    """The price to start from, the mark, and when both were seen."""
    if leg.book is not None and leg.book_at >= now - case.fresh.book:
        start = touch(leg.book, side)
        return start, leg.book.mark_price or start, leg.book_at
    if hasty and leg.mark_at >= now - case.fresh.mark:
        return leg.mark, leg.mark, leg.mark_at
    return None, None, 0


def touch(book: Book, side: OrderSide) -> Decimal | None:
    """The price an immediate order starts from: the worse of the mark and the best price against it."""
    levels = book.asks if side == "buy" else book.bids
    known = [price for price in (levels[0].price if levels else None, book.mark_price) if price is not None]
    if not known:
        return None
    return max(known) if side == "buy" else min(known)


def too_small(leg: LegView, quantity: Decimal) -> bool:
    """Whether no order of the contract can be that small. An unknown contract has no smallest order yet."""
    if leg.rules is None:
        return False
    price = touch(leg.book, "sell") if leg.book else leg.mark
    notional = quantity * price if price is not None else None
    return (
        quantized(quantity, leg.rules.step) <= 0
        or quantity < leg.rules.min_quantity
        or (notional is not None and notional < leg.rules.min_notional)
    )
