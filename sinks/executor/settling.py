"""How an attempt whose end was not seen is brought to one. Pure."""

from __future__ import annotations

from msgspec import Struct

from schemas.clock import MILLISECOND, SECOND
from schemas.orders import Capabilities
from sinks.executor.attempts import Attempt, gone_at
from sinks.executor.steps import Action, Look, Prove, SendAgain, SpendNonce, Wait


class Pace(Struct, frozen=True, kw_only=True):
    """How patiently is asked. Nanoseconds."""

    look: int = 200 * MILLISECOND
    """Between questions about one order, at first ..."""
    look_slowly: int = 2 * SECOND
    """... and after some twenty of them."""
    answer: int = SECOND
    """A reduce-only order down to flat may be followed by another after this long without an end in sight."""
    sends: int = 20
    """How often the same bytes are sent at most."""


_SLOW_AFTER = 20


def settle(attempt: Attempt, caps: Capabilities, pace: Pace, now: int) -> Action | Wait | None:
    """The next thing to do about it; nothing where its end was seen."""
    if attempt.over:
        return None
    leg = (attempt.order.venue, attempt.order.instrument)
    slow = now - attempt.prepared > _SLOW_AFTER * pace.look
    due = attempt.looked + (pace.look_slowly if slow else pace.look)
    if not attempt.looked:
        return Look(leg, attempt)
    if now < due:
        return Wait(due)
    if attempt.state == "partial" or (attempt.resting and attempt.state == "acked"):
        return Look(leg, attempt)
    if now >= gone_at(attempt) + caps.visibility:
        return Prove(leg, attempt)
    if caps.fence != "none" and attempt.fence in {None, "unknown"} and attempt.request.nonce is not None:
        return SpendNonce(leg, attempt)
    if _replay_safe(attempt, caps) and attempt.sends < pace.sends and now < attempt.request.valid_until:
        return SendAgain(leg, attempt)
    return Look(leg, attempt)


def _replay_safe(attempt: Attempt, caps: Capabilities) -> bool:
    """Whether the venue refuses a second copy of the same request even after the first is done."""
    if attempt.state != "unknown" or attempt.fence in {"voided", "used"}:
        return False
    return attempt.request.nonce is not None or caps.client_id.unique in {"forever", "day"}


def may_follow(attempt: Attempt, *, to_flat: bool, pace: Pace, now: int) -> bool:
    """Whether another order may be sent although the end of this one was not seen.

    Reduce-only orders down to flat repeat harmlessly: whatever arrives late finds nothing to reduce. Where something
    of the position is to stay, a late one would take too much, and where risk is added it would add twice.
    """
    return to_flat and attempt.order.reduce_only and not attempt.resting and now - attempt.prepared >= pace.answer
