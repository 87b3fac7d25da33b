"""Everything that runs for one venue: its sockets and polls, following its list of instruments from day to day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from connectors.exchange import UNREADABLE, Connection, Endpoints, Exchange, Poll
from connectors.feed_state import FeedMonitor
from connectors.link import Link, Surroundings
from connectors.metadata import ask
from connectors.poller import Poller, PollTimings
from connectors.recording import METADATA
from connectors.spool import Listed
from schemas.instruments import Instrument, scale
from schemas.records import FeedStatus

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VenueFeeds:
    """One venue to listen to."""

    exchange: Exchange
    endpoints: Endpoints
    instruments: Sequence[Instrument] = ()
    """What is known before the venue was asked (the snapshot): used where it cannot be asked."""
    assets: frozenset[str] | None = None
    """Only contracts on these canonical assets; all where not told."""
    ask_metadata: bool = True
    """Ask the venue for its instruments at start and daily."""


@dataclass(frozen=True, slots=True)
class VenueTimings:
    """When a venue is asked for its instruments. Seconds."""

    metadata_wait: float = 5.0
    """How long the sockets wait for the answer at start; then they open with what was known before."""
    refresh: float = 86_400.0
    """Between askings; 10 % jitter."""
    refresh_after_failure: float = 600.0


class VenueRun:
    """One venue at work."""

    def __init__(self, feeds: VenueFeeds) -> None:
        self.feeds = feeds
        self.monitors: dict[str, FeedMonitor] = {}
        """By feed."""
        self._instruments: dict[str, Instrument] = {i.instrument: i for i in feeds.instruments}
        self._links: dict[str, tuple[Connection, asyncio.Task[None]]] = {}
        self._polls: Sequence[Poll] = ()
        self._poller: asyncio.Task[None] | None = None

    async def run(self, around: Surroundings, timings: VenueTimings, polling: PollTimings) -> None:
        """Run until cancelled."""
        if self._instruments:
            around.spool.put(Listed(self.feeds.exchange.venue, tuple(self._instruments.values())))
        try:
            async with asyncio.TaskGroup() as group:
                if not (self.feeds.ask_metadata and self.feeds.exchange.metadata_requests()):
                    await self._align(group, around, polling)
                    return
                await self._follow(group, around, timings, polling)
        finally:
            for monitor in self.monitors.values():
                around.tell(monitor.closed(around.clock()))

    async def _follow(
        self, group: asyncio.TaskGroup, around: Surroundings, timings: VenueTimings, polling: PollTimings
    ) -> None:
        """Ask for the instruments now and then, and keep the feeds in line with them."""
        asking = group.create_task(self._ask(around))
        await asyncio.wait({asking}, timeout=timings.metadata_wait)
        while True:
            await self._align(group, around, polling)
            if asking.done():
                pause = timings.refresh if asking.result() else timings.refresh_after_failure
                await asyncio.sleep(pause * around.uniform(0.9, 1.1))
                asking = group.create_task(self._ask(around))
            await asyncio.wait({asking})

    async def _ask(self, around: Surroundings) -> bool:
        """Take in what the venue lists now; whether it answered."""
        exchange = self.feeds.exchange
        listing = await ask(around.client, exchange, self.feeds.endpoints, around.clock, around.rest)
        for frame in listing.frames:
            if around.spool.has_room(len(frame.payload)):
                around.spool.put_frame(frame)
        if listing.problem is None:
            self._instruments.clear()
        else:
            reason = listing.problem
            around.spool.put(FeedStatus(exchange.venue, METADATA, "unreachable", reason, around.clock()))
        if listing.instruments:
            self._instruments.update((i.instrument, i) for i in listing.instruments)
            around.spool.put(Listed(exchange.venue, listing.instruments))
        return listing.problem is None

    async def _align(self, group: asyncio.TaskGroup, around: Surroundings, polling: PollTimings) -> None:
        """Start what the instruments ask for and is not running, end what they no longer ask for."""
        exchange, endpoints = self.feeds.exchange, self.feeds.endpoints
        chosen = [i for i in self._instruments.values() if self._wanted(i)]
        try:
            connections = {c.feed: c for c in exchange.connections(endpoints, chosen)}
            polls = tuple(exchange.polls(chosen))
        except UNREADABLE as error:
            reason = f"no connections can be made of its instruments: {type(error).__name__}: {error}"
            log.error("venue left out", venue=exchange.venue, reason=reason, exc_info=True)
            around.spool.put(FeedStatus(exchange.venue, METADATA, "refused", reason, around.clock()))
            return
        for feed, (connection, task) in list(self._links.items()):
            if connections.get(feed) != connection:
                await self._end(feed, task, around, gone=feed not in connections)
        for feed, connection in connections.items():
            if feed not in self._links:
                link = Link(around, exchange, endpoints, connection, self.monitors.get(feed))
                self.monitors[feed] = link.monitor
                self._links[feed] = connection, group.create_task(link.run())
        if polls != self._polls:
            await _cancel(self._poller)
            poller = Poller(around, exchange, endpoints, polls, polling, self.monitors)
            self.monitors.update(poller.monitors)
            self._polls, self._poller = polls, group.create_task(poller.run())

    async def _end(self, feed: str, task: asyncio.Task[None], around: Surroundings, *, gone: bool) -> None:
        """End one connection: for good, or to be made anew with other subscriptions (the hole is a gap row then)."""
        monitor, now = self.monitors[feed], around.clock()
        around.tell(monitor.closed(now) if gone else monitor.failed(now, "made anew: the instruments changed"))
        await _cancel(task)
        del self._links[feed]

    def _wanted(self, instrument: Instrument) -> bool:
        return self.feeds.assets is None or scale(instrument)[0] in self.feeds.assets


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
