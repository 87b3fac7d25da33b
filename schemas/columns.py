"""Columns of records that hold names, lists and maps, as flat arrays: quick to make, to store and to spell out.

A plain array is a column of numbers; a masked one has rows without a value (``None``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Named:
    """Numbers that stand for names."""

    codes: NDArray[Any]
    names: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Lists:
    """One list per row: how long each is, and their members one after the other."""

    lengths: NDArray[Any]
    members: NDArray[Any] | Named


@dataclass(frozen=True, slots=True)
class Maps:
    """One map per row, likewise."""

    lengths: NDArray[Any]
    keys: Named
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """One map with the same keys per row; ``values`` has a column for each."""

    keys: Sequence[str]
    values: NDArray[Any]


Column = NDArray[Any] | Named | Lists | Maps | Parts


class Columnar(Protocol):
    """Rows of one dataset that can be had as columns."""

    dataset: str
    """Its name."""

    def __len__(self) -> int:
        """How many rows."""

    def columns(self) -> Mapping[str, Column]:
        """Every column of the dataset."""


def known(values: NDArray[Any]) -> NDArray[Any]:
    """The values, NaN being none."""
    masked: NDArray[Any] = np.ma.masked_invalid(values)
    return masked


def where(told: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    """The values, only those of ``told`` rows being there."""
    masked: NDArray[Any] = np.ma.masked_array(values, ~told)
    return masked


def lists(told: NDArray[np.bool_], members: NDArray[Any]) -> Lists:
    """The ``told`` members (both rows x places) as lists."""
    return Lists(told.sum(axis=1), members[told])


def spelled(column: Column) -> list[Any]:
    """The column as one Python value per row."""
    if isinstance(column, Named):
        return [column.names[code] for code in column.codes.tolist()]
    if isinstance(column, Lists):
        members = spelled(column.members)
        return [members[start:end] for start, end in _ends(column.lengths)]
    if isinstance(column, Maps):
        pairs = list(zip(spelled(column.keys), column.values.tolist(), strict=True))
        return [dict(pairs[start:end]) for start, end in _ends(column.lengths)]
    if isinstance(column, Parts):
        return [dict(zip(column.keys, row, strict=True)) for row in column.values.tolist()]
    values: list[Any] = column.tolist()
    return values


def _ends(lengths: NDArray[Any]) -> Iterable[tuple[int, int]]:
    return pairwise(accumulate(lengths.tolist(), initial=0))
