"""Hostile variants of sound frames, and the law they may not break."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.normaliser import Normaliser
from schemas.instruments import Instrument
from schemas.records import Liquidation, MarketRecord

HOSTILE: list[Any] = [
    None, True, "", "x", "nan", "NaN", "inf", "-inf", "1e999", "0", "-1", "\x00", "9223372036854775807",
    0, -1, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, [], {}, [[]], [None], {"a": {}},
]  # fmt: skip
DEEP = (b"[" * 100_000, b'{"data":' * 5_000 + b"1" + b"}" * 5_000)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from _places(child, (*path, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.deepcopy(value)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return changed


@st.composite
def mutants(draw: DrawFn, frames: Sequence[bytes]) -> bytes:
    """A frame with a value swapped, a field lost, bytes cut or flipped, or no frame at all."""
    frame = draw(st.sampled_from(frames))
    how = draw(st.sampled_from(["swap", "swap", "swap", "drop", "cut", "flip", "noise", "deep"]))
    if how == "cut":
        return frame[: draw(st.integers(0, len(frame) - 1))]
    if how == "flip":
        at = draw(st.integers(0, len(frame) - 1))
        return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]
    if how == "noise":
        return draw(st.binary(max_size=64))
    if how == "deep":
        return draw(st.sampled_from(DEEP))
    value = json.loads(frame)
    path = draw(st.sampled_from(list(_places(value))))
    if how == "drop" and path and isinstance(path[-1], str):
        place = value
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return json.dumps(value).encode()
    return json.dumps(_replaced(value, path, draw(st.sampled_from(HOSTILE)))).encode()


def runs(frames: Sequence[bytes]) -> SearchStrategy[list[bytes]]:
    """Several mutants in a row: what one leaves behind meets the next."""
    return st.lists(mutants(frames), min_size=1, max_size=6)


def assert_harmless(venue: str, instruments: Sequence[Instrument], sound: bytes, hostile: Sequence[bytes]) -> None:
    """Nothing raises; sound forced closes before and after stand unchanged; no frame vanishes; every number is one."""

    def read(frames: Sequence[bytes]) -> list[MarketRecord]:
        normaliser = Normaliser(exchanges().values(), Catalogue(instruments))
        return list(normaliser.normalise([Frame(venue, "fuzz", frame, 0) for frame in frames]).records())

    expected = [record for record in read([sound]) if isinstance(record, Liquidation)]
    assert expected, "the sound frame tells a forced close"
    records = read([sound, *hostile, sound])
    told = [record for record in records if isinstance(record, Liquidation)]
    assert told[: len(expected)] == expected
    assert told[-len(expected) :] == expected
    for frame in hostile:
        assert read([frame]), f"the frame vanished: {frame[:200]!r}"
    for record in records:
        for name in record.__struct_fields__:
            number = getattr(record, name)
            assert not isinstance(number, float) or math.isfinite(number), (name, record)
            assert not isinstance(number, int) or abs(number) < 2**63, (name, record)
