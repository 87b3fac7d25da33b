"""What a venue checks before it looks at the order: nonces, client ids, request rates. Pure: times are arguments."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Literal

from connectors.simulator.trading.profiles import Limits, Nonces
from schemas.clock import HOUR, MINUTE

Spent = Literal["ok", "used", "wrong"]


class NonceGuard:
    """Nonces of one API key."""

    def __init__(self, rule: Nonces, first: int = 1) -> None:
        self._rule = rule
        self._next = first
        self._kept: list[int] = []

    @property
    def next(self) -> int:
        """With sequential nonces, the one expected."""
        return self._next

    def spend(self, nonce: int | None, now: int) -> Spent:
        """Use ``nonce`` up: ``used`` if it was before, ``wrong`` if it is none of the venue's."""
        rule = self._rule
        if rule.rule == "none":
            return "ok"
        if nonce is None:
            return "wrong"
        if rule.rule == "sequential":
            if nonce != self._next:
                return "used" if nonce < self._next else "wrong"
            self._next += 1
            return "ok"
        return self._in_window(nonce, now)

    def _in_window(self, nonce: int, now: int) -> Spent:
        rule, kept = self._rule, self._kept
        if not now - rule.behind <= nonce * rule.unit <= now + rule.ahead:
            return "wrong"
        if nonce in kept:
            return "used"
        if len(kept) >= rule.kept:
            # An older nonce than all that are remembered may have been used: the venue cannot tell.
            if nonce < kept[0]:
                return "wrong"
            kept.pop(0)
        insort(kept, nonce)
        return "ok"


class IdGuard:
    """Client ids of one account."""

    def __init__(self, unique: Literal["open", "forever", "day", "none"]) -> None:
        self._unique = unique
        self._open: set[str] = set()
        self._seen: dict[str, int] = {}

    def taken(self, client_id: str, now: int) -> bool:
        """Whether the venue refuses this id."""
        if not client_id or self._unique == "none":
            return False
        if client_id in self._open:
            return True
        first = self._seen.get(client_id)
        return first is not None and (self._unique == "forever" or (self._unique == "day" and now - first < 24 * HOUR))

    def enter(self, client_id: str, now: int) -> None:
        """An order of this id lives."""
        self._open.add(client_id)
        self._seen.setdefault(client_id, now)

    def leave(self, client_id: str) -> None:
        """It is done."""
        self._open.discard(client_id)


class RateGuard:
    """Requests of one account within the venue's sliding minute."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._times: deque[int] = deque()
        self._refused: deque[int] = deque()
        self._banned_until = 0

    def ban(self, now: int) -> int:
        """Ban from now on; nanoseconds it lasts."""
        self._banned_until = now + self._limits.ban
        return self._limits.ban

    def ask(self, now: int, weight: int = 1) -> tuple[Literal["ok", "throttled", "banned"], int]:
        """Whether a request may pass, and nanoseconds to wait if not."""
        if now < self._banned_until:
            return "banned", self._banned_until - now
        times, refused = self._times, self._refused
        while times and times[0] <= now - MINUTE:
            times.popleft()
        while refused and refused[0] <= now - MINUTE:
            refused.popleft()
        if len(times) + weight <= self._limits.per_minute:
            times.extend([now] * weight)
            return "ok", 0
        refused.append(now)
        if len(refused) >= self._limits.ban_after:
            return "banned", self.ban(now)
        return "throttled", times[0] + MINUTE - now
