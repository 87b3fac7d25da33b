"""One file per venue dialect. A module here lists its venues in ``EXCHANGES``: that is all the registration."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from connectors.exchange import Exchange
from schemas.errors import UsageError
from schemas.records import VENUES


@cache
def exchanges() -> dict[str, Exchange]:
    """Every venue by its identifier, in the order of ``VENUES``."""
    found: dict[str, Exchange] = {}
    for module in iter_modules(__path__):
        for exchange in import_module(f"{__name__}.{module.name}").EXCHANGES:
            found[exchange.venue] = exchange
    return {venue: found[venue] for venue in VENUES if venue in found}


def exchange(venue: str) -> Exchange:
    """The venue of that identifier."""
    known = exchanges()
    if venue not in known:
        raise UsageError(f"no venue {venue!r}; choose from {', '.join(known)}")
    return known[venue]
