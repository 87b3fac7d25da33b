"""One thread that owns every socket and poll, and hands what they bring to the flow over a bounded spool.

The thread only parses frames and answers protocols, so it needs the interpreter for microseconds at a time. A consumer
that computes in pure Python holds it for 5 ms per turn by default; ``sys.setswitchinterval(0.0005)`` in the process
that owns both brings the wait of the sockets, and so the honesty of receive times, back to about a millisecond.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from connectors.link import LinkTimings, Surroundings
from connectors.poller import PollTimings
from connectors.rest import RestLimits, rest_client
from connectors.spool import Item, Spool, SpoolLimits
from connectors.venue_feeds import VenueFeeds, VenueRun, VenueTimings
from schemas.clock import Clock
from schemas.errors import ConnectionLost
from schemas.records import FeedState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReaderTimings:
    """How patient the reader is."""

    link: LinkTimings = field(default_factory=LinkTimings)
    poll: PollTimings = field(default_factory=PollTimings)
    venue: VenueTimings = field(default_factory=VenueTimings)


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """How much the reader takes in."""

    spool: SpoolLimits = field(default_factory=SpoolLimits)
    rest: RestLimits = field(default_factory=RestLimits)
    frame: int = 16 * 1024 * 1024
    """Bytes of one message, after decompression; a longer one ends the connection."""


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """One connection or poll at one moment."""

    venue: str
    feed: str
    state: FeedState
    reason: str
    frames: int
    reconnects: int
    dropped: int
    last_frame: int
    """Receive time of the last frame, 0 before the first."""


class Reader:
    """Keeps every connection and poll of ``venues`` going. One use: ``start``, ``drain`` again and again, ``stop``.

    At most once: what is not drained when the process dies is gone, and every hole the reader itself notices is a
    ``FeedStatus`` gap row in its place among the frames.
    """

    def __init__(
        self,
        venues: Iterable[VenueFeeds],
        clock: Clock,
        timings: ReaderTimings | None = None,
        limits: ReaderLimits | None = None,
        proxy: str | None = None,
    ) -> None:
        """:arg proxy: URL of an HTTP or SOCKS proxy for sockets and REST; the environment's is never used."""
        self._clock, self._proxy = clock, proxy
        self._timings = timings or ReaderTimings()
        self._limits = limits or ReaderLimits()
        self._spool = Spool(self._limits.spool)
        self._venues = [VenueRun(venue) for venue in venues]
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._closes: deque[tuple[str, str, int]] = deque(maxlen=10_000)
        self._closes_reported = False

    @property
    def venues(self) -> list[str]:
        """Whom it listens to."""
        return [venue.feeds.exchange.venue for venue in self._venues]

    def start(self) -> None:
        """Start the thread; returns once it runs."""
        self._thread.start()
        self._ready.wait()

    def stop(self, timeout: float = 5.0) -> None:
        """Close every socket and end the thread, within ``timeout`` seconds. What waits can still be drained."""
        if self._running is None:
            return
        loop, stop = self._running
        with suppress(RuntimeError):
            # The loop may have ended by itself meanwhile.
            loop.call_soon_threadsafe(stop.set)
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("the reader did not stop in time and is left behind", seconds=timeout)

    def drain(self, wait: float, most: int = 10_000) -> list[Item]:
        """What arrived since, in order; blocks up to ``wait`` seconds (GIL released) for the first item.

        :raises ConnectionLost: the thread died of an unforeseen error, and everything it had read was drained.
        """
        items = self._spool.drain(wait, most)
        if not items and self._failure is not None:
            raise ConnectionLost(f"the reader died: {self._failure!r}") from self._failure
        return items

    def forced_closes(self, venue: str, feed: str, time: int) -> None:
        """The consumer found forced closes in frames of this feed, received at ``time``.

        Once anything was reported, feeds that carry forced closes are judged by them as well, not only by frames.
        """
        self._closes.append((venue, feed, time))

    def feeds(self) -> list[FeedFigures]:
        """Figures of every feed, for a dashboard. Any thread may ask."""
        return [
            FeedFigures(m.venue, m.feed, m.state, m.reason, m.frames, m.reconnects, m.dropped, m.last_frame)
            for venue in self._venues
            for m in list(venue.monitors.values())
        ]

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            # Kept for the consumer, who learns of it by drain().
            self._failure = error
            log.error("the reader died", exc_info=error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        stop = asyncio.Event()
        self._running = asyncio.get_running_loop(), stop
        self._ready.set()
        timings, limits = self._timings, self._limits
        async with rest_client(limits.rest, self._proxy) as client, asyncio.TaskGroup() as group:
            around = Surroundings(
                spool=self._spool,
                clock=self._clock,
                uniform=random.Random().uniform,
                client=client,
                timings=timings.link,
                rest=limits.rest,
                proxy=self._proxy,
                largest_frame=limits.frame,
                closes_reported=lambda: self._closes_reported,
            )
            tasks = [group.create_task(venue.run(around, timings.venue, timings.poll)) for venue in self._venues]
            tasks.append(group.create_task(self._pass_on_closes(around)))
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def _pass_on_closes(self, around: Surroundings) -> None:
        """What the consumer reported reaches the monitors now and then: it decides nothing that hurries."""
        while True:
            await asyncio.sleep(self._timings.link.tick)
            while self._closes:
                name, feed, time = self._closes.popleft()
                self._closes_reported = True
                for venue in self._venues:
                    if venue.feeds.exchange.venue == name and feed in venue.monitors:
                        around.tell(venue.monitors[feed].forced_closes(time))


__all__ = ["FeedFigures", "Reader", "ReaderLimits", "ReaderTimings", "VenueFeeds"]
