"""The paper venue: simulated venues that follow the marks of real (or recorded) feeds.

In real time a ``Pacemaker`` carries them along; a replay moves ``agenda`` itself. Contracts are listed when their first
mark is seen, with rules guessed from the price: what a real venue asks is not known on paper.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from decimal import Decimal

from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.book import Depth
from connectors.simulator.trading.faults import Faults
from connectors.simulator.trading.port import SimulatedPort
from connectors.simulator.trading.profiles import profile
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.simulator.trading.virtual_time import Pacemaker
from schemas.clock import Clock
from schemas.errors import UsageError
from schemas.orders import ContractRules
from schemas.records import Funding, MarkPrice

_FIGURES = 5
"""Significant figures of a price."""
_STEP_USD = Decimal(1)
"""A quantity step is worth between this and a tenth of it."""
_MIN_NOTIONAL = Decimal(10)


def guessed_rules(instrument: str, asset: str, price: Decimal) -> ContractRules:
    """Rules usual at that price."""
    tick = Decimal(1).scaleb(price.adjusted() - _FIGURES + 1)
    step = Decimal(1).scaleb((_STEP_USD / price).adjusted())
    return ContractRules(
        instrument=instrument, asset=asset, tick=tick, step=step, min_quantity=step, min_notional=_MIN_NOTIONAL
    )


class PaperVenues:
    """One account at each of some venues, all on one agenda.

    :arg usd: what the account has at each venue.
    :arg faults: what goes wrong at a venue, for rehearsals.
    :arg rules: those known, by venue and instrument.
    """

    def __init__(
        self,
        venues: Iterable[str],
        usd: Decimal,
        start: int,
        *,
        account: str = "paper",
        seed: int = 0,
        depth: Depth | None = None,
        leverage: Decimal = Decimal(10),
        faults: Mapping[str, Faults] | None = None,
        rules: Mapping[tuple[str, str], ContractRules] | None = None,
    ) -> None:
        self.agenda = Agenda(start)
        self._account = account
        self._depth = depth
        self._rules = dict(rules or {})
        self._pacemaker: Pacemaker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.venues: dict[str, SimulatedVenue] = {}
        for name in venues:
            venue = SimulatedVenue(profile(name), self.agenda, seed=seed, faults=(faults or {}).get(name))
            venue.open(account, usd, leverage=leverage)
            self.venues[name] = venue

    def port(self, venue: str, *, key: int = 0) -> SimulatedPort:
        """A port for the account there; lanes that send have a key each.

        :raises UsageError: no such venue on paper.
        """
        if venue not in self.venues:
            raise UsageError(f"no paper venue {venue!r}; there are {', '.join(self.venues)}")
        return SimulatedPort(self.venues[venue], self._account, key=key)

    def run_by(self, clock: Clock) -> None:
        """Follow ``clock`` on the running event loop from now on."""
        self._loop = asyncio.get_running_loop()
        self._pacemaker = Pacemaker(self.agenda, clock, self._loop)

    def stop(self) -> None:
        """Let time stand still."""
        if self._pacemaker is not None:
            self._pacemaker.stop()
        self._pacemaker = self._loop = None

    def observe(self, record: MarkPrice | Funding) -> None:
        """A feed told a mark or a funding rate. From any thread; another venue's is ignored."""
        if record.venue not in self.venues:
            return
        if self._loop is None:
            self._take(record)
        else:
            self._loop.call_soon_threadsafe(self._take, record)

    def _take(self, record: MarkPrice | Funding) -> None:
        if self._pacemaker is not None:
            self._pacemaker.catch_up()
        venue = self.venues[record.venue]
        listed = venue.accounts.contracts.get(record.instrument)
        if isinstance(record, Funding):
            if listed is not None:
                hours = venue.profile.capabilities.funding_hours
                listed.funding_rate = Decimal(repr(record.rate * hours / record.interval_hours))
            return
        if not record.price > 0:
            return
        price = Decimal(repr(record.price))
        if listed is None:
            key = (record.venue, record.instrument)
            rules = self._rules.get(key) or guessed_rules(record.instrument, record.asset, price)
            venue.list(rules, price, depth=self._depth)
        venue.set_mark(record.instrument, price)
