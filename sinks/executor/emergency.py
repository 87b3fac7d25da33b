"""What to do next about a pair one of whose legs was taken away. Pure: everything known in, one decision out.

The larger leg is reduced by what it exceeds the other, never opened, never reversed. Where its venue answers nothing
that helps, a third venue carries the difference until it does; then that hedge is taken back.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from schemas.clock import SECOND
from sinks.executor.case import FOREVER, ZERO, Case, LegView, chase, open_ends, quantized, stand, too_small
from sinks.executor.steps import Action, Alarm, Decision, Finish, LegKey, ReadBook, Wait


class Emergency(Struct, frozen=True, kw_only=True):
    """Limits of patience. Nanoseconds and USD."""

    hedge_after: int = 3 * SECOND
    """The larger leg's venue has answered nothing that helps for so long: a third venue is asked."""
    hedge_limit: Decimal = ZERO
    """USD a hedge may be worth; 0: none is made."""
    alarm_after: int = 5 * SECOND
    """Not safe so long after it was noticed: a person has to know."""
    dust_limit: Decimal = Decimal(50)
    """USD a remainder too small for an order may be worth before a person has to know."""


def decide(case: Case, rules: Emergency, now: int) -> Decision:
    """The next actions, or the end, of an emergency."""
    stands = tuple(stand(leg, case, _since(leg, case), now) for leg in case.legs)
    held = [quantity if isinstance(quantity, Decimal) else None for quantity in stands]
    steps: list[Action | Wait] = [step for step in stands if not isinstance(step, Decimal)]
    if held[0] is not None and held[1] is not None:
        steps += _balance(case, rules, held[0], held[1], now)
        if not steps:
            return _settled(case, rules, held[0], held[1], now)
    else:
        steps += _cover(case, rules, now)
    return _decision(case, rules, steps, now)


def _since(leg: LegView, case: Case) -> int:
    """How old a position may be when the case begins: what a stream would have told of may be older."""
    return case.intent.detected - (case.fresh.position if leg.speaking else 0)


def net_of(case: Case) -> Decimal | None:
    """What the legs together hold as far as is believed; nothing where a leg was never told."""
    first, second = (leg.holding.quantity for leg in case.legs)
    return None if first is None or second is None else first + second


def larger(case: Case, first: Decimal, second: Decimal) -> tuple[LegView, Decimal]:
    """The leg that exceeds the other, and what it holds."""
    return (case.legs[0], first) if abs(first) >= abs(second) else (case.legs[1], second)


def excess(case: Case, first: Decimal, second: Decimal) -> Decimal:
    """How much the larger leg is to be reduced by; 0 where the legs cancel out or no order is that small."""
    leg, held = larger(case, first, second)
    quantity = min(abs(first + second), abs(held))
    if leg.rules is None:
        return quantity
    return ZERO if too_small(leg, quantity) else quantized(quantity, leg.rules.step)


def _balance(case: Case, rules: Emergency, first: Decimal, second: Decimal, now: int) -> list[Action | Wait]:
    quantity = excess(case, first, second)
    if not quantity:
        return _unwind(case, rules, now)
    leg, held = larger(case, first, second)
    if leg.rules is None:
        return [ReadBook(leg.key)]
    steps = [chase(leg, case, held, quantity, now, "emergency_close", "sell" if held > 0 else "buy")]
    return steps + _cover(case, rules, now)


def _cover(case: Case, rules: Emergency, now: int) -> list[Action | Wait]:
    """Bring the hedge to what the legs leave open, where the leg to reduce cannot be."""
    net, hedge = net_of(case), case.hedge
    if hedge is None or not net or not rules.hedge_limit:
        return []
    first, second = (leg.holding.quantity or ZERO for leg in case.legs)
    blocked = larger(case, first, second)[0].failing_since
    if blocked is None or now - blocked < rules.hedge_after:
        return []
    return _toward(hedge, case, rules, -net, now)


