"""What one feed is doing, as a small total state machine. Pure: every method takes the time, in any state.

============  ==================================================================================
state         what it means
============  ==================================================================================
connecting    the address is being dialled, for the first time or after a connection was lost
connected     the socket is open, the venue has not yet confirmed every subscription
subscribed    confirmed, and telling
quiet         healthy, nothing told for a while, which its own rhythm makes believable
silent        healthy, confirmed, and nothing told for longer than its rhythm makes believable
refused       the venue said no (to a subscription, or to us); data of the rest may still come
unreachable   not even a socket could be opened, or a poll keeps failing
closed        we ended it
============  ==================================================================================

``gap`` is no state to stay in: it is the row that closes a hole. A hole opens where a subscribed connection is lost
(at its last sign of life), a silence begins (at the last thing told) or the spool refuses frames. It closes when the
feed is subscribed again, when the silence is broken, when a frame is accepted again, or at the end.
"""

from __future__ import annotations

from connectors.silence import Rhythm, SilenceRule
from schemas.records import FeedState, FeedStatus

NOTHING: tuple[FeedStatus, ...] = ()
Told = tuple[FeedStatus, ...]
"""The records a step gives rise to, in order."""

_OPEN: frozenset[FeedState] = frozenset({"connected", "subscribed", "quiet", "silent"})


class FeedMonitor:
    """Follows one feed."""

    def __init__(
        self, venue: str, feed: str, rule: SilenceRule | None = None, expected_gap: float | None = None
    ) -> None:
        """:arg expected_gap: seconds between frames to expect before the feed's own rhythm is known."""
        self.venue, self.feed = venue, feed
        self.state: FeedState = "closed"
        self.reason = ""
        self.frames = 0
        self.reconnects = 0
        self.dropped = 0
        self.last_frame = 0
        self.alive = 0
        """Last sign of life, pings included."""
        self.rule = rule or SilenceRule()
        self._frames = Rhythm(self.rule, expected_gap)
        self._closes = Rhythm(self.rule)
        self._closes_told = False
        self._opened_before = False
        self._subscribed = False
        self._silent: Rhythm | None = None
        self._silence = ""
        self._hole: tuple[int, str] | None = None
        self._drops: tuple[int, int] | None = None

    def connecting(self, now: int) -> Told:
        """The address is dialled. A feed that was unreachable, refused or silent stays so until it proves otherwise."""
        if self.state in {"unreachable", "refused", "silent", "connecting"}:
            return NOTHING
        return self._become("connecting", "", now)

    def opened(self, now: int) -> Told:
        """The socket is open."""
        self.reconnects += self._opened_before
        self._opened_before = True
        self.alive = now
        self._frames.open(now)
        self._closes.open(now)
        return self._become("connected", "", now)

    def subscribed(self, now: int) -> Told:
        """The venue confirmed what was asked for."""
        self._subscribed = True
        if self._silent is not None:
            return self._become("silent", f"connected anew, still {self._silence}", now)
        if self.state == "refused":
            return self._close_hole(now)
        return self._close_hole(now) + self._become("subscribed", "", now)

    def data(self, now: int) -> Told:
        """A frame that tells something was received."""
        self.frames += 1
        self.last_frame = self.alive = now
        self._frames.heard(now)
        if self.state == "subscribed":
            return NOTHING
        return self._spoke(self._frames, now)

    def forced_closes(self, now: int) -> Told:
        """Frames of this feed held forced closes. From the first call on their rhythm is judged as well."""
        if not self._closes_told:
            self.judge_closes(now)
        self._closes.heard(now)
        return self._spoke(self._closes, now)

    def judge_closes(self, now: int) -> None:
        """The consumer reports forced closes, so their absence means something from now on."""
        if not self._closes_told:
            self._closes_told = True
            self._closes.open(now)

    def tick(self, now: int) -> Told:
        """Time passed: judge the silence of a healthy connection."""
        if self.state not in {"subscribed", "quiet"}:
            return NOTHING
        for rhythm, what in ((self._frames, "data frame"), (self._closes, "forced close")):
            if rhythm is self._closes and not self._closes_told:
                continue
            limit = rhythm.believable(now)
            if rhythm.elapsed(now) > limit:
                return self._fall_silent(rhythm, what, limit, now)
        shown = self._closes if self._closes_told else self._frames
        if self.state == "subscribed" and shown.elapsed(now) > self.rule.quiet_after:
            return self._become("quiet", "", now)
        return NOTHING

    def failed(self, now: int, reason: str, state: FeedState | None = None) -> Told:
        """The connection was lost, given up, or could not be made.

        :arg state: what that makes of the feed; where not told, ``connecting`` after it was open, else ``unreachable``.
        """
        was_open = self.state in _OPEN or self._subscribed
        if self._subscribed:
            self._open_hole(self.alive, reason)
        self._subscribed = False
        return self._become(state or ("connecting" if was_open else "unreachable"), reason, now)

    def refused(self, now: int, reason: str) -> Told:
        """The venue said no, in these words."""
        if self.state == "refused" and self.reason == reason:
            return NOTHING
        return self._become("refused", reason, now)

    def drop(self, received: int) -> None:
        """The spool refused a frame received at that time."""
        self.dropped += 1
        self._drops = (self._drops[0] if self._drops else received, received)

    @property
    def dropping(self) -> bool:
        """Whether frames were dropped and no gap row tells it yet."""
        return self._drops is not None

    def drops_ended(self, now: int) -> Told:
        """The spool accepts frames again."""
        if self._drops is None:
            return NOTHING
        (start, end), self._drops = self._drops, None
        return (self._gap(start, end, "frames dropped: the consumer is too slow", now),)

    def closed(self, now: int) -> Told:
        """We end the feed."""
        told = self.drops_ended(now) + self._close_hole(now)
        self._subscribed = False
        self._silent = None
        return told + self._become("closed", "", now)

    def _spoke(self, rhythm: Rhythm, now: int) -> Told:
        if self._silent is rhythm:
            self._silent = None
            told = self._close_hole(now) if self._subscribed else NOTHING
            return told + (self._become("subscribed", "", now) if self.state == "silent" else NOTHING)
        shown = self._closes if self._closes_told else self._frames
        if self.state == "quiet" and rhythm is shown:
            return self._become("subscribed", "", now)
        return NOTHING

    def _fall_silent(self, rhythm: Rhythm, what: str, limit: float, now: int) -> Told:
        self._silent, self._silence = rhythm, f"no {what}"
        reason = f"no {what} for {rhythm.elapsed(now):.0f} s; up to {limit:.0f} s is believable at its usual rate"
        self._open_hole(rhythm.last, f"silent: no {what}")
        return self._become("silent", reason, now)

    def _open_hole(self, at: int, reason: str) -> None:
        if self._hole is None:
            self._hole = at, reason

    def _close_hole(self, now: int) -> Told:
        if self._hole is None:
            return NOTHING
        (start, reason), self._hole = self._hole, None
        return (self._gap(start, now, reason, now),)

    def _gap(self, start: int, end: int, reason: str, now: int) -> FeedStatus:
        return FeedStatus(
            self.venue, self.feed, "gap", reason, now, min(start, end), end, self.reconnects, self.dropped
        )  # fmt: skip

    def _become(self, state: FeedState, reason: str, now: int) -> Told:
        if (state, reason) == (self.state, self.reason):
            return NOTHING
        self.state, self.reason = state, reason
        return (FeedStatus(self.venue, self.feed, state, reason, now, None, None, self.reconnects, self.dropped),)
