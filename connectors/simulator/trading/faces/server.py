"""A simulated venue on a loopback port, in real time."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from connectors.exchange import Endpoints
from connectors.simulator.trading.commands import Envelope, Reply
from connectors.simulator.trading.private import Message
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.simulator.trading.virtual_time import Pacemaker
from schemas.clock import SECOND, Clock, system_clock
from schemas.orders import Unknown
from schemas.records import FeedStatus

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class Malformed(ValueError):
    """A request the venue does not document, or not signed by whom it says."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


def only(fields: Mapping[str, Any], needed: Sequence[str], allowed: Sequence[str] = ()) -> None:
    """Refuse what is missing and what nobody documents.

    :raises Malformed: with the names.
    """
    unknown = sorted(set(fields) - set(needed) - set(allowed))
    missing = sorted(set(needed) - set(fields))
    if unknown or missing:
        raise Malformed("fields", f"unknown {unknown}, missing {missing}")


def respond(body: Any, status: int = 200, retry_after: int | None = None) -> Response:
    """A JSON response."""
    headers = {"Retry-After": f"{retry_after / SECOND:g}"} if retry_after is not None else None
    return Response(msgspec.json.encode(body), status, headers, "application/json")


class Face(ABC):
    """One venue's dialect over the engine.

    :arg venue: on an agenda of its own or shared; it runs by ``clock`` from the start on.
    """

    def __init__(self, venue: SimulatedVenue, clock: Clock = system_clock) -> None:
        self.venue = venue
        self._clock = clock
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._pacemaker: Pacemaker | None = None
        self.seen: list[tuple[str, str, bytes]] = []
        """Every request: method, path with query, body."""
        self.refused: list[str] = []
        """Why requests were malformed."""

    @abstractmethod
    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """Handlers by method and path."""

    @abstractmethod
    def streams(self) -> Mapping[str, Callable[[WebSocket], Awaitable[None]]]:
        """Websocket handlers by path."""

    @abstractmethod
    def complaint(self, error: Malformed) -> Response:
        """The venue's words for a malformed request."""

    # -- the engine, awaited

    async def submit(self, envelope: Envelope) -> Reply:
        """The engine's reply; never comes where the engine loses it."""
        reply: Reply = await self._wait(lambda answer: self.venue.submit(envelope, answer))
        return reply

    async def ask(self, account: str, question: Callable[[], T]) -> T | Unknown:
        """The answer to a query."""
        found: T | Unknown = await self._wait(lambda answer: self.venue.ask(account, question, answer))
        return found

    async def _wait(self, start: Callable[[Callable[[Any], None]], None]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.catch_up()
        start(lambda found: None if future.done() else future.set_result(found))
        self.catch_up()
        return await future

    def catch_up(self) -> None:
        """Bring the engine to the time of the clock."""
        if self._pacemaker is not None:
            self._pacemaker.catch_up()

    async def tell(
        self,
        socket: WebSocket,
        account: str,
        word: Callable[[Message], Sequence[Any]],
        first: Sequence[Any] = (),
    ) -> None:
        """Speak an account's stream into a socket until either ends; a gap in the engine cuts the socket.

        :arg first: frames to begin with, such as acknowledgements: nothing that happens after them is missed.
        """
        waiting: asyncio.Queue[Message] = asyncio.Queue()
        leave = self.venue.accounts.streams[account].listen(waiting.put_nowait)
        self.catch_up()
        gone = asyncio.ensure_future(_gone(socket))
        try:
            for frame in first:
                await socket.send_text(msgspec.json.encode(frame).decode())
            while not gone.done():
                coming = asyncio.ensure_future(waiting.get())
                await asyncio.wait({coming, gone}, return_when="FIRST_COMPLETED")
                if not coming.done():
                    coming.cancel()
                    return
                message = coming.result()
                if isinstance(message, FeedStatus) and message.state == "gap":
                    await socket.close(1012)
                    return
                for frame in word(message):
                    await socket.send_text(msgspec.json.encode(frame).decode())
        finally:
            leave()
            gone.cancel()

    # -- serving

    def _route(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            self.seen.append((request.method, path, await request.body()))
            self.catch_up()
            try:
                return await handler(request)
            except Malformed as error:
                self.refused.append(str(error))
                return self.complaint(error)

        return handle

    async def start(self) -> Endpoints:
        """Listen on a free port; returns where."""
        routes: list[BaseRoute] = [
            Route(path, self._route(handler), methods=[method]) for (method, path), handler in self.routes().items()
        ]
        routes += [WebSocketRoute(path, handler) for path, handler in self.streams().items()]
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            Starlette(routes=routes), ws="websockets-sansio", http="h11", lifespan="off", log_config=None,
            timeout_graceful_shutdown=1, access_log=False,
        )  # fmt: skip
        self._server = _Quiet(config)
        self._pacemaker = Pacemaker(self.venue.agenda, self._clock, asyncio.get_running_loop())
        self._serving = asyncio.ensure_future(self._server.serve([listening]))
        while not self._server.started:  # noqa: ASYNC110 - it offers no event
            await asyncio.sleep(0.005)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        return Endpoints(websocket=f"ws://{address}", rest=f"http://{address}")

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._pacemaker is not None:
            self._pacemaker.stop()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            with suppress(asyncio.CancelledError):
                await self._serving

    async def __aenter__(self) -> Self:
        self.endpoints = await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _Quiet(uvicorn.Server):
    """A server that leaves signals to whoever owns the process."""

    def install_signal_handlers(self) -> None:
        """None."""


async def _gone(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()
