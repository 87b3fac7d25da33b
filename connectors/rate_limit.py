"""How much of a venue's REST allowance may be spent now. Pure: times are arguments."""

from __future__ import annotations

from connectors.exchange import RateLimit

_BURST = 0.2
"""Share of the allowance that may be spent at once; the rest trickles, so no window holds more than allowed."""


class TokenBucket:
    """Spends at most ``limit.weight`` in any span of ``limit.seconds``, wherever the venue lets its window begin.

    Holds while no single request weighs more than the whole allowance.
    """

    def __init__(self, limit: RateLimit, heaviest: int = 1) -> None:
        """:arg heaviest: weight of the heaviest single request that will be asked for."""
        self._capacity = max(limit.weight * _BURST, min(float(heaviest), limit.weight * 0.9))
        self._rate = (limit.weight - self._capacity) / limit.seconds
        self._tokens = self._capacity
        self._at = 0.0

    def reserve(self, now: float, weight: int = 1) -> float:
        """Seconds from ``now`` (a monotonic clock, never going back) until a request may go; it is booked for then."""
        self._tokens = min(self._capacity, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        self._tokens -= weight
        return max(0.0, -self._tokens / self._rate)
