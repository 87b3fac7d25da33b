"""What can wait is told a little at a time, so that nothing urgent waits for all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from msgspec import Struct

from schemas.clock import Clock


class Backlog:
    """Records to be told when there is time, in their order; spelled out when their turn comes."""

    def __init__(self, records: Iterable[Struct] = ()) -> None:
        self._waiting: deque[Iterator[Struct]] = deque()
        self._put(records)

    def __bool__(self) -> bool:
        """Whether there may be more."""
        return bool(self._waiting)

    def add(self, records: Callable[[], Iterable[Struct]]) -> None:
        """More, behind what waits."""
        self._waiting.append(record for made in (records,) for record in made())

    def _put(self, records: Iterable[Struct]) -> None:
        if told := list(records):
            self._waiting.append(iter(told))

    def take(self, most: int | None = None) -> list[Struct]:
        """The next ones; all of them where no number is said."""
        found: list[Struct] = []
        while self._waiting and (most is None or len(found) < most):
            left = None if most is None else most - len(found)
            before = len(found)
            found += islice(self._waiting[0], left)
            if left is None or len(found) - before < left:
                self._waiting.popleft()
        return found

    def rest(self) -> list[Struct]:
        """Everything that waits, which stays."""
        found = self.take()
        self._put(found)
        return found


class Turns:
    """Lets one of many go on now and then, so that what they do together is spread over time.

    :arg every: nanoseconds between two turns.
    """

    def __init__(self, every: int, clock: Clock) -> None:
        self._every, self._clock, self._last = every, clock, 0

    def mine(self) -> bool:
        """Whether it is the turn of who asks."""
        now = self._clock()
        if 0 <= now - self._last < self._every:
            return False
        self._last = now
        return True
