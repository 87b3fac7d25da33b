"""A next order only after a proof of absence or a fence; only one down to flat may follow one nobody saw the end of."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise

import pytest
import structlog

from connectors.simulator.trading import VirtualTime, Window
from schemas.clock import SECOND
from sinks.executor import case
from sinks.executor.attempts import Attempt
from sinks.executor.executor import Executor
from tests.sinks.executor.scenes import BTC, DESK, Scene

SURVIVORS = ("extended", "hyperliquid", "binance_usdm")
"""One of each way to an end: waiting it out, a nonce to fence, ids remembered while open."""


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def late(survivor: str, share: Decimal) -> tuple[Scene, list[Attempt]]:
    """The first order at the survivor is answered by nothing and lands 2.5 s later: after its port gave it up, before
    its validity ends everywhere."""
    faults = {survivor: ((Window(kind="late", delay=5 * SECOND // 2, count=1),), {})}
    with VirtualTime() as time:
        scene = Scene(time, names=("aster", survivor, "kucoin"), faults=faults)

        async def script(executor: Executor) -> None:
            await asyncio.sleep(1)
            scene.venues["aster"].liquidate(DESK, BTC, share)
            await asyncio.sleep(60)
            await scene.quiet()

        time.run(scene.live(script))
        return scene, [attempt for attempt in scene.every_attempt() if attempt.order.venue == survivor]


@pytest.mark.parametrize("survivor", SURVIVORS)
def test_where_something_is_to_stay_nothing_follows_before_the_end_of_the_last_is_seen(survivor: str) -> None:
    scene, attempts = late(survivor, Decimal("0.3"))
    assert (scene.held("aster"), scene.held(survivor)) == (Decimal("0.35"), Decimal("-0.35"))
    for before, following in pairwise(attempts):
        assert before.over
        assert before.ended <= following.prepared


def test_down_to_flat_the_next_does_not_wait_for_an_end() -> None:
    scene, attempts = late("extended", Decimal(1))
    first, second = attempts[:2]
    assert second.prepared < first.ended
    assert second.order.reduce_only
    assert scene.net == 0


def test_without_the_rule_more_than_the_difference_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stories above tell the rule from its absence."""
    monkeypatch.setattr(case, "may_follow", lambda *_, **__: True)
    scene, attempts = late("extended", Decimal("0.3"))
    assert attempts[1].prepared < attempts[0].ended
    assert sum(a.filled for a in attempts) > Decimal("0.15")
    assert scene.held("extended") == Decimal("-0.2")
