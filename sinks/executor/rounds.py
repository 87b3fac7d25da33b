"""What the venues are asked on a clock: positions, fills, open orders; and what time alone brings about."""

from __future__ import annotations

import asyncio

from schemas.clock import SECOND, Clock
from schemas.orders import OrderStatus, Unknown
from schemas.pairs import PairSight
from sinks.executor.attempts import after_status
from sinks.executor.lanes import Lanes
from sinks.executor.performing import Performer, answered
from sinks.executor.records import Records
from sinks.executor.rules import Rules, Watch
from sinks.executor.world import World


class Rounds:
    """Asks, compares with what is believed, and shows the watch every pair."""

    def __init__(
        self,
        records: Records,
        world: World,
        performer: Performer,
        lanes: Lanes,
        watch: Watch,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._records, self._world, self._performer = records, world, performer
        self._lanes, self._watch, self._rules, self._clock = lanes, watch, rules, clock
        self._hurry = {name: asyncio.Event() for name in world.venues}

    def hurry(self, name: str) -> None:
        """Read the positions of a venue now."""
        self._hurry[name].set()

    async def poll(self, name: str) -> None:
        """Read the positions of a venue, as often as the watch wants it, until cancelled."""
        venue, hurry = self._world.venues[name], self._hurry[name]
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
            await asyncio.sleep(self._world.trust.first / SECOND)

    async def beat(self) -> None:
        """Look at what time alone brings about, until cancelled."""
        while True:
            await asyncio.sleep(self._rules.heartbeat / SECOND)
            self._look()

    def _look(self) -> None:
        now = self._clock()
        for key, contract in self._world.contracts.items():
            doubted = contract.holding.doubted
            if doubted is not None and now - doubted[1] > self._rules.emergency.alarm_after:
                detail = f"{key[1]} at {key[0]}: reads say {doubted[0]:f}, believed {contract.holding.quantity}"
                if about := self._watch.about(key[0], now):
                    detail = f"{detail}; {about}"
                self._records.alarm(f"{key[0]} {key[1]} {doubted[1]}", "doubt", detail, self._records.pair_of(key))
        for name, venue in self._world.venues.items():
            since = venue.failing_since
            if since is not None and now - since > self._rules.emergency.alarm_after:
                detail = f"{name} has answered nothing that helps; nothing follows from it"
                self._records.alarm(f"{name} {since}", "outage", detail)
        for sight in self._lanes.sights():
            self._warn(sight)
            self._lanes.submit(self._watch.seen(sight))

    def _warn(self, sight: PairSight) -> None:
        """A leg nobody can say the distance to liquidation of is not watched over: that has to be known."""
        for leg in sight.legs:
            known = leg.known
            if known is not None and known.mark_price is None:
                detail = f"{leg.leg.venue} tells no mark price of {leg.leg.instrument}"
                self._records.alarm(f"{sight.pair.pair} {leg.leg.venue}", "unwatched", detail, sight.pair)

    async def keep_alive(self) -> None:
        """While orders wait in a book, their venue is to cancel them if this process dies. Until cancelled."""
        while True:
            await asyncio.sleep(self._rules.deadman / 3 / SECOND)
            resting = {a.order.venue for a in self._records.attempts.values() if a.resting and not a.over}
            for name in resting:
                if self._world.venues[name].caps.deadman:
                    await answered(self._world.venues[name].port.deadman, self._rules.deadman)

    async def reconcile_again(self, name: str) -> None:
        """Compare everything with a venue again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._rules.reconcile / SECOND)
            if not self._world.venues[name].budget.wait(self._clock(), "poll"):
                await self.reconcile(name)

    async def reconcile(self, name: str) -> None:
        """Compare with the venue: open orders, fills since the last known, positions. A failed read proves nothing."""
        venue = self._world.venues[name]
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
                attempt = self._records.attempts.get((name, order.client_id))
                if attempt is not None:
                    self._records.change(after_status(attempt, order, now), now)
                elif not self._records.journal.has_client_id(name, order.client_id):
                    self._stranger(name, order)
        self._look()

    def _stranger(self, name: str, order: OrderStatus) -> None:
        """An order nobody here made: somebody else trades this account, and nothing may add risk meanwhile."""
        journal = self._records.journal
        detail = f"order {order.order_id or order.client_id} in {order.instrument} at {name} is not ours"
        if self._records.alarm(f"{name} {order.order_id}", "stranger", detail) and journal.control().state == "ACTIVE":
            journal.set_control("REDUCE_ONLY", detail)
