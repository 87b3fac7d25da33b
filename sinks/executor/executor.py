"""The executor: one process that owns the journal, listens to the accounts and works the intents.

Guarantee: an intent has one effect, whatever is lost, late or told twice, and whenever the process dies. Not promised:
that the effect is possible; where it is not, an alarm says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import structlog

from schemas.clock import SECOND, Clock
from schemas.orders import Fill, OrderIntent, OrderStatus, Unknown
from schemas.pairs import Pair, PairSight
from schemas.records import AccountEvent, FeedStatus
from sinks.executor.attempts import after_restart, after_status
from sinks.executor.journal import Journal
from sinks.executor.lane import Lane
from sinks.executor.performing import Performer, answered
from sinks.executor.records import Records
from sinks.executor.rules import ClosingOf, Gate, NoWatch, Rules, Watch
from sinks.executor.steps import LegKey
from sinks.executor.world import Venue, World

log = structlog.get_logger(__name__)


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
        self._closing_of = closing_of
        self.world = World(dict(venues))
        self.records = Records(journal, self.world)
        self._performer = Performer(self.records, self.world, gate, self._rules, clock)
        self._performer.filled = self._filled
        self._lanes: dict[str, Lane] = {}
        self._group: asyncio.TaskGroup | None = None
        self._hurry: dict[str, asyncio.Event] = {name: asyncio.Event() for name in venues}
        self.ready = asyncio.Event()
        """Set once every venue was asked at the start and work has begun."""

    async def run(self) -> None:
        """Until cancelled. What was under way is found in the journal by the next start."""
        self._begin()
        async with asyncio.TaskGroup() as group:
            self._staff()
            for name in self.world.venues:
                group.create_task(self._listen(name))
            await asyncio.gather(*(self._reconcile(name) for name in self.world.venues))
            self._group = group
            for name, lane in self._lanes.items():
                group.create_task(self._work(name, lane))
            for name in self.world.venues:
                group.create_task(self._poll(name))
                group.create_task(self._reconcile_again(name))
            group.create_task(self._beat())
            group.create_task(self._pick_up())
            group.create_task(self._keep_alive())
            self.ready.set()

    def _begin(self) -> None:
        """What the last process left: nobody knows what became of what it had not seen the end of."""
        self.records.load()
        self.records.load_attempts()
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

    def _staff(self) -> None:
        """A lane for each pair that has none; it runs once the venues were asked."""
        for name, pair in self.records.pairs.items():
            if name in self._lanes:
                continue
            if missing := [leg.venue for leg in pair.legs if leg.venue not in self.world.venues]:
                self._raise(name, "no_venue", f"nobody here trades at {', '.join(missing)}", pair)
                continue
            lane = Lane(name, self.records, self.world, self._performer, self._rules, self._closing_of, self._clock)
            self._lanes[name] = lane
            if self._group is not None:
                self._group.create_task(self._work(name, lane))

    async def _work(self, name: str, lane: Lane) -> None:
        await lane.run()
        del self._lanes[name]

    def _raise(self, case: str, what: str, detail: str, pair: Pair | None = None) -> bool:
        new = self.journal.raise_alarm(case, what, detail, pair.pair if pair else "", pair.asset if pair else "")
        if new:
            log.error("alarm", case=case, what=what, detail=detail)
        return new

    def submit(self, intents: list[OrderIntent]) -> None:
        """Take intents in; those known are left alone."""
        for intent in intents:
            if self.records.insert(intent) and (lane := self._lanes.get(intent.pair)) is not None:
                lane.wake.set()

    # What the venues tell

    async def _listen(self, name: str) -> None:
        venue = self.world.venues[name]
        pause = 1.0
        while True:
            try:
                async for event in venue.port.events():
                    pause = 1.0
                    self._told(name, event)
            except asyncio.CancelledError:
                raise
            except OSError as error:
                log.warning("a private stream broke", venue=name, error=str(error))
            venue.speaking = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)

    def _told(self, name: str, event: AccountEvent | Fill | OrderStatus | FeedStatus) -> None:
        venue, now = self.world.venues[name], self._clock()
        match event:
            case FeedStatus():
                venue.speaking = event.state in {"connected", "subscribed", "quiet"}
                self._hurry[name].set()
                self.submit(self._watch.told(event, None, ours=False, now=now))
            case OrderStatus():
                attempt = self.records.attempts.get((name, event.client_id))
                if attempt is not None:
                    self.records.change(after_status(attempt, event, now), now)
                    self._wake((name, event.instrument))
            case Fill():
                ours = self.journal.has_client_id(name, event.client_id)
                if self.records.add_fills([event], now) and not ours:
                    self._forced(name, event, now)
                self._notice((name, event.instrument), event, ours=ours)
            case AccountEvent():
                self._learn(name, event, now)
                self._notice((name, event.instrument), event, ours=self.journal.has_client_id(name, event.client_id))

    def _forced(self, name: str, fill: Fill, now: int) -> None:
        """A fill that is not ours: what all fills leave is what is held, until queries surely say so."""
        key = (name, fill.instrument)
        left = self.records.accounted(key)
        if left is not None and fill.cause in {"liquidation", "adl"}:
            visibility = self.world.venues[name].caps.visibility
            if self.world.contract(key).holding.told(left, now, visibility):
                self.journal.observe(name, fill.instrument, left, fill.cause)
        self._hurry[name].set()

    def _learn(self, name: str, event: AccountEvent, now: int) -> None:
        """What an account event says about the position.

        A forced close is believed at once. A position frame counts as one look: venues send wrong zeros.
        """
        contract = self.world.contract((name, event.instrument))
        if event.state == "unknown":
            return
        left = Decimal(0) if event.state == "flat" else Decimal(str(event.remaining))
        if event.event in {"liquidation", "adl"}:
            if contract.holding.told(left, now, self.world.venues[name].caps.visibility):
                self.journal.observe(name, event.instrument, left, event.event)
        elif contract.holding.quantity != left:
            key = (name, event.instrument)
            contract.holding.read(left, now, self.records.accounted(key), self.world.trust)
            self._hurry[name].set()

    def _filled(self, name: str, fill: Fill) -> None:
        ours = self.journal.has_client_id(name, fill.client_id)
        self._notice((name, fill.instrument), fill, ours=ours)

    def _notice(self, key: LegKey, event: AccountEvent | Fill, *, ours: bool) -> None:
        pair = self.records.pair_of(key)
        lane = self._lanes.get(pair.pair) if pair else None
        sight = lane.sight() if lane else None
        self.submit(self._watch.told(event, sight, ours=ours, now=self._clock()))
        self._wake(key)

    def _wake(self, key: LegKey) -> None:
        pair = self.records.pair_of(key)
        lane = self._lanes.get(pair.pair) if pair else None
        if lane is not None:
            lane.wake.set()
            return
        for other in self._lanes.values():
            # A hedge: whoever uses it will know.
            other.wake.set()

    # What is asked on a clock

    async def _poll(self, name: str) -> None:
        venue, hurry = self.world.venues[name], self._hurry[name]
        while True:
            now = self._clock()
            wait = venue.budget.wait(now, "poll")
            if not wait:
                venue.budget.spend(now)
                await self._performer.read_account(name, venue.port)
                self._look()
            hurry.clear()
            pause = max(wait, self._watch.pause(name, self._clock()))
            timer = asyncio.get_running_loop().call_later(pause / SECOND, hurry.set)
            await hurry.wait()
            timer.cancel()
            # Never faster than two reads can tell something apart, however much hurry there is.
            await asyncio.sleep(self.world.trust.first / SECOND)

    def _look(self) -> None:
        now = self._clock()
        for key, contract in self.world.contracts.items():
            doubted = contract.holding.doubted
            if doubted is not None and now - doubted[1] > self._rules.emergency.alarm_after:
                detail = f"{key[1]} at {key[0]}: reads say {doubted[0]:f}, believed {contract.holding.quantity}"
                self._raise(f"{key[0]} {key[1]} {doubted[1]}", "doubt", detail, self.records.pair_of(key))
        for name, venue in self.world.venues.items():
            since = venue.failing_since
            if since is not None and now - since > self._rules.emergency.alarm_after:
                self._raise(
                    f"{name} {since}", "outage", f"{name} has answered nothing that helps; nothing follows from it"
                )
        for lane in list(self._lanes.values()):
            if (sight := lane.sight()) is not None:
                self._warn(sight)
                self.submit(self._watch.seen(sight))

    def _warn(self, sight: PairSight) -> None:
        """A leg nobody can say the distance to liquidation of is not watched over: that has to be known."""
        for leg in sight.legs:
            known = leg.known
            if known is not None and known.mark_price is None:
                detail = f"{leg.leg.venue} tells no mark price of {leg.leg.instrument}"
                self._raise(f"{sight.pair.pair} {leg.leg.venue}", "unwatched", detail, sight.pair)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._rules.heartbeat / SECOND)
            self._look()

    async def _pick_up(self) -> None:
        """Intents and pairs that another process handed in."""
        version = self.journal.version()
        while True:
            await asyncio.sleep(self._rules.pickup / SECOND)
            if (now := self.journal.version()) != version:
                version = now
                self.records.load()
                self._staff()
                for lane in self._lanes.values():
                    lane.wake.set()

    async def _keep_alive(self) -> None:
        """While orders wait in a book, their venue is to cancel them if this process dies."""
        while True:
            await asyncio.sleep(self._rules.deadman / 3 / SECOND)
            resting = {a.order.venue for a in self.records.attempts.values() if a.resting and not a.over}
            for name in resting:
                if self.world.venues[name].caps.deadman:
                    await answered(self.world.venues[name].port.deadman, self._rules.deadman)

    # Reconciliation

    async def _reconcile_again(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._rules.reconcile / SECOND)
            if not self.world.venues[name].budget.wait(self._clock(), "poll"):
                await self._reconcile(name)

    async def _reconcile(self, name: str) -> None:
        """Compare with the venue: open orders, fills since the last known, positions. A failed read proves nothing."""
        venue = self.world.venues[name]
        for _ in range(2):
            venue.budget.spend(self._clock())
        orders, _, _, _ = await asyncio.gather(
            answered(venue.port.open_orders),
            self._performer.read_rules(name, venue.port),
            self._performer.read_fills(name, venue.port),
            self._performer.read_account(name, venue.port),
        )
        now = self._clock()
        if not isinstance(orders, Unknown):
            for order in orders:
                attempt = self.records.attempts.get((name, order.client_id))
                if attempt is not None:
                    self.records.change(after_status(attempt, order, now), now)
                elif not self.journal.has_client_id(name, order.client_id):
                    self._stranger(name, order)
        self._look()

    def _stranger(self, name: str, order: OrderStatus) -> None:
        """An order nobody here made: somebody else trades this account, and nothing may add risk meanwhile."""
        detail = f"order {order.order_id or order.client_id} in {order.instrument} at {name} is not ours"
        if self._raise(f"{name} {order.order_id}", "stranger", detail) and self.journal.control().state == "ACTIVE":
            self.journal.set_control("REDUCE_ONLY", detail)
