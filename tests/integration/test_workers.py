"""What workers promise, proven over a real broker by killing them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.topics import LIQUIDATIONS
from tests.broker import Broker
from tests.integration.killing import assert_nothing_lost_and_nothing_twice, killed_run
from tests.integration.processes import ROOT, until
from tests.integration.workers import feed, frames, normalised, values, workers


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("processes", [1, 2])
def test_workers_killed_at_random_lose_nothing_and_tell_nothing_twice(
    broker: Broker, tmp_path: Path, processes: int
) -> None:
    bus = broker.bus_with()
    report = killed_run(bus, tmp_path, events=12_000, kills=6, seed=1, most=1.5, processes=processes)
    assert report.kills == 6
    assert_nothing_lost_and_nothing_twice(bus, report)


@pytest.mark.slow
def test_a_worker_that_compiles_for_the_first_time_hears_that_it_is_to_stop(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with()
    feed(bus, frames(50))
    with workers(bus, tmp_path) as pipeline:
        pipeline.finish("normalise")
        pipeline.start("cascades", NUMBA_CACHE_DIR=str(tmp_path / "cold"))
        until(lambda: "compiling" in pipeline.log("cascades").read_text(), 60)
        assert pipeline.stop("cascades", within=10) == 0
        assert "at work" not in pipeline.log("cascades").read_text()


@pytest.mark.slow
def test_a_cluster_does_not_outlive_who_started_it_and_a_store_serves_one_at_a_time(
    broker: Broker, tmp_path: Path
) -> None:
    bus = broker.bus_with()
    told = frames(50)
    feed(bus, told)
    with workers(bus, tmp_path) as pipeline:
        pipeline.start("normalise", "--workers", "2")
        pipeline.await_begun("normalise")
        children = pipeline.pids("normalise")
        assert len(children) == 2
        second = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "flows.cli", "worker", "normalise", "--recovery", str(tmp_path / "recovery")],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert second.returncode == 2
        assert "another process works with" in second.stderr
        pipeline.kill("normalise")
        until(lambda: not any(map(alive, children)), 5)
        pipeline.finish("normalise")
    closes, _ = normalised(told)
    assert {json.loads(value)["event_id"] for value in values(bus, LIQUIDATIONS)} == set(closes)


def alive(pid: int) -> bool:
    """Whether a process runs; one nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
