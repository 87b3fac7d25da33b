"""The picture of the demo: one view of a real run on the simulated venues."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from connectors.simulator.process import SimulatorProcess
from connectors.venue_feeds import VenueFeeds
from flows import assembly
from flows.live import Stop, assemble
from flows.settings import Settings
from flows.stages import execute
from schemas.clock import system_clock
from schemas.view import PipelineView
from sinks.dashboard import screenshot

WIDTH, HEIGHT = 120, 46
_DURATION = 40.0
_TAKEN = 0.62
"""After so much of the run: the cascade has peaked and one venue is still silent."""
_SEED = 7


def take(path: Path) -> None:
    """Run the demo until the moment worth showing, and write what it shows."""
    screenshot(_view(), path, WIDTH, HEIGHT)


def _view() -> PipelineView:
    settings = Settings()
    arguments = ("--seed", str(_SEED), "--duration", str(_DURATION))
    with TemporaryDirectory() as kept, SimulatorProcess(*arguments) as process:
        endpoints = process.endpoints
        feeds = [VenueFeeds(e, endpoints[e.venue]) for e in assembly.enabled(settings) if e.venue in endpoints]
        live = assemble(settings, feeds, Path(kept), system_clock, simulated=True)
        live.detector.warm_up()
        taken: list[PipelineView] = []
        try:
            execute(live.build(Stop(system_clock, _DURATION * _TAKEN), lambda: taken.append(live.figures.view())))
            return taken[-2]
        finally:
            live.reader.stop()
            if live.history is not None:
                live.history.close()
