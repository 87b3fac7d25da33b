"""kill −9 at random moments over a long run: every guarantee of the workers, judged on what they leave behind."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.bus import own_broker
from tests.benchmarks.figures import Row, Target, row
from tests.integration.killing import assert_nothing_lost_and_nothing_twice, killed_run


def kills(*, quick: bool) -> list[Row]:
    """24 kills over 200,000 events; what is not as promised raises."""
    events, number = (1500, 3) if quick else (200_000, 24)
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        bus, began = broker.bus_with(), time.monotonic()
        run = killed_run(bus, Path(directory), events=events, kills=number, seed=11, most=2.0)
        assert_nothing_lost_and_nothing_twice(bus, run)
        took = time.monotonic() - began
    return [
        row(f"kills over {events:,} events", run.kills, "kills", Target("≥", number)),
        row("lost, doubled or otherwise told", 0, "events", Target("≤", 0)),
        row("took", took, "s"),
    ]
