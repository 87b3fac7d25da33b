"""The last code before the wire: whether an order may be sent. Small checks; the first refusal counts.

An emergency's reduce-only order passes whatever stops the rest: it only makes the book safer. It still has to be
well-formed, near the mark, and allowed by the mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from schemas.clock import SECOND
from schemas.pairs import Approved, Mode, Proposal, Refused, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be risked. USD, fractions, nanoseconds."""

    mode: Mode = "paper"
    order_usd: Decimal = Decimal(0)
    """Largest order that adds risk."""
    pair_usd: Decimal = Decimal(0)
    """Sum of one pair's orders that add risk."""
    total_usd: Decimal = Decimal(0)
    """Sum of all orders that add risk."""
    trade_size: Decimal = Decimal("0.5")
    """Of the venue's equity, one order."""
    exposure: Decimal = Decimal("0.8")
    """Of the venue's equity, all of them."""
    free_margin: Decimal = Decimal("0.05")
    """Of the venue's equity, to stay free."""
    drawdown: Decimal = Decimal("0.2")
    """Of the highest equity, lost: nothing is added any more."""
    failures: int = 3
    """Orders failed in a row at a venue: nothing is added there any more."""
    collar: Decimal = Decimal("0.05")
    """An order's price may be worse than the mark by this much."""
    mark_age: int = 10 * SECOND
    """An older mark is no mark."""
    signal_age: int = 2 * SECOND
    """Risk is not added for an older cause, except in an emergency."""
    halted_emergencies: bool = True
    """Whether a halted executor still makes a broken book safe."""


Check = Callable[[Proposal, Limits], str]
"""Why not; empty where nothing speaks against it."""


def check(proposal: Proposal, limits: Limits) -> Verdict:
    """Approved, or refused with the rule and what it found."""
    for rule, test in _tests(proposal):
        if reason := test(proposal, limits):
            return Refused(rule, reason)
    return Approved(proposal.order)


def _tests(proposal: Proposal) -> tuple[tuple[str, Check], ...]:
    if not proposal.order.reduce_only:
        return (*_ALWAYS, *_ADDING)
    return _ALWAYS


def _mode(proposal: Proposal, limits: Limits) -> str:  # noqa: ARG001 - as every check
    match limits.mode:
        case "off":
            return "the executor is off"
        case "shadow":
            return "only looking: nothing is sent"
        case "live" if limits.order_usd <= 0 or limits.total_usd <= 0:
            return "live without caps: set order_usd and total_usd"
        case _:
            return ""


def _form(proposal: Proposal, limits: Limits) -> str:  # noqa: ARG001 - as every check
    order = proposal.order
    if order.quantity <= 0:
        return f"a quantity of {order.quantity:f}"
    kind_reduces = proposal.intent not in {"hedge", "open_pair"}
    return "" if order.reduce_only or not kind_reduces else f"{proposal.intent} must be reduce-only"


def _collar(proposal: Proposal, limits: Limits) -> str:
    order, mark = proposal.order, proposal.mark_price
    if mark is None or proposal.now - proposal.mark_time > limits.mark_age:
        return "no fresh mark price to compare with"
    if order.price is None:
        return "no limit price"
    worse = order.price / mark - 1 if order.side == "buy" else 1 - order.price / mark
    return f"{order.price:f} is {worse:.2%} worse than the mark" if worse > limits.collar else ""


def _halted(proposal: Proposal, limits: Limits) -> str:
    allowed = limits.halted_emergencies and proposal.emergency
    return "halted" if proposal.control == "HALTED" and not allowed else ""


def _control(proposal: Proposal, limits: Limits) -> str:  # noqa: ARG001 - as every check
    return f"{proposal.control}: nothing that adds risk" if proposal.control != "ACTIVE" else ""


def _age(proposal: Proposal, limits: Limits) -> str:
    age = proposal.now - proposal.intent_created
    return f"its cause is {age / SECOND:.1f} s old" if age > limits.signal_age and not proposal.emergency else ""


def _blind(proposal: Proposal, limits: Limits) -> str:  # noqa: ARG001 - as every check
    # A hedge in an emergency goes elsewhere where it can; where it cannot, an open leg is the greater risk.
    return proposal.closed if not proposal.emergency else ""


def _caps(proposal: Proposal, limits: Limits) -> str:
    worth = _worth(proposal)
    for name, usd, cap in (
        ("order", worth, limits.order_usd),
        ("pair", worth + proposal.pair_notional, limits.pair_usd),
        ("total", worth + proposal.total_notional, limits.total_usd),
    ):
        if usd > cap:
            return f"{name} of {usd:.2f} USD, allowed {cap:f}"
    return ""


def _account(proposal: Proposal, limits: Limits) -> str:
    equity, free, worth = proposal.equity, proposal.free_margin, _worth(proposal)
    if equity is None or equity <= 0 or free is None:
        return "equity and free margin are not known"
    if worth > equity * limits.trade_size:
        return f"{worth:.2f} USD are more than {limits.trade_size:%} of the equity"
    if worth + proposal.total_notional > equity * limits.exposure:
        return f"with it more than {limits.exposure:%} of the equity are at risk"
    return f"free margin {free:.2f} USD" if free < equity * limits.free_margin else ""


def _breaker(proposal: Proposal, limits: Limits) -> str:
    if proposal.drawdown > limits.drawdown:
        return f"drawdown {proposal.drawdown:.1%}"
    return f"{proposal.failures} failures in a row" if proposal.failures >= limits.failures else ""


def _worth(proposal: Proposal) -> Decimal:
    return proposal.order.quantity * (proposal.order.price or Decimal(0))


_ALWAYS: tuple[tuple[str, Check], ...] = (("mode", _mode), ("form", _form), ("collar", _collar), ("halted", _halted))
_ADDING: tuple[tuple[str, Check], ...] = (
    ("control", _control), ("age", _age), ("blind", _blind), ("caps", _caps), ("account", _account),
    ("breaker", _breaker),
)  # fmt: skip
