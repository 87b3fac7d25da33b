"""Deterministic event ids: the same event has the same id in every process, recording and replay."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.compiled import compiled

_WHAT = 0b111
"""The bits of ``terms`` that tell position and cause."""
_QUADRATIC = 64
"""Up to this many events in a frame, equal ones are counted by comparing all pairs."""


def text_key(text: str) -> int:
    """An unsigned 64-bit key of a venue's textual id."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@compiled(inline="always")
def _mix(state: np.uint64, value: np.uint64) -> np.uint64:
    """One round of splitmix64 (Steele, Lea, Flood 2014) over state xor value."""
    z = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _number_equal(ids: NDArray[np.uint64], start: int, end: int) -> None:
    """Give the second, third ... of equal ids in a frame ids of their own."""
    if end - start <= _QUADRATIC:
        for row in range(end - 1, start, -1):
            ordinal = 0
            for earlier in range(start, row):
                if ids[earlier] == ids[row]:
                    ordinal += 1
            if ordinal:
                ids[row] = _mix(ids[row], np.uint64(ordinal))
        return
    seen = {np.uint64(0): 0}
    for row in range(start, end):
        own = ids[row]
        ordinal = seen[own] if own in seen else 0  # noqa: SIM401 - numba types dict.get as optional
        seen[own] = ordinal + 1
        if ordinal:
            ids[row] = _mix(own, np.uint64(ordinal))


@compiled
def _event_ids(
    rows: NDArray[Any],
    price: NDArray[np.uint64],
    quantity: NDArray[np.uint64],
    salt: NDArray[np.uint64],
    ends: NDArray[np.int64],
) -> NDArray[np.uint64]:
    ids = np.empty(len(rows), np.uint64)
    start = 0
    for end in ends:
        keyless = False
        for row in range(start, end):
            state = _mix(salt[rows[row].code], np.uint64(rows[row].terms & _WHAT))
            if rows[row].key:
                ids[row] = _mix(state, rows[row].key)
            else:
                ids[row] = _mix(_mix(_mix(state, np.uint64(rows[row].time)), price[row]), quantity[row])
                keyless = True
        if keyless and end - start > 1:
            _number_equal(ids, start, end)
        start = end
    return ids


def event_ids(rows: NDArray[Any], salt: NDArray[np.uint64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Ids of pending rows, the frames of which end before ``ends``.

    With a venue id (``key``): instrument, position, cause and that id. Without: instrument, position, cause, event
    time, price and quantity as sent, and the ordinal among equal ones in the same frame.

    :arg salt: by instrument code.
    """
    price, quantity = (np.array(rows[name]).view(np.uint64) for name in ("price", "quantity"))
    return _event_ids(rows, price, quantity, salt, ends)
