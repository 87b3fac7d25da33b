"""Memory of the detector over ten million events: flat after the warm-up, and small per asset."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from flows.domain.detector import Detector
from flows.domain.duplicates import Seen
from flows.domain.rules import Rules
from flows.domain.state import size_of
from tests.benchmarks.events import batches, names
from tests.benchmarks.figures import Row, Target, row

_ASSETS = 300
_RATE = 20.0
_FLAT = Target("≤", 1.05, "ratio")
"""The allocator alone moves it by three per cent up and down."""
_STATM = Path("/proc/self/statm")


def memory(*, quick: bool) -> list[Row]:
    """Columns through duplicates and detector at 20 events/s over 300 assets."""
    events, warm = (60_000, 30_000) if quick else (10_000_000, 1_000_000)
    assets = names(_ASSETS)
    detector, seen = Detector(Rules(), assets), Seen()
    scored = late = duplicates = fed = told = 0
    after_warm_up = 0.0
    for batch in batches(events, assets, _RATE):
        fed += len(batch.liquidations)
        duplicates += seen.drop(batch)
        found = detector.process(batch)
        scored, late, told = scored + found.scored, late + found.late, told + len(found.records)
        if not after_warm_up and fed >= warm:
            after_warm_up = _resident()
    held = size_of(detector.state) + seen._tables.nbytes
    lost = events - scored - late - duplicates
    now = _resident()
    return [
        row(f"resident after {warm:,} events", after_warm_up, "MB"),
        row(f"resident after {events:,} events", now, "MB", _FLAT, baseline="after the warm-up",
            ratio=now / after_warm_up),
        row(f"state per asset, {_ASSETS} assets at {_RATE:g}/s", held / _ASSETS / 1e3, "kB", Target("≤", 400)),
        row("signals and cascade updates", told, "records"),
        row(f"neither scored, late nor known, of {events:,}", abs(lost), "events", Target("≤", 0)),
    ]  # fmt: skip


def _resident() -> float:
    """Megabytes now; where the system does not tell, the most there ever were."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
