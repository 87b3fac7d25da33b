"""A desk with a pair over simulated venues on a virtual clock, its executor, and what can happen to them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from connectors.simulator.trading import (
    FaultKind,
    Faults,
    SimulatedPort,
    SimulatedVenue,
    VirtualTime,
    Window,
    contract_rules,
    profile,
)
from flows.domain.detection import Detector
from flows.domain.risk import Limits, check
from schemas.clock import SECOND
from schemas.orders import OrderIntent
from schemas.pairs import Leg, Pair
from sinks.executor.attempts import Attempt
from sinks.executor.budget import Budget
from sinks.executor.closing import Closing
from sinks.executor.emergency import Emergency
from sinks.executor.executor import Executor
from sinks.executor.journal import Journal
from sinks.executor.rules import Rules
from sinks.executor.world import Venue

DESK = "desk"
BTC = "BTCUSDT"
MARK = Decimal(60_000)
STEP = Decimal("0.001")

RULES = Rules(emergency=Emergency(hedge_limit=Decimal(100_000)), pickup=SECOND, heartbeat=SECOND // 2)
USD = Decimal(100_000)
LIMITS = Limits(order_usd=USD, pair_usd=USD, total_usd=USD, trade_size=Decimal(1), exposure=Decimal(1))
CLOSING = Closing()


class Crash(BaseException):
    """The process dies here."""


class MemoryJournal(Journal):
    """A journal whose disk is memory, so that thousands of lives fit into a minute. Dies where it is told to."""

    def __init__(self, clock: Callable[[], int], db: sqlite3.Connection | None = None) -> None:
        self.path = Path("memory")
        self.epoch = None
        self._clock, self._account, self._lock = clock, "main", None
        self.disk = db or sqlite3.connect(":memory:", isolation_level=None)
        self._db = self.disk
        self.commits = 0
        self.die_before: int | None = None
        self.die_after: int | None = None
        if db is None:
            self._set_up()

    def claim(self) -> int:
        with self._writing() as db:
            db.execute("UPDATE control SET epoch = epoch + 1")
            (epoch,) = db.execute("SELECT epoch FROM control").fetchone()
        self.epoch = int(epoch)
        return self.epoch

    def _commit(self) -> None:
        self.commits += 1
        if self.commits == self.die_before:
            raise Crash
        super()._commit()
        if self.commits == self.die_after:
            raise Crash

    def close(self) -> None:
        """The disk stays."""


def blank(disk: sqlite3.Connection) -> sqlite3.Connection:
    """The disk with nothing written on it: what was prepared for it once serves the next thousand lives."""
    tables = [name for (name,) in disk.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    disk.execute("BEGIN")
    for table in tables:
        disk.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own tables
    disk.execute("INSERT INTO control VALUES (1, 'ACTIVE', '', 0, 0)")
    disk.execute("COMMIT")
    return disk


@dataclass
class Scene:
    """One run. ``quantity`` long at the first venue, short at the second, nothing at a third."""

    time: VirtualTime
    names: tuple[str, ...] = ("aster", "extended", "hyperliquid")
    quantity: Decimal = Decimal("0.5")
    seed: int = 0
    faults: Mapping[str, tuple[Iterable[Window], Mapping[FaultKind, float]]] = field(default_factory=dict)
    rules: Rules = RULES
    limits: Limits = LIMITS
    closing: Closing = CLOSING
    disk: sqlite3.Connection | None = None

    def __post_init__(self) -> None:
        self.venues: dict[str, SimulatedVenue] = {}
        self.ports: list[SimulatedPort] = []
        for name in self.names:
            script, rates = self.faults.get(name, ((), {}))
            venue = SimulatedVenue(
                profile(name), self.time.agenda, seed=self.seed, faults=Faults(name, self.seed, script, rates)
            )
            venue.list(contract_rules(BTC, "BTC"), MARK)
            venue.open(DESK, Decimal(100_000))
            self.venues[name] = venue
        first, second = self.names[:2]
        self.venues[first].grant(DESK, BTC, self.quantity)
        self.venues[second].grant(DESK, BTC, -self.quantity)
        self.journal = MemoryJournal(self.time.clock, self.disk)
        legs = (
            Leg(venue=first, instrument=BTC, quantity=self.quantity, entry_price=MARK),
            Leg(venue=second, instrument=BTC, quantity=-self.quantity, entry_price=MARK),
        )
        self.journal.add_pair(Pair(pair="p", asset="BTC", legs=legs, opened=self.time.clock()))

    def executor(self) -> Executor:
        """A process of its own over the same disk and venues."""
        self.journal = MemoryJournal(self.time.clock, self.journal.disk)
        self.journal.claim()
        now = self.time.clock()
        venues = {}
        for name, venue in self.venues.items():
            ports = [SimulatedPort(venue, DESK, key=key) for key in (0, 1)]
            self.ports += ports
            caps = ports[0].capabilities
            venues[name] = Venue(*ports, Budget(caps.requests_per_minute, caps.emergency_share, now))
        detector = Detector({name: venue.caps for name, venue in venues.items()})
        hedges = {"BTC": tuple((name, BTC) for name in self.names[2:])}
        return Executor(
            self.journal,
            venues,
            gate=lambda proposal: check(proposal, self.limits),
            clock=self.time.clock,
            closing_of=lambda _: self.closing,
            rules=replace(self.rules, hedges=hedges),
            watch=detector,
        )

    async def live(self, script: Callable[[Executor], Awaitable[None]]) -> None:
        """One life of the process: it starts, ``script`` happens, and it is gone."""
        executor = self.executor()
        running = asyncio.ensure_future(executor.run())
        doing = asyncio.ensure_future(self._after_start(executor, script))
        try:
            await asyncio.wait({running, doing}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            doing.result()
        finally:
            for task in (running, doing):
                task.cancel()
            await asyncio.gather(running, doing, return_exceptions=True)

    @staticmethod
    async def _after_start(executor: Executor, script: Callable[[Executor], Awaitable[None]]) -> None:
        await executor.ready.wait()
        await script(executor)

    async def quiet(self, patience: float = 60.0) -> None:
        """Until nothing is being worked on, or ``patience`` seconds have passed."""
        end = self.time.clock() + round(patience * SECOND)
        while self.time.clock() < end:
            await asyncio.sleep(0.1)
            if not self.journal.intents():
                return

    def held(self, name: str) -> Decimal:
        """What the desk really holds there."""
        return self.venues[name].ledger.wallets[DESK].quantity(BTC)

    @property
    def net(self) -> Decimal:
        """The desk's true net exposure."""
        return sum((self.held(name) for name in self.names), Decimal(0))

    def struck_quantity(self, name: str) -> Decimal:
        """What the venue has taken from the desk by force."""
        fills = self.venues[name].accounts.views[DESK].fills(0, 1 << 62)
        return sum((fill.quantity for fill in fills if not fill.client_id), Decimal(0))

    def every_attempt(self) -> list[Attempt]:
        """Every order there ever was."""
        return self.journal.attempts([intent.intent_id for intent in self.intents()])

    def reports(self) -> list[str]:
        """What the journal says happened, in words."""
        return [f"{r.what} {r.detail}".strip() for r in self.journal.reports(limit=10_000)]

    def intents(self) -> list[OrderIntent]:
        """Every intent there ever was."""
        states = ("waiting", "working", "done", "noop", "refused", "expired", "failed")
        return [intent.order for intent in self.journal.intents(states)]
