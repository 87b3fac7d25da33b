"""The detector's memory as a few bytes and back: what is used of its arrays, packed tightly.

Most of an array is room for more: of the arena only what was handed out is kept, of a slot's table of blocks only the
entries that are set.
"""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from flows.domain.state import State, with_arena, with_slots

_FASTEST = 1
_TABLE = "blocks"


def packed(state: State, slots: int) -> bytes:
    """The memory.

    :arg slots: how many slots are in use, the market's included.
    """
    used = int(state.shard["arena_used"][0])
    small = [name for name in state.slot.dtype.names or () if name != _TABLE]
    table = state.slot[_TABLE][:slots]
    places = np.flatnonzero(table)
    parts = {
        "event": state.event[:used],
        "slot": repack_fields(state.slot[small][:slots]),
        "rest": {
            name: array for name, array in zip(state._fields, state, strict=True) if name not in {"event", "slot"}
        },
        "places": places,
        "table": table.reshape(-1)[places],
    }
    return zlib.compress(pickle.dumps(parts, pickle.HIGHEST_PROTOCOL), _FASTEST)


def unpacked(state: State, stored: bytes) -> State:
    """The memory again, in the arrays of a state that nothing happened in yet.

    :raises ValueError: it was packed by another version.
    """
    parts: dict[str, Any] = pickle.loads(zlib.decompress(stored))  # noqa: S301 - our own recovery store
    state = with_slots(state, len(parts["slot"]))
    while len(state.event) < len(parts["event"]):
        state = with_arena(state)
    _same(state.event, parts["event"])
    state.event[: len(parts["event"])] = parts["event"]
    small = parts["slot"]
    if set(small.dtype.names) | {_TABLE} != set(state.slot.dtype.names or ()):
        raise ValueError("the state was packed by another version")
    for name in small.dtype.names:
        state.slot[name][: len(small)] = small[name]
    table = np.zeros((len(small), state.slot[_TABLE].shape[1]), state.slot[_TABLE].dtype)
    table.reshape(-1)[parts["places"]] = parts["table"]
    state.slot[_TABLE][: len(small)] = table
    return state._replace(**{name: _room(getattr(state, name), array) for name, array in parts["rest"].items()})


def _room(array: NDArray[Any], stored: NDArray[Any]) -> NDArray[Any]:
    """The stored array, and what room the new one has beyond it."""
    _same(array, stored)
    return np.concatenate([stored, array[len(stored) :]])


def _same(array: NDArray[Any], stored: NDArray[Any]) -> None:
    if array.dtype != stored.dtype:
        raise ValueError("the state was packed by another version")
