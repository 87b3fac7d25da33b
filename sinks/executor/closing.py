"""What to do next about a healthy pair that is to be closed or made smaller: both legs at once, never apart. Pure.

Whatever was begun is finished: a leg that runs ahead is followed by the other, and nothing is ever opened again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from schemas.clock import SECOND
from schemas.orders import OrderSide
from sinks.executor.attempts import Attempt
from sinks.executor.case import (
    FOREVER,
    ZERO,
    Case,
    LegView,
    chase,
    open_ends,
    priced,
    quantized,
    stand,
    too_small,
    withdraw,
)
from sinks.executor.emergency import deciding, excess, larger
from sinks.executor.steps import Action, Alarm, Decision, Finish, Look, Place, ReadBook, Wait

CloseMode = Literal["limit_only", "limit_with_fallback", "market_only", "aggressive_limit"]
CLOSE_MODES: tuple[CloseMode, ...] = ("limit_only", "limit_with_fallback", "market_only", "aggressive_limit")


class Closing(Struct, frozen=True, kw_only=True):
    """How a pair is closed. Nanoseconds and fractions."""

    mode: CloseMode = "limit_with_fallback"
    """``limit_only`` never crosses the spread while both legs stand; ``limit_with_fallback`` does after ``fallback``;
    ``market_only`` takes the whole step ladder from its last step; ``aggressive_limit`` climbs it from its first."""
    share: Decimal = Decimal(1)
    """Of what each leg holds in the ledger, this much goes."""
    offset: Decimal = Decimal("0.0001")
    """A waiting order stands this far on our side of the best price of its own side."""
    reprice: int = 3 * SECOND
    """A waiting order that is off the best price is replaced after so long."""
    fallback: int = 15 * SECOND
    """... and given up for immediate ones after so long since the close began."""
    lead: int = 2 * SECOND
    """One leg may be ahead of the other for so long, before the other follows by immediate orders."""


def decide(case: Case, rules: Closing, began: int, now: int) -> Decision:
    """The next actions, or the end, of a coordinated close.

    :arg began: when the first order of this intent was prepared, or now where none was.
    """
    give_up = _crossing(rules, began, now) or _uneven(case)
    steps: list[Action | Wait] = []
    held: list[Decimal] = []
    for leg in case.legs:
        waiting = _waiting(leg)
        step = stand(leg, case, case.intent.detected, now) if waiting is None else None
        if waiting is not None:
            steps.append(_tend(leg, waiting, case, rules, now, give_up=give_up))
        elif isinstance(step, Decimal):
            held.append(step)
        elif step is not None:
            steps.append(step)
    if steps:
        # Nothing new while a leg waits in the book or is not known: what follows is sized by what is seen.
        return _deciding(case, steps, now)
    return _both(case, rules, (held[0], held[1]), crossing=_crossing(rules, began, now), now=now)


def _crossing(rules: Closing, began: int, now: int) -> bool:
    match rules.mode:
        case "market_only" | "aggressive_limit":
            return True
        case "limit_with_fallback":
            return now - began >= rules.fallback
        case "limit_only":
            return False


def _waiting(leg: LegView) -> Attempt | None:
    return next((a for a in leg.attempts if a.resting and a.state in {"acked", "partial"}), None)


def _uneven(case: Case) -> bool:
    """Whether one leg's waiting order has come further than the other's."""
    done = [sum((a.filled for a in leg.attempts), ZERO) for leg in case.legs]
    return done[0] != done[1]


def _tend(leg: LegView, waiting: Attempt, case: Case, rules: Closing, now: int, *, give_up: bool) -> Action | Wait:
    """A waiting order: left alone, looked at, or cancelled. Its end is always seen before anything follows it."""
    if leg.busy:
        return Wait(FOREVER)
    if now < leg.not_before:
        return Wait(leg.not_before)
    end = waiting.prepared + (rules.lead if give_up else rules.reprice)
    if waiting.cancelling or now >= end:
        return withdraw(leg, waiting, case, now)
    # The stream tells of it; a look now and then finds what the stream lost.
    due = max(waiting.looked, waiting.prepared) + case.pace.look_slowly
    return Look(leg.key, waiting) if now >= due else Wait(min(due, end))


def _both(case: Case, rules: Closing, held: tuple[Decimal, Decimal], *, crossing: bool, now: int) -> Decision:
    """Nothing waits in the book and both positions are known."""
    if (ahead := excess(case, *held)) != 0:
        leg, holding = larger(case, *held)
        if leg.rules is None:
            return _deciding(case, [ReadBook(leg.key)], now)
        side: OrderSide = "sell" if holding > 0 else "buy"
        return _deciding(case, [chase(leg, case, holding, ahead, now, case.intent.intent, side)], now)
    left = [_left(case, rules, index, quantity) for index, quantity in enumerate(held)]
    if all(_nothing(leg, quantity) for leg, quantity in zip(case.legs, left, strict=True)):
        return _ended(case, held, now)
    begun = any(leg.attempts for leg in case.legs)
    if case.intent.expires is not None and now >= case.intent.expires and not (crossing and begun):
        return _ended(case, held, now, expired=True)
    steps = [
        _reduce(leg, case, rules, quantity, holding, crossing=crossing, now=now)
        for leg, quantity, holding in zip(case.legs, left, held, strict=True)
    ]
    return _deciding(case, steps, now)


def _left(case: Case, rules: Closing, index: int, held: Decimal) -> Decimal:
    stays = abs(case.pair.legs[index].quantity) * (1 - rules.share)
    return max(abs(held) - stays, ZERO)


def _nothing(leg: LegView, quantity: Decimal) -> bool:
    return not quantity or too_small(leg, quantity)


def _reduce(
    leg: LegView, case: Case, rules: Closing, quantity: Decimal, held: Decimal, *, crossing: bool, now: int
) -> Action | Wait:
    if leg.rules is None or leg.book is None or leg.book_at < now - case.fresh.book:
        return ReadBook(leg.key)
    side: OrderSide = "sell" if held > 0 else "buy"
    amount = quantized(min(quantity, abs(held)), leg.rules.step)
    if crossing:
        first = len(case.ladder.slippage) - 1 if rules.mode == "market_only" else 0
        return chase(leg, case, held, amount, now, case.intent.intent, side, first)
    return _maker(leg, case, rules, side, amount, held)


def _maker(leg: LegView, case: Case, rules: Closing, side: OrderSide, quantity: Decimal, held: Decimal) -> Action:
    book = leg.book
    if leg.rules is None or book is None or not (levels := book.bids if side == "buy" else book.asks):
        return ReadBook(leg.key)
    away = 1 - rules.offset if side == "buy" else 1 + rules.offset
    return Place(
        leg=leg.key, intent=case.intent.intent, side=side, quantity=quantity,
        price=priced(levels[0].price * away, leg.rules.tick, side), time_in_force="post_only", reduce_only=True,
        baseline=held, mark_price=book.mark_price or levels[0].price, mark_time=leg.book_at,
        why=f"waiting beside {levels[0].price:f}, holding {held:f}",
    )  # fmt: skip


def _ended(case: Case, held: tuple[Decimal, Decimal], now: int, *, expired: bool = False) -> Decision:
    ends = [step for leg in case.legs if (step := open_ends(leg, case, now)) is not None]
    if ends:
        return _deciding(case, ends, now)
    acted = any(leg.attempts for leg in case.legs)
    state: Literal["expired", "done", "noop"] = "expired" if expired else "done" if acted else "noop"
    detail = f"{held[0]:f} and {held[1]:f} left"
    return Decision(finish=Finish(state=state, detail=detail, quantities=held, dust=sum(held, ZERO)))


_SLOW = 60 * SECOND


def _deciding(case: Case, steps: list[Action | Wait], now: int) -> Decision:
    late = now - case.intent.detected >= _SLOW
    net = [leg.holding.quantity for leg in case.legs]
    apart = late and None not in net and sum((n for n in net if n is not None), ZERO) != 0
    alarms = [Alarm("not_flat", "the legs of a close stay apart")] if apart else []
    return deciding(steps, alarms, case.intent.detected + _SLOW, now)
