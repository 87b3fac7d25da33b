"""Made-up feeds are of the law they claim; the detector at its default settings is calm on calm and soon on a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.assembly import rules
from flows.settings import Settings
from flows.study.robustness import unit_runs
from flows.study.simulated import calm, closes, october, one_a_second, poisson, self_exciting
from flows.study.units import BEFORE, RECENT, unit_faults
from schemas.clock import HOUR, SECOND
from tests.flows.study.conftest import T0, made

Shared = Callable[[str], Path]
DEFAULT = rules(Settings())


def test_both_arrivals_have_the_rate_asked_for_and_only_one_clusters() -> None:
    """Variance over mean of counts in 100 s: 1 without memory, about 1 / (1 - 0.7)² = 11 with branching 0.7."""

    def counts(time: np.ndarray) -> np.ndarray:
        return np.bincount(time // (100 * SECOND), minlength=360)

    rng = np.random.default_rng(1)
    calm_counts, clustered = counts(poisson(10.0, 2.0, rng)), counts(self_exciting(10.0, 2.0, 0.7, rng))
    assert calm_counts.mean() == pytest.approx(200, rel=0.03)
    assert clustered.mean() == pytest.approx(200, rel=0.12)
    assert calm_counts.var() / calm_counts.mean() == pytest.approx(1.0, abs=0.3)
    assert 5 < clustered.var() / clustered.mean() < 15


def test_one_a_second_keeps_the_largest_of_venue_symbol_and_second() -> None:
    columns = closes(np.arange(40) * SECOND // 20, np.random.default_rng(2))
    kept = one_a_second(columns)
    keys = list(zip(kept.venue, kept.asset, kept.event_time // SECOND, strict=True))
    assert len(set(keys)) == len(keys)
    for key, usd in zip(keys, kept.notional_usd, strict=True):
        same = (columns.venue == key[0]) & (columns.asset == key[1]) & (columns.event_time // SECOND == key[2])
        assert usd == columns.notional_usd[same].max()
    assert (np.diff(kept.event_time) >= 0).all()


def test_calm_feeds_alarm_less_than_once_an_hour() -> None:
    found = list(calm(DEFAULT, hours=2.0))
    assert [each.events for each in found[::2]] == [pytest.approx(36_000, rel=0.1)] * 2
    assert all(each.alert_an_hour < 1 for each in found)
    assert found[1].events < found[0].events


def test_a_crash_of_packets_is_noticed_within_its_first_ones(tmp_path: Path) -> None:
    """Packets of 90 fills every six seconds, deleveraging after a minute: the shape of 10 October 2025."""
    start = T0 // 10**6
    seconds = [*range(0, 60, 6), 60]
    table = {
        "bucket_start_ms": [start + 1000 * s for s in seconds],
        "liquidations": [90] * len(seconds),
        "adls": [0] * (len(seconds) - 1) + [500],
    }
    pq.write_table(pa.table(table), tmp_path / "counts.parquet")
    for crash in october(DEFAULT, tmp_path / "counts.parquet"):
        assert crash.first_adl == 60.0
        assert crash.alert is not None
        assert crash.alert < 10
        assert crash.critical is not None
        assert crash.critical < crash.first_adl


def test_the_tenth_of_october_is_noticed_before_the_first_deleveraging(shared: Shared) -> None:
    for crash in october(DEFAULT, shared("history/oct10_2025_hyperliquid_counts_1s.parquet")):
        assert crash.alert is not None
        assert crash.alert < 10
        assert crash.critical is not None
        assert crash.critical < crash.first_adl


def test_a_changed_unit_is_noticed_and_honest_sizes_are_not_suspected() -> None:
    rng = np.random.default_rng(3)
    usd = rng.lognormal(8, 1.5, 600)
    assert unit_faults(made(np.arange(600.0), usd)) == []
    for factor in (40.0, 1 / 40):
        changed = usd * np.where(np.arange(600) < 300, 1, factor)
        (fault,) = unit_faults(made(np.arange(600.0), changed))
        messages = (fault.time - T0) / SECOND - 300
        assert RECENT / 3 <= messages <= RECENT
        assert (fault.factor > 1) == (factor > 1)
    assert unit_faults(made(np.arange(100.0), usd[:100])) == [], "too few to tell"


def test_unit_runs_tell_how_many_were_noticed() -> None:
    rng = np.random.default_rng(4)
    asset = np.tile(np.array([0, 1], np.int32), 400)
    events = made(np.linspace(0, 3 * HOUR / SECOND, 800), rng.lognormal(9, 0.4, 800), asset=asset)
    for run in unit_runs(events):
        assert (run.instruments, run.suspected, run.noticed) == (2, 0, 2)
        assert run.after <= RECENT
    assert list(unit_runs(events.take(slice(0, RECENT + BEFORE)))) == []
