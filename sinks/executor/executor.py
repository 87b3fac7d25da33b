"""The executor: one process that owns the journal, listens to the accounts and works the intents.

Guarantee: an intent has one effect, whatever is lost, late or told twice, and whenever the process dies. Not promised:
that the effect is possible; where it is not, an alarm says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from schemas.clock import SECOND, Clock
from schemas.orders import OrderIntent
from sinks.executor.attempts import after_restart
from sinks.executor.journal import Journal
from sinks.executor.lanes import Lanes
from sinks.executor.listening import Listener
from sinks.executor.performing import Performer
from sinks.executor.records import Records
from sinks.executor.rounds import Rounds
from sinks.executor.rules import ClosingOf, Gate, NoWatch, Rules, Watch
from sinks.executor.world import Venue, World


class Executor:
    """Works the intents of a journal at the venues it is given.

    :arg journal: claimed by the caller.
    :arg venues: by name; a pair with a leg elsewhere is refused at the start.
    :arg clock: one that nobody can set while it runs (``schemas.clock.steady_clock``).
    """

    def __init__(
        self,
        journal: Journal,
        venues: Mapping[str, Venue],
        *,
        gate: Gate,
        clock: Clock,
        closing_of: ClosingOf,
        rules: Rules | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.journal, self._clock = journal, clock
        self._rules, self._watch = rules or Rules(), watch or NoWatch()
        self.world = World(dict(venues))
        self.records = Records(journal, self.world)
        performer = Performer(self.records, self.world, gate, self._watch.closed, self._rules, clock)
        self._lanes = Lanes(self.records, self.world, performer, self._rules, closing_of, clock)
        self._rounds = Rounds(self.records, self.world, performer, self._lanes, self._watch, self._rules, clock)
        self._listener = Listener(self.records, self.world, self._lanes, self._watch, self._rounds.hurry, clock)
        performer.filled = self._listener.found
        self.ready = asyncio.Event()
        """Set once every venue was asked at the start and work has begun."""

    async def run(self) -> None:
        """Until cancelled. What was under way is found in the journal by the next start."""
        self._begin()
        async with asyncio.TaskGroup() as group:
            self._lanes.staff()
            for name in self.world.venues:
                group.create_task(self._listener.listen(name))
            await asyncio.gather(*(self._rounds.reconcile(name) for name in self.world.venues))
            self._lanes.begin(group)
            for name in self.world.venues:
                group.create_task(self._rounds.poll(name))
                group.create_task(self._rounds.reconcile_again(name))
            group.create_task(self._rounds.beat())
            group.create_task(self._rounds.keep_alive())
            group.create_task(self._pick_up())
            self.ready.set()

    def _begin(self) -> None:
        """What the last process left: nobody knows what became of what it had not seen the end of."""
        self.records.load()
        self.records.load_attempts()
        self._take_hints()
        for keys in self._rules.hedges.values():
            for key in keys:
                if key[0] in self.world.venues:
                    self.world.contract(key)
        now = self._clock()
        opened = min((pair.opened for pair in self.records.pairs.values()), default=now)
        for venue in self.world.venues.values():
            venue.history_from = opened - self._rules.overlap
        for attempt in list(self.records.attempts.values()):
            if not attempt.over and attempt.order.venue in self.world.venues:
                self.records.change(after_restart(attempt, self.world.venues[attempt.order.venue].caps, now), now)

    def submit(self, intents: list[OrderIntent]) -> None:
        """Take intents in; those known are left alone."""
        self._lanes.submit(intents)

    async def _pick_up(self) -> None:
        """Intents and pairs that another process handed in."""
        version = self.journal.version()
        while True:
            await asyncio.sleep(self._rules.pickup / SECOND)
            if (now := self.journal.version()) != version:
                version = now
                self.records.load()
                self._lanes.staff()
                self._take_hints()
                self._lanes.wake_all()

    def _take_hints(self) -> None:
        """What another process noticed about venues."""
        now = self._clock()
        for name in self._watch.hinted(self.journal.hints(now), now) & self.world.venues.keys():
            self._rounds.hurry(name)
