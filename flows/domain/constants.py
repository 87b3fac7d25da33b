"""What every record of the state agrees on: the unit of money, the room for venues, the time that never was."""

from __future__ import annotations

from schemas.records import VENUES

MICRO = 1_000_000
"""USD are kept as integer micro-dollars: sums are exact, whatever the order."""
N_VENUES = 32
"""Room for venues; ``what`` keeps the venue in five bits."""
NEVER = -(1 << 62)
"""A time before all others (ns)."""

assert len(VENUES) <= N_VENUES  # noqa: S101 - a fact about the two constants, checked once
