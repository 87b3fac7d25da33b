"""What workers promise, proven over a real broker by killing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker import Broker
from tests.integration.killing import assert_nothing_lost_and_nothing_twice, killed_run
from tests.integration.processes import until
from tests.integration.workers import feed, frames, workers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_killed_at_random_lose_nothing_and_tell_nothing_twice(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with()
    report = killed_run(bus, tmp_path, events=12_000, kills=6, seed=1, most=1.5)
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
