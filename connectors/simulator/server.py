"""Runs the simulated market on one loopback port in real time, every venue by its own protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

from connectors.exchange import Endpoints
from connectors.simulator.load import Load, Poured, pour
from connectors.simulator.market import simulate
from connectors.simulator.truth import Telling, Truth, tell
from connectors.simulator.venue import Asked, Conversation, Signal, Wires, World, encode
from connectors.simulator.venues import venues
from connectors.simulator.wire import Head, Link, Port
from schemas.clock import MILLISECOND, Clock, seconds, system_clock
from schemas.errors import UsageError

_STAGGER = 59
"""Milliseconds between the seconds of one venue and the next, so that they do not all speak at once."""


@dataclass(eq=False, slots=True)
class _Client:
    venue: str
    conversation: Conversation
    link: Link
    beaten_at: float

    def say(self, wires: Wires) -> None:
        for wire in wires:
            self.link.send(wire)


def _hear(client: _Client, message: str) -> None:
    """A message whose parts are not what they should be ends the conversation."""
    try:
        client.say(client.conversation.hear(message))
    except (AttributeError, KeyError, TypeError, ValueError):
        client.link.send(Signal.DROP)


class Simulator:
    """The venues of one run.

    :arg seed: the same seed gives the same run.
    :arg duration: seconds the run lasts; afterwards the venues stay up, calm and without forced closes.
    :arg speed: how many seconds of the run pass in one second.
    :arg lead: seconds from ``start`` until the run begins, for clients to connect.
    :arg silent: the venue that falls silent in the middle; '' for none.
    :arg load: send this instead of the run's forced closes.
    :arg rhythm: factor on every heartbeat interval and on the patience of venues with quiet clients.
    """

    def __init__(
        self,
        seed: int = 1,
        duration: float = 60.0,
        speed: float = 1.0,
        clock: Clock = system_clock,
        *,
        lead: float = 1.0,
        silent: str = "okx",
        rhythm: float = 1.0,
        load: Load | None = None,
    ) -> None:
        self.speed = speed
        market = simulate(seed, duration, silent)
        self._truth = tell(market) if load is None else Truth(replace(market, closes=(), silent=""), ())
        self._load = load
        self._poured: asyncio.Future[Poured] | None = None
        self._clock = clock
        self._lead = lead
        self._rhythm = rhythm
        self._worlds: dict[str, World] = {}
        self._clients: dict[Link, _Client] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._port = Port(self._answer, self._opened, self._closed)
        self.port = 0
        """The port; 0 before ``start``."""
        self.began = 0
        """Nanoseconds UTC of offset 0 of the run; 0 before ``start``."""

    async def start(self, port: int = 0) -> dict[str, Endpoints]:
        """Listen (on any free port) and let the run begin after ``lead``. Returns where each venue is."""
        self.port = await self._port.listen(port)
        self.began = (self._clock() + seconds(self._lead)) // MILLISECOND * MILLISECOND
        for venue in venues():
            self._worlds[venue] = World(venue, self._truth, self.began, self._clock, self.speed)
        self._poured = asyncio.get_running_loop().create_future() if self._load else None
        self._tasks = [asyncio.create_task(self._play()), asyncio.create_task(self._keep_time())]
        return {venue: self.endpoints(venue) for venue in venues()}

    async def stop(self) -> None:
        """Cut every connection and stop listening. Raises what broke the run, if anything did."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._port.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def failure(self) -> None:
        """Return when something broke the run; ``stop`` then raises it."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def poured(self) -> Poured:
        """Wait until the load is sent. Only of a simulator that has one."""
        if self._poured is None:
            raise UsageError("this simulator has no load, or was not started")
        return await asyncio.shield(self._poured)

    def _everyone(self) -> list[tuple[str, Conversation, Link]]:
        return [(client.venue, client.conversation, client.link) for client in self._clients.values()]

    def endpoints(self, venue: str) -> Endpoints:
        """Where ``venue`` is."""
        address = f"127.0.0.1:{self.port}/{venue}"
        return Endpoints(websocket=f"ws://{address}", rest=f"http://{address}")

    def truth(self) -> Truth:
        """What happens and what is told of it."""
        return self._truth

    def world(self, venue: str) -> World:
        """The run as ``venue`` sees it, on the clock of this simulator."""
        return self._worlds[venue]

    def _answer(self, head: Head, body: str) -> tuple[int, str]:
        name, _, path = head.path.strip("/").partition("/")
        venue = venues().get(name)
        if venue is None:
            return 404, encode({"error": f"no venue {name!r}"})
        asked = Asked(head.method, f"/{path}", head.query, body, head.headers.get("host", ""))
        found = venue.rest(asked, self._worlds[name])
        return (404, encode({"error": f"{name} has no {path}"})) if found is None else (200, encode(found))

    def _opened(self, head: Head, link: Link) -> Callable[[str], None] | None:
        name, _, path = head.path.strip("/").partition("/")
        venue = venues().get(name)
        if venue is None or not venue.paths(f"/{path}"):
            return None
        asked = Asked(head.method, f"/{path}", head.query, host=head.headers.get("host", ""), headers=head.headers)
        conversation = venue.converse(self._worlds[name], asked)
        client = _Client(name, conversation, link, link.heard_at)
        self._clients[link] = client
        client.say(conversation.opening())
        return lambda message: _hear(client, message)

    def _closed(self, link: Link) -> None:
        self._clients.pop(link, None)

    async def _play(self) -> None:
        """Send every telling at its time, or the load."""
        if self._load is not None and self._poured is not None:
            self._poured.set_result(await pour(self._load, self._everyone, self._clock))
        for telling in self._truth.tellings:
            await self._until(telling.at)
            self._push(telling)

    def _push(self, telling: Telling) -> None:
        for client in list(self._clients.values()):
            if client.venue == telling.venue:
                client.say(client.conversation.forced(telling.closes))

    async def _until(self, offset: int) -> None:
        """Wait for ``offset`` milliseconds of the run."""
        due = self.began + int(offset * MILLISECOND / self.speed)
        await asyncio.sleep(max(0, due - self._clock()) / 1e9)

    async def _keep_time(self) -> None:
        """Each tenth of a second: heartbeats, patience; each second of the run: context."""
        told: dict[str, int] = {}
        while True:
            for place, (venue, world) in enumerate(self._worlds.items()):
                second = (world.offset() + place * _STAGGER) // 1000
                if told.get(venue) != second:
                    told[venue] = second
                    self._tell_context(venue, world)
            for client in list(self._clients.values()):
                self._tend(client)
            await asyncio.sleep(min(0.1, 1.0 / self.speed))

    def _tell_context(self, venue: str, world: World) -> None:
        if world.silent():
            return
        for client in list(self._clients.values()):
            if client.venue == venue:
                client.say(client.conversation.context())

    def _tend(self, client: _Client) -> None:
        now = asyncio.get_running_loop().time()
        conversation = client.conversation
        if conversation.heartbeat is not None and now - client.beaten_at >= conversation.heartbeat * self._rhythm:
            client.beaten_at = now
            client.say(conversation.beat())
        if conversation.patience is not None and now - client.link.heard_at > conversation.patience * self._rhythm:
            client.link.send(Signal.DROP)
