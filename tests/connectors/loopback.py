"""Venues on 127.0.0.1 for the tests of the connection layer: a real websocket server, a real HTTP server, a dialect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, ClassVar

import msgspec
from websockets.asyncio.server import ServerConnection, serve

from connectors.backoff import BackoffRule
from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    Frame,
    Poll,
    RateLimit,
    Request,
    Session,
)
from connectors.link import LinkTimings
from connectors.poller import PollTimings
from connectors.reader import Reader, ReaderLimits, ReaderTimings, VenueFeeds
from connectors.silence import SilenceRule
from connectors.spool import Item
from connectors.venue_feeds import VenueTimings
from schemas.clock import system_clock
from schemas.instruments import Instrument
from schemas.records import Coverage, FeedStatus

Handler = Callable[[ServerConnection], Awaitable[None]]

QUICK = ReaderTimings(
    LinkTimings(
        open=5.0,
        acknowledge=0.3,
        close=0.2,
        tick=0.02,
        subscribe_pause=0.0,
        fatal_wait=30.0,
        backoff=BackoffRule(0.02, 0.05),
    ),
    PollTimings(first_round=0.05, throttled=0.2),
    VenueTimings(metadata_wait=1.0),
)


class FakeVenue(Exchange):
    """A made-up protocol: ``{"ok":…}`` grants, ``{"no":"why"}`` denies, ``{"ping":n}`` wants ``{"pong":n}``."""

    venue: ClassVar[str] = "bybit"
    title: ClassVar[str] = "Fake"
    coverage: ClassVar[Coverage] = "complete"
    production: ClassVar[Endpoints] = Endpoints("ws://127.0.0.1:1", "http://127.0.0.1:1")
    session_type: ClassVar[type[Session]]

    def __init__(
        self,
        *connections: Connection,
        polls: Sequence[Poll] = (),
        limit: RateLimit | None = None,
        compressed: bool = False,
        metadata: str = "",
    ) -> None:
        self._connections, self._polls, self._metadata = connections, polls, metadata
        self.rate_limit = limit or RateLimit(100_000, 1.0)  # type: ignore[misc]  # one instance, one allowance
        self.compressed = compressed  # type: ignore[misc]  # likewise

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        if not self._metadata:
            return self._connections
        return [_with(c, instruments) for c in self._connections]

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:
        return self._polls

    def metadata_requests(self) -> Sequence[Request]:
        return (Request(self._metadata),) if self._metadata else ()

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        for symbol in msgspec.json.decode(body):
            yield Instrument(self.venue, symbol, symbol.removesuffix("USDT"), 1.0, "base")

    def reply(self, frame: bytes) -> str | None:
        return frame.decode().replace("ping", "pong") if frame.startswith(b'{"ping"') else None

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        if frame.startswith(b'{"ok"'):
            return Acknowledged()
        return Denied(msgspec.json.decode(frame)["no"]) if frame.startswith(b'{"no"') else None

    def address(self, answer: bytes) -> tuple[str, float]:
        told = msgspec.json.decode(answer)
        return told["url"], told["every"]


def _with(connection: Connection, instruments: Sequence[Instrument]) -> Connection:
    return Connection(connection.feed, connection.url, tuple(i.instrument for i in instruments))


@contextmanager
def websocket_venue(handler: Handler, **settings: Any) -> Iterator[str]:
    """A websocket server in its own thread; gives its URL."""
    loop = asyncio.new_event_loop()
    ready: list[str] = []
    opened, ending = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, close_timeout=0.1, **settings) as server:
            ready.append(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            opened.set()
            await ending.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    opened.wait(5)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(5)


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def http_venue(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """An HTTP server in its own thread; ``answer`` gets path and body of each request. Gives its base URL."""

    class Handle(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = answer(self.path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _any  # noqa: N815 - the names http.server calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handle)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def reading(
    exchange: FakeVenue,
    rest: str = "http://127.0.0.1:1",
    timings: ReaderTimings = QUICK,
    limits: ReaderLimits | None = None,
    instruments: Sequence[Instrument] = (),
) -> Iterator[Reader]:
    """A started reader of one venue, stopped at the end."""
    venue = VenueFeeds(exchange, Endpoints("", rest), instruments)
    reader = Reader([venue], system_clock, timings, limits)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


def drain_until(reader: Reader, enough: Callable[[list[Item]], Any], within: float = 3.0) -> list[Item]:
    """What the reader hands over until ``enough`` of it has come; fails where it does not come in time."""
    items: list[Item] = []
    end = monotonic() + within
    while not enough(items):
        assert monotonic() < end, f"not within {within} s; came: {[str(i)[:150] for i in items[-8:]]}; {reader.feeds()}"
        items += reader.drain(0.01)
    return items


def frames(items: Iterable[Item], feed: str | None = None) -> list[bytes]:
    return [i.payload for i in items if isinstance(i, Frame) and feed in {None, i.feed}]


def statuses(items: Iterable[Item], state: str | None = None) -> list[FeedStatus]:
    return [i for i in items if isinstance(i, FeedStatus) and state in {None, i.state}]


def quick_silence(**rule: float) -> SilenceRule:
    return SilenceRule(
        **{"least": 0.15, "prior_gap": 0.01, "quiet_after": 0.05, "false_alarm_every": 1.0, "burst": 0.005, **rule}
    )
