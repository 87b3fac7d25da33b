"""What can wait is told a little at a time, so that nothing urgent waits for all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from msgspec import Struct

from schemas.clock import Clock


class Rows(Protocol):
    """Records still in columns."""

    def __len__(self) -> int:
        """How many."""

    def records(self) -> Sequence[Struct]:
        """Spelled out."""


class Backlog:
    """Records to be told when there is time, in their order; spelled out when their turn comes."""

    def __init__(self, records: Iterable[Struct] = ()) -> None:
        self._waiting: deque[Iterator[Struct]] = deque()
        self._count = 0
        self._put(list(records))

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def add(self, rows: Rows) -> None:
        """More, behind what waits."""
        self._waiting.append(record for made in (rows,) for record in made.records())
        self._count += len(rows)

    def take(self, most: int) -> list[Struct]:
        """The next ones."""
        found: list[Struct] = []
        while self._waiting and len(found) < most:
            before = len(found)
            found += islice(self._waiting[0], most - before)
            if len(found) < most:
                self._waiting.popleft()
        self._count -= len(found)
        return found

    def rest(self) -> list[Struct]:
        """Everything that waits, which stays."""
        found = self.take(len(self))
        self._waiting.clear()
        self._put(found)
        return found

    def _put(self, records: list[Struct]) -> None:
        if records:
            self._waiting.append(iter(records))
            self._count += len(records)


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
