"""One story each: what others got wrong, and what happens here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
import structlog
from msgspec.structs import replace

from connectors.simulator.trading import VirtualTime, Window
from schemas.clock import MINUTE, SECOND, steady_clock
from schemas.errors import Superseded
from schemas.orders import IntentKind, Order, OrderIntent
from sinks.executor.closing import CLOSE_MODES, CloseMode, Closing
from sinks.executor.executor import Executor
from tests.sinks.executor.scenes import BTC, DESK, RULES, STEP, MemoryJournal, Scene


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def tell(make: Callable[[VirtualTime], Scene], story: Callable[[Scene, Executor], Awaitable[None]]) -> Scene:
    with VirtualTime() as time:
        scene = make(time)

        async def script(executor: Executor) -> None:
            await story(scene, executor)

        time.run(scene.live(script))
    return scene


def asked(scene: Scene, kind: IntentKind = "close_pair", reason: str = "MANUAL") -> OrderIntent:
    now = scene.time.clock()
    return OrderIntent(
        intent_id=f"{kind}", intent=kind, pair="p", asset="BTC", cause="", reason=reason, policy="1", created=now,
        expires=now + 5 * MINUTE, detected=now, path="manual",
    )  # fmt: skip


def placed(scene: Scene) -> list[Order]:
    return [attempt.order for attempt in scene.every_attempt()]


def test_a_liquidated_leg_is_followed_by_the_other_in_a_tenth_of_a_second() -> None:
    flat_after: list[float] = []

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(5)
        began = scene.time.clock()
        scene.venues["aster"].liquidate(DESK, BTC)
        while scene.net:  # noqa: ASYNC110 - the venue tells nobody but its own streams
            await asyncio.sleep(0.005)
        flat_after.append((scene.time.clock() - began) / SECOND)
        await scene.quiet()

    scene = tell(Scene, story)
    assert flat_after[0] < 0.1
    (pair,) = scene.journal.pairs(living=False)
    assert pair.closed is not None
    assert pair.reason == "LIQUIDATION_ASTER"
    assert pair.pnl is not None
    # Both legs crossed the spread: a small loss, fees included, and the fee of the liquidation is the venue's.
    assert Decimal(-40) < pair.pnl < 0


def test_a_deleveraged_leg_is_named_as_such() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(1)
        scene.venues["extended"].deleverage(DESK, BTC, Decimal("0.5"))
        await asyncio.sleep(1)
        await scene.quiet()

    (pair,) = tell(Scene, story).journal.pairs(living=False)
    assert pair.reason == "ADL_EXTENDED"


def test_a_partial_liquidation_takes_only_the_difference_and_the_pair_lives_on() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(1)
        scene.venues["aster"].liquidate(DESK, BTC, Decimal("0.3"))
        await asyncio.sleep(1)
        await scene.quiet()

    scene = tell(Scene, story)
    assert (scene.held("aster"), scene.held("extended")) == (Decimal("0.35"), Decimal("-0.35"))
    (pair,) = scene.journal.pairs()
    assert [leg.quantity for leg in pair.legs] == [Decimal("0.35"), Decimal("-0.35")]
    assert pair.episode == 1


@pytest.mark.parametrize("venue", ["aster", "lighter", "extended", "binance_usdm"])
def test_ten_minutes_without_a_venue_close_nothing(venue: str) -> None:
    names = (venue, "hyperliquid", "kucoin")
    outage = {venue: ((Window(kind="outage", start=5 * SECOND, end=605 * SECOND),), {})}

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(615)

    scene = tell(lambda time: Scene(time, names=names, faults=outage), story)
    assert placed(scene) == []
    assert scene.intents() == []
    assert [scene.held(name) for name in names] == [scene.quantity, -scene.quantity, 0]


def test_a_leg_taken_while_its_venue_was_away_is_noticed_when_it_is_back() -> None:
    outage = {"aster": ((Window(kind="outage", start=5 * SECOND, end=65 * SECOND),), {})}

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(30)
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(40)
        await scene.quiet()

    scene = tell(lambda time: Scene(time, faults=outage), story)
    assert scene.net == 0
    (pair,) = scene.journal.pairs(living=False)
    assert pair.closed is not None


def test_reads_that_say_flat_by_mistake_move_nothing() -> None:
    lies = {name: ((), {"false_flat": 0.7, "stream_false_flat": 0.7}) for name in ("aster", "extended")}

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(120)

    scene = tell(lambda time: Scene(time, faults=lies), story)
    assert placed(scene) == []


def test_where_the_other_venue_is_away_a_third_carries_the_difference_until_it_is_back() -> None:
    outage = {"extended": ((Window(kind="outage", start=2 * SECOND, end=62 * SECOND),), {})}
    carried: list[Decimal] = []

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(5)
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(10)
        carried.append(scene.held("hyperliquid"))
        assert scene.net == 0
        await asyncio.sleep(50)
        await scene.quiet()

    scene = tell(lambda time: Scene(time, faults=outage), story)
    assert carried == [Decimal("0.5")]
    assert [scene.held(name) for name in scene.names] == [0, 0, 0]
    kinds = [intent.intent for intent in scene.intents()]
    assert kinds == ["emergency_close", "hedge", "unwind_hedge"]
    assert {what for _, what, _, _ in scene.journal.alarms()} == {"hedged", "not_flat", "outage"}


def test_everything_told_again_changes_nothing() -> None:
    sent: list[int] = []

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(1)
        scene.venues["aster"].liquidate(DESK, BTC, Decimal("0.3"))
        await asyncio.sleep(1)
        await scene.quiet()
        sent.append(len(placed(scene)))
        executor.submit(scene.intents())
        for stream in (scene.venues["aster"].accounts.streams[DESK],):
            stream.cut()
            stream.restore()
        await asyncio.sleep(20)
        sent.append(len(placed(scene)))

    scene = tell(Scene, story)
    assert sent == [1, 1]
    assert [scene.held(name) for name in scene.names] == [Decimal("0.35"), Decimal("-0.35"), 0]


@pytest.mark.parametrize("mode", CLOSE_MODES)
@pytest.mark.parametrize("second", ["lighter", "extended", "hyperliquid"])
def test_a_close_takes_both_legs_and_adds_to_neither(mode: CloseMode, second: str) -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(3)
        executor.submit([asked(scene)])
        await asyncio.sleep(1)
        if mode == "limit_only":
            # Nobody has to trade with a waiting order; here the market comes by.
            for price in (60_100, 59_900, 60_000):
                for name in scene.names[:2]:
                    scene.venues[name].set_mark(BTC, Decimal(price))
                await asyncio.sleep(8)
        await scene.quiet(120)

    names = ("aster", second, "binance_usdm")
    scene = tell(lambda time: Scene(time, names=names, closing=Closing(mode=mode)), story)
    assert all(order.reduce_only for order in placed(scene))
    assert abs(scene.net) <= STEP
    if mode != "limit_only":
        assert [scene.held(name) for name in names] == [0, 0, 0]
        (pair,) = scene.journal.pairs(living=False)
        assert (pair.reason, pair.closed is not None) == ("MANUAL", True)
    kinds = {order.time_in_force for order in placed(scene)}
    assert ("ioc" in kinds) or mode == "limit_only"
    assert ("post_only" in kinds) == (mode in {"limit_only", "limit_with_fallback"})


def test_a_fill_that_races_the_cancel_is_followed_once() -> None:
    """The waiting order of one leg is filled while its cancel is under way."""

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(3)
        executor.submit([asked(scene)])
        venue = scene.venues["aster"]
        while not any(a.cancelling for a in executor.records.attempts.values() if a.order.venue == "aster"):  # noqa: ASYNC110 - between two awaits of the executor
            await asyncio.sleep(0.001)
        venue.set_mark(BTC, Decimal(60_300))
        await asyncio.sleep(0.004)
        venue.set_mark(BTC, Decimal(60_000))
        await scene.quiet(60)

    closing = Closing(mode="limit_with_fallback", reprice=2 * SECOND, fallback=10 * SECOND)
    scene = tell(lambda time: Scene(time, closing=closing), story)
    assert [scene.held(name) for name in scene.names] == [0, 0, 0]
    for name, whole in (("aster", "0.5"), ("extended", "0.5")):
        done = sum(a.filled for a in scene.every_attempt() if a.order.venue == name)
        assert done == Decimal(whole)


def test_an_emergency_gets_through_a_storm_of_refused_requests() -> None:
    """Everything else may use three quarters of the venue's budget; the rest is the emergency's."""

    async def story(scene: Scene, executor: Executor) -> None:
        greedy = executor.world.venues["extended"]
        await asyncio.sleep(1)
        while not greedy.budget.wait(scene.time.clock(), "order"):
            greedy.budget.spend(scene.time.clock())
            await greedy.port.account()
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(2)
        assert scene.net == 0

    tell(Scene, story)


def test_throttled_again_and_again_it_still_comes_through() -> None:
    storm = {"extended": ((Window(kind="throttled", start=2 * SECOND, end=12 * SECOND),), {})}

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(3)
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(11)
        await scene.quiet()

    scene = tell(lambda time: Scene(time, faults=storm), story)
    assert [scene.held(name) for name in scene.names] == [0, 0, 0]


def test_of_two_executors_one_sends() -> None:
    with VirtualTime() as time:
        scene = Scene(time)
        first, second = scene.executor(), scene.executor()

        async def both() -> list[object]:
            running = [asyncio.ensure_future(executor.run()) for executor in (first, second)]
            await asyncio.sleep(2)
            scene.venues["aster"].liquidate(DESK, BTC)
            await asyncio.sleep(2)
            await scene.quiet()
            for task in running:
                task.cancel()
            return await asyncio.gather(*running, return_exceptions=True)

        ends = time.run(both())
        assert isinstance(ends[0], ExceptionGroup)
        assert ends[0].subgroup(Superseded) is not None
        assert scene.net == 0
        assert {attempt.epoch for attempt in scene.every_attempt()} == {second.journal.epoch} == {2}


def test_a_halted_executor_still_makes_a_broken_book_safe_and_closes_nothing_else() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        scene.journal.set_control("HALTED", "test")
        executor.submit([asked(scene)])
        await asyncio.sleep(5)
        assert placed(scene) == []
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(2)
        await scene.quiet()

    scene = tell(lambda time: Scene(time, closing=Closing(mode="market_only")), story)
    assert scene.net == 0
    assert [order.venue for order in placed(scene)] == ["extended"]


def test_an_order_nobody_here_made_stops_whatever_adds_risk() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        port = executor.world.venues["aster"].port
        order = Order(
            venue="aster", instrument=BTC, side="buy", quantity=STEP, price=Decimal(50_000), time_in_force="gtc",
            reduce_only=False, client_id="somebody-else",
        )  # fmt: skip
        await port.send(port.prepare(order, now=scene.time.clock()))
        await asyncio.sleep(70)

    scene = tell(Scene, story)
    assert scene.journal.control().state == "REDUCE_ONLY"


@pytest.mark.parametrize("kind", ["open_pair", "cancel", "hedge", "unwind_hedge"])
def test_what_the_executor_does_not_do_is_refused_with_a_reason_and_no_close(kind: IntentKind) -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        executor.submit([asked(scene, kind)])
        await asyncio.sleep(2)

    scene = tell(Scene, story)
    assert placed(scene) == []
    (intent,) = scene.journal.intents(("refused",))
    assert intent.detail == f"{kind} is not carried out here: only emergency_close, reduce_pair, close_pair are"


def test_setting_the_clock_does_not_end_a_wait() -> None:
    wall, counted = [1_000 * SECOND], [5 * SECOND]
    clock = steady_clock(lambda: wall[0], lambda: counted[0])
    assert clock() == 1_000 * SECOND
    wall[0] += 3600 * SECOND
    assert clock() == 1_000 * SECOND
    counted[0] += 2 * SECOND
    assert clock() == 1_002 * SECOND


def test_after_a_restart_with_a_clock_set_forward_a_lost_order_is_waited_for_anew() -> None:
    """Validity is counted by the process that waits: an hour's jump proves nothing about a request under way."""
    late = {"extended": ((Window(kind="late", delay=8 * SECOND, count=1),), {})}
    with VirtualTime() as time:
        scene = Scene(time, faults=late)

        async def first(executor: Executor) -> None:
            await asyncio.sleep(1)
            scene.venues["aster"].liquidate(DESK, BTC, Decimal("0.3"))
            await asyncio.sleep(0.5)

        async def second(executor: Executor) -> None:
            await asyncio.sleep(20)
            await scene.quiet()

        time.run(scene.live(first))
        moved = MemoryJournal(time.clock, scene.journal.disk)
        moved.claim()
        for attempt in moved.unsettled():
            # As if the hour had passed for the clock alone.
            moved.update(
                replace(attempt, prepared=attempt.prepared - 60 * MINUTE, gone=attempt.gone - 60 * MINUTE), "", ""
            )
        time.run(scene.live(second))
        assert (scene.held("aster"), scene.held("extended")) == (Decimal("0.35"), Decimal("-0.35"))


def test_a_remainder_no_order_is_small_enough_for_is_kept_in_the_ledger() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(1)
        venue = scene.venues["aster"]
        venue.deleverage(DESK, BTC, Decimal("0.1005"))
        await asyncio.sleep(1)
        await scene.quiet()

    scene = tell(Scene, story)
    (pair,) = scene.journal.pairs()
    assert pair.dust == scene.net == Decimal("-0.0005")


def test_without_a_hedge_limit_no_order_adds_risk() -> None:
    outage = {"extended": ((Window(kind="outage", start=2 * SECOND, end=30 * SECOND),), {})}
    careful = replace(RULES, emergency=replace(RULES.emergency, hedge_limit=Decimal(0)))

    async def story(scene: Scene, executor: Executor) -> None:
        await asyncio.sleep(5)
        scene.venues["aster"].liquidate(DESK, BTC)
        await asyncio.sleep(30)
        await scene.quiet()

    scene = tell(lambda time: Scene(time, faults=outage, rules=careful), story)
    assert scene.net == 0
    assert all(order.reduce_only for order in placed(scene))
    assert "not_flat" in {what for _, what, _, _ in scene.journal.alarms()}
