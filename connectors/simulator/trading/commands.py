"""What a client may ask of a simulated venue and what it may answer, before any dialect words it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.orders import Order, OrderStatus, OutcomeKind

Reason = Literal[
    "",
    "account_unknown",
    "banned",
    "duplicate_id",
    "expired",
    "filled_nothing",
    "insufficient_margin",
    "instrument_unknown",
    "maintenance",
    "malformed",
    "min_notional",
    "min_quantity",
    "nonce_used",
    "nonce_wrong",
    "off_step",
    "off_tick",
    "order_unknown",
    "post_only_crosses",
    "price_band",
    "rate_limit",
    "reduce_only_mode",
    "reduce_only_no_position",
    "reduce_only_oversize",
    "reduce_only_wrong_side",
    "signature",
    "too_large",
    "unavailable",
]
"""Why not, in words of our own; each wire dialect has its code for it."""


class Place(Struct, frozen=True, tag="place"):
    """Enter an order."""

    order: Order


class Cancel(Struct, frozen=True, tag="cancel"):
    """Take an order out."""

    instrument: str
    client_id: str


class Modify(Struct, frozen=True, tag="modify"):
    """New price and total quantity (what is filled included) for the living order of the client id."""

    order: Order


class Noop(Struct, frozen=True, tag="noop"):
    """Nothing but the use of a nonce."""


class Deadman(Struct, frozen=True, tag="deadman"):
    """Cancel all in ``ttl`` nanoseconds unless asked again; 0 calls it off."""

    ttl: int


Command = Place | Cancel | Modify | Noop | Deadman


class Envelope(Struct, frozen=True, kw_only=True):
    """A command with what guards it."""

    account: str
    command: Command
    key: int = 0
    """Which API key signed: nonces are counted per key."""
    nonce: int | None = None
    valid_until: int | None = None
    """Arriving later it is refused."""


class Reply(Struct, frozen=True, kw_only=True):
    """What the venue makes of an envelope."""

    kind: OutcomeKind
    reason: Reason = ""
    order: OrderStatus | None = None
    retry_after: int | None = None
    """Nanoseconds."""


def refused(reason: Reason) -> Reply:
    """No, and nothing has changed."""
    return Reply(kind="refused", reason=reason)
