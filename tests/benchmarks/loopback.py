"""A load of the simulator, heard by the live pipeline and by a bare client; every frame's times along the way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from connectors.exchange import Connection, Endpoints, Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshot
from connectors.reader import Reader
from connectors.simulator import SimulatorProcess
from connectors.simulator.listings import LISTINGS
from connectors.venue_feeds import VenueFeeds
from flows import live
from flows.settings import Settings
from flows.stages import Outcome, execute
from schemas.clock import SECOND, system_clock
from tests.benchmarks.frames import DECODERS

AS = ("binance_usdm", "bybit")
"""Who sends the load."""
_MARK = b'"sent":'
_DIGITS = 19
_GRACE = 20.0
"""Seconds beyond the length of the load after which what has not come is lost."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Nanoseconds UTC of every event of the load, in order of receipt."""

    sent: NDArray[np.int64]
    """By the simulator, as it wrote the frame."""
    received: NDArray[np.int64]
    """By the reader, as it had the whole frame; of the bare client: decoded."""
    handled: NDArray[np.int64]
    """At the sink."""
    span: float
    """Seconds the simulator took to send."""


def through_the_flow(frames: int, *load: str, seconds: float) -> Heard:
    """The live dataflow as it runs in production, its history left out."""
    with TemporaryDirectory() as name, SimulatorProcess(*load, "--duration", "600") as venues, _as_live():
        made = _assembled(venues.endpoints, Path(name))
        tap, sink = _Tap(made.reader), _Stamps(made.figures)
        until = system_clock() + round((seconds + _GRACE) * SECOND)
        tapped = live.Live(tap, made.normaliser, made.detector, sink, None, None, system_clock)  # type: ignore[arg-type]  # stand in for both ends
        execute(tapped.build(lambda: sink.events >= frames or system_clock() > until, lambda: None))
        report = venues.line() if sink.events >= frames else {"first": 0, "last": 0}
    return Heard(tap.sent(), sink.all_received(), sink.all_handled(), (report["last"] - report["first"]) / SECOND)


def _assembled(endpoints: dict[str, Endpoints], directory: Path) -> live.Live:
    feeds = [VenueFeeds(exchanges()[venue], endpoints[venue]) for venue in AS]
    settings = Settings().model_copy(update={"history": Settings().history.model_copy(update={"enabled": False})})
    made = live.assemble(settings, feeds, directory, system_clock, simulated=True)
    live.warm_up()
    return made


@contextmanager
def _as_live() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(live._SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class _Tap:
    """A reader that remembers which items were drained."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._drained: list[Sequence[Any]] = []
        self.start, self.stop = reader.start, reader.stop
        self.forced_closes, self.feeds = reader.forced_closes, reader.feeds

    def drain(self, wait: float, most: int = 10_000) -> list[Any]:
        """See ``Reader.drain``."""
        items = self._reader.drain(wait, most)
        if items:
            self._drained.append(items)
        return items

    def sent(self) -> NDArray[np.int64]:
        """When the frames of the load were sent."""
        items = (item for items in self._drained for item in items)
        return np.array([s for item in items if isinstance(item, Frame) and (s := _sent(item.payload))], np.int64)


class _Stamps:
    """Stands where the figures stand: stamps, then lets them do their work."""

    def __init__(self, figures: Any) -> None:
        self._figures = figures
        self._received: list[NDArray[np.int64]] = []
        self._handled: list[int] = []
        self.events = 0

    def take(self, outcome: Outcome) -> None:
        """See ``Figures.take``."""
        columns = outcome.batch.liquidations
        if len(columns):
            self._handled.append(system_clock())
            self._received.append(columns.receive_time)
            self.events += len(columns)
        self._figures.take(outcome)

    def all_received(self) -> NDArray[np.int64]:
        """One per event."""
        return np.concatenate([np.empty(0, np.int64), *self._received])

    def all_handled(self) -> NDArray[np.int64]:
        """One per event."""
        return np.repeat(np.array(self._handled, np.int64), [len(part) for part in self._received])


def _sent(payload: bytes) -> int:
    place = payload.rfind(_MARK)
    return int(payload[place + len(_MARK) :][:_DIGITS]) if place >= 0 else 0


def bare(frames: int, *load: str, seconds: float) -> Heard:
    """A client that decodes each frame and stamps it: the least anybody must do."""
    with SimulatorProcess(*load, "--duration", "600") as venues:
        return asyncio.run(_bare(venues, frames, seconds))


async def _bare(venues: SimulatorProcess, frames: int, seconds: float) -> Heard:
    sent: list[int] = []
    stamps: list[int] = []
    whole = asyncio.Event()

    async def listen(venue: str, connection: Connection) -> None:
        decode = DECODERS[venue]
        async with connect(connection.url, max_queue=None, proxy=None) as socket:
            for message in connection.subscribe:
                await socket.send(message)
            async for message in socket:
                payload = message.encode() if isinstance(message, str) else message
                if _MARK not in payload:
                    continue
                decode(payload)
                stamps.append(system_clock())
                sent.append(_sent(payload))
                if len(stamps) == frames:
                    whole.set()

    tasks = [
        asyncio.create_task(listen(venue, connection))
        for venue in AS
        for connection in _connections(venue, venues.endpoints[venue])
    ]
    try:
        async with asyncio.timeout(seconds + _GRACE):
            await whole.wait()
    except TimeoutError:
        pass  # what is missing shows in the count
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    received = np.array(stamps, np.int64)
    report = await asyncio.to_thread(venues.line) if len(stamps) >= frames else {"first": 0, "last": 0}
    return Heard(np.array(sent, np.int64), received, received, (report["last"] - report["first"]) / SECOND)


def _connections(venue: str, endpoints: Endpoints) -> list[Connection]:
    listed = {listing.symbol for listing in LISTINGS[venue]}
    instruments = [i for i in snapshot(venue) if i.instrument in listed]
    return [c for c in exchanges()[venue].connections(endpoints, instruments) if c.carries_liquidations]
