"""The process dies at every write of the journal and at every question to a venue, in turn; the end is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import pytest
import structlog

from connectors.simulator.trading import SimulatedPort, VirtualTime
from sinks.executor.closing import Closing
from sinks.executor.executor import Executor
from tests.sinks.executor import scenes
from tests.sinks.executor.scenes import BTC, DESK, Crash, Scene
from tests.sinks.executor.test_scenarios import asked

What = Literal["emergency", "close"]


@pytest.fixture(autouse=True)
def silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@dataclass
class Awaits:
    """Counts how often a port begins or ends to wait for its venue, and dies there."""

    passed: int = 0
    die_at: int | None = None

    def step(self) -> None:
        self.passed += 1
        if self.passed == self.die_at:
            raise Crash


class MortalPort(SimulatedPort):
    """Between two of its steps the executor only thinks."""

    def __init__(self, awaits: Awaits, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaits = awaits

    async def _await(self, start: Callable[[Callable[[Any], None]], None]) -> Any:
        self._awaits.step()
        found = await super()._await(start)
        self._awaits.step()
        return found


@dataclass(frozen=True)
class End:
    """How the world is at the end of a life, and of the one after it."""

    held: tuple[Decimal, ...]
    filled: dict[str, Decimal]
    """By venue, what our own orders took."""
    closed: tuple[tuple[str, bool], ...]
    """Why each pair ended."""
    alarms: frozenset[str]


@dataclass(frozen=True)
class Life:
    end: End
    writes: int
    awaits: int


def live(what: What, patch: pytest.MonkeyPatch, *, write: int = 0, after: bool = False, step: int = 0) -> Life:
    """One scenario in a first life that ends where it is told to, and in a second where it did."""
    awaits = Awaits(die_at=step or None)
    patch.setattr(scenes, "SimulatedPort", partial(MortalPort, awaits))
    with VirtualTime() as time:
        scene = Scene(time, closing=Closing(mode="market_only"))
        struck: list[bool] = []

        async def story(executor: Executor) -> None:
            if not struck:
                struck.append(True)
                if what == "emergency":
                    scene.venues["aster"].liquidate(DESK, BTC)
            if what == "close" and not scene.intents():
                executor.submit([asked(scene)])
            await asyncio.sleep(8)
            await scene.quiet()

        counted: list[tuple[int, int]] = []

        async def whole() -> None:
            try:
                await scene.live(watched)
            except* Crash:
                awaits.die_at = None
                await asyncio.sleep(0.3)
                await scene.live(story)

        async def watched(executor: Executor) -> None:
            began = scene.journal.commits
            if write:
                mark = began + write
                scene.journal.die_before, scene.journal.die_after = (None, mark) if after else (mark, None)
            await story(executor)
            counted.append((scene.journal.commits - began, awaits.passed))

        time.run(whole())
        end = End(
            held=tuple(scene.held(name) for name in scene.names),
            filled={
                name: sum((a.filled for a in scene.every_attempt() if a.order.venue == name), Decimal(0))
                for name in scene.names
            },
            closed=tuple((pair.reason, pair.closed is not None) for pair in scene.journal.pairs(living=False)),
            alarms=frozenset(alarm for _, alarm, _, _ in scene.journal.alarms()),
        )
    writes, passed = counted[0] if counted else (0, 0)
    return Life(end, writes, passed)


@pytest.mark.parametrize(("what", "reason"), [("emergency", "LIQUIDATION_ASTER"), ("close", "MANUAL")])
def test_whichever_write_or_answer_is_the_last_the_end_is_the_same(
    what: What, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live(what, monkeypatch)
    taken = Decimal(0) if what == "emergency" else Decimal("0.5")
    assert whole.end == End(
        held=(Decimal(0),) * 3,
        filled={"aster": taken, "extended": Decimal("0.5"), "hyperliquid": Decimal(0)},
        closed=((reason, True),),
        alarms=frozenset(),
    )
    assert whole.writes > 5
    assert whole.awaits > 20
    ends = {
        f"write {number}, {'after' if after else 'before'}": live(what, monkeypatch, write=number, after=after).end
        for number in range(1, whole.writes + 1)
        for after in (False, True)
    }
    ends |= {f"step {number}": live(what, monkeypatch, step=number).end for number in range(1, whole.awaits + 1)}
    assert {name: end for name, end in ends.items() if end != whole.end} == {}
