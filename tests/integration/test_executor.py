"""An executor killed with SIGKILL is followed by one that comes to the same end. Real sockets, real disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.simulator.trading import SimulatedVenue
from connectors.simulator.trading.faces.server import Face
from schemas.clock import system_clock
from schemas.pairs import Leg, Pair
from sinks.executor.journal import EVERY, Journal
from tests.connectors.venues.benches import ACCOUNT, VENUES, engine

HELD = Decimal(1)


@asynccontextmanager
async def two_venues() -> AsyncIterator[dict[str, tuple[SimulatedVenue, Any]]]:
    """A desk that is long at the first and short at the second."""
    found: dict[str, tuple[SimulatedVenue, Any]] = {}
    faces: list[Face] = []
    for name, sign in (("aster", 1), ("hyperliquid", -1)):
        symbol, make, _ = VENUES[name]
        venue = engine(name, symbol, ())
        face, _ = make(venue)
        venue.grant(ACCOUNT, symbol, HELD * sign)
        faces.append(face)
        found[name] = (venue, face)
    async with faces[0], faces[1]:
        yield found


def held(venues: dict[str, tuple[SimulatedVenue, Any]], name: str) -> Decimal:
    return venues[name][0].ledger.wallets[ACCOUNT].quantity(VENUES[name][0])


@asynccontextmanager
async def process(
    path: Path, venues: dict[str, tuple[SimulatedVenue, Any]]
) -> AsyncIterator[asyncio.subprocess.Process]:
    urls = [url for name in ("aster", "hyperliquid") for url in _urls(venues[name][1])]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.executor_process", str(path), *urls,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert child.stdout is not None
        while (line := await asyncio.wait_for(child.stdout.readline(), 60)) != b"ready\n":
            assert line, "the executor ended before it was ready"
        yield child
    finally:
        if child.returncode is None:
            os.kill(child.pid, signal.SIGKILL)
        await child.communicate()


def _urls(face: Any) -> tuple[str, str]:
    return face.endpoints.rest, face.endpoints.websocket


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.008, 0.03])
def test_a_killed_executor_leaves_nothing_undone_and_nothing_done_twice(tmp_path: Path, after: float) -> None:
    path = tmp_path / "journal.sqlite"
    legs = tuple(
        Leg(venue=name, instrument=VENUES[name][0], quantity=HELD * sign, entry_price=Decimal(3000))
        for name, sign in (("aster", 1), ("hyperliquid", -1))
    )

    async def story() -> None:
        async with two_venues() as venues:
            with Journal(path) as journal:
                journal.add_pair(
                    Pair(pair="p", asset="ETH", legs=(legs[0], legs[1]), opened=system_clock() - 60 * 10**9)
                )
            async with process(path, venues) as first:
                venues["aster"][0].liquidate(ACCOUNT, "ETHUSDT", Decimal("0.4"))
                await asyncio.sleep(after)
                os.kill(first.pid, signal.SIGKILL)
                await first.wait()
            async with process(path, venues):
                for _ in range(200):
                    await asyncio.sleep(0.1)
                    with Journal(path) as journal:
                        done = {intent.state for intent in journal.intents(EVERY)} == {"done"}
                    if done and not held(venues, "aster") + held(venues, "hyperliquid"):
                        break
            assert held(venues, "aster") == Decimal("0.6")
            assert held(venues, "hyperliquid") == Decimal("-0.6"), "exactly the difference, once"

    asyncio.run(story())
    with Journal(path) as journal:
        (pair,) = journal.pairs()
        assert [leg.quantity for leg in pair.legs] == [Decimal("0.6"), Decimal("-0.6")]
        attempts = journal.attempts([intent.order.intent_id for intent in journal.intents(EVERY)])
        assert sum(attempt.filled for attempt in attempts) == Decimal("0.4")
        assert all(attempt.over and attempt.order.reduce_only for attempt in attempts)
