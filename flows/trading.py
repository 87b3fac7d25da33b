"""The executor process: on paper, only looking, or with orders; which of them is decided here and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog
from msgspec.structs import replace

from connectors.venues.access import LivePermission, ReadPermission
from flows.accounts import DeskPort, accounts, opening, ports
from flows.contracts import contracts
from flows.desk import Paper, executor, hedges, journal_path, limits
from flows.settings import ExecutorSettings, Settings
from flows.settings.accounts import AccountSettings
from flows.shadow import Withholding
from schemas.clock import SECOND, Clock, steady_clock
from schemas.errors import BreakwaterError, SettingsError, UsageError
from schemas.orders import Order
from schemas.pairs import Pair
from sinks.executor.executor import Executor
from sinks.executor.journal import Journal
from sinks.executor.rules import Gate

log = structlog.get_logger(__name__)
_LOOK = 1.0
"""Seconds between two looks whether a pair has brought a contract that nobody here knows yet ..."""
_AGAIN = 30 * SECOND
"""... and between two tries to learn of it."""

Wanted = Mapping[str, frozenset[str]]
"""Names of contracts by venue."""
Ports = dict[str, list[DeskPort]]
"""Two connections by venue."""


async def run_executor(settings: Settings, duration: float | None, *, live: bool) -> None:
    """The executor of these settings in this process, for a while or until cancelled.

    :arg duration: seconds.
    :arg live: whether the command line says so too: settings alone send no order.
    :raises SettingsError: the settings contradict themselves, or something in them is missing.
    :raises UsageError: setting and command line do not agree.
    """
    said = settings.executor
    _agreed(said, live=live)
    clock = steady_clock()
    with Journal(journal_path(settings), clock) as journal:
        journal.claim()
        real = said.mode in {"shadow", "live"}
        running = _Accounts(said, journal, clock).run() if real else _on_paper(said, journal, clock)
        try:
            async with asyncio.timeout(duration) as limit:
                await running
        except TimeoutError:
            if not limit.expired():
                raise
        except BaseExceptionGroup as group:
            _, unforeseen = group.split(BreakwaterError)
            raise unforeseen or _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that ended everything, in its own words."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _agreed(said: ExecutorSettings, *, live: bool) -> None:
    """Orders take two words, a setting's and the command line's, and a limit to what they may be worth."""
    if live and said.mode != "live":
        raise UsageError(f'--live, but executor.mode is {said.mode}: set executor.mode = "live", or leave --live out')
    if said.mode != "live":
        return
    if not live:
        raise UsageError("executor.mode is live: say --live as well to send orders, or set executor.mode to shadow")
    caps = {"order_usd": said.limits.order_usd, "total_usd": said.limits.total_usd}
    if none := [f"executor.limits.{name}" for name, usd in caps.items() if not usd]:
        raise SettingsError(f"mode live with {' and '.join(none)} 0: nothing would be sent, not even in an emergency")


async def _on_paper(said: ExecutorSettings, journal: Journal, clock: Clock) -> None:
    extra = [key for keys in hedges(said).values() for key in keys]
    _end_orders(journal, clock())
    paper = Paper(journal.pairs(), extra, clock)
    pacemaker = paper.start()
    try:
        await executor(said, journal, paper.ports(), clock=clock).run()
    finally:
        pacemaker.stop()


def _end_orders(journal: Journal, now: int) -> None:
    """Paper venues end with their process and their orders with them: nobody could ever be asked about those again."""
    for attempt in journal.unsettled():
        intent = journal.intent(attempt.intent_id)
        asset, pair = (intent.order.asset, intent.order.pair) if intent else ("", "")
        journal.update(replace(attempt, state="cancelled", ended=now, code="its paper venue ended"), asset, pair)


class _Accounts:
    """Works on the desk's accounts, with the contracts of the pairs there are."""

    def __init__(self, said: ExecutorSettings, journal: Journal, clock: Clock) -> None:
        self._said, self._journal, self._clock = said, journal, clock
        self._kept = journal.path.with_name(f"contracts-{said.mode}")
        self._not_before = 0

    async def run(self) -> None:
        """Until cancelled; anew whenever a pair has brought a contract nobody here knew."""
        wanted = wanted_contracts(self._said, self._journal.pairs(), self._under_way())
        at = await self._open(wanted)
        while True:
            try:
                wanted, following = await self._work(at, wanted)
            finally:
                await close_ports(at)
            at = following

    async def _open(self, wanted: Wanted) -> Ports:
        found: Ports = {}
        try:
            for venue, names in wanted.items():
                permission = LivePermission(venue) if self._said.mode == "live" else ReadPermission(venue)
                opened = opening(self._said, venue, permission, self._clock)
                listed = await contracts(venue, names, opened.endpoints, self._clock, self._kept)
                found[venue] = ports(opened, listed)
        except BaseException:
            await close_ports(found)
            raise
        return found

    async def _work(self, at: Ports, wanted: Wanted) -> tuple[Wanted, Ports]:
        """Until there are other contracts: those, and the ports that know them. Nothing is stopped before they do."""
        made = executor(self._said, self._journal, at, clock=self._clock, gate=self._gate())
        self._announce(at)
        running, begun = asyncio.ensure_future(made.run()), asyncio.ensure_future(_begun(made))
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK)
                if (now := self._others(wanted)) and (following := await self._following(now)) is not None:
                    return now, following
            await running
            return wanted, at
        finally:
            running.cancel()
            begun.cancel()
            await asyncio.wait({running, begun})

    def _others(self, wanted: Wanted) -> Wanted:
        """The contracts there are now, where some are not among those known and nothing is under way."""
        if self._clock() < self._not_before:
            return {}
        known = dict(self._said.accounts.enabled())
        pairs = [p for p in self._journal.pairs() if all(leg.venue in known for leg in p.legs)]
        now = wanted_contracts(self._said, pairs, self._under_way())
        news = any(names - wanted.get(venue, frozenset()) for venue, names in now.items())
        return now if news and not self._journal.intents() else {}

    def _under_way(self) -> list[Order]:
        """Orders that may have to be looked up, cancelled or undone, whatever became of pair and settings."""
        living = [intent.order.intent_id for intent in self._journal.intents()]
        return [attempt.order for attempt in [*self._journal.attempts(living), *self._journal.unsettled()]]

    async def _following(self, wanted: Wanted) -> Ports | None:
        try:
            return await self._open(wanted)
        except BreakwaterError as error:
            log.error("a pair was added that cannot be traded yet; the others stay under protection", reason=str(error))
            self._not_before = self._clock() + _AGAIN
            return None

    def _gate(self) -> Gate | None:
        return Withholding(self._journal, limits(self._said)) if self._said.mode == "shadow" else None

    def _announce(self, at: Ports) -> None:
        told = {"venues": [*at], "pairs": len(self._journal.pairs()), "journal": str(self._journal.path)}
        if self._said.mode == "live":
            bounds = self._said.limits
            log.warning("live: orders are sent", **told, order_usd=bounds.order_usd, total_usd=bounds.total_usd)
        else:
            log.warning("shadow: accounts are read, nothing is sent", **told)