def _unwind(case: Case, rules: Emergency, now: int) -> list[Action | Wait]:
    hedge = case.hedge
    if hedge is None or not hedge.attempts:
        return []
    # A remainder no order of the legs can be that small for is none the hedge should carry either.
    return _toward(hedge, case, rules, ZERO, now)


def _toward(hedge: LegView, case: Case, rules: Emergency, target: Decimal, now: int) -> list[Action | Wait]:
    held = stand(hedge, case, _since(hedge, case), now)
    if not isinstance(held, Decimal):
        return [held]
    if not hedge.attempts and held:
        # A position that is there already belongs to somebody else.
        return []
    if hedge.rules is None or hedge.book is None:
        return [ReadBook(hedge.key)]
    change = target - held
    reduces = abs(target) < abs(held) and target * held >= 0
    quantity = quantized(min(abs(change), _affordable(hedge, rules, held, reduces=reduces)), hedge.rules.step)
    if quantity <= 0 or too_small(hedge, quantity):
        return []
    return [
        chase(hedge, case, held, quantity, now, "unwind_hedge" if reduces else "hedge", "buy" if change > 0 else "sell")
    ]


def _affordable(hedge: LegView, rules: Emergency, held: Decimal, *, reduces: bool) -> Decimal:
    if reduces:
        return abs(held)
    price = hedge.book.mark_price if hedge.book else None
    return max(rules.hedge_limit / price - abs(held), ZERO) if price else ZERO


def _settled(case: Case, rules: Emergency, first: Decimal, second: Decimal, now: int) -> Decision:
    """The legs cancel out: see every end, look once more where nothing was done, and close the case."""
    views = [*case.legs, *([case.hedge] if case.hedge is not None and case.hedge.attempts else [])]
    ends = [step for leg in views if (step := open_ends(leg, case, now)) is not None]
    if ends:
        return _decision(case, rules, ends, now)
    acted = any(leg.attempts for leg in views)
    if not acted:
        # Nothing was wrong, it seems: believed only once queries surely see what was noticed.
        again = [stand(leg, case, case.intent.detected + leg.caps.visibility, now) for leg in case.legs]
        looks = [step for step in again if not isinstance(step, Decimal)]
        if looks:
            return _decision(case, rules, looks, now)
    return Decision(
        finish=Finish(
            state="done" if acted else "noop",
            detail=f"{first:f} and {second:f} left" if acted else "the legs cancel out",
            quantities=(first, second),
            dust=first + second,
        ),
        alarms=_dust_alarm(case, rules, first + second),
    )


def _dust_alarm(case: Case, rules: Emergency, dust: Decimal) -> tuple[Alarm, ...]:
    prices = [leg.book.mark_price for leg in case.legs if leg.book is not None and leg.book.mark_price is not None]
    worth = abs(dust) * max(prices, default=ZERO)
    return (Alarm("dust", f"{dust:f} left, about {worth:.2f} USD"),) if worth > rules.dust_limit else ()


def _decision(case: Case, rules: Emergency, steps: list[Action | Wait], now: int) -> Decision:
    alarms = []
    if now - case.intent.detected >= rules.alarm_after:
        net = net_of(case)
        if net is None:
            alarms.append(Alarm("unreadable", "a leg's position was never told"))
        elif net:
            alarms.append(Alarm("not_flat", f"{net:f} open"))
    if case.hedge is not None and case.hedge.attempts:
        alarms.append(Alarm("hedged", f"{case.hedge.key[1]} at {case.hedge.key[0]} carries what could not be closed"))
    return deciding(steps, alarms, case.intent.detected + rules.alarm_after, now)


def deciding(steps: list[Action | Wait], alarms: list[Alarm], deadline: int, now: int) -> Decision:
    """The actions, one for each leg, and the first of the times to look again."""
    actions: dict[LegKey, Action] = {}
    for step in steps:
        if not isinstance(step, Wait):
            actions.setdefault(step.leg, step)
    untils = [step.until for step in steps if isinstance(step, Wait)]
    untils += [deadline] if deadline > now else []
    return Decision(
        actions=tuple(actions.values()),
        until=min(untils, default=FOREVER),
        alarms=tuple(alarms),
    )
