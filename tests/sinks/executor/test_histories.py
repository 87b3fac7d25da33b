"""Whatever goes wrong at the venues: one effect per intent, and a book that ends flat or with an alarm.

Each example is a life: two legs and a spare venue, faults of every kind at any rate, something forced upon a leg at any
moment. The executor and the venues share a virtual clock, so a minute takes milliseconds.
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from connectors.simulator.trading import FaultKind, VirtualTime
from sinks.executor.executor import Executor
from tests.sinks.executor.scenes import BTC, DESK, STEP, Crash, Scene

HISTORIES = int(os.environ.get("BREAKWATER_HISTORIES", "400"))
"""Examples of each law."""
NAMES = ("aster", "lighter", "extended", "hyperliquid", "binance_usdm")
PASSING: tuple[FaultKind, ...] = (
    "lost_before", "lost_after", "late", "error_before", "error_after", "duplicate", "throttled", "query_error",
    "query_lost", "query_slow", "false_flat", "stream_drop", "stream_duplicate", "stream_reorder", "stream_false_flat",
)  # fmt: skip
LOUD = frozenset({"not_flat", "unreadable", "refused", "doubt", "outage"})
"""Alarms that say the book may not be flat."""


class Life(Struct, frozen=True):
    """What happens in one history."""

    names: tuple[str, ...]
    rates: dict[str, dict[FaultKind, float]]
    seed: int
    when: float
    what: str
    leg: int
    share: Decimal
    crash: int | None = None
    """Which writing of the journal the process does not survive, counted from its start; even: before, odd: after."""
    kill: float | None = None
    """Or how many seconds after the event it is killed."""
    told_twice: bool = False


rates = st.dictionaries(st.sampled_from(PASSING), st.sampled_from([0.02, 0.1, 0.3, 0.6]), max_size=4)


@st.composite
def lives(draw: st.DrawFn, *, crashing: bool = False) -> Life:
    names = tuple(draw(st.permutations(NAMES))[:3])
    crash = draw(st.integers(2, 60)) if crashing and draw(st.booleans()) else None
    return Life(
        names=names,
        rates={name: draw(rates) for name in names},
        seed=draw(st.integers(0, 2**32)),
        when=draw(st.floats(0, 3)),
        what=draw(st.sampled_from(["liquidation", "steps", "adl", "nothing"])),
        leg=draw(st.integers(0, 1)),
        share=draw(st.sampled_from([Decimal(1), Decimal("0.6"), Decimal("0.3"), Decimal("0.004")])),
        crash=crash,
        kill=draw(st.floats(0, 3)) if crashing and crash is None else None,
        told_twice=draw(st.booleans()),
    )


def strike(scene: Scene, life: Life) -> None:
    venue = scene.venues[life.names[life.leg]]
    match life.what:
        case "liquidation":
            venue.liquidate(DESK, BTC, life.share)
        case "steps":
            venue.liquidate(DESK, BTC, life.share / 2)
            scene.time.agenda.after(700_000_000, lambda: venue.liquidate(DESK, BTC, life.share / 2))
        case "adl":
            venue.deleverage(DESK, BTC, (abs(scene.held(life.names[life.leg])) * life.share).quantize(STEP))


def play(life: Life) -> Scene:
    """The whole life; how the world is at its end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    faults = {name: ((), chances) for name, chances in life.rates.items()}
    with VirtualTime() as time:
        scene = Scene(time, names=life.names, seed=life.seed, faults=faults)

        async def first(executor: Executor) -> None:
            await asyncio.sleep(life.when)
            if life.crash is not None:
                journal = scene.journal
                at = journal.commits + life.crash // 2
                journal.die_before, journal.die_after = (None, at) if life.crash % 2 else (at, None)
            strike(scene, life)
            if life.kill is not None:
                await asyncio.sleep(life.kill)
                raise Crash
            await rest(scene)

        async def later(executor: Executor) -> None:
            if life.told_twice:
                executor.submit(scene.intents())
            await rest(scene)

        async def whole() -> None:
            try:
                await scene.live(first)
            except* Crash:
                await asyncio.sleep(0.5)
            if life.told_twice or life.crash is not None or life.kill is not None:
                await scene.live(later)

        time.run(whole())
    return scene


async def rest(scene: Scene) -> None:
    """Until the book is flat or somebody was told, but no longer than a minute."""
    for _ in range(40):
        await asyncio.sleep(1.5)
        told = {what for _, what, _, _ in scene.journal.alarms()} & LOUD
        if not scene.journal.intents() and (told or abs(scene.net) <= STEP):
            break
    await asyncio.sleep(0.8)


def unguarded(life: Life) -> bool:
    """Whether a network that delivers twice makes a venue execute twice, whatever a client does."""
    return "duplicate" in life.rates.get("binance_usdm", {})


def judge(scene: Scene, life: Life) -> None:
    alarms = {what for _, what, _, _ in scene.journal.alarms()}
    # Flat, or somebody was told.
    assert abs(scene.net) <= STEP or alarms & LOUD, (scene.net, scene.reports())
    # Nothing reached a wire that the journal had not held before, byte for byte.
    journalled = {(a.order.venue, a.client_id): a for a in scene.every_attempt()}
    for port in scene.ports:
        for request in port.sent:
            if msgspec.json.decode(request.body)["envelope"]["command"]["type"] == "place":
                assert journalled[request.venue, request.client_id].request == request
    # What reduces never adds: only a hedge makes a position larger, and only at the spare venue.
    for attempt in journalled.values():
        assert attempt.order.reduce_only or attempt.order.venue == life.names[2]
    for name, sign in zip(life.names[:2], (1, -1), strict=True):
        assert 0 <= scene.held(name) * sign <= scene.quantity
    # One effect: the survivor gave up what the struck leg lost, and not a step more.
    if not alarms and not unguarded(life):
        left = min(abs(scene.held(name)) for name in life.names[:2])
        struck = scene.struck_quantity(life.names[life.leg])
        assert abs(left - (scene.quantity - struck)) <= STEP, (left, struck, scene.reports())
    if life.what == "nothing":
        assert [scene.held(name) for name in life.names] == [scene.quantity, -scene.quantity, 0]
    # Gapless, in order.
    reports = scene.journal.reports(limit=100_000)
    assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))


laws = settings(max_examples=HISTORIES, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@laws
@given(lives())
def test_any_faults_leave_a_flat_book_or_an_alarm_and_one_effect(life: Life) -> None:
    judge(play(life), life)


@pytest.mark.slow
@pytest.mark.timeout(600)
@laws
@example(
    Life(
        names=("aster", "extended", "lighter"), rates={"extended": {"stream_drop": 0.6, "stream_duplicate": 0.02}},
        seed=1, when=0.0, what="steps", leg=1, share=Decimal("0.6"), kill=1.0,
    )
)  # fmt: skip
@given(lives(crashing=True))
def test_a_process_that_dies_anywhere_is_followed_by_one_that_comes_to_the_same_end(life: Life) -> None:
    judge(play(life), life)
