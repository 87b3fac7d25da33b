"""How each venue talks. A module here lists its venues in ``VENUES``; that is all the registration there is."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from connectors.simulator.venue import Venue


@cache
def venues() -> dict[str, Venue]:
    """Every simulated venue by its identifier."""
    found: dict[str, Venue] = {}
    for module in iter_modules(__path__):
        for venue in import_module(f"{__name__}.{module.name}").VENUES:
            found[venue.name] = venue
    return found
