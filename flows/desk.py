"""Makes the executor out of settings: its rules, its gate, its detector, and the venues it trades at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

from connectors.simulator.trading import Agenda, Pacemaker, SimulatedPort, SimulatedVenue, contract_rules, profile
from flows.domain.detection import Detector, Sentinel
from flows.domain.policy import Policy
from flows.domain.risk import Limits, check
from flows.settings import ExecutorSettings, Settings
from schemas.clock import MINUTE, Clock, seconds, steady_clock
from schemas.errors import SettingsError
from schemas.orders import OrderIntent, VenuePort
from schemas.pairs import Mode, Pair
from sinks.executor.budget import Budget
from sinks.executor.case import Ladder
from sinks.executor.closing import Closing
from sinks.executor.database import at_work
from sinks.executor.emergency import Emergency
from sinks.executor.executor import Executor
from sinks.executor.journal import Journal
from sinks.executor.rules import Gate, Rules
from sinks.executor.steps import LegKey
from sinks.executor.world import Venue

PAPER_ACCOUNT = "paper"
_PAPER_USD = Decimal(1_000_000)


def journal_path(settings: Settings, mode: Mode | None = None) -> Path:
    """Where the journal is: one for paper, one for looking, one for orders, so that nobody takes one for another.

    :arg mode: another than that of the settings.
    """
    path, mode = settings.executor.journal, mode or settings.executor.mode
    if mode in {"shadow", "live"}:
        path = path.with_stem(f"{path.stem}-{mode}")
    return path if path.is_absolute() else settings.data_dir / path


def others_at_work(settings: Settings) -> list[Mode]:
    """Modes, other than that of the settings, with which an executor is at work here."""
    modes: tuple[Mode, ...] = ("paper", "shadow", "live")
    own = journal_path(settings)
    return [mode for mode in modes if (path := journal_path(settings, mode)) != own and at_work(path)]


def limits(settings: ExecutorSettings) -> Limits:
    """What may be risked."""
    said = settings.limits
    return Limits(
        mode=settings.mode,
        order_usd=_exact(said.order_usd),
        pair_usd=_exact(said.pair_usd),
        total_usd=_exact(said.total_usd),
        trade_size=_exact(said.trade_size),
        exposure=_exact(said.exposure),
        free_margin=_exact(said.free_margin),
        drawdown=_exact(said.drawdown),
        failures=said.failures,
        collar=_exact(said.collar),
        signal_age=seconds(said.signal_age),
        halted_emergencies=said.halted_emergencies,
    )


def policy(settings: ExecutorSettings) -> Policy:
    """Which signal does what."""
    said = settings.policy
    return Policy(
        alert=said.alert,
        critical=said.critical,
        critical_danger=said.critical_danger,
        margin=said.margin,
        danger=_exact(said.danger),
        margin_danger=_exact(said.margin_danger),
    )


def rules_of(settings: ExecutorSettings) -> Rules:
    """How the executor goes about it."""
    emergency = Emergency(
        hedge_after=seconds(settings.hedge_after),
        hedge_limit=_exact(settings.hedge_usd),
        alarm_after=seconds(settings.alarm_after),
        dust_limit=_exact(settings.dust_usd),
    )
    ladder = Ladder(slippage=tuple(map(_exact, settings.slippage)))
    return Rules(desk=settings.desk, emergency=emergency, ladder=ladder, hedges=hedges(settings))


def hedges(settings: ExecutorSettings) -> Mapping[str, tuple[LegKey, ...]]:
    """Contracts that may carry a hedge, by asset."""
    found: dict[str, tuple[LegKey, ...]] = {}
    for text in settings.hedges:
        asset, _, contract = text.partition("=")
        venue, _, instrument = contract.partition("/")
        found[asset] = (*found.get(asset, ()), (venue, instrument))
    return found


def closing_of(settings: ExecutorSettings, intent: OrderIntent) -> Closing:
    """How a close goes, by its reason."""
    modes = dict(text.partition("=")[::2] for text in settings.close_modes)
    mode = next((m for reason, m in modes.items() if intent.reason.startswith(reason)), settings.close_mode)
    return Closing(
        mode=mode,  # type: ignore[arg-type]  # one of them: settings checked it
        share=_exact(settings.policy.reduce_share) if intent.intent == "reduce_pair" else Decimal(1),
        offset=_exact(settings.limit_offset),
        reprice=seconds(settings.reprice),
        fallback=seconds(settings.fallback),
    )


def detector(settings: ExecutorSettings, venues: Mapping[str, Venue]) -> Detector:
    """What notices."""
    said = settings.policy
    sentinel = Sentinel(tolerance=_exact(said.net_tolerance), patience=seconds(said.net_patience))
    return Detector({name: v.caps for name, v in venues.items()}, policy(settings), sentinel)


def executor(
    settings: ExecutorSettings,
    journal: Journal,
    ports: Mapping[str, Sequence[VenuePort]],
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
    gate: Gate | None = None,
) -> Executor:
    """The executor over its ports.

    :arg journal: claimed.
    :arg ports: two for each venue: one for what can wait, one for emergencies.
    :arg clock: a steady one; made where none is given.
    :arg rules: instead of those of the settings.
    :arg gate: likewise.
    """
    clock = clock or steady_clock()
    venues = {name: _venue(pair, clock) for name, pair in ports.items()}
    bounds = limits(settings)
    return Executor(
        journal,
        venues,
        gate=gate or (lambda proposal: check(proposal, bounds)),
        clock=clock,
        closing_of=lambda intent: closing_of(settings, intent),
        rules=rules or rules_of(settings),
        watch=detector(settings, venues),
    )


def _venue(ports: Sequence[VenuePort], clock: Clock) -> Venue:
    caps = ports[0].capabilities
    return Venue(ports[0], ports[1], Budget(caps.requests_per_minute, caps.emergency_share, clock()))


class Paper:
    """Simulated venues holding the pairs of a journal, in real time. Marks move when somebody moves them."""

    def __init__(self, pairs: Iterable[Pair], extra: Iterable[LegKey], clock: Clock) -> None:
        self.agenda = Agenda(clock())
        self._clock = clock
        self.venues: dict[str, SimulatedVenue] = {}
        prices: dict[str, Decimal] = {}
        for pair in pairs:
            for leg in pair.legs:
                if leg.entry_price is None:
                    raise SettingsError(f"pair {pair.pair}: on paper a leg needs an entry price to begin at")
                prices[pair.asset] = leg.entry_price
                self._hold(leg.venue, leg.instrument, pair.asset, leg.quantity, leg.entry_price)
        for venue, instrument in extra:
            asset = next((a for a in prices if a in instrument), None)
            if asset is not None:
                self._hold(venue, instrument, asset, Decimal(0), prices[asset])

    def _hold(self, name: str, instrument: str, asset: str, quantity: Decimal, price: Decimal) -> None:
        if name not in self.venues:
            self.venues[name] = SimulatedVenue(profile(name), self.agenda)
            self.venues[name].open(PAPER_ACCOUNT, _PAPER_USD)
        venue = self.venues[name]
        venue.list(contract_rules(instrument, asset), price)
        if quantity:
            venue.grant(PAPER_ACCOUNT, instrument, quantity, price)

    def start(self) -> Pacemaker:
        """Let time pass, on the running loop."""
        return Pacemaker(self.agenda, self._clock, asyncio.get_running_loop())

    def ports(self) -> dict[str, list[VenuePort]]:
        """Two for each venue."""
        return {
            name: [SimulatedPort(venue, PAPER_ACCOUNT, key=key) for key in (0, 1)]
            for name, venue in self.venues.items()
        }


def _exact(number: float) -> Decimal:
    """A setting as it was written: 0.003 is 0.003."""
    return Decimal(repr(number))


def close_intent(pair: Pair, reason: str, now: int) -> OrderIntent:
    """A close somebody asks for; asked again while it runs, it is the same one."""
    digest = blake2b(f"close_pair {pair.pair} {pair.episode}".encode(), digest_size=8).hexdigest()
    return OrderIntent(
        intent_id=digest, intent="close_pair", pair=pair.pair, asset=pair.asset, cause="", reason=reason, policy="1",
        created=now, expires=now + 5 * MINUTE, detected=now, path="manual",
    )  # fmt: skip
