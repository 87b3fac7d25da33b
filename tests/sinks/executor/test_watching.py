"""How closely venues are watched, and what is told where nobody can."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from connectors.simulator.trading import VirtualTime, Window
from schemas.clock import SECOND
from schemas.orders import Account, Unknown
from schemas.pairs import Hint
from sinks.executor.executor import Executor
from sinks.executor.journal import Journal
from tests.sinks.executor.scenes import BTC, DESK, Scene
from tests.sinks.executor.test_scenarios import placed, tell


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def on_disk(scene: Scene, path: Path) -> Journal:
    """The scene's journal in a file from now on, and the hand of another process on it."""
    disk = sqlite3.connect(path, isolation_level=None)
    scene.journal.disk.backup(disk)
    scene.journal.disk.close()
    scene.journal.disk = disk
    return Journal(path, scene.time.clock)


def reads_of(executor: Executor, venue: str) -> list[int]:
    """When the positions of a venue are asked for from now on."""
    port, asked = executor.world.venues[venue].port, list[int]()
    account = port.account

    async def counted() -> Account | Unknown:
        asked.append(executor._clock())
        return await account()

    port.account = counted  # type: ignore[method-assign] # to see when
    return asked


def test_what_another_process_noticed_makes_reads_faster_until_it_runs_out_also_after_a_restart(
    tmp_path: Path,
) -> None:
    per_half_minute: list[int] = []

    async def counted(executor: Executor) -> None:
        asked = reads_of(executor, "aster")
        await asyncio.sleep(30)
        per_half_minute.append(len(asked))

    with VirtualTime() as time:
        scene = Scene(time)
        with on_disk(scene, tmp_path / "j") as other:

            async def first(executor: Executor) -> None:
                await asyncio.sleep(40)  # a start is followed by reads in a hurry
                await counted(executor)
                until = time.clock() + 120 * SECOND
                other.keep_hint(Hint(venue="aster", what="alert", source="signal", until=until, reason="CASCADE_ALERT"))
                await counted(executor)

            async def second(executor: Executor) -> None:
                await asyncio.sleep(40)
                await counted(executor)
                await asyncio.sleep(30)
                await counted(executor)

            time.run(scene.live(first))
            time.run(scene.live(second))
        scene.journal.disk.close()
        assert [scene.held(name) for name in scene.names] == [Decimal("0.5"), Decimal("-0.5"), 0]
    calm, alert, restarted, over = per_half_minute
    # Each 5 s, then each 2 s, a quarter second more each time; and one of the comparisons of each minute.
    assert {calm, over} <= {5, 6, 7}, per_half_minute
    assert {alert, restarted} <= {13, 14, 15}, per_half_minute


def test_an_emergency_hedges_where_the_market_is_seen_first() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        hint = Hint(venue="hyperliquid", what="closed", source="feed closes", until=1 << 62, reason="feed is silent")
        executor._watch.hinted([hint], 0)
        scene.venues["extended"].script(Window(kind="outage", start=0, end=60 * SECOND))
        scene.venues["aster"].liquidate(DESK, BTC)
        await scene.quiet(120)

    names = ("aster", "extended", "hyperliquid", "lighter")
    scene = tell(lambda time: Scene(time, names=names), story)
    hedged = {order.venue for order in placed(scene) if not order.reduce_only}
    assert hedged == {"lighter"}
    assert scene.net == 0


def test_a_venue_that_tells_no_mark_is_an_alarm_and_no_reason_to_trade() -> None:
    async def story(scene: Scene, executor: Executor) -> None:
        port = executor.world.venues["extended"].port
        account = port.account

        async def markless() -> Account | Unknown:
            told = await account()
            if isinstance(told, Unknown):
                return told
            return replace(told, positions={k: replace(v, mark_price=None) for k, v in told.positions.items()})

        port.account = markless  # type: ignore[method-assign] # as some venues are for a while
        await asyncio.sleep(30)

    scene = tell(Scene, story)
    alarms = [(case, what, detail) for case, what, detail, _ in scene.journal.alarms()]
    assert alarms == [("p extended", "unwatched", "extended tells no mark price of BTCUSDT")]
    assert (scene.intents(), [scene.held(name) for name in scene.names]) == ([], [Decimal("0.5"), Decimal("-0.5"), 0])
