"""Whatever goes wrong at the venues: one effect per intent, and a book that ends flat or with an alarm.

Each example is a life: two legs and a spare venue, faults of every kind at any rate, something forced upon a leg at any
moment. The executor and the venues share a virtual clock, so a minute takes milliseconds.
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from random import Random

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec import Struct

from connectors.simulator.trading import FaultKind, VirtualTime, Window
from flows.desk import close_intent
from schemas.clock import SECOND
from sinks.executor.closing import CLOSE_MODES, CloseMode, Closing
from sinks.executor.executor import Executor
from tests.sinks.executor.scenes import BTC, DESK, STEP, Crash, MemoryJournal, Scene, blank

HISTORIES = int(os.environ.get("TESTS_HISTORIES", "10000"))
FIRST = int(os.environ.get("TESTS_FIRST_HISTORY", "0"))
CHUNKS = 20
"""Into so many tests they are divided, so that processes share them."""
NAMES = ("aster", "lighter", "extended", "hyperliquid", "binance_usdm")
PASSING: tuple[FaultKind, ...] = (
    "lost_before", "lost_after", "late", "error_before", "error_after", "duplicate", "throttled", "query_error",
    "query_lost", "query_slow", "false_flat", "stream_drop", "stream_duplicate", "stream_reorder", "stream_false_flat",
)  # fmt: skip
RATES = (0.02, 0.1, 0.3, 0.6)
SHARES = (Decimal(1), Decimal("0.6"), Decimal("0.3"), Decimal("0.004"))
CLOSING = tuple(mode for mode in CLOSE_MODES if mode != "limit_only")
"""A market that stands still fills no order that only waits."""
LOUD = frozenset({"not_flat", "unreadable", "refused", "doubt", "outage"})
"""Alarms that say the book may not be flat."""


DISK = MemoryJournal(lambda: 0).disk
"""One after the other lives on it."""


class Life(Struct, frozen=True):
    """What happens in one history."""

    names: tuple[str, ...]
    rates: dict[str, dict[FaultKind, float]]
    """By venue."""
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
    away: tuple[int, float, float] | None = None
    """Which venue answers nothing, from how many seconds after the start, for how many."""
    gap: tuple[int, float, float] | None = None
    """Likewise whose private stream is lost."""
    closing: tuple[CloseMode, float] | None = None
    """How somebody has the pair closed, and how many seconds after the start."""


def life_of(r: Random, *, crashing: bool) -> Life:
    names = tuple(r.sample(NAMES, 3))
    crash = r.randint(2, 60) if crashing and r.random() < 0.5 else None
    return Life(
        names=names,
        rates={name: {r.choice(PASSING): r.choice(RATES) for _ in range(r.randint(0, 4))} for name in names},
        seed=r.getrandbits(32),
        when=2 * r.random(),
        what=r.choice(("liquidation", "steps", "adl", "nothing")),
        leg=r.randint(0, 1),
        share=r.choice(SHARES),
        crash=crash,
        kill=3 * r.random() if crashing and crash is None else None,
        told_twice=r.random() < 0.5,
        away=(r.randint(0, 2), 3 * r.random(), 6 * r.random()) if r.random() < 0.1 else None,
        gap=(r.randint(0, 2), 3 * r.random(), 6 * r.random()) if r.random() < 0.1 else None,
        closing=(r.choice(CLOSING), 3 * r.random()) if r.random() < 0.1 else None,
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


def lasting(kind: str, at: tuple[int, float, float]) -> Window:
    _, start, length = at
    return Window(kind=kind, start=round(start * SECOND), end=round((start + length) * SECOND))  # type: ignore[arg-type] # one of them


def play(life: Life) -> Scene:
    """The whole life; how the world is at its end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    windows = {"outage": life.away, "stream_gap": life.gap}
    faults = {
        name: ([lasting(kind, at) for kind, at in windows.items() if at and at[0] == number], life.rates.get(name, {}))
        for number, name in enumerate(life.names)
    }
    with VirtualTime() as time:
        closing = Closing(mode=life.closing[0] if life.closing else "market_only", fallback=3 * SECOND)
        scene = Scene(time, names=life.names, seed=life.seed, faults=faults, disk=blank(DISK), closing=closing)

        async def close(executor: Executor, after: float) -> None:
            await asyncio.sleep(after)
            for pair in scene.journal.pairs():
                executor.submit([close_intent(pair, "MANUAL", time.clock())])

        async def first(executor: Executor) -> None:
            before = life.closing[1] if life.closing else life.when
            if before < life.when:
                await close(executor, before)
            await asyncio.sleep(max(0.0, life.when - before) if before < life.when else life.when)
            if life.crash is not None:
                journal = scene.journal
                at = journal.commits + life.crash // 2
                journal.die_before, journal.die_after = (None, at) if life.crash % 2 else (at, None)
            strike(scene, life)
            if before > life.when:
                await close(executor, before - life.when)
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
    for _ in range(60):
        await asyncio.sleep(1)
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
    if life.closing and any(i.intent == "close_pair" for i in scene.intents()) and not alarms:
        assert all(scene.held(name) == 0 for name in life.names), (scene.net, scene.reports())
    elif not alarms and not unguarded(life):
        left = min(abs(scene.held(name)) for name in life.names[:2])
        struck = scene.struck_quantity(life.names[life.leg])
        assert abs(left - (scene.quantity - struck)) <= STEP, (left, struck, scene.reports())
    if life.what == "nothing" and not life.closing:
        assert [scene.held(name) for name in life.names] == [scene.quantity, -scene.quantity, 0]
    # Gapless, in order.
    reports = scene.journal.reports(limit=100_000)
    assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))


laws = settings(max_examples=100, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.mark.parametrize("crashing", [False, True])
@laws
@given(chance=st.randoms(use_true_random=False))
def test_the_smallest_life_that_breaks_a_law_is_looked_for(chance: Random, *, crashing: bool) -> None:
    life = life_of(chance, crashing=crashing)
    note(life)
    judge(play(life), life)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_faults_and_deaths_leave_a_flat_book_or_an_alarm_and_one_effect(chunk: int) -> None:
    """Ten thousand lives; every second process dies somewhere in its own and is followed by another."""
    for number in range(FIRST + chunk, FIRST + HISTORIES, CHUNKS):
        life = life_of(Random(number), crashing=number // CHUNKS % 2 == 1)
        try:
            judge(play(life), life)
        except BaseException as error:
            error.add_note(f"history {number}: {life}")
            raise


@pytest.mark.parametrize(
    "life",
    [
        Life(
            names=("aster", "extended", "lighter"), rates={"extended": {"stream_drop": 0.6, "stream_duplicate": 0.02}},
            seed=1, when=0.0, what="steps", leg=1, share=Decimal("0.6"), kill=1.0,
        ),
    ],
)  # fmt: skip
def test_what_once_broke_a_law_breaks_none(life: Life) -> None:
    judge(play(life), life)
