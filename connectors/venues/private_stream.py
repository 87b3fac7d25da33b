"""The private stream of an account: a socket that reconnects and tells its holes, read by the dialect."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from connectors.catalogue import Catalogue
from connectors.exchange import UNREADABLE, Denied, Exchange, Frame
from connectors.intake import Intake
from schemas.clock import Clock
from schemas.errors import ConnectionLost, Refused
from schemas.instruments import Instrument
from schemas.orders import Fill, OrderStatus
from schemas.records import AccountEvent, DeadLetter, FeedState, FeedStatus

PrivateMessage = AccountEvent | Fill | OrderStatus | FeedStatus
FEED = "private"


class _Reader:
    """One connection's frames, read by the venue's dialect."""

    def __init__(self, exchange: Exchange, instruments: Sequence[Instrument]) -> None:
        self._venue = exchange.venue
        self._intake = Intake(Catalogue(instruments))
        self._session = exchange.session(self._intake.venue(exchange.venue, exchange.coverage))

    def read(self, payload: bytes, now: int) -> list[object]:
        """The records of a frame."""
        rows, done = self._intake.open([Frame(self._venue, FEED, payload, now)])
        try:
            self._session.read(payload, now, FEED)
        except UNREADABLE as error:
            self._intake.reject(f"unreadable frame: {type(error).__name__}: {error}")
        done(len(rows))
        # What the public may know of a forced close is not wanted here, and converting it would wait for a compiler.
        rows.clear()
        return [record for _, record in self._intake.take().others]


class PrivateStream(ABC):
    """What differs between venues: where to connect, what to say, and which frames are fills and orders of ours.

    :arg patience: seconds without a frame, answers to pings included, after which the connection is silent and
        made anew.
    :arg acknowledgements: how many answers to ``greet`` mean subscribed.
    :arg pause: seconds before a lost connection is made again.
    """

    def __init__(
        self,
        exchange: Exchange,
        instruments: Sequence[Instrument],
        clock: Clock,
        *,
        patience: float = 30.0,
        acknowledgements: int = 0,
        pause: float = 0.5,
    ) -> None:
        self._exchange = exchange
        self._instruments = list(instruments)
        self._clock = clock
        self._patience = patience
        self._acknowledgements = acknowledgements
        self._pause = pause
        self._reconnects = 0

    @abstractmethod
    async def address(self) -> str:
        """Where to connect. Raises ConnectionLost where it cannot be told."""

    async def greet(self, socket: ClientConnection) -> None:  # noqa: B027 - most venues choose by address
        """Say what must be said after connecting."""

    def public(self, payload: bytes) -> bool:  # noqa: ARG002 - venues override it
        """Whether the dialect, which knows what everybody may see and notices to us, reads the frame."""
        return True

    @abstractmethod
    def own(self, frame: Any) -> list[Fill | OrderStatus]:
        """Our fills and orders in a decoded frame."""

    def headers(self) -> dict[str, str]:
        """Of the handshake."""
        return {}

    async def tend(self, socket: ClientConnection) -> None:  # noqa: ARG002 - venues override it
        """Runs beside the connection for what must be repeated; ending or failing ends the connection."""
        await asyncio.Event().wait()

    async def snapshot(self) -> list[PrivateMessage]:
        """What is so when the connection begins, where the stream itself does not tell."""
        return []

    async def read(self) -> AsyncIterator[PrivateMessage]:
        """Everything told, for ever. A hole is told as a gap before anything that follows it."""
        lost_at: int | None = None
        while True:
            heard_at = self._clock()
            try:
                async with connect(
                    await self.address(), additional_headers=self.headers(), user_agent_header="breakwater", proxy=None
                ) as socket:
                    await self.greet(socket)
                    early = await self._acknowledged(socket)
                    if lost_at is not None:
                        yield self._status("gap", "the connection was lost", lost_at)
                    yield self._status("subscribed", "")
                    for message in await self.snapshot():
                        yield message
                    async for message in self._frames(socket, early):
                        heard_at = self._clock()
                        yield message
            except (OSError, TimeoutError, WebSocketException, ConnectionLost) as error:
                lost_at = heard_at if lost_at is None else lost_at
                self._reconnects += 1
                state: FeedState = "silent" if isinstance(error, TimeoutError) else "unreachable"
                yield self._status(state, f"{type(error).__name__}: {error}")
                await asyncio.sleep(self._pause)
            else:
                lost_at = heard_at if lost_at is None else lost_at

    async def _acknowledged(self, socket: ClientConnection) -> list[bytes]:
        """Wait until the venue has confirmed; returns the frames that came with the confirmations.

        :raises Refused: it did not.
        """
        frames: list[bytes] = []
        missing = self._acknowledgements
        async with asyncio.timeout(self._patience):
            while missing:
                raw = await socket.recv()
                frames.append(raw.encode() if isinstance(raw, str) else raw)
                answer = self._exchange.acknowledgement(frames[-1])
                if isinstance(answer, Denied):
                    raise Refused(self._exchange.venue, answer.reason)
                missing -= answer is not None
        return frames

    async def _frames(self, socket: ClientConnection, early: list[bytes]) -> AsyncIterator[PrivateMessage]:
        reader = _Reader(self._exchange, self._instruments)
        for payload in early:
            for message in self._understood(reader, payload):
                yield message
        tending = asyncio.ensure_future(self.tend(socket))
        try:
            while True:
                receiving = asyncio.ensure_future(socket.recv())
                try:
                    await asyncio.wait({receiving, tending}, timeout=self._patience, return_when="FIRST_COMPLETED")
                    if not receiving.done():
                        if tending.done():
                            tending.result()
                            raise ConnectionLost("what keeps the connection alive has ended")
                        raise TimeoutError(f"no frame for {self._patience:g} s")
                    raw = receiving.result()
                finally:
                    receiving.cancel()
                payload = raw.encode() if isinstance(raw, str) else raw
                reply = self._exchange.reply(payload)
                if reply is not None:
                    await socket.send(reply)
                for message in self._understood(reader, payload):
                    yield message
        finally:
            tending.cancel()

    def _understood(self, reader: _Reader, payload: bytes) -> list[PrivateMessage]:
        """The dialect's events, and our own fills and orders; what nobody understands is told as a gap."""
        found: list[PrivateMessage] = []
        now = self._clock()
        if payload == b"pong":
            return found
        for record in reader.read(payload, now) if self.public(payload) else ():
            if isinstance(record, AccountEvent) and record.event != "fill":
                found.append(record)
            elif isinstance(record, DeadLetter):
                found.append(self._status("gap", f"a frame was not understood: {record.reason}", now))
        try:
            found += self.own(msgspec.json.decode(payload))
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError) as error:
            found.append(self._status("gap", f"a frame was not understood: {error}", now))
        return found

    def _status(self, state: FeedState, reason: str, since: int | None = None) -> FeedStatus:
        now = self._clock()
        return FeedStatus(
            self._exchange.venue,
            FEED,
            state,
            reason,
            now,
            gap_from=since,
            gap_to=now if since is not None else None,
            reconnects=self._reconnects,
        )
