"""From a leg taken away to a safe book: notice to wire on loopback, the journal's commit, and flat beside a poller.

The wire figures run over real sockets with the journal on disk, venues and executor in one process, so that one clock
stamps both ends. Flat is on a virtual clock, under a book that thins and a market that falls as on 10 October 2025.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import structlog

from connectors.simulator.trading import SimulatedPort, VirtualTime
from flows import desk
from flows.settings import ExecutorSettings
from schemas.clock import SECOND, system_clock
from schemas.orders import Order, Outcome, SignedRequest
from schemas.pairs import Leg, Pair
from sinks.executor.executor import Executor
from sinks.executor.journal import EVERY, Journal
from tests.benchmarks.figures import Row, Target, row
from tests.connectors.venues.benches import ACCOUNT, VENUES, engine
from tests.sinks.executor.scenes import BTC, DESK, MARK, Scene

HELD = Decimal(10)
PIECE = Decimal("0.01")
_POLL = 60
"""Seconds between two looks of the poller."""


def executor(*, quick: bool) -> list[Row]:
    """Milliseconds and seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_commits(Path(folder) / "commits", 100 if quick else 2000),
            *asyncio.run(_wire(Path(folder) / "wire", 5 if quick else 60)),
            *_flat(2 if quick else 30),
        ]


def _commits(path: Path, count: int) -> list[Row]:
    with Journal(path) as journal:
        took = [_timed(lambda n=n: journal.set_control("ACTIVE", str(n))) for n in range(count)]
    return [
        row("journal commit, p50", float(np.quantile(took, 0.5)) * 1e3, "ms"),
        row("journal commit, p99", float(np.quantile(took, 0.99)) * 1e3, "ms"),
    ]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def _wire(path: Path, count: int) -> list[Row]:
    """Small pieces of the first leg are liquidated one after the other; each is followed by one order."""
    venues, faces, connections = {}, [], []
    for name, sign in (("aster", 1), ("hyperliquid", -1)):
        symbol, make, _ = VENUES[name]
        venues[name] = engine(name, symbol, ())
        venues[name].open(ACCOUNT, Decimal(1_000_000))
        venues[name].grant(ACCOUNT, symbol, HELD * sign)
        face, connect = make(venues[name])
        faces.append(face)
        connections.append(connect)
    async with faces[0], faces[1]:
        journal = Timed(path)
        legs = [
            Leg(venue=name, instrument=VENUES[name][0], quantity=HELD * sign)
            for name, sign in (("aster", 1), ("hyperliquid", -1))
        ]
        journal.add_pair(Pair(pair="p", asset="ETH", legs=(legs[0], legs[1]), opened=system_clock() - 60 * SECOND))
        journal.claim()
        ports = {
            name: [connect(face, 2.0, None) for _ in range(2)]
            for name, face, connect in zip(venues, faces, connections, strict=True)
        }
        made = desk.executor(ExecutorSettings(), journal, ports)
        sent = _stamped(made)
        running = asyncio.ensure_future(made.run())
        await made.ready.wait()
        await asyncio.sleep(1)
        for _ in range(count):
            venues["aster"].liquidate(ACCOUNT, "ETHUSDT", PIECE / HELD)
            await _idle(journal)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for pair in made.world.venues.values():
            await pair.port.close()
            await pair.lane.close()
        received = {event.event_id: event.receive_time for _, event in journal.events(limit=1_000_000)}
        seen = [received.get(i.order.cause, i.order.detected) for i in journal.intents(EVERY)]
        journal.close()
    took = [(gone - noticed) / 1e6 for noticed, gone in zip(seen, sent, strict=False)]
    syncs = [
        sum(noticed < synced < gone for synced in journal.synced) for noticed, gone in zip(seen, sent, strict=False)
    ]  # one for what was told and the intent, one for the order
    return [
        row("private notice → order to the socket, p50", float(np.quantile(took, 0.5)), "ms", Target("≤", 5)),
        row("private notice → order to the socket, p99", float(np.quantile(took, 0.99)), "ms", Target("≤", 20)),
        row(
            "syncs of the journal beyond two between them, median",
            max(statistics.median(syncs) - 2, 0),
            "syncs",
            Target("≤", 0),
        ),
        row(f"orders beyond one for each of {count} liquidations", len(sent) - count, "orders", Target("≤", 0)),
    ]


