"""The contracts the executor may trade, as their venues list them now; the last listing is kept beside the journal.

A venue that does not answer at a start must not keep the executor from protecting what is elsewhere: what it listed
last time still holds, for numbers of contracts do not change. What was never listed is not traded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from connectors.exchange import Endpoints
from connectors.venues.ccxt_markets import listed_markets
from connectors.venues.ccxt_venue import Market
from connectors.venues.ccxt_venues import CCXT_VENUES
from flows.instruments import asked
from flows.settings import nearest
from schemas.clock import Clock
from schemas.errors import ConnectionLost, SettingsError
from schemas.instruments import Instrument

log = structlog.get_logger(__name__)
T = TypeVar("T", Instrument, Market)


async def contracts(
    venue: str, names: Iterable[str], at: Endpoints, clock: Clock, kept: Path
) -> list[Instrument] | list[Market]:
    """The contracts of these names: markets of a venue ccxt signs for, instruments of another.

    :arg kept: directory of the last listings.
    :raises SettingsError: the venue lists none of such a name.
    :raises UsageError: likewise, or one that cannot be traded.
    :raises ConnectionLost: it does not answer, and nothing was kept.
    """
    wanted, file = sorted(set(names)), kept / f"{venue}.json"
    if venue in CCXT_VENUES:
        return await _remembered(listed_markets(venue, wanted, at), wanted, file, Market)
    return await _remembered(_instruments(venue, wanted, at, clock), wanted, file, Instrument)


async def _remembered(listing: Awaitable[list[T]], wanted: Sequence[str], file: Path, kind: type[T]) -> list[T]:
    try:
        return _keep(file, await listing)
    except ConnectionLost as error:
        found = _kept(file, kind, wanted)
        if found is None:
            raise
        log.warning("a venue does not list its contracts: as they were the last time", reason=str(error))
        return found


async def _instruments(venue: str, wanted: Sequence[str], at: Endpoints, clock: Clock) -> list[Instrument]:
    listed = {i.instrument: i for i in await asyncio.to_thread(asked, venue, clock, None, at)}
    if unknown := [name for name in wanted if name not in listed]:
        raise SettingsError(f"{venue} lists no {unknown[0]}{nearest(unknown[0], listed)}; a pair or a hedge names it")
    return [listed[name] for name in wanted]


def _keep(file: Path, found: list[T]) -> list[T]:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(".new")
    whole.write_bytes(msgspec.json.encode(found))
    whole.replace(file)
    return found


def _kept(file: Path, kind: type[T], wanted: Sequence[str]) -> list[T] | None:
    try:
        found = {_name(row): row for row in msgspec.json.decode(file.read_bytes(), type=list[kind])}  # type: ignore[valid-type]  # a class
    except (OSError, msgspec.MsgspecError):
        return None
    return [found[name] for name in wanted] if found.keys() >= set(wanted) else None


def _name(row: Instrument | Market) -> str:
    return row.instrument if isinstance(row, Instrument) else row.rules.instrument
