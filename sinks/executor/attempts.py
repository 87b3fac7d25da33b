"""One try to have an order carried out: its states, and what each piece of evidence makes of them. Pure.

    prepared ──▶ acked ──▶ partial ──▶ filled | cancelled | expired | rejected
        └──────▶ unknown ──▶ any of them, or absent

``prepared`` is durable before a byte leaves, so after a crash it means ``unknown``. Only a state that is *seen* ends an
attempt: no answer, a refusal of a request sent twice, or an order not found are no end. ``absent`` needs a proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from schemas.orders import (
    Absent,
    Account,
    Capabilities,
    Fence,
    Fill,
    Flat,
    Lookup,
    Order,
    OrderStatus,
    Outcome,
    SignedRequest,
    Unknown,
)

AttemptState = Literal[
    "prepared", "unknown", "acked", "partial", "filled", "cancelled", "expired", "rejected", "absent"
]
_PATIENCE = 10
"""Visibility lags after which an unexplained position does not speak against absence any more."""
ENDED: frozenset[AttemptState] = frozenset({"filled", "cancelled", "expired", "rejected", "absent"})


class Attempt(Struct, frozen=True, kw_only=True):
    """A signed order and everything known of it."""

    intent_id: str
    ordinal: int
    """Counts the attempts of the intent in this contract, from 0."""
    order: Order
    request: SignedRequest
    baseline: Decimal
    """Signed position in the contract when it was prepared."""
    epoch: int
    """Of the executor that prepared it."""
    prepared: int
    gone: int
    """From then on the request can take effect no more: end of validity, or of a fence."""
    state: AttemptState = "prepared"
    sends: int = 0
    answered: int = 0
    """When the venue last said anything about it."""
    looked: int = 0
    """When a question about it was last asked."""
    order_id: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fence: Fence | None = None
    cancelling: int = 0
    """When its cancel was last sent."""
    ended: int = 0
    code: str = ""

    @property
    def client_id(self) -> str:
        """Unique at its venue."""
        return self.order.client_id

    @property
    def over(self) -> bool:
        """Whether its end was seen."""
        return self.state in ENDED

    @property
    def resting(self) -> bool:
        """Whether it is meant to wait in the book."""
        return self.order.time_in_force != "ioc"

    @property
    def expected(self) -> Decimal:
        """Signed position after it, if nothing else happened."""
        return self.baseline + (self.filled if self.order.side == "buy" else -self.filled)


class Evidence(Struct, frozen=True, kw_only=True):
    """Answers to every question about an attempt, all asked at ``asked`` or later."""

    asked: int
    lookup: Lookup
    open_orders: Sequence[OrderStatus] | Unknown
    fills: Sequence[Fill] | Unknown
    account: Account | Unknown


def _ended(attempt: Attempt, state: AttemptState, now: int, **known: object) -> Attempt:
    return replace(attempt, state=state, ended=attempt.ended or now, **known)


def after_outcome(attempt: Attempt, outcome: Outcome, now: int) -> Attempt:
    """What the answer to the ``sends``-th sending says. Counts the sending."""
    attempt = replace(attempt, sends=attempt.sends + 1, code=outcome.code)
    match outcome.kind:
        case "done":
            return _done(replace(attempt, answered=now, order_id=outcome.order_id or attempt.order_id), outcome, now)
        case "refused" | "throttled" if attempt.sends == 1 and attempt.state == "prepared":
            return _ended(attempt, "rejected", now, answered=now)
        case _:
            # Of a request sent before, a refusal may only mean that its first copy was carried out.
            return replace(attempt, state="unknown") if attempt.state == "prepared" else attempt


def _done(attempt: Attempt, outcome: Outcome, now: int) -> Attempt:
    filled = max(attempt.filled, outcome.filled or Decimal(0))
    attempt = replace(attempt, filled=filled, average_price=outcome.average_price or attempt.average_price)
    return _at(attempt, outcome.state, now)


def _at(attempt: Attempt, told: str | None, now: int) -> Attempt:
    """The state a venue names; one that ended stays ended, and only its fills can still grow."""
    whole = attempt.filled >= attempt.order.quantity
    if whole:
        return _ended(attempt, "filled", now)
    if attempt.over:
        return attempt
    match told:
        case "cancelled" | "expired" | "rejected":
            return _ended(attempt, told, now)
        case "filled":
            # Trimmed to the position: filled for less than was asked.
            return _ended(attempt, "filled", now)
        case _:
            return replace(attempt, state="partial" if attempt.filled else "acked")


def after_cancel(attempt: Attempt, outcome: Outcome, now: int) -> Attempt:
    """What the answer to its cancel says. Refused, it may be done already: it has to be looked at."""
    if outcome.kind != "done":
        return replace(attempt, looked=0)
    if outcome.filled is None and outcome.state == "cancelled":
        # How much was filled before is not told here; the order is over only once that is seen.
        return replace(attempt, looked=0)
    return _done(attempt, outcome, now)


def after_status(attempt: Attempt, status: OrderStatus, now: int) -> Attempt:
    """What the venue tells of the order, asked or not."""
    filled = max(attempt.filled, status.filled)
    told = replace(
        attempt,
        answered=now,
        order_id=status.order_id or attempt.order_id,
        filled=filled,
        average_price=status.average_price or attempt.average_price,
    )
    return _at(told, status.state, now)


def after_lookup(attempt: Attempt, lookup: Lookup, now: int) -> Attempt:
    """What the answer to a question says; not to be found is no end."""
    attempt = replace(attempt, looked=now)
    return after_status(attempt, lookup, now) if isinstance(lookup, OrderStatus) else attempt


def after_fills(attempt: Attempt, fills: Iterable[Fill], now: int) -> Attempt:
    """All fills of its client id known so far. A fill after ``cancelled`` is still a fill."""
    total, cost = Decimal(0), Decimal(0)
    for fill in fills:
        total += fill.quantity
        cost += fill.quantity * fill.price
    if total <= attempt.filled and attempt.average_price is not None:
        return attempt
    price = cost / total if total else attempt.average_price
    filled = max(total, attempt.filled)
    return _at(replace(attempt, filled=filled, average_price=price, answered=now), None, now) if filled else attempt


def after_fence(attempt: Attempt, fence: Fence, now: int) -> Attempt:
    """What spending the nonce came to: voided is a proof of absence, used means that the request ran."""
    attempt = replace(attempt, fence=fence, looked=now)
    match fence:
        case "voided":
            return _ended(attempt, "absent", now, gone=now) if not attempt.filled else attempt
        case "used":
            return replace(attempt, gone=min(attempt.gone, now))
        case _:
            return attempt


def after_restart(attempt: Attempt, caps: Capabilities, now: int) -> Attempt:
    """Whether it was sent is not known any more; the wait begins anew, for the clock may have been set meanwhile."""
    if attempt.over:
        return attempt
    state: AttemptState = "unknown" if attempt.state == "prepared" else attempt.state
    # A sending may have been cut off before it was counted.
    return replace(attempt, state=state, sends=max(attempt.sends, 1), gone=now + caps.validity, fence=None, looked=0)


def proven_absent(attempt: Attempt, evidence: Evidence, caps: Capabilities) -> bool:
    """Whether the request never took and never will take effect: too late for it to run, late enough to be seen, and
    open orders, history, fills and position all agree."""
    if attempt.filled or evidence.asked < gone_at(attempt) + caps.visibility:
        return False
    if not isinstance(evidence.lookup, Absent) or isinstance(evidence.open_orders, Unknown):
        return False
    if isinstance(evidence.fills, Unknown) or isinstance(evidence.account, Unknown):
        return False
    order = attempt.order
    known = any(status.client_id == order.client_id for status in evidence.open_orders)
    moved, ours = Decimal(0), False
    for fill in evidence.fills:
        ours = ours or fill.client_id == order.client_id
        if fill.instrument == order.instrument and fill.time >= attempt.prepared:
            moved += fill.quantity if fill.side == "buy" else -fill.quantity
    held = evidence.account.position(order.instrument)
    explained = (Decimal(0) if isinstance(held, Flat) else held.quantity) == attempt.baseline + moved
    # What nobody explains for so long, the venue did without telling a fill; it was not this order.
    late = evidence.asked >= gone_at(attempt) + _PATIENCE * caps.visibility
    return not known and not ours and (explained or late)


def gone_at(attempt: Attempt) -> int:
    """From when the request can take effect no more. One the venue acknowledged was taken then or dropped."""
    return min(attempt.gone, attempt.answered) if attempt.state == "acked" else attempt.gone
