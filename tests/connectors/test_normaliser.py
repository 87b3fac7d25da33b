"""A normaliser that is written down and made anew reads on as if nothing had happened."""

from __future__ import annotations

import pytest

from connectors.catalogue import Catalogue
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from schemas.records import MarketRecord
from tests.benchmarks.frames import corpus


def normaliser() -> Normaliser:
    return Normaliser(exchanges().values(), Catalogue(snapshots()))


@pytest.mark.parametrize("every", [1, 7, 400])
def test_it_tells_the_same_wherever_it_was_cut(every: int) -> None:
    frames = [frame for piece in corpus(1200, seed=4).pieces for frame in piece]
    expected: list[MarketRecord] = list(normaliser().normalise(frames).records())
    reader, found = normaliser(), list[MarketRecord]()
    for start in range(0, len(frames), every):
        found += reader.normalise(frames[start : start + every]).records()
        if start % (50 * every) == 0:
            stored, reader = reader.snapshot(), normaliser()
            reader.restore(stored)
    assert found == expected
    assert len(expected) >= 1200
