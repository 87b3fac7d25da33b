"""Several partitions read as one stream in the order of time, though they arrive unevenly.

A worker that catches up gets a minute of one partition before a second of the next. Windows over all of them need the
common order: what is ahead waits until every partition that has more to tell has told as far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Alignment(Generic[T]):
    """Holds back what is ahead. Within a partition the order is the partition's."""

    def __init__(self) -> None:
        self._held: dict[str, list[tuple[int, T]]] = {}
        self._reached: dict[str, int] = {}

    def put(self, part: str, arrived: list[tuple[int, T]]) -> None:
        """Take what a partition told.

        :arg arrived: time and message, in the partition's order.
        """
        self._held.setdefault(part, []).extend(arrived)

    def held(self, part: str) -> int:
        """How many messages of a partition wait."""
        return len(self._held.get(part, ()))

    def take(self, behind: Collection[str], most: Mapping[str, int] | None = None) -> dict[str, list[T]]:
        """What may go on now, by partition: everything up to the time that all partitions in ``behind`` have told.

        :arg behind: the partitions known to have more to tell.
        :arg most: where given, at most so many messages of each partition.
        """
        until = min((self._told(part) for part in behind), default=None)
        out: dict[str, list[T]] = {}
        for part, held in self._held.items():
            count = len(held) if until is None else _before(held, until)
            count = count if most is None else min(count, most.get(part, 0))
            if count:
                out[part] = [message for _, message in held[:count]]
                self._reached[part] = max(self._reached.get(part, 0), held[count - 1][0])
                del held[:count]
        return out

    def _told(self, part: str) -> int:
        held = self._held.get(part)
        return max(held[-1][0], self._reached.get(part, 0)) if held else self._reached.get(part, -1)


def _before(held: list[tuple[int, T]], until: int) -> int:
    """How many may go: a partition's own order stands, so one out of order goes with those around it."""
    return bisect_right(held, until, key=lambda told: told[0])
