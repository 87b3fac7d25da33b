"""Anything in any order, to one desk: what always holds, holds after every step."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.simulator.trading import FaultKind, VirtualTime, Window
from flows.desk import close_intent
from schemas.clock import SECOND
from sinks.executor.closing import CLOSE_MODES, CloseMode, Closing
from tests.sinks.executor.scenes import BTC, DESK, MARK, STEP, Scene
from tests.sinks.executor.test_histories import LOUD, PASSING

FIRST, SECOND_VENUE, SPARE = "aster", "extended", "hyperliquid"
venues = st.sampled_from([FIRST, SECOND_VENUE])


class Desk(RuleBasedStateMachine):
    """A pair at two venues whose requests, answers and streams may fail at any moment."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        self.time = VirtualTime()
        self.time.__enter__()
        self.running: asyncio.Task[None] | None = None
        self.largest = {FIRST: Decimal("0.5"), SECOND_VENUE: Decimal("0.5")}

    @initialize(seed=st.integers(0, 2**16), mode=st.sampled_from(CLOSE_MODES))
    def begin(self, seed: int, mode: CloseMode) -> None:
        self.scene = Scene(
            self.time, names=(FIRST, SECOND_VENUE, SPARE), seed=seed, closing=Closing(mode=mode, fallback=3 * SECOND)
        )
        self.start()

    def start(self) -> None:
        self.executor = self.scene.executor()

        async def starting() -> asyncio.Task[None]:
            task = asyncio.ensure_future(self.executor.run())
            ready = asyncio.ensure_future(self.executor.ready.wait())
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            return task

        self.running = self.time.run(starting())

    def stop(self) -> None:
        async def stopping(task: asyncio.Task[None]) -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        if self.running is not None:
            assert not self.running.done(), self.running
            self.time.run(stopping(self.running))

    def fail(self, venue: str, kind: FaultKind, count: int) -> None:
        now = self.time.clock() - self.scene.venues[venue].faults.began
        self.scene.venues[venue].script(Window(kind=kind, start=now, end=now + 60 * SECOND, count=count))

    @rule(venue=venues, share=st.sampled_from([Decimal("0.1"), Decimal("0.5"), Decimal(1)]))
    def liquidate(self, venue: str, share: Decimal) -> None:
        self.scene.venues[venue].liquidate(DESK, BTC, share)

    @rule(venue=venues, pieces=st.integers(1, 200))
    def deleverage(self, venue: str, pieces: int) -> None:
        self.scene.venues[venue].deleverage(DESK, BTC, STEP * pieces)

    @rule(venue=st.sampled_from([FIRST, SECOND_VENUE, SPARE]), kind=st.sampled_from(PASSING), count=st.integers(1, 4))
    def go_wrong(self, venue: str, kind: FaultKind, count: int) -> None:
        self.fail(venue, kind, count)

    @rule(venue=venues, seconds=st.integers(1, 20))
    def outage(self, venue: str, seconds: int) -> None:
        now = self.time.clock() - self.scene.venues[venue].faults.began
        self.scene.venues[venue].script(Window(kind="outage", start=now, end=now + seconds * SECOND))

    @rule(change=st.sampled_from([Decimal("0.99"), Decimal("1.01")]))
    def move(self, change: Decimal) -> None:
        for venue in self.scene.venues.values():
            venue.set_mark(BTC, max(MARK / 2, venue.contract(BTC).mark * change))

    @rule()
    def close(self) -> None:
        for pair in self.scene.journal.pairs():
            self.executor.submit([close_intent(pair, "MANUAL", self.time.clock())])

    @rule()
    def tell_again(self) -> None:
        self.executor.submit(self.scene.intents())

    @rule()
    def die_and_start(self) -> None:
        self.stop()
        self.start()

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.time.run(asyncio.sleep(seconds))

    @invariant()
    def no_leg_grows_or_turns(self) -> None:
        if not hasattr(self, "scene"):
            return
        for name, sign in ((FIRST, 1), (SECOND_VENUE, -1)):
            held = self.scene.held(name) * sign
            assert 0 <= held <= self.largest[name]
            self.largest[name] = held

    @invariant()
    def the_executor_lives(self) -> None:
        assert self.running is None or not self.running.done()

    def teardown(self) -> None:
        """In the end, with the venues sound again, the book is flat or somebody was told."""
        if hasattr(self, "scene"):
            for _ in range(90):
                self.time.run(asyncio.sleep(1.0))
                if not self.scene.journal.intents() and abs(self.scene.net) <= STEP:
                    break
            told = {what for _, what, _, _ in self.scene.journal.alarms()}
            net, reports = self.scene.net, self.scene.reports()
            self.stop()
            assert abs(net) <= STEP or told & LOUD, (net, reports)
        self.time.__exit__(None, None, None)


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=60, stateful_step_count=15, suppress_health_check=list(HealthCheck))