async def _begun(made: Executor) -> None:
    await made.ready.wait()
    log.info("every venue was asked: watching")


def wanted_contracts(said: ExecutorSettings, pairs: Iterable[Pair], orders: Iterable[Order] = ()) -> Wanted:
    """Names of the contracts of pairs, of hedges and of orders, by venue.

    :raises SettingsError: no account is in use, or none where one of them is.
    """
    known = accounts(said)
    if not known:
        raise SettingsError(
            f"executor.mode is {said.mode} and no account is in use: set executor.accounts.aster.enabled and the like"
        )
    named = [(f"pair {p.pair} has a leg at", leg.venue, leg.instrument) for p in pairs for leg in p.legs]
    named += [(f"executor.hedges puts {asset} at", *key) for asset, keys in hedges(said).items() for key in keys]
    named += [(f"order {order.client_id} of the journal is at", order.venue, order.instrument) for order in orders]
    found: dict[str, frozenset[str]] = {}
    for what, venue, instrument in named:
        if venue not in known:
            raise SettingsError(f"{what} {venue}, where {_no_account(said, venue)}")
        found[venue] = found.get(venue, frozenset()) | {instrument}
    return found


def _no_account(said: ExecutorSettings, venue: str) -> str:
    if isinstance(getattr(said.accounts, venue, None), AccountSettings):
        return f"no account is in use: set executor.accounts.{venue}.enabled = true and what belongs to it"
    return f"nobody here can trade: there are {', '.join(type(said.accounts).model_fields)}"


async def close_ports(at: Ports) -> None:
    """Let go of every connection."""
    for port in {id(port): port for two in at.values() for port in two}.values():
        await port.close()
