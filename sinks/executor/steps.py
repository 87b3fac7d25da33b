"""What a decision can ask for. The shell carries actions out; it decides nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from schemas.orders import IntentKind, IntentState, OrderSide, TimeInForce
from sinks.executor.attempts import Attempt

LegKey = tuple[str, str]
"""Venue and instrument. One action at a time runs for each."""


class ReadAccount(Struct, frozen=True):
    """Ask the venue for its positions."""

    leg: LegKey


class ReadBook(Struct, frozen=True):
    """Ask for the book, and for the contract's rules where they are not known yet."""

    leg: LegKey


class Look(Struct, frozen=True):
    """Ask for the order of an attempt."""

    leg: LegKey
    attempt: Attempt


class Prove(Struct, frozen=True):
    """Ask everything there is to ask, to prove that the attempt never took effect."""

    leg: LegKey
    attempt: Attempt


class SpendNonce(Struct, frozen=True):
    """Fence the attempt."""

    leg: LegKey
    attempt: Attempt


class SendAgain(Struct, frozen=True):
    """Send the same bytes again."""

    leg: LegKey
    attempt: Attempt


class Cancel(Struct, frozen=True):
    """Cancel the living order of an attempt."""

    leg: LegKey
    attempt: Attempt


class Place(Struct, frozen=True, kw_only=True):
    """A new attempt."""

    leg: LegKey
    intent: IntentKind
    """A hedge and its unwinding are intents of their own."""
    side: OrderSide
    quantity: Decimal
    price: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    baseline: Decimal
    mark_price: Decimal | None
    mark_time: int
    why: str


Action = ReadAccount | ReadBook | Look | Prove | SpendNonce | SendAgain | Cancel | Place


class Wait(Struct, frozen=True):
    """Nothing to do before this time, unless something is told."""

    until: int


class Finish(Struct, frozen=True, kw_only=True):
    """The case is over."""

    state: IntentState
    detail: str
    quantities: tuple[Decimal, ...] = ()
    """What the legs of the pair hold now, in their order; empty where the ledger stays as it is."""
    dust: Decimal = Decimal(0)


class Alarm(Struct, frozen=True):
    """A person has to know. Raised once per case and ``what``."""

    what: Literal["not_flat", "unreadable", "refused", "hedged", "unproven", "dust"]
    detail: str


class Decision(Struct, frozen=True, kw_only=True):
    """All that is to be done now."""

    actions: tuple[Action, ...] = ()
    until: int | None = None
    """When to decide again, if nothing happens before."""
    finish: Finish | None = None
    alarms: tuple[Alarm, ...] = ()
