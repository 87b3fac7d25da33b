"""The lanes of all pairs: who works what, and who has to hear of what was told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from schemas.clock import Clock
from schemas.orders import OrderIntent
from schemas.pairs import PairSight
from sinks.executor.lane import Lane
from sinks.executor.performing import Performer
from sinks.executor.records import Records
from sinks.executor.rules import ClosingOf, Rules
from sinks.executor.steps import LegKey
from sinks.executor.world import World


class Lanes:
    """A lane for each living pair, each a task of its own once the venues were asked."""

    def __init__(
        self, records: Records, world: World, performer: Performer, rules: Rules, closing_of: ClosingOf, clock: Clock
    ) -> None:
        self._records, self._world, self._performer = records, world, performer
        self._rules, self._closing_of, self._clock = rules, closing_of, clock
        self._lanes: dict[str, Lane] = {}
        self._group: asyncio.TaskGroup | None = None

    def staff(self) -> None:
        """A lane for each pair that has none."""
        for name, pair in self._records.pairs.items():
            if name in self._lanes:
                continue
            if missing := [leg.venue for leg in pair.legs if leg.venue not in self._world.venues]:
                self._records.alarm(name, "no_venue", f"nobody here trades at {', '.join(missing)}", pair)
                continue
            lane = Lane(name, self._records, self._world, self._performer, self._rules, self._closing_of, self._clock)
            self._lanes[name] = lane
            self._run(name, lane)

    def begin(self, group: asyncio.TaskGroup) -> None:
        """From now on the lanes work."""
        self._group = group
        for name, lane in self._lanes.items():
            self._run(name, lane)

    def _run(self, name: str, lane: Lane) -> None:
        if self._group is not None:
            self._group.create_task(self._work(name, lane))

    async def _work(self, name: str, lane: Lane) -> None:
        await lane.run()
        del self._lanes[name]

    def submit(self, intents: Iterable[OrderIntent]) -> None:
        """Take intents in; those known are left alone."""
        for intent in intents:
            if self._records.insert(intent) and (lane := self._lanes.get(intent.pair)) is not None:
                lane.wake.set()

    def wake(self, key: LegKey) -> None:
        """Something is new about a contract."""
        lane = self._lane_of(key)
        if lane is not None:
            lane.wake.set()
        else:
            # A hedge: whoever uses it will know.
            self.wake_all()

    def wake_all(self) -> None:
        """Something is new."""
        for lane in self._lanes.values():
            lane.wake.set()

    def sight(self, key: LegKey) -> PairSight | None:
        """The pair a contract belongs to, as it can be seen now."""
        lane = self._lane_of(key)
        return lane.sight() if lane is not None else None

    def sights(self) -> Iterator[PairSight]:
        """Every pair as it can be seen now."""
        for lane in list(self._lanes.values()):
            if (sight := lane.sight()) is not None:
                yield sight

    def _lane_of(self, key: LegKey) -> Lane | None:
        pair = self._records.pair_of(key)
        return self._lanes.get(pair.pair) if pair is not None else None
