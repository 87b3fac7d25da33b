"""What the venues tell by themselves: taken in, shown to the watch, handed to whoever works the pair."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal

import structlog

from schemas.clock import Clock
from schemas.orders import Fill, OrderStatus
from schemas.records import AccountEvent, FeedStatus
from sinks.executor.attempts import after_status
from sinks.executor.lanes import Lanes
from sinks.executor.records import Records
from sinks.executor.rules import Watch
from sinks.executor.steps import LegKey
from sinks.executor.world import World

log = structlog.get_logger(__name__)
Told = AccountEvent | Fill | OrderStatus | FeedStatus


class Listener:
    """Listens to the private streams.

    :arg hurry: asks for a read of a venue's positions now.
    """

    def __init__(
        self, records: Records, world: World, lanes: Lanes, watch: Watch, hurry: Callable[[str], None], clock: Clock
    ) -> None:
        self._records, self._world, self._lanes = records, world, lanes
        self._watch, self._hurry, self._clock = watch, hurry, clock

    async def listen(self, name: str) -> None:
        """To one venue, until cancelled."""
        waiting: deque[Told] = deque()
        came = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(name, waiting, came))
            while True:
                await came.wait()
                came.clear()
                # What arrived in one frame is one writing: a forced close comes with its fill, and each sync costs.
                with self._records.journal.together():
                    while waiting:
                        self._take(name, waiting.popleft(), self._clock())

    async def _hear(self, name: str, waiting: deque[Told], came: asyncio.Event) -> None:
        venue = self._world.venues[name]
        pause = 1.0
        while True:
            try:
                async for event in venue.port.events():
                    pause = 1.0
                    waiting.append(event)
                    came.set()
            except asyncio.CancelledError:
                raise
            except OSError as error:
                log.warning("a private stream broke", venue=name, error=str(error))
            venue.speaking = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)

    def _take(self, name: str, event: Told, now: int) -> None:
        venue = self._world.venues[name]
        match event:
            case FeedStatus():
                venue.speaking = event.state in {"connected", "subscribed", "quiet"}
                self._hurry(name)
                self._lanes.submit(self._watch.told(event, None, ours=False, now=now))
            case OrderStatus():
                attempt = self._records.attempts.get((name, event.client_id))
                if attempt is not None:
                    self._records.change(after_status(attempt, event, now), now)
                    self._lanes.wake((name, event.instrument))
            case Fill():
                ours = self._ours(name, event.client_id)
                if self._records.add_fills([event], now) and not ours:
                    self._forced(name, event, now)
                self._notice((name, event.instrument), event, ours=ours)
            case AccountEvent():
                self._learn(name, event, now)
                self._records.journal.keep_event(event)
                self._notice((name, event.instrument), event, ours=self._ours(name, event.client_id))

    def found(self, name: str, fill: Fill) -> None:
        """A fill that was found by asking."""
        self._notice((name, fill.instrument), fill, ours=self._ours(name, fill.client_id))

    def _ours(self, name: str, client_id: str) -> bool:
        return self._records.journal.has_client_id(name, client_id)

    def _forced(self, name: str, fill: Fill, now: int) -> None:
        """A fill that is not ours: what all fills leave is what is held, until queries surely say so."""
        key = (name, fill.instrument)
        left = self._records.accounted(key)
        if left is not None and fill.cause in {"liquidation", "adl"}:
            visibility = self._world.venues[name].caps.visibility
            if self._world.contract(key).holding.told(left, now, visibility):
                self._records.journal.observe(name, fill.instrument, left, fill.cause)
        self._hurry(name)

    def _learn(self, name: str, event: AccountEvent, now: int) -> None:
        """What an account event says about the position.

        A forced close is believed at once. A position frame counts as one look: venues send wrong zeros.
        """
        contract = self._world.contract((name, event.instrument))
        if event.state == "unknown":
            return
        left = Decimal(0) if event.state == "flat" else Decimal(str(event.remaining))
        if event.event in {"liquidation", "adl"}:
            if contract.holding.told(left, now, self._world.venues[name].caps.visibility):
                self._records.journal.observe(name, event.instrument, left, event.event)
        elif contract.holding.quantity != left:
            key = (name, event.instrument)
            contract.holding.read(left, now, self._records.accounted(key), self._world.trust)
            self._hurry(name)

    def _notice(self, key: LegKey, event: AccountEvent | Fill, *, ours: bool) -> None:
        self._lanes.submit(self._watch.told(event, self._lanes.sight(key), ours=ours, now=self._clock()))
        self._lanes.wake(key)
