"""REST polls of one venue: spread over their interval, within the venue's allowance, each body a frame."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import structlog

from connectors.backoff import Retry, Verdict, verdict
from connectors.exchange import Endpoints, Exchange, Frame, Poll
from connectors.feed_state import FeedMonitor
from connectors.link import Surroundings
from connectors.rate_limit import TokenBucket
from connectors.rest import fetch
from schemas.clock import SECOND

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PollTimings:
    """How polls are paced. Seconds."""

    at_once: int = 8
    """Requests under way at the same time, per venue."""
    first_round: float = 30.0
    """The first answers of slow polls are spread over at most this."""
    jitter: float = 0.05
    """Share of the interval by which each repetition varies."""
    slowest: float = 3600.0
    """The longest a failing poll, or a venue that throttles, is left alone."""
    throttled: float = 30.0
    """The first pause after HTTP 429 or 418 without ``Retry-After``; doubled each time."""
    failures: int = 3
    """Consecutive failures of a feed (of all its polls, where it has fewer) that make it unreachable."""


class Poller:
    """Repeats the polls of one venue until cancelled."""

    def __init__(
        self,
        around: Surroundings,
        exchange: Exchange,
        endpoints: Endpoints,
        polls: Sequence[Poll],
        timings: PollTimings | None = None,
        monitors: Mapping[str, FeedMonitor] = MappingProxyType({}),
    ) -> None:
        """:arg monitors: of the poller this one replaces. Whoever ends the feeds for good tells ``closed``."""
        self._around, self._exchange, self._endpoints = around, exchange, endpoints
        self._timings = timings or PollTimings()
        self._polls = tuple(polls)
        self._bucket = TokenBucket(exchange.rate_limit, max((poll.weight for poll in polls), default=1))
        self._paused_until = 0.0
        self._throttles = 0
        counts = Counter(poll.feed for poll in polls)
        self._patience = {feed: min(count, self._timings.failures) for feed, count in counts.items()}
        self._misses: Counter[str] = Counter()
        self.monitors = {
            feed: monitors.get(feed) or FeedMonitor(exchange.venue, feed, around.timings.silence) for feed in counts
        }
        self._log = log.bind(venue=exchange.venue)

    async def run(self) -> None:
        """Poll until cancelled."""
        for monitor in self.monitors.values():
            self._around.tell(monitor.connecting(self._around.clock()))
        slots = asyncio.Semaphore(self._timings.at_once)
        async with asyncio.TaskGroup() as group:
            for poll, delay in first_round(self._polls, self._timings.first_round):
                group.create_task(self._repeat(poll, delay, slots))

    async def _repeat(self, poll: Poll, delay: float, slots: asyncio.Semaphore) -> None:
        timings = self._timings
        slowest = max(poll.every, timings.slowest)
        failures = 0
        while True:
            await asyncio.sleep(delay)
            await self._permission(poll.weight)
            async with slots:
                judged = await self._poll(poll)
            failures = failures + 1 if judged else 0
            if judged and failures == 1:
                self._log.warning("poll failed", feed=poll.feed, path=poll.request.path, reason=judged.reason)
            every = min(poll.every * 2.0 ** min(failures, 12), slowest)
            delay = every * self._around.uniform(1 - timings.jitter, 1 + timings.jitter)

    async def _permission(self, weight: int) -> None:
        """Wait until the venue is not asking for peace and its allowance permits the request."""
        loop = asyncio.get_running_loop()
        while True:
            pause = self._paused_until - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
                continue
            await asyncio.sleep(self._bucket.reserve(loop.time(), weight))
            if self._paused_until <= loop.time():
                return

    async def _poll(self, poll: Poll) -> Verdict | None:
        """Ask once; what went wrong, if anything."""
        around = self._around
        try:
            async with asyncio.timeout(around.rest.total):
                body = await fetch(
                    around.client, self._exchange.venue, self._endpoints.rest, poll.request, around.rest.body
                )
        except Exception as error:  # noqa: BLE001 - verdict() names every case, the unforeseen included
            judged = verdict(error)
            self._failed(poll.feed, judged)
            return judged
        self._throttles = 0
        self._succeeded(poll.feed, body)
        return None

    def _succeeded(self, feed: str, body: bytes) -> None:
        now, spool, monitor = self._around.clock(), self._around.spool, self.monitors[feed]
        self._misses[feed] = 0
        if monitor.state != "subscribed":
            self._around.tell(monitor.opened(now))
            self._around.tell(monitor.subscribed(now))
        if spool.has_room(len(body), vital=False):
            self._around.tell(monitor.drops_ended(now))
            spool.put_frame(Frame(self._exchange.venue, feed, body, now))
        else:
            monitor.drop(now)
        self._around.tell(monitor.data(now))

    def _failed(self, feed: str, judged: Verdict) -> None:
        self._misses[feed] += 1
        if isinstance(judged, Retry) and (judged.throttled or judged.after):
            self._pause(judged.after)
        if self._misses[feed] >= self._patience[feed]:
            self._around.tell(self.monitors[feed].failed(self._around.clock(), judged.reason, "unreachable"))

    def _pause(self, after: str | None) -> None:
        """Leave the venue in peace for as long as it asks, else for longer each time."""
        self._throttles += 1
        told = retry_after(after, self._around.clock() / SECOND) if after else None
        pause = self._timings.throttled * 2.0 ** min(self._throttles - 1, 12) if told is None else told
        until = asyncio.get_running_loop().time() + min(pause, self._timings.slowest)
        self._paused_until = max(self._paused_until, until)


def first_round(polls: Sequence[Poll], longest: float) -> list[tuple[Poll, float]]:
    """Seconds until each poll goes first: those of one feed evenly over their interval, or ``longest`` if shorter."""
    counts = Counter(poll.feed for poll in polls)
    seen: Counter[str] = Counter()
    found = []
    for poll in polls:
        found.append((poll, min(poll.every, longest) * seen[poll.feed] / counts[poll.feed]))
        seen[poll.feed] += 1
    return found


def retry_after(header: str, now: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, which holds seconds or a date; nothing where it makes no sense.

    :arg now: seconds since 1970.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
