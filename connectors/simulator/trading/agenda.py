"""What will happen when: the event queue every simulated venue of a run shares. Nothing here reads a wall clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from schemas.clock import Clock

Action = Callable[[], None]


class Appointment:
    """Something on the agenda that may still be called off."""

    __slots__ = ("action", "time")

    def __init__(self, time: int, action: Action) -> None:
        self.time = time
        self.action: Action | None = action

    def cancel(self) -> None:
        """It will not happen."""
        self.action = None


class Agenda:
    """Runs actions in order of time; those of one moment in the order they were entered.

    Stepped by hand (``run_until``), by a virtual-time event loop (``VirtualTime``), or in real time (``Pacemaker``).

    :arg start: nanoseconds UTC the run begins at.
    """

    def __init__(self, start: int = 0) -> None:
        self._now = start
        self._entries: list[tuple[int, int, Appointment]] = []
        self._count = 0
        self.earlier: Callable[[int], None] | None = None
        """Told the time of an appointment that comes before every other."""

    @property
    def now(self) -> int:
        """Nanoseconds UTC; while an action runs, the moment it was due."""
        return self._now

    @property
    def clock(self) -> Clock:
        """The agenda's time as a clock."""
        return lambda: self._now

    @property
    def next_time(self) -> int | None:
        """When the next action is due."""
        entries = self._entries
        while entries and entries[0][2].action is None:
            heapq.heappop(entries)
        return entries[0][0] if entries else None

    def at(self, time: int, action: Action) -> Appointment:
        """Do ``action`` at ``time``, or at once where that has passed."""
        self._count += 1
        entry = Appointment(max(time, self._now), action)
        heapq.heappush(self._entries, (entry.time, self._count, entry))
        if self.earlier is not None and self._entries[0][2] is entry:
            self.earlier(entry.time)
        return entry

    def after(self, delay: int, action: Action) -> Appointment:
        """Do ``action`` in ``delay`` nanoseconds."""
        return self.at(self._now + delay, action)

    def run_until(self, time: int) -> None:
        """Do everything due by ``time``, which is the time then."""
        entries = self._entries
        while entries and entries[0][0] <= time:
            due, _, entry = heapq.heappop(entries)
            action, entry.action = entry.action, None
            if action is not None:
                self._now = max(self._now, due)
                action()
        self._now = max(self._now, time)
