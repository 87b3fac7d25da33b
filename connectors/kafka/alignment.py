"""Several partitions read as one stream in the order of time, though they arrive unevenly.

A worker that catches up gets a minute of one partition before a second of the next. Windows over all of them need the
common order: what is ahead waits until every partition that has more to tell has told as far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

T = TypeVar("T")


class Alignment(Generic[T]):
    """Holds back what is ahead. Within a partition the order is the partition's.

    :arg time: when a message was told.
    """

    def __init__(self, time: Callable[[T], int]) -> None:
        self._time = time
        self._held: dict[str, list[T]] = {}
        self._reached: dict[str, int] = {}

    def put(self, part: str, arrived: list[T]) -> None:
        """Take what a partition told, in its order."""
        held = self._held.get(part)
        if held:
            held.extend(arrived)
        else:
            self._held[part] = arrived

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return any(self._held.values())

    def held(self, part: str) -> int:
        """How many messages of a partition wait."""
        return len(self._held.get(part, ()))

    def take(self, behind: Collection[str]) -> dict[str, list[T]]:
        """What may go on now, by partition: everything up to the time that all partitions in ``behind`` have told.

        :arg behind: the partitions known to have more to tell.
        """
        until = min((self._told(part) for part in behind), default=None)
        out: dict[str, list[T]] = {}
        for part, held in self._held.items():
            # A partition's own order stands: one out of order goes with those around it.
            count = len(held) if until is None else bisect_right(held, until, key=self._time)
            if count:
                self._reached[part] = max(self._reached.get(part, 0), self._time(held[count - 1]))
                out[part], self._held[part] = held[:count], held[count:]
        return out

    def _told(self, part: str) -> int:
        held, reached = self._held.get(part), self._reached.get(part, -1)
        return max(self._time(held[-1]), reached) if held else reached
