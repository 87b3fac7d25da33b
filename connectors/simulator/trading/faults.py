"""What goes wrong, when: scripted windows and seeded chance. Every fault that strikes is logged with an id."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from msgspec import Struct

from schemas.clock import SECOND

FaultKind = Literal[
    "lost_before",
    "lost_after",
    "late",
    "error_before",
    "error_after",
    "duplicate",
    "throttled",
    "banned",
    "query_error",
    "query_lost",
    "query_slow",
    "false_flat",
    "stream_drop",
    "stream_duplicate",
    "stream_reorder",
    "stream_false_flat",
    "stream_gap",
    "stream_stall",
    "outage",
    "cancel_only",
    "reduce_only",
    "post_only",
]
"""``lost_before``/``lost_after``: no answer, without or with effect. ``late``: no answer in time, lands afterwards.
``error_before``/``error_after``: a 503, without or with effect. ``duplicate``: delivered twice. ``false_flat``: an
answer or message that tells a position as flat. ``stream_gap``: disconnected, then a snapshot. ``stream_stall``:
connected and silent. The last six are states and last as long as their window."""

SEND: tuple[FaultKind, ...] = (
    "throttled", "banned", "lost_before", "lost_after", "late", "error_before", "error_after", "duplicate",
)  # fmt: skip
QUERY: tuple[FaultKind, ...] = ("query_error", "query_lost", "query_slow", "false_flat")
STREAM: tuple[FaultKind, ...] = ("stream_drop", "stream_duplicate", "stream_reorder", "stream_false_flat")
LASTING: tuple[FaultKind, ...] = ("stream_gap", "stream_stall", "outage", "cancel_only", "reduce_only", "post_only")
_FOREVER = 1 << 62


class Window(Struct, frozen=True, kw_only=True):
    """A fault that strikes between ``start`` and ``end``, nanoseconds after the venue opened."""

    kind: FaultKind
    start: int = 0
    end: int = _FOREVER
    chance: float = 1.0
    count: int | None = None
    """Strikes at most so often."""
    skip: int = 0
    """Lets so many pass first."""
    delay: int = 2 * SECOND
    """Nanoseconds: how late the request lands, how much longer a slow query takes."""


class Struck(Struct, frozen=True, kw_only=True):
    """A fault that happened."""

    fault_id: str
    venue: str
    kind: FaultKind
    time: int
    detail: str


class Faults:
    """Decides which faults strike; the same seed, script and questions give the same ones.

    :arg script: windows.
    :arg rates: chance per request, query or message of each kind that is not lasting.
    :raises ValueError: a rate of an unknown or lasting kind, or no probability.
    """

    def __init__(
        self, venue: str, seed: int = 0, script: Iterable[Window] = (), rates: Mapping[FaultKind, float] | None = None
    ) -> None:
        self.venue = venue
        self.log: list[Struck] = []
        self.began = 0
        """Nanoseconds UTC; the venue sets it when it opens."""
        self._rng = random.Random(f"faults {venue} {seed}")
        self._windows = list(script)
        self._struck: dict[int, int] = {}
        self._passed: dict[int, int] = {}
        self._rates = dict(rates or {})
        for kind, rate in self._rates.items():
            if kind in LASTING or kind not in get_args(FaultKind) or not 0 <= rate <= 1:
                raise ValueError(f"a fault rate is a chance from 0 to 1 of a passing fault, not {kind}={rate}")

    @property
    def windows(self) -> tuple[Window, ...]:
        """The script."""
        return tuple(self._windows)

    def add(self, window: Window) -> None:
        """Script one more, e.g. from now on. A lasting one must be added by the venue (``SimulatedVenue.script``)."""
        self._windows.append(window)

    def strike(self, kinds: tuple[FaultKind, ...], now: int, detail: str) -> Window | None:
        """The fault that strikes what happens now, logged; none most of the time."""
        since = now - self.began
        for place, window in enumerate(self._windows):
            if window.kind in kinds and window.start <= since < window.end and self._hits(place, window):
                self.note(window.kind, now, detail)
                return window
        if not self._rates:
            return None
        for kind in kinds:
            rate = self._rates.get(kind)
            if rate and self._rng.random() < rate:
                self.note(kind, now, detail)
                return Window(kind=kind, delay=round(self._rng.expovariate(1.0) * 3 * SECOND))
        return None

    def _hits(self, place: int, window: Window) -> bool:
        struck = self._struck.get(place, 0)
        if window.count is not None and struck >= window.count:
            return False
        passed = self._passed.get(place, 0)
        if passed < window.skip:
            self._passed[place] = passed + 1
            return False
        if window.chance < 1.0 and self._rng.random() >= window.chance:
            return False
        self._struck[place] = struck + 1
        return True

    def lasting(self, kind: FaultKind, now: int) -> bool:
        """Whether the venue is in that state now."""
        since = now - self.began
        return any(w.kind == kind and w.start <= since < w.end for w in self._windows)

    def note(self, kind: FaultKind, now: int, detail: str) -> None:
        """Log a fault."""
        self.log.append(
            Struck(fault_id=f"{self.venue}-{len(self.log) + 1}", venue=self.venue, kind=kind, time=now, detail=detail)
        )
