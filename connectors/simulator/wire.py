"""One port for HTTP and websockets: plain requests of any method are answered, upgrades become ``Link``.

Built on the no-I/O protocol of ``websockets``, because its server answers nothing but GET and two venues are asked by
POST.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from connectors.simulator.venue import Signal, Wire

_HEAD_LIMIT = 256 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


@dataclass(frozen=True, slots=True)
class Head:
    """What an HTTP request asks for."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def upgrades(self) -> bool:
        """Whether a websocket is wanted."""
        return self.headers.get("upgrade", "").lower() == "websocket"


def read_head(raw: bytes) -> Head:
    """The request line and headers. Raises ValueError on anything malformed."""
    lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    parts = urlsplit(target)
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Head(method, unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True)), headers)


class Link:
    """An open websocket on the venue's side."""

    def __init__(self, protocol: ServerProtocol, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._writer = writer
        self.heard_at = asyncio.get_running_loop().time()
        """Loop time of the client's last frame, control frames included."""

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return not self._writer.is_closing() and self._protocol.state.name == "OPEN"

    def send(self, wire: Wire) -> None:
        """Queue a message, a protocol ping, or the end."""
        if not self.open:
            return
        if wire is Signal.DROP:
            self._protocol.send_close(1000)
        elif wire is Signal.PING:
            self._protocol.send_ping(b"")
        elif isinstance(wire, bytes):
            self._protocol.send_binary(wire)
        elif isinstance(wire, str):
            self._protocol.send_text(wire.encode())
        self.flush()

    def send_raw(self, frames: bytes) -> None:
        """Queue ready-made websocket frames."""
        if self.open:
            self._writer.write(frames)

    def flush(self) -> None:
        """Hand what the protocol wants sent to the socket; an empty item means end of stream."""
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._writer.close()

    async def drain(self) -> None:
        """Wait until the client reads."""
        await self._writer.drain()

    def receive(self, data: bytes) -> list[str]:
        """The text messages completed by ``data``; pings are answered."""
        self.heard_at = asyncio.get_running_loop().time()
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        self.flush()
        return [bytes(e.data).decode() for e in events if isinstance(e, Frame) and e.opcode is Opcode.TEXT]


Answer = Callable[[Head, str], tuple[int, str]]
"""Status and JSON body for a plain request with its body."""
Opened = Callable[[Head, Link], Callable[[str], None] | None]
"""Told of a new link; returns what to call with each message, or nothing where no such socket exists."""
Closed = Callable[[Link], None]


class Port:
    """Listens on loopback and sorts requests from upgrades."""

    def __init__(self, answer: Answer, opened: Opened, closed: Closed) -> None:
        self._answer = answer
        self._opened = opened
        self._closed = closed
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def listen(self, port: int = 0) -> int:
        """Start; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_HEAD_LIMIT)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None:
            return
        self._server.close()
        served = [task for task in self._open.values() if task is not None]
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*served)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, InvalidState):
            pass  # a client that leaves or talks nonsense is its own affair
        finally:
            del self._open[writer]
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            raw = await reader.readuntil(b"\r\n\r\n")
            head = read_head(raw)
            if head.upgrades:
                await self._talk(head, raw, reader, writer)
                return
            body = await reader.readexactly(int(head.headers.get("content-length", "0")))
            writer.write(_response(*self._answer(head, body.decode())))
            await writer.drain()
            if head.headers.get("connection", "").lower() == "close":
                return

    async def _talk(self, head: Head, raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol(max_size=None)
        protocol.receive_data(raw)
        request = protocol.events_received()[0]
        link = Link(protocol, writer)
        if isinstance(request, Request):
            protocol.send_response(protocol.accept(request))
        heard = self._opened(head, link) if protocol.state.name == "OPEN" else None
        if heard is None:
            link.send(Signal.DROP)
        link.flush()
        try:
            while data := await reader.read(65536):
                for message in link.receive(data):
                    if heard is not None:
                        heard(message)
            protocol.receive_eof()
            link.flush()
        finally:
            self._closed(link)


def _response(status: int, body: str) -> bytes:
    payload = body.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload
