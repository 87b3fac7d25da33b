"""The main job in one process: sockets → frames → liquidations → windows → score → signals → history, and a view.

Reads: every enabled venue's own feeds. Writes: Parquet history below ``data_dir``, a view on the terminal. Key: one
shard for all assets. Guarantee: at most once from the socket (each hole is a gap row), each event scored once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import bytewax.operators as op
import msgspec
import structlog
from bytewax.dataflow import Dataflow
from rich.console import Console

from connectors.catalogue import Catalogue
from connectors.exchange import Exchange
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from connectors.reader import Reader
from connectors.simulator.process import SimulatorProcess
from connectors.source import FeedSource
from connectors.venue_feeds import VenueFeeds
from flows import assembly
from flows.domain.detector import Detector
from flows.domain.duplicates import Seen
from flows.domain.rules import Rules
from flows.figures import Figures
from flows.garbage import rare_collections
from flows.keeping import Archive
from flows.paper_pair import PaperPair, Terms
from flows.settings import Settings
from flows.stages import Outcome, detected, execute, normalised
from schemas.clock import SECOND, Clock, system_clock
from schemas.compiled import is_warm
from schemas.instruments import Instrument
from sinks.background import BackgroundHistory
from sinks.callback import CallbackSink
from sinks.dashboard import Dashboard, summary
from sinks.duckdb import create_views
from sinks.parquet import ParquetHistory

log = structlog.get_logger(__name__)

INTERRUPTED = 130
_VIEW_EVERY = SECOND // 5
_LEAD = 3.0
"""Seconds from the start of the simulated venues to their first event: everybody has subscribed by then."""
_LAST_WORD = 2.0
"""Seconds the slowest feed takes to tell what happened at the end of a simulated run."""
_SWITCH_INTERVAL = 0.0005
"""Seconds of the interpreter a thread keeps at most: the reader must stamp frames while the flow computes."""


@dataclass(frozen=True, slots=True)
class Live:
    """The parts of one live pipeline."""

    reader: Reader
    normaliser: Normaliser
    detector: Detector
    figures: Figures
    history: BackgroundHistory | None
    archive: Archive | None
    clock: Clock
    paper: PaperPair | None = None
    """A pair on paper that follows the marks."""

    def build(self, stopped: Callable[[], bool], show: Callable[[], None]) -> Dataflow:
        """The dataflow. ``show`` is called a few times a second."""
        flow = Dataflow("live")
        items = op.input("feeds", flow, FeedSource(self.reader, self.clock, stopped))
        batches = normalised(items, self.normaliser, self.reader)
        outcomes = detected(batches, self.detector, Seen())
        op.output("watch", outcomes, CallbackSink(self._watch(show)))
        if self.paper is not None:
            op.output("paper", outcomes, CallbackSink(self.paper.take))
        if self.archive is not None:
            op.output("history", outcomes, CallbackSink(self.archive.take))
        return flow

    def _watch(self, show: Callable[[], None]) -> Callable[[Outcome], None]:
        shown = 0

        def take(outcome: Outcome) -> None:
            nonlocal shown
            self.figures.take(outcome)
            now = self.clock()
            if now - shown >= _VIEW_EVERY:
                shown = now
                show()

        return take


def assemble(
    settings: Settings, venues: list[VenueFeeds], data_dir: Path, clock: Clock, *, simulated: bool = False
) -> Live:
    """Make the parts of a live pipeline over ``venues``; nothing runs yet."""
    chosen: list[Exchange] = [v.exchange for v in venues]
    known: list[Instrument] = [] if simulated else snapshots()
    catalogue = Catalogue(known)
    detector = Detector(assembly.rules(settings), catalogue.assets, measures=assembly.under_count(settings))
    reader = assembly.reader(settings, venues, clock)
    history = archive = None
    if settings.history.enabled:
        kept = settings.history
        writer = ParquetHistory(data_dir, flush_seconds=kept.flush, flush_rows=kept.flush_rows, clock=clock)
        create_views(data_dir)
        history = BackgroundHistory(writer, clock=clock)
        archive = Archive(history, kept)
    figures = Figures(
        detector,
        chosen,
        clock,
        simulated=simulated,
        feeds=reader.feeds,
        files=lambda: history.history.files if history else 0,
    )
    return Live(reader, Normaliser(chosen, catalogue, track=True), detector, figures, history, archive, clock)


class Stop:
    """Why the pipeline is to stop, if it is."""

    def __init__(self, clock: Clock, duration: float | None) -> None:
        self.interrupted = False
        self._clock = clock
        self._until = clock() + round(duration * SECOND) if duration else None

    def __call__(self) -> bool:
        """Whether to stop now."""
        return self.interrupted or (self._until is not None and self._clock() >= self._until)

    def interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """The user, or the system, asks to stop; the second time at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Ctrl-C and SIGTERM drain and finish instead of tearing down."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(live: Live, *, duration: float | None, headless: bool, clock: Clock) -> bool:
    """Run until the duration is over or somebody interrupts; whether somebody did."""
    warm_up()
    stop = Stop(clock, duration)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with interruptible(stop), rare_collections():
        try:
            if live.paper is not None:
                live.paper.start()
            if headless:
                execute(live.build(stop, lambda: None))
            else:
                with Dashboard() as dashboard:
                    execute(live.build(stop, lambda: dashboard.update(live.figures.view())))
        finally:
            sys.setswitchinterval(interval)
            live.reader.stop()
            _close(live)
    return stop.interrupted


def _close(live: Live) -> None:
    """The paper pair comes to its end, what it did goes into the history, the history to disk."""
    try:
        if live.paper is not None:
            live.paper.stop()
            if live.history is not None:
                for report in live.paper.reports:
                    live.history.add(report)
    finally:
        if live.history is not None:
            live.history.close()


def warm_up() -> None:
    """Compile what is compiled, in seconds the first time on a machine, so that no frame waits for it."""
    if not is_warm():
        sys.stderr.write("compiling the window kernel: once on this machine, about a minute\n")
    catalogue = Catalogue()
    normaliser = Normaliser([], catalogue)
    normaliser.warm_up()
    Seen().drop(normaliser.normalise([]))
    Detector(Rules(), catalogue.assets).warm_up()


def run_live(
    settings: Settings, *, duration: float | None, headless: bool, data_dir: Path, paper: Terms | None = None
) -> int:
    """Listen to the real venues. One without a route is shown as unreachable and tried again; nothing else stops.

    :arg paper: a pair to hold on paper at their marks.
    """
    venues = [assembly.venue_feeds(settings, exchange) for exchange in assembly.enabled(settings)]
    live = assemble(settings, venues, data_dir, system_clock)
    if paper is not None:
        live = replace(live, paper=PaperPair(settings.executor, paper))
    interrupted = run(live, duration=duration, headless=headless, clock=system_clock)
    conclude(live, data_dir)
    return INTERRUPTED if interrupted else 0


def run_demo(
    settings: Settings, *, duration: float, seed: int | None, headless: bool, as_json: bool, data_dir: Path
) -> int:
    """The same on simulated venues of this machine, in a process of their own. Nothing in between is a shortcut.

    :arg duration: seconds of the simulated market; it is watched until every feed has told what happened in them.
    """
    # What takes long comes before the venues start: nobody tells again what was told before we listened.
    warm_up()
    if settings.history.enabled:
        create_views(data_dir)
    run_of = ("--seed", str(seed if seed is not None else 1), "--duration", str(duration), "--lead", str(_LEAD))
    with SimulatorProcess(*run_of) as process:
        endpoints = process.endpoints
        venues = [VenueFeeds(e, endpoints[e.venue]) for e in assembly.enabled(settings) if e.venue in endpoints]
        live = assemble(settings, venues, data_dir, system_clock, simulated=True)
        live = replace(live, paper=PaperPair(settings.executor, spare=True))
        over = (process.began - system_clock()) / SECOND + duration + _LAST_WORD
        interrupted = run(live, duration=over, headless=headless, clock=system_clock)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(outline(live)) + b"\n")
    else:
        conclude(live, data_dir)
    return INTERRUPTED if interrupted else 0


def conclude(live: Live, data_dir: Path) -> None:
    """Print what happened, and what to try next."""
    files = live.history.history.written() if live.history else []
    paper = live.paper.view if live.paper is not None else None
    Console().print(summary(live.figures.view(), files, data_dir, paper=paper))


def outline(live: Live) -> dict[str, object]:
    """What happened, as one JSON object."""
    figures = live.figures
    return {
        "events": figures.events,
        "adl": figures.adl,
        "cascades": figures.cascades,
        "signals": figures.signals,
        "dead_letters": figures.dead_letters,
        "duplicates": figures.duplicates,
        "late": figures.late,
        "gaps": figures.gaps,
        "frames": figures.frames,
        "by_venue": dict(sorted(figures.by_venue.items())),
        "latency_ms": {"p50": figures.latency(0.5), "p99": figures.latency(0.99)},
        "files": live.history.history.files if live.history else 0,
        "paper_pair": live.paper.view if live.paper is not None else None,
    }
