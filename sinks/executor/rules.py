"""Everything about the executor that can be set, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from schemas.clock import MILLISECOND, MINUTE, SECOND
from schemas.orders import Fill, OrderIntent
from schemas.pairs import Hint, PairSight, Proposal, Verdict
from schemas.records import AccountEvent, FeedStatus
from sinks.executor.case import Ladder, Watchfulness
from sinks.executor.closing import Closing
from sinks.executor.emergency import Emergency
from sinks.executor.settling import Pace
from sinks.executor.steps import LegKey

Gate = Callable[[Proposal], Verdict]
"""The last code before the wire."""
ClosingOf = Callable[[OrderIntent], Closing]
"""How a close of that reason goes."""


class Rules(Struct, frozen=True, kw_only=True):
    """Durations in nanoseconds."""

    desk: str = "main"
    """Keeps the order ids of two desks at one venue apart."""
    emergency: Emergency = Emergency()
    ladder: Ladder = Ladder()
    pace: Pace = Pace()
    fresh: Watchfulness = Watchfulness()
    hedges: Mapping[str, tuple[LegKey, ...]] = {}
    """Contracts, by asset, that may carry what a leg leaves open; the first whose venue answers is taken."""
    reconcile: int = MINUTE
    """Between two comparisons of everything with every venue."""
    overlap: int = 10 * SECOND
    """Fills are asked for again from so long before the last one known."""
    heartbeat: int = 250 * MILLISECOND
    """Between two looks at what time alone brings about."""
    pickup: int = MILLISECOND
    """Between two looks whether another process handed an intent in."""
    deadman: int = 30 * SECOND
    """Waiting orders are cancelled by the venue so long after the executor fell silent."""


class Watch(Protocol):
    """Notices what the venues do. Decides nothing about orders."""

    def told(
        self, event: AccountEvent | Fill | FeedStatus, pair: PairSight | None, *, ours: bool, now: int
    ) -> list[OrderIntent]:
        """Something came over a private stream.

        :arg pair: whose leg it is about, where it is one's.
        :arg ours: whether an order of our own explains it.
        """

    def seen(self, pair: PairSight) -> list[OrderIntent]:
        """A pair was looked at: after each read and each tick."""

    def pause(self, venue: str, now: int) -> int:
        """Nanoseconds until the venue's positions are to be read again."""

    def hinted(self, hints: Sequence[Hint], now: int) -> set[str]:
        """All hints another process left in the journal; the venues to be read at once."""

    def closed(self, venue: str, now: int) -> str:
        """Why no risk is to be added at the venue; empty where nothing speaks against it."""

    def about(self, venue: str, now: int) -> str:
        """What there is to say about the venue now, in words."""


class NoWatch:
    """Notices nothing; intents come from elsewhere."""

    def told(
        self,
        event: AccountEvent | Fill | FeedStatus,  # noqa: ARG002 - as Watch
        pair: PairSight | None,  # noqa: ARG002 - as Watch
        *,
        ours: bool,  # noqa: ARG002 - as Watch
        now: int,  # noqa: ARG002 - as Watch
    ) -> list[OrderIntent]:
        """Nothing."""
        return []

    def seen(self, pair: PairSight) -> list[OrderIntent]:  # noqa: ARG002 - as Watch
        """Nothing."""
        return []

    def pause(self, venue: str, now: int) -> int:  # noqa: ARG002 - as Watch
        """Five seconds."""
        return 5 * SECOND

    def hinted(self, hints: Sequence[Hint], now: int) -> set[str]:  # noqa: ARG002 - as Watch
        """None."""
        return set()

    def closed(self, venue: str, now: int) -> str:  # noqa: ARG002 - as Watch
        """Nothing."""
        return ""

    def about(self, venue: str, now: int) -> str:  # noqa: ARG002 - as Watch
        """Nothing."""
        return ""
