"""How soon things were noticed, by how they were. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from msgspec import Struct

from schemas.clock import MILLISECOND
from schemas.orders import OrderIntent


class Delay(Struct, frozen=True):
    """From what happened to its detection. Milliseconds."""

    path: str
    count: int
    p50: float
    p99: float


def delays(orders: Iterable[OrderIntent]) -> list[Delay]:
    """Of each path, the most used first. What a person asked for, or what a case made for itself, was not noticed.

    What a venue's clock dates counts by that clock; a changed position counts from the last read that said otherwise,
    which is the longest it can have been.
    """
    found: dict[str, list[float]] = {}
    for order in orders:
        if order.path != "manual" and order.intent not in {"hedge", "unwind_hedge"}:
            found.setdefault(order.path, []).append((order.detected - order.created) / MILLISECOND)
    told = [Delay(path, len(took), _rank(took, 0.5), _rank(took, 0.99)) for path, took in found.items()]
    return sorted(told, key=lambda delay: (-delay.count, delay.path))


def _rank(values: list[float], share: float) -> float:
    """The smallest value that so many of them do not exceed."""
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)]
