"""What alarms would have caught: by hand, through the real detector, and the same however many work at it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.domain.rules import LevelRule, Rules
from flows.study.backtest import Variant, alarms, as_text, backtest, combinations, judged, played
from flows.study.events import read_recording
from schemas.cascades import MARKET, Level
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.errors import UsageError
from tests.flows.study.conftest import T0
from tests.integration.processes import breakwater

BURSTS = (1800, 5400, 9000)
"""Seconds after ``T0`` at which 100 closes of 20,000 USD come within five seconds."""


def at(*minutes: float) -> np.ndarray:
    return T0 + np.array(minutes) * MINUTE // 1


def test_alarms_are_judged_by_hand() -> None:
    """Crossings at minutes 10, 40, 80; alarms 2 minutes before, half a minute after, and at 60 for nothing."""
    found = judged("x", at(8, 40.5, 60), at(10, 40, 80), at(9, 40), days=0.5)
    assert (found.alarms, found.crossings) == (3, 3)
    assert (found.a_day, found.false_a_day) == (6.0, 2.0)
    assert found.recall == pytest.approx(2 / 3)
    assert found.foretold == pytest.approx(1 / 3)
    assert found.precision == pytest.approx(2 / 3)
    assert found.lead == 120.0
    assert found.delay == 15.0  # the mean of none, and of half a minute


def test_without_alarms_or_crossings_there_is_nothing_to_divide_by() -> None:
    silent, calm = judged("x", at(), at(10), at(), days=1.0), judged("x", at(10), at(), at(), days=1.0)
    assert (silent.recall, silent.precision, silent.lead, silent.delay) == (0.0, None, None, None)
    assert (calm.recall, calm.precision, calm.false_a_day) == (None, 0.0, 1.0)


def test_a_grid_is_every_combination_of_its_terms() -> None:
    assert list(combinations([])) == [{}]
    found = list(combinations(["a=1,2", "b=3,4;c=5,6"]))
    assert found == [
        {"a": "1", "b": "3", "c": "5"}, {"a": "1", "b": "4", "c": "6"},
        {"a": "2", "b": "3", "c": "5"}, {"a": "2", "b": "4", "c": "6"},
    ]  # fmt: skip
    for wrong in ("a", "=1", "a=", "a=1,2;b=3"):
        with pytest.raises(UsageError, match="grid"):
            list(combinations([wrong]))


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Three hours: a close every fifteen seconds, and three bursts."""
    calm = np.arange(0, 3 * 3600, 15.0)
    second = np.sort(np.concatenate([calm, *(b + np.arange(100) / 20 for b in BURSTS)]))
    n = len(second)
    columns = {
        "venue": ["binance"] * n, "symbol": ["BTCUSDT"] * n, "side": ["SELL"] * n,
        "ts_kind": ["exchange_trade_time"] * n, "ts_ms": T0 // 10**6 + np.rint(second * 1000).astype(np.int64),
        "price": np.full(n, 20_000.0), "qty": np.arange(1, n + 1) * 1e-9 + 1, "usd": np.full(n, 20_000.0),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "market.parquet")
    return tmp_path / "market.parquet"


def rule(rate: float) -> Rules:
    levels = (LevelRule(1.0, rate / 2), LevelRule(1.0, rate), LevelRule(1.0, 500.0), LevelRule(1.0, 900.0))
    return Rules(levels=levels, capped_event=1.0)


def test_the_detectors_own_alarms_catch_what_they_can(market: Path) -> None:
    """100 closes in 5 s are 20 a second: half of that notices every burst a second after it began, twice never."""
    variants = [Variant("half", rule(10.0)), Variant("twice", rule(40.0))]
    found = backtest(
        [market], read_recording([market]), variants, target="BTC", level="ALERT", threshold=1e6, horizon=MINUTE
    )
    half, twice = found.settings
    assert found.hours == pytest.approx(3.0, abs=0.01)
    assert (half.crossings, half.alarms, half.recall, half.precision) == (3, 3, 1.0, 1.0)
    assert half.foretold == 1.0
    assert half.lead == pytest.approx(1.4, abs=0.3)  # the threshold falls at the 50th, the level at the 21st
    assert half.delay == pytest.approx(1.0, abs=0.2)
    assert (twice.alarms, twice.recall, twice.precision) == (0, 0.0, None)
    assert as_text(found).splitlines()[-2].split()[0] == "half"


@pytest.mark.parametrize("level", ["WATCH", "ALERT"])
def test_alarms_are_the_rises_of_the_target_alone(market: Path, level: Level) -> None:
    signals = played([market], rule(10.0))
    assert {signal.asset for signal in signals} == {"BTC", MARKET}
    found = alarms(signals, "BTC", level)
    assert len(found) == 3
    assert all(0 < a - T0 - b * SECOND < 2 * SECOND for a, b in zip(found.tolist(), BURSTS, strict=True))
    assert len(alarms(signals, "ETH", level)) == 0
    assert signals[-1].level == "NONE", "what is open falls when it is due"


def test_two_processes_find_what_one_does(market: Path, tmp_path: Path) -> None:
    """To the last digit, in the order of the grid; a setting that cannot be is named."""
    grid = ["--grid", "levels.alert.rate=8,12,15", "--grid", "levels.hold=2s,20s"]
    common = ["backtest", market, "--target", "btc", "--threshold-usd", "1e6", *grid, "--json"]
    one = breakwater(*common, "--jobs", 1, cwd=tmp_path)
    two = breakwater(*common, "--jobs", 2, cwd=tmp_path)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert one.stdout == two.stdout
    told = json.loads(one.stdout)
    # A level may not be easier to reach than the one below it: ALERT at 8 events/s, with WATCH at 10.
    assert [s["setting"] for s in told["settings"]] == [
        f"levels.alert.rate={rate} levels.hold={hold}" for rate in (12, 15) for hold in ("2s", "20s")
    ]
    assert all(s["recall"] == 1.0 for s in told["settings"])
    assert told["hours"] * HOUR == pytest.approx(3 * HOUR, rel=0.01)


def test_a_grid_that_cannot_be_is_refused(market: Path, tmp_path: Path) -> None:
    refused = breakwater("backtest", market, "--threshold-usd", "1e6", "--grid", "levels.pace=1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "levels.pace" in refused.stderr
