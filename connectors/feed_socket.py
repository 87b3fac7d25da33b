"""A websocket that hands each message on the instant it is complete, stamped when its bytes came off the socket.

The library's own queue would wake a coroutine per message; here a message goes from the parser to the receiver in the
same call, and the stamp is that of the read it came with.
"""

from __future__ import annotations

from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from schemas.clock import Clock

_PING, _PONG, _CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE


class Receiver(Protocol):
    """Whom a ``FeedSocket`` reports to, from within the event loop."""

    def socket_opened(self, socket: FeedSocket, now: int) -> None:
        """The handshake is done; no message was handed on yet."""

    def message(self, payload: bytes, now: int) -> None:
        """A whole message, received at ``now``."""


class FeedSocket(ClientConnection):
    """One connection. ``websockets`` makes it, through ``connect(create_connection=…)``."""

    def __init__(self, receiver: Receiver, clock: Clock, protocol: ClientProtocol, **settings: Any) -> None:
        super().__init__(protocol, **settings)
        self.alive_at = self.loop.time()
        """Loop time of the last bytes."""
        self.received = clock()
        """Clock time of the last bytes, nanoseconds."""
        self._receiver = receiver
        self._clock = clock
        self._parts = bytearray()

    def data_received(self, data: bytes) -> None:
        """Bytes came off the socket."""
        self.alive_at = self.loop.time()
        self.received = self._clock()
        super().data_received(data)
        if self.protocol.parser_exc is not None:
            # The peer broke the protocol or our limit: it is not worth waiting for its half of the farewell.
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Hand on a message; everything else is the library's."""
        if not isinstance(event, Frame):
            super().process_event(event)
            if self.protocol.state is State.OPEN:
                self._receiver.socket_opened(self, self.received)
        elif event.opcode is _PONG or event.opcode is _PING or event.opcode is _CLOSE:
            super().process_event(event)
        elif event.fin and not self._parts:
            self._receiver.message(bytes(event.data), self.received)
        else:
            self._parts += event.data
            if event.fin:
                whole = bytes(self._parts)
                self._parts.clear()
                self._receiver.message(whole, self.received)

    def say(self, text: str) -> bool:
        """Send at once, without waiting; false where the peer reads too slowly, or not at all, for it to make sense."""
        if self.paused or self.protocol.state is not State.OPEN:
            return False
        self.protocol.send_text(text.encode())
        self.send_data()
        return True
