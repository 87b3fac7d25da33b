"""How many requests a venue may still be sent: some are kept for emergencies, some more for orders."""

from __future__ import annotations

from typing import Literal

from schemas.clock import MINUTE

Purpose = Literal["emergency", "order", "poll"]


class Budget:
    """A bucket that fills evenly. One per venue and account, for every lane together.

    :arg per_minute: requests the venue bears.
    :arg reserve: fraction of them kept for emergencies; polls leave as much again for orders.
    """

    def __init__(self, per_minute: int, reserve: float, now: int) -> None:
        self._each = MINUTE // per_minute
        self._most = per_minute * self._each
        kept = round(self._most * reserve)
        self._kept: dict[Purpose, int] = {"emergency": 0, "order": kept, "poll": min(2 * kept, self._most - self._each)}
        self._level, self._at = self._most, now

    def wait(self, now: int, purpose: Purpose) -> int:
        """Nanoseconds until a request may go; 0 for now."""
        self._fill(now)
        return max(0, self._each + self._kept[purpose] - self._level)

    def spend(self, now: int) -> None:
        """A request goes."""
        self._fill(now)
        self._level -= self._each

    def _fill(self, now: int) -> None:
        self._level = min(self._most, self._level + max(0, now - self._at))
        self._at = max(now, self._at)
