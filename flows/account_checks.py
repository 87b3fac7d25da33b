"""Are the accounts fit to be traded on? Asked by reading: by ``breakwater doctor``, and before a pair is added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from connectors.instruments import snapshot
from connectors.venues.access import AccountModes, ReadPermission
from connectors.venues.ccxt_venues import CCXT_VENUES
from connectors.venues.transport import told_time
from flows.accounts import DeskPort, endpoints, opening, ports
from flows.contracts import contracts
from flows.desk import journal_path
from flows.doctor import Finding
from flows.settings import ExecutorSettings, Settings
from flows.settings.accounts import AccountSettings
from flows.trading import wanted_contracts
from schemas.clock import SECOND, Clock
from schemas.errors import BreakwaterError
from schemas.orders import Account, Unknown
from schemas.pairs import Pair
from sinks.executor.journal import Journal

_PATIENCE = 10.0
_SKEW = 2 * SECOND
"""Requests are good for two seconds at most venues."""


def examine_accounts(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Every account in use: reachable, key accepted, one position per contract, clocks, rights."""
    for venue, account in settings.executor.accounts.enabled():
        yield from asyncio.run(_examined(settings, venue, account, clock))


@asynccontextmanager
async def looking(said: ExecutorSettings, venue: str, names: Iterable[str], clock: Clock) -> AsyncIterator[DeskPort]:
    """A connection to an account that can do nothing but read."""
    opened = opening(said, venue, ReadPermission(venue), clock)
    with TemporaryDirectory() as nowhere:
        listed = await contracts(venue, names, opened.endpoints, clock, Path(nowhere))
    two = ports(opened, listed)
    try:
        yield two[0]
    finally:
        for port in {id(port): port for port in two}.values():
            await port.close()


async def _examined(settings: Settings, venue: str, account: AccountSettings, clock: Clock) -> list[Finding]:
    subject = f"account {venue}"
    try:
        names = _names(settings, venue)
        async with looking(settings.executor, venue, names, clock) as port:
            skew = await _skew(subject, endpoints(venue, account).rest, clock)
            read = _readable(subject, await port.account(), await port.open_orders())
            return [skew, read, *_modes(subject, await port.modes())]
    except BreakwaterError as error:
        return [Finding("FAIL", subject, str(error), "README: From paper to live")]


def _names(settings: Settings, venue: str) -> list[str]:
    """The contracts that are wanted there; where none is and one is needed to ask, the first the venue is known for."""
    path = journal_path(settings)
    pairs: list[Pair] = []
    if path.exists():
        with Journal(path) as journal:
            pairs = journal.pairs()
    named = [leg.instrument for pair in pairs for leg in pair.legs if leg.venue == venue]
    needed = [snapshot(venue)[0].instrument] if venue in {"lighter", *CCXT_VENUES} else []
    return named or needed


async def _skew(subject: str, base: str, clock: Clock) -> Finding:
    before = clock()
    told = await told_time(base, patience=_PATIENCE)
    if told is None:
        return Finding("WARN", subject, "its clock is not told", "compare this machine's clock with another")
    # The venue tells whole seconds, and looked at its clock some time between asking and hearing.
    ahead = (before + clock()) / 2 - (told + SECOND / 2)
    if abs(ahead) <= _SKEW:
        return Finding("OK", subject, "its clock and this one agree")
    found = f"this clock is {abs(ahead) / SECOND:.0f} s {'ahead of' if ahead > 0 else 'behind'} the venue's"
    return Finding("FAIL", subject, found, "set the clock (timedatectl set-ntp true): orders would be refused")


def _readable(subject: str, account: Account | Unknown, orders: object) -> Finding:
    unread = next((told for told in (account, orders) if isinstance(told, Unknown)), None)
    if unread is not None or isinstance(account, Unknown):
        why = f"cannot be read: {unread.reason if unread else ''}"
        fix = "check the account's number, the key and the addresses it may be used from; hedge mode must be off"
        return Finding("FAIL", subject, why, fix)
    equity = "not told" if account.equity is None else f"{account.equity:,.2f} USD"
    held = ", ".join(f"{p.instrument} {p.quantity:f}" for p in account.positions.values()) or "nothing"
    return Finding("OK", subject, f"the key is accepted; equity {equity}, holds {held}")


def _modes(subject: str, modes: AccountModes | Unknown) -> Iterator[Finding]:
    if isinstance(modes, Unknown):
        yield Finding("WARN", subject, f"its modes cannot be read: {modes.reason}", "look at the venue's own page")
        return
    if modes.one_way is False:
        yield Finding("FAIL", subject, "is in hedge mode", "switch it to one-way (net) mode")
    if modes.trades is False:
        yield Finding("FAIL", subject, "the key may not trade on it", "give the key the right, or use another")
    if modes.withdraws:
        yield Finding("WARN", subject, "the key may withdraw", "use one that may only trade")
    told = {
        "one-way mode": modes.one_way is True,
        "the key may trade": modes.trades is True,
        "the key may not withdraw": modes.withdraws is False,
    }
    untold = [name for name, value in zip(told, modes, strict=True) if value is None]
    if good := [name for name, so in told.items() if so]:
        yield Finding("OK", subject, ", ".join(good))
    if untold:
        yield Finding("WARN", subject, f"not told: whether {', '.join(untold)}", "look at the venue's own page")


async def holds(settings: Settings, pair: Pair, clock: Clock) -> str:
    """Why a pair is not what the accounts hold; empty where it is.

    :raises BreakwaterError: an account cannot be opened, or its venue lists no such contract.
    """
    wanted_contracts(settings.executor, [pair])
    for leg in pair.legs:
        async with looking(settings.executor, leg.venue, [leg.instrument], clock) as port:
            account = await port.account()
        if isinstance(account, Unknown):
            return f"{leg.venue} does not tell its positions: {account.reason}"
        known = account.positions.get(leg.instrument)
        held = known.quantity if known else Decimal(0)
        if held != leg.quantity:
            return f"{leg.venue} holds {held:f} {leg.instrument}, not {leg.quantity:f}"
    return ""
