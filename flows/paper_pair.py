"""A two-venue position on paper beside the pipeline, worked by the real executor: what a cascade does to a pair.

The paper venues follow the marks the pipeline reads. A leg is liquidated where its leverage does not bear the move;
nothing else makes it happen. A second account holds the same pair and has nobody to act for it: what doing nothing
comes to. All of it lives in a thread with an event loop of its own; the pipeline only hands marks over.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from msgspec.structs import replace

from connectors.simulator.trading.paper import PaperVenues
from flows import desk
from flows.settings import ExecutorSettings
from flows.stages import Outcome
from schemas.clock import MILLISECOND, SECOND, Clock, steady_clock
from schemas.orders import ExecutionReport, OrderIntent
from schemas.pairs import Leg, Pair
from schemas.records import MarkPrice
from schemas.view import PaperView
from sinks.executor.journal import EVERY, Journal


@dataclass(frozen=True, slots=True)
class Terms:
    """What the pair is."""

    asset: str
    long: str
    """Venue of the long leg."""
    short: str
    notional: Decimal = Decimal(20_000)
    """USD of each leg."""
    leverage: Decimal = Decimal(6)
    """With 6 the long is liquidated once its mark has fallen by about 16 %."""

    @property
    def venues(self) -> tuple[str, str]:
        """Of the long leg, of the short leg."""
        return self.long, self.short


DEMO = Terms("SOL", "aster", "hyperliquid")
"""The simulated cascade takes 28 % of its price."""
_HELD, _IDLE = "paper", "idle"
_CENT = Decimal("0.01")
_PATIENCE = 5 * SECOND
"""How long an emergency under way at the end of the run is waited for."""
_NOTICE = 0.1
"""Seconds within which what has just happened is noticed."""


class PaperPair:
    """``start``, ``take`` every outcome, ``stop``; then ``view``. On paper throughout, whatever the settings say.

    :arg spare: leave it as it is when a leg nears its end; otherwise the settings' policy says what is done.
    """

    def __init__(self, settings: ExecutorSettings, terms: Terms = DEMO, *, spare: bool = False) -> None:
        policy = settings.policy.model_copy(update={"margin": "nothing"}) if spare else settings.policy
        self._settings = settings.model_copy(update={"mode": "paper", "policy": policy})
        self._terms = terms
        self._thread = threading.Thread(target=self._live, name="paper pair", daemon=True)
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._marked, self._over = asyncio.Event(), asyncio.Event()
        self._venues: PaperVenues | None = None
        self._failure: BaseException | None = None
        self._instruments: dict[str, str] = {}
        self._before = Decimal(0)
        self.view = PaperView(
            asset=terms.asset, long=terms.long, short=terms.short, notional_usd=float(terms.notional),
            leverage=float(terms.leverage),
        )  # fmt: skip
        """What became of it; whole after ``stop``."""
        self.reports: list[ExecutionReport] = []
        """The same step by step; whole after ``stop``."""

    def start(self) -> None:
        """From here on marks are followed."""
        self._thread.start()
        self._begun.wait()

    def take(self, outcome: Outcome) -> None:
        """Hand the marks of an outcome over."""
        for _, record in outcome.batch.others:
            if isinstance(record, MarkPrice):
                self.follow(record)

    def follow(self, mark: MarkPrice) -> None:
        """A venue told a mark; of the pair's contracts it moves the paper venue."""
        if mark.asset != self._terms.asset or mark.venue not in self._terms.venues:
            return
        if self._instruments.setdefault(mark.venue, mark.instrument) != mark.instrument or self._venues is None:
            return
        with suppress(RuntimeError):  # the loop has gone, with a failure that ``stop`` raises
            self._venues.observe(mark)
            if self._loop is not None and len(self._instruments) == len(self._terms.venues):
                self._loop.call_soon_threadsafe(self._marked.set)

    def stop(self) -> None:
        """The end of the run: what is under way is brought to its end. Raises what went wrong in the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="breakwater-paper-") as folder:
                asyncio.run(self._run(Path(folder)))
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever stops the thread
            self._failure = failure
        finally:
            self._begun.set()

    async def _run(self, folder: Path) -> None:
        clock = steady_clock()
        venues = PaperVenues(self._terms.venues, self._margin, clock(), account=_HELD, leverage=self._terms.leverage)
        venues.run_by(clock)
        self._loop, self._venues = asyncio.get_running_loop(), venues
        self._begun.set()
        try:
            if await self._both_told():
                with Journal(folder / "journal.sqlite", clock) as journal:
                    journal.claim()
                    pair = self._open(venues, journal, clock)
                    await self._work(venues, journal, clock)
                    self.view, self.reports = self._told(journal, pair), journal.reports()
        finally:
            self._loop = self._venues = None
            venues.stop()

    async def _both_told(self) -> bool:
        """Whether both venues told a price before the end."""
        waits = [asyncio.create_task(event.wait()) for event in (self._marked, self._over)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self._marked.is_set()

    async def _work(self, venues: PaperVenues, journal: Journal, clock: Clock) -> None:
        """The executor until the end of the run, and on until nothing is under way."""
        ports = {name: [venues.port(name, key=key) for key in (0, 1)] for name in venues.venues}
        # Nobody else hands intents in: looking for them each millisecond would cost the pipeline.
        rules = replace(desk.rules_of(self._settings), pickup=SECOND)
        executor = desk.executor(self._settings, journal, ports, clock=clock, rules=rules)
        running, over = asyncio.create_task(executor.run()), asyncio.create_task(self._over.wait())
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
        deadline = clock() + _PATIENCE
        await asyncio.sleep(_NOTICE)
        while journal.intents() and clock() < deadline and not running.done():  # noqa: ASYNC110 - the journal rings no bell
            await asyncio.sleep(_NOTICE)
        for task in (running, over):
            task.cancel()
        await asyncio.wait({running, over})
        if not running.cancelled() and (failure := running.exception()) is not None:
            raise failure

    def _open(self, venues: PaperVenues, journal: Journal, clock: Clock) -> Pair:
        """The pair at the marks of now, held by the account that is worked and by the one that is left alone."""
        contracts = {name: venues.venues[name].contract(self._instruments[name]) for name in self._terms.venues}
        step = max(contract.rules.step for contract in contracts.values())
        quantity = (self._terms.notional / contracts[self._terms.long].mark / step).to_integral_value(ROUND_DOWN) * step
        legs = []
        for name, signed in zip(self._terms.venues, (quantity, -quantity), strict=True):
            venue, contract = venues.venues[name], contracts[name]
            venue.open(_IDLE, self._margin, leverage=self._terms.leverage)
            for account in (_HELD, _IDLE):
                venue.grant(account, contract.instrument, signed, contract.mark)
            legs.append(Leg(venue=name, instrument=contract.instrument, quantity=signed, entry_price=contract.mark))
        pair = Pair(pair=f"{self._terms.asset}-paper", asset=self._terms.asset, legs=(legs[0], legs[1]), opened=clock())
        journal.add_pair(pair)
        self._before = self._worth(_HELD)
        return pair

    @property
    def _margin(self) -> Decimal:
        return self._terms.notional / self._terms.leverage

    def _worth(self, account: str) -> Decimal:
        """USD of an account at both venues, positions at mark, what the venues took for themselves taken off."""
        venues = self._venues.venues.values() if self._venues is not None else ()
        return sum((venue.ledger.equity(account) for venue in venues), Decimal(0))

    def _told(self, journal: Journal, pair: Pair) -> PaperView:
        pnl, idle = (float((self._worth(a) - self._before).quantize(_CENT)) for a in (_HELD, _IDLE))
        view = replace(self.view, opened=True, pnl_usd=pnl, idle_pnl_usd=idle)
        hit = next((i.order for i in journal.intents(EVERY) if i.order.intent == "emergency_close"), None)
        if hit is None:
            return view
        leg = next((leg for leg in pair.legs if hit.reason.endswith(f"_{leg.venue.upper()}")), None)
        flat = _flat_at(journal, pair, leg, hit)
        return replace(
            view, hit=leg.venue if leg else None, reason=hit.reason, path=hit.path,
            detection_ms=(hit.detected - hit.created) / MILLISECOND,
            flat_ms=(flat - hit.created) / MILLISECOND if flat is not None else None,
        )  # fmt: skip


def _flat_at(journal: Journal, pair: Pair, hit: Leg | None, intent: OrderIntent) -> int | None:
    """When the last fill of the surviving leg made the pair flat; nothing where it is open still."""
    after = journal.pair(pair.pair)
    if hit is None or after is None or sum(leg.quantity for leg in after.legs) != after.dust:
        return None
    if after.episode == pair.episode:
        return None
    other = pair.other(hit)
    return max((f.time for f in journal.fills(other.venue, other.instrument, intent.created)), default=None)
