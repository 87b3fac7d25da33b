"""What a pair came to, from the fills of its legs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from schemas.orders import Fill
from schemas.pairs import Leg


def realised(opened: Sequence[Leg], left: Sequence[Leg], fills: Sequence[Sequence[Fill]]) -> Decimal | None:
    """USD a pair made between its opening and its end, fees taken off.

    ``None`` where an entry price is missing, or where the fills do not account for what the legs lost.
    """
    total = Decimal(0)
    for begun, ended, of_leg in zip(opened, left, fills, strict=True):
        profit = _leg(begun, ended, of_leg)
        if profit is None:
            return None
        total += profit
    return total


def _leg(begun: Leg, ended: Leg, fills: Sequence[Fill]) -> Decimal | None:
    if begun.entry_price is None:
        return None
    moved, cash = Decimal(0), Decimal(0)
    for fill in fills:
        signed = fill.quantity if fill.side == "buy" else -fill.quantity
        moved += signed
        cash -= signed * fill.price + fill.fee
    if begun.quantity + moved != ended.quantity:
        return None
    # What is left is worth its entry here: dust, by the time a pair is closed.
    return cash - begun.quantity * begun.entry_price + ended.quantity * begun.entry_price
