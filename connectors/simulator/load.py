"""Load for measurements: forced-close frames at a steady rate or all at once, each telling when it was sent.

The frames are those of the venue, with one field more at their top level: ``"sent"``, nanoseconds UTC by the clock of
the simulator, taken as the frame is written to the socket. Every event differs from every other in its quantity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from websockets.frames import Frame, Opcode

from connectors.simulator.listings import ASSETS, Listing
from connectors.simulator.market import Close
from connectors.simulator.venue import Conversation
from connectors.simulator.wire import Link
from schemas.clock import Clock
from schemas.records import Position

_UNSENT = b'"sent":0000000000000000000'
_SETTLE = 0.5
"""Seconds between the last wanted subscription and the first frame."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many frames, how fast, and as which venues.

    :arg rate: frames per second over all venues; nothing for all of them in one instant.
    """

    frames: int
    rate: float | None = None
    venues: tuple[str, ...] = ("binance_usdm", "bybit")


class Poured(NamedTuple):
    """What was sent: frames, and nanoseconds UTC of the first and the last."""

    frames: int
    first: int
    last: int


class Listener(NamedTuple):
    """A client that hears of forced closes, and of which contracts."""

    conversation: Conversation
    link: Link
    listings: list[Listing]


Clients = Callable[[], Sequence[tuple[str, Conversation, Link]]]
"""Venue, conversation and socket of everyone connected now."""


async def pour(load: Load, clients: Clients, clock: Clock) -> Poured:
    """Wait until every venue of ``load`` has a listener, then send."""
    while len(found := _listeners(load, clients())) < len(load.venues):  # noqa: ASYNC110 - subscribing rings no bell
        await asyncio.sleep(0.05)
    await asyncio.sleep(_SETTLE)
    if load.rate is None:
        return await _burst(load.frames, found, clock)
    return await _flood(load.frames, load.rate, found, clock)


def _listeners(load: Load, clients: Sequence[tuple[str, Conversation, Link]]) -> list[Listener]:
    """The first client of each venue that is told of any contract."""
    found: dict[str, Listener] = {}
    for venue, conversation, link in clients:
        if venue in load.venues and venue not in found:
            told = [row for row in conversation.world.listings if any(conversation.forced((event(row, 0, 0),)))]
            if told:
                found[venue] = Listener(conversation, link, told)
    return list(found.values())


async def _flood(frames: int, rate: float, listeners: Sequence[Listener], clock: Clock) -> Poured:
    began = clock()
    for number in range(frames):
        due = began + int(number * 1e9 / rate)
        if (left := due - clock()) > 0:
            await asyncio.sleep(left / 1e9)
        listener = listeners[number % len(listeners)]
        for message in _messages(listener, number, listener.conversation.world.offset()):
            listener.link.send_raw(_stamped(message, clock()))
        await listener.link.drain()
    return Poured(frames, began, clock())


async def _burst(frames: int, listeners: Sequence[Listener], clock: Clock) -> Poured:
    parts: list[list[bytes]] = [[] for _ in listeners]
    instant = listeners[0].conversation.world.offset()
    for number in range(frames):
        place = number % len(listeners)
        parts[place].extend(_messages(listeners[place], number, instant))
    ready = [b"".join(part) for part in parts]
    began = clock()
    for listener, part in zip(listeners, ready, strict=True):
        listener.link.send_raw(_stamped(part, began))
    await asyncio.gather(*(listener.link.drain() for listener in listeners))
    return Poured(frames, began, clock())


def _messages(listener: Listener, number: int, time: int) -> Iterator[bytes]:
    """Websocket frames of one event, not yet stamped."""
    listing = listener.listings[number // 2 % len(listener.listings)]
    for wire in listener.conversation.forced((event(listing, number, time),)):
        if isinstance(wire, str):
            text = wire[:-1].encode() + b"," + _UNSENT + b"}"
            yield Frame(Opcode.TEXT, text).serialize(mask=False)


def _stamped(frames: bytes, now: int) -> bytes:
    return frames.replace(_UNSENT, b'"sent":%019d' % now)


def event(listing: Listing, number: int, time: int) -> Close:
    """The ``number``-th event of a load; its quantity is that many lots more than a hundred."""
    price = float(listing.price_text(ASSETS[listing.asset].price * listing.divisor))
    native = float(listing.quantity_text(listing.lot * (100 + number)))
    quantity, usd = listing.measure(native, price, ASSETS[0].price)
    side: Position = "long" if number % 8 else "short"
    return Close(number, time, listing, side, "liquidation", price, native, price / listing.divisor, quantity, usd)