class Timed(Journal):
    """Knows when it was synced."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.synced: list[int] = []

    def _commit(self) -> None:
        super()._commit()
        self.synced.append(system_clock())


def _stamped(made: Executor) -> list[int]:
    """When each order was handed to the client that writes it to its socket."""
    sent: list[int] = []
    lane = made.world.venues["hyperliquid"].lane
    send = lane.send

    async def stamped(request: SignedRequest) -> Outcome:
        sent.append(system_clock())
        return await send(request)

    lane.send = stamped  # type: ignore[method-assign]  # to see when
    return sent


async def _idle(journal: Journal) -> None:
    """Until the case is over."""
    await asyncio.sleep(0.05)
    while journal.intents():  # noqa: ASYNC110 - the journal is a file
        await asyncio.sleep(0.02)


def _flat(count: int) -> list[Row]:
    """The same falls, once with the executor and once with somebody who looks every minute."""
    ours, polled, saved = [], [], []
    for seed in range(count):
        mine, lost = _fall(seed, None)
        # Somebody who looks each minute finds out somewhere within it.
        theirs, more = _fall(seed, random.Random(seed).random() * _POLL)
        ours.append(mine)
        polled.append(theirs)
        saved.append(float(more - lost))
    faster = statistics.median(polled) / statistics.median(ours)
    return [
        row("liquidation → flat, p50", statistics.median(ours), "s", baseline="a look each 60 s, times as fast",
            ratio=faster, target=Target("≥", 60, "ratio")),
        row("liquidation → flat, worst", max(ours), "s", Target("≤", 1)),
        row("a look each 60 s: liquidation → flat, p50", statistics.median(polled), "s"),
        row("saved on 30,000 USD a leg, mean", max(statistics.mean(saved), 0.0), "USD",
            spread=f"{min(saved):.0f}–{max(saved):.0f}"),
    ]  # fmt: skip


def _fall(seed: int, look_after: float | None) -> tuple[float, Decimal]:
    """Seconds until flat, and USD lost on the leg that was left over."""
    with VirtualTime() as virtual:
        scene = Scene(virtual, seed=seed)
        rng = random.Random(seed)
        drop = Decimal(repr(round(0.06 + 0.08 * rng.random(), 4)))
        path = [(n * SECOND // 4, MARK * (1 - drop * n / 720)) for n in range(1, 720)]
        for venue in scene.venues.values():
            venue.contract(BTC).thinning = 0.15
            venue.follow(BTC, path)
        told: list[tuple[float, Decimal]] = []

        async def script(acting: Callable[[], Awaitable[None]] | Executor) -> None:
            await asyncio.sleep(20 + 10 * rng.random())
            began, mark = virtual.clock(), scene.venues["aster"].contract(BTC).mark
            # The short is closed by force in a squeeze at its venue; the long is left over in a falling market.
            scene.venues["extended"].liquidate(DESK, BTC)
            if not isinstance(acting, Executor):
                await acting()
            while scene.net:  # noqa: ASYNC110 - the venue tells nobody but its own streams
                await asyncio.sleep(0.01)
            fills = scene.venues["aster"].accounts.views[DESK].fills(0, 1 << 62)
            told.append(
                ((virtual.clock() - began) / SECOND, sum((f.quantity * (mark - f.price) for f in fills), Decimal(0)))
            )

        if look_after is None:
            virtual.run(scene.live(script))
        else:
            virtual.run(script(lambda: _looks(scene, look_after)))
    return told[0]


async def _looks(scene: Scene, after: float) -> None:
    """Somebody finds out so many seconds later, and sells at once at whatever price."""
    await asyncio.sleep(after)
    port = SimulatedPort(scene.venues["aster"], DESK)
    number = 0
    while held := scene.held("aster"):
        price = (scene.venues["aster"].contract(BTC).mark * Decimal("0.95")).quantize(Decimal("0.1"))
        order = Order(
            venue="aster", instrument=BTC, side="sell", quantity=held, price=price, time_in_force="ioc",
            reduce_only=True, client_id=f"n{number}",
        )  # fmt: skip
        await port.send(port.prepare(order, now=scene.time.clock()))
        number += 1
        await asyncio.sleep(0.2)
