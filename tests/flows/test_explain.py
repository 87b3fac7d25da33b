"""``breakwater explain``: every number behind a cascade is in the history, and adds up."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from flows.domain.detector import Detector
from flows.domain.rules import Rules
from flows.explain import explain
from schemas.cascades import CascadeUpdate, Signal
from schemas.clock import MILLISECOND
from schemas.errors import UsageError
from schemas.tables import records
from sinks.parquet import ParquetHistory
from tests.flows.domain.conftest import T0, Event, assets, batch
from tests.flows.domain.test_forecast import model


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[CascadeUpdate], list[Signal]]:
    """A burst on two venues, one of them sampled, with some deleveraging, as the pipeline writes it."""
    names = assets()
    rules = Rules(models=(model("BTC", threshold=500_000.0),))
    detector = Detector(rules, names)
    events = [Event(n * 900, usd=500.0, asset="ETH") for n in range(200)]
    events += [Event(180_000 + n * 20, usd=9_000.0, venue=("bybit", "okx")[n % 2]) for n in range(80)]
    events += [Event(181_700, usd=77_000.0, cause="adl"), Event(181_800, position="short", usd=5_000.0)]
    found = list(detector.process(batch(events, names)).records)
    found += detector.finish(T0 + 300_000 * MILLISECOND).records
    folder = tmp_path_factory.mktemp("explained")
    history = ParquetHistory(folder, "test", clock=lambda: T0)
    for record in found:
        history.add(record)
    history.close()
    cascades = [r for r in found if isinstance(r, CascadeUpdate) and r.asset == "BTC"]
    return folder, cascades, [r for r in found if isinstance(r, Signal) and r.asset == "BTC"]


def told_again(record: CascadeUpdate | Signal) -> CascadeUpdate | Signal:
    """The weight of a part that is not known is a null in the file."""
    if isinstance(record, CascadeUpdate):
        return record
    known = {name: weight for name, weight in record.weights.items() if weight is not None}
    return msgspec.structs.replace(record, weights=known)


def test_the_life_of_a_cascade_is_told_with_its_times(
    history: tuple[Path, list[CascadeUpdate], list[Signal]],
) -> None:
    folder, updates, _ = history
    told = explain(folder, updates[0].cascade_id)
    assert told.startswith(f"cascade {updates[0].cascade_id} of BTC: long closed, 725,000 USD")
    assert [u.state for u in updates if u.state != "update"] == ["open", "peak", "close"]
    peak = next(u for u in updates if u.state == "peak")
    assert f"known {(peak.time - peak.started) / 1e9:.1f} s after it started" in told
    assert "closed   2025-10-10 21:18:" in told
    assert "deleveraging apart: 1 events, 77,000 USD" in told
    assert re.search(r"bybit +\+ +0\.0 s +360,000 +5,000", told)
    assert re.search(r"okx +\+ +0\.0 s +360,000 +0", told)


def test_what_each_component_adds_sums_to_the_score(
    history: tuple[Path, list[CascadeUpdate], list[Signal]],
) -> None:
    folder, updates, signals = history
    told = explain(folder, updates[0].cascade_id[:8])
    rises = [s for s in signals if s.event_id and s.cascade_id]
    blocks = re.findall(r"decided by (?:probability|score|velocity)\n(.*?)rules", told, re.DOTALL)
    assert len(blocks) == len(rises) > 0
    for block, signal in zip(blocks, rises, strict=True):
        adds = [float(line.split()[-1]) for line in block.splitlines() if re.search(r"\d\.\d{3}$", line)]
        total = re.search(r"sum (\d\.\d+) x boost ([\d.]+) = score (\d\.\d+)", block)
        assert total is not None
        assert sum(adds) == pytest.approx(float(total[1]), abs=0.003)
        assert min(1.0, float(total[1]) * float(total[2])) == pytest.approx(float(total[3]), abs=0.002)
        assert float(total[3]) == pytest.approx(signal.score, abs=0.001)
    assert "P(500,000 USD in 60s) = " in told
    assert "fitted on mine (0000000000000000), 2023-01-06 to 2023-01-09" in told


def test_an_unknown_or_ambiguous_id_is_said(history: tuple[Path, list[CascadeUpdate], list[Signal]]) -> None:
    folder, _, _ = history
    with pytest.raises(UsageError, match="no cascade 'zz'"):
        explain(folder, "zz")
    with pytest.raises(UsageError, match="begins 2 cascades"):
        explain(folder, "")


def test_everything_told_survives_the_history(history: tuple[Path, list[CascadeUpdate], list[Signal]]) -> None:
    """To the nanosecond and the last digit."""
    folder, updates, signals = history
    for dataset, told in (("cascades", updates), ("signals", signals)):
        files = sorted((folder / "history" / dataset).rglob("*.parquet"))
        stored = [record for file in files for record in records(pq.read_table(file, partitioning=None), dataset)]
        assert [told_again(record) for record in stored if record.asset == "BTC"] == told
