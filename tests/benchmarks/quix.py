"""The six windows of every asset beside quixstreams, from the same topic of the same broker, a process each.

quixstreams wants an older client of Kafka than ours, so it lives in a folder of its own:
``uv pip install --target /tmp/quix quixstreams``, and ``BREAKWATER_QUIX=/tmp/quix`` says where.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from schemas.bus import Bus
from schemas.topics import LIQUIDATIONS
from tests.benchmarks.bus import bus_of, own_broker
from tests.benchmarks.catchup import caught_up, messages_in
from tests.benchmarks.figures import Row, row
from tests.integration.workers import feed, frames

FOLDER = "BREAKWATER_QUIX"


def quix(*, quick: bool) -> list[Row]:
    """Events a second; nothing where quixstreams is not."""
    folder = os.environ.get(FOLDER)
    if not folder:
        sys.stderr.write(f" left out: {FOLDER} names no folder with quixstreams …")
        return []
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        bus = bus_of(broker, "quix", 1)
        feed(bus, frames(300 if quick else 5000, seed=5))
        caught_up(bus, Path(directory) / "ours", "normalise")
        ours = caught_up(bus, Path(directory) / "ours", "cascades")
        events = messages_in(bus, LIQUIDATIONS, 1)
        theirs = _theirs(bus, Path(directory) / "theirs", folder, events)
    rate = theirs["read"] / theirs["seconds"]
    told = f"quixstreams {rate:,.0f} events/s, {theirs['told']:,} windows told"
    return [
        row("six windows of each asset", events / ours, "1/s", baseline=told, ratio=events / ours / rate),
        row("events quixstreams did not read", events - theirs["read"], "events"),
    ]


def _theirs(bus: Bus, state: Path, folder: str, events: int) -> dict[str, Any]:
    script = str(Path(__file__).with_name("quix_windows.py"))
    arguments = [sys.executable, script, bus.bootstrap, bus.name(LIQUIDATIONS), str(state), str(events)]
    environment = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603 - our own script
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
