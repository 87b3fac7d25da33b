"""Keeps one connection of a venue open: dials, subscribes, answers, watches, renews, and tells every hole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import httpx2
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import PayloadTooBig

from connectors.backoff import Backoff, BackoffRule, Fatal, verdict
from connectors.compression import gunzip
from connectors.exchange import UNREADABLE, Acknowledged, Connection, Denied, Endpoints, Exchange, Frame, Heartbeat
from connectors.feed_socket import FeedSocket
from connectors.feed_state import FeedMonitor, Told
from connectors.rest import USER_AGENT, RestLimits, fetch
from connectors.silence import SilenceRule
from connectors.spool import Opened, Spool
from schemas.clock import Clock
from schemas.errors import ConnectionLost, FrameTooLarge, Refused
from schemas.records import DeadLetter

SMALL = 512
"""A longer frame is no answer to a subscription, once all are answered."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkTimings:
    """How patient a connection is. Seconds."""

    open: float = 10.0
    """For name, socket, TLS and handshake together, and for sending the subscriptions."""
    acknowledge: float = 15.0
    """For the venue to answer all subscriptions."""
    ping_every: float = 20.0
    """A protocol ping of ours; half-open peers are found by the missing pong."""
    pong_within: float = 20.0
    close: float = 2.0
    """For the peer's half of the farewell."""
    tick: float = 1.0
    """How often time is looked at."""
    subscribe_pause: float = 0.05
    """Between subscription messages: venues count them."""
    fatal_wait: float = 900.0
    """Before trying again what will most likely fail the same way."""
    fatal_doubts: int = 5
    """A feed that worked is first tried this often at the back-off's cap: venues answer 403 and 404 in repair."""
    silent_renewal: float = 300.0
    """A silent connection is made anew, and again each time this passes in silence."""
    stale_after: float | None = None
    """Instead of each connection's own ``stale_after``."""
    backoff: BackoffRule = field(default_factory=BackoffRule)
    silence: SilenceRule = field(default_factory=SilenceRule)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all feeds of one reader share."""

    spool: Spool
    clock: Clock
    uniform: Callable[[float, float], float]
    client: httpx2.AsyncClient
    timings: LinkTimings
    rest: RestLimits
    proxy: str | None
    largest_frame: int
    closes_reported: Callable[[], bool] = lambda: False
    """Whether the consumer reports forced closes."""

    def tell(self, told: Told) -> None:
        """Hand statuses to the consumer."""
        for status in told:
            self.spool.put(status)


class Link:
    """One connection, dialled again and again until cancelled."""

    def __init__(
        self,
        around: Surroundings,
        exchange: Exchange,
        endpoints: Endpoints,
        connection: Connection,
        monitor: FeedMonitor | None = None,
    ) -> None:
        """:arg monitor: of the connection this one replaces. Whoever ends the feed for good tells ``closed``."""
        timings = around.timings
        self.monitor = monitor or FeedMonitor(exchange.venue, connection.feed, timings.silence, connection.expected_gap)
        self.connection = connection
        self._around, self._exchange, self._endpoints = around, exchange, endpoints
        self._timings, self._clock, self._spool = timings, around.clock, around.spool
        self._backoff = Backoff(timings.backoff, around.uniform)
        self._log = log.bind(venue=exchange.venue, feed=connection.feed)
        self._stale_after = timings.stale_after or connection.stale_after
        self._worked = False
        self._forget()

    def _forget(self) -> None:
        """Nothing of the last socket holds for the next."""
        self._socket: FeedSocket | None = None
        self._fault: asyncio.Future[ConnectionLost] | None = None
        self._acknowledged = self._denied = 0
        self._frames_before = self.monitor.frames
        self._asked = False
        self._subscribed_at: float | None = None

    async def run(self) -> None:
        """Keep the connection open until cancelled."""
        while True:
            pause = await self._attempt()
            await asyncio.sleep(pause)

    async def _attempt(self) -> float:
        """One connection from dialling to its end; how long to wait before the next."""
        loop = asyncio.get_running_loop()
        self._forget()
        self._around.tell(self.monitor.connecting(self._clock()))
        try:
            reason = await self._connect()
        except Exception as error:  # noqa: BLE001 - verdict() names every case, the unforeseen included
            healthy = loop.time() - self._subscribed_at if self._subscribed_at is not None else 0.0
            return self._failed(error, healthy)
        self._log.info("connection renewed", reason=reason)
        self._around.tell(self.monitor.failed(self._clock(), reason))
        return 0.0

    def _failed(self, error: Exception, healthy: float) -> float:
        judged = verdict(error)
        now = self._clock()
        if isinstance(error, FrameTooLarge):
            self._spool.put(DeadLetter(error.venue, self.connection.feed, str(error), b"", now))
        wait = self._backoff.failed(healthy)
        if isinstance(judged, Fatal):
            doubted = self._worked and self._backoff.failures <= self._timings.fatal_doubts
            rest = self._timings.backoff.cap if doubted else self._timings.fatal_wait
            wait = self._around.uniform(0.9, 1.1) * rest
            self._around.tell(self.monitor.failed(now, judged.reason, "refused"))
            self._log.error("feed refused", reason=judged.reason, again_in=round(wait, 1), exc_info=_unforeseen(error))
        else:
            self._around.tell(self.monitor.failed(now, judged.reason))
            self._log.warning("feed lost", reason=judged.reason, again_in=round(wait, 1))
        return wait

    async def _connect(self) -> str:
        url, heartbeat = await self._address()
        timings = self._timings
        factory = partial(FeedSocket, self, self._clock)
        async with connect(
            url,
            additional_headers=self.connection.headers,
            user_agent_header=USER_AGENT,
            proxy=self._around.proxy,
            open_timeout=timings.open,
            ping_interval=timings.ping_every,
            ping_timeout=timings.pong_within,
            close_timeout=timings.close,
            max_size=self._around.largest_frame,
            create_connection=cast(type[ClientConnection], factory),
        ) as opened:
            socket = cast(FeedSocket, opened)
            try:
                async with asyncio.timeout(timings.open + timings.subscribe_pause * len(self.connection.subscribe)):
                    await self._subscribe(socket)
                return await self._watch(socket, heartbeat)
            finally:
                # The library would say 1011, "internal error", on the way out of a cancelled task.
                await socket.close()

    async def _address(self) -> tuple[str, Heartbeat | None]:
        """Where to connect, and what to say how often; asked of the venue where it wants a token."""
        connection, around = self.connection, self._around
        if connection.token is None:
            return connection.url, connection.heartbeat
        async with asyncio.timeout(around.rest.total):
            answer = await fetch(
                around.client, self._exchange.venue, self._endpoints.rest, connection.token, around.rest.body
            )
        try:
            url, every = self._exchange.address(answer)
        except UNREADABLE as error:
            raise ConnectionLost(f"the answer to the token request makes no sense: {error}") from error
        heartbeat = connection.heartbeat
        return url, Heartbeat(heartbeat.message, every) if heartbeat and every > 0 else heartbeat

    async def _subscribe(self, socket: FeedSocket) -> None:
        for number, message in enumerate(self.connection.subscribe):
            if number:
                await asyncio.sleep(self._timings.subscribe_pause)
            await socket.send(message)
        self._asked = True
        self._check_subscribed(self._clock())

    async def _watch(self, socket: FeedSocket, heartbeat: Heartbeat | None) -> str:
        """Until the connection is lost (raises) or should be made anew (the reason)."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        lifetime = self.connection.lifetime * self._around.uniform(0.90, 0.97)
        beat = opened + heartbeat.every if heartbeat else float("inf")
        ended = asyncio.ensure_future(socket.wait_closed())
        fault = self._fault = self._fault or loop.create_future()
        try:
            while True:
                pause = max(0.0, min(self._timings.tick, beat - loop.time()))
                await asyncio.wait({ended, fault}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                now = loop.time()
                if fault.done():
                    raise fault.result()
                self._raise_faults(socket, now - opened, now - socket.alive_at)
                if heartbeat and now >= beat:
                    socket.say(heartbeat.message)
                    beat = now + heartbeat.every
                self._tick(socket)
                if 0 < lifetime <= now - opened:
                    return f"renewed before the venue's cut at {self.connection.lifetime:.0f} s"
                if self.monitor.state == "silent" and now - opened >= self._timings.silent_renewal:
                    return f"renewed because silent: {self.monitor.reason}"
        finally:
            ended.cancel()

    def _raise_faults(self, socket: FeedSocket, age: float, idle: float) -> None:
        broken = socket.protocol.parser_exc
        if isinstance(broken, PayloadTooBig):
            limit = self._around.largest_frame
            raise FrameTooLarge(self._exchange.venue, broken.size or limit + 1, limit)
        if socket.connection_lost_waiter.done():
            raise socket.close_exc
        if self._subscribed_at is None and age > self._timings.acknowledge:
            answered = self._acknowledged + self._denied
            raise ConnectionLost(
                f"{answered} of {self.connection.acknowledgements} subscriptions answered within {age:.0f} s"
            )
        if idle > self._stale_after:
            raise ConnectionLost(f"no frame, pings included, for {idle:.0f} s")

    def _tick(self, socket: FeedSocket) -> None:
        now = self._clock()
        self.monitor.alive = max(self.monitor.alive, socket.received)
        if self.connection.carries_liquidations and self._around.closes_reported():
            self.monitor.judge_closes(now)
        if self.monitor.dropping and self._spool.has_room(0, vital=self.connection.carries_liquidations):
            self._around.tell(self.monitor.drops_ended(now))
        self._around.tell(self.monitor.tick(now))

    def socket_opened(self, socket: FeedSocket, now: int) -> None:
        """See ``Receiver``."""
        self._socket = socket
        self._spool.put(Opened(self._exchange.venue, self.connection.feed))
        self._around.tell(self.monitor.opened(now))
        if not self.connection.subscribe:
            # Subscribed by URL: data may be in the same packet as the handshake.
            self._asked = True
            self._check_subscribed(now)

    def message(self, payload: bytes, now: int) -> None:
        """See ``Receiver``. The hot path: a frame is spooled before anything else is thought about it."""
        exchange, connection = self._exchange, self.connection
        if exchange.compressed:
            try:
                payload = gunzip(exchange.venue, payload, self._around.largest_frame)
            except FrameTooLarge as error:
                self._give_up(error)
                return
        size, spool = len(payload), self._spool
        if spool.has_room(size, vital=connection.carries_liquidations):
            if self.monitor.dropping:
                self._around.tell(self.monitor.drops_ended(now))
            spool.put_frame(Frame(exchange.venue, connection.feed, payload, now))
        else:
            self.monitor.drop(now)
        try:
            self._answer(payload, size, now)
        except UNREADABLE:
            # Reading frames is the session's task: it makes a dead letter of what it cannot.
            self.monitor.alive = now

    def _answer(self, payload: bytes, size: int, now: int) -> None:
        """What the protocol wants us to do about the frame, and whether it told anything."""
        exchange = self._exchange
        reply = exchange.reply(payload)
        if reply is not None:
            self.monitor.alive = now
            if self._socket is not None:
                self._socket.say(reply)
            return
        if self._subscribed_at is None or size < SMALL:
            answer = exchange.acknowledgement(payload)
            if answer is not None:
                self.monitor.alive = now
                self._answered(answer, now)
                return
        if exchange.tells(payload):
            told = self.monitor.data(now)
            if told:
                self._around.tell(told)
        else:
            self.monitor.alive = now

    def _answered(self, answer: Acknowledged | Denied, now: int) -> None:
        if isinstance(answer, Acknowledged):
            self._acknowledged += 1
        else:
            self._denied += 1
            self._around.tell(self.monitor.refused(now, answer.reason))
            self._log.error("subscription refused", reason=answer.reason)
        nothing_granted = not self._acknowledged and self.monitor.frames == self._frames_before
        if self._denied and nothing_granted and self._denied >= self.connection.acknowledgements:
            self._give_up(Refused(self._exchange.venue, self.monitor.reason))
            return
        self._check_subscribed(now)

    def _check_subscribed(self, now: int) -> None:
        """Subscribed once everything was asked and answered; a part may have been refused."""
        answered = self._acknowledged + self._denied
        if self._subscribed_at is None and self._asked and answered >= self.connection.acknowledgements:
            self._subscribed_at = asyncio.get_running_loop().time()
            self._worked = True
            self._around.tell(self.monitor.subscribed(now))

    def _give_up(self, error: ConnectionLost) -> None:
        if self._fault is None:
            self._fault = asyncio.get_running_loop().create_future()
        if not self._fault.done():
            self._fault.set_result(error)


def _unforeseen(error: Exception) -> bool:
    """Whether the log should carry the traceback."""
    return not isinstance(error, (ConnectionLost, OSError)) and type(error).__module__.partition(".")[0] not in {
        "websockets",
        "httpx2",
    }
