"""Recordings, frame files and Parquet history through the same steps as live.

Reads: files. Writes: Parquet history below ``data_dir``. Only what a file lacks is filled in, and said on stderr. The
same files give the same events, windows, signals and cascades, whatever the speed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import bytewax.operators as op
import msgspec
import structlog
from bytewax.dataflow import Dataflow
from rich.console import Console

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.extracts import describe, read_extract
from connectors.history import open_parquet, read_dead_letters
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from connectors.recording import is_recording, read_frames, venue_of
from connectors.source import ReplaySource
from flows import assembly
from flows.domain.detector import Detector
from flows.domain.duplicates import Seen
from flows.figures import Figures
from flows.keeping import Archive
from flows.live import INTERRUPTED, Stop, interruptible
from flows.progress import shown
from flows.settings import Settings
from flows.stages import Outcome, detected, execute, normalised
from schemas.batches import Batch, LiquidationColumns
from schemas.clock import SECOND, system_clock
from schemas.errors import BreakwaterError, RecordingError, UsageError
from schemas.tables import DATASETS, dataset_name
from sinks.callback import CallbackSink
from sinks.dashboard import summary
from sinks.duckdb import create_views
from sinks.parquet import ParquetHistory

log = structlog.get_logger(__name__)

_PIECE = 10_000
"""Frames or rows per batch when nothing holds the replay back."""
_PACED = 1
_AFTERWARDS = 3600 * SECOND
"""So much time passes after the last file: what is open closes when it is due."""
_FOUND_AGAIN = {"windows", "measures", "cascades", "signals"}
"""Datasets that are results: a replay makes them of the events."""


def pieces(files: Sequence[Path], venue: str | None, size: int) -> Iterator[list[Frame] | Batch]:
    """Everything in the files, in their order; how far that is shows on a terminal.

    :raises RecordingError: where a file cannot be read.
    """
    return shown(files, lambda file: _pieces_of(file, venue, size), _rows)


def _pieces_of(file: Path, venue: str | None, size: int) -> Iterator[list[Frame] | Batch]:
    if not _is_parquet(file):
        yield from _chunked(read_frames(file, venue), size)
    elif _dataset(file) == "dead_letters":
        log.info("dead letters are driven again", file=str(file))
        yield from _chunked(read_dead_letters(file), size)
    else:
        log.info("reading", file=str(file), note=describe(file))
        yield from read_extract(file, size)


def _rows(piece: list[Frame] | Batch) -> int:
    return len(piece.liquidations) + len(piece.others) if isinstance(piece, Batch) else len(piece)


def check(files: Sequence[Path], venue: str | None) -> None:
    """See before anything is played that the files can be.

    :raises RecordingError: where a file cannot be opened.
    :raises UsageError: where a frame file does not tell whose frames it holds, or a file holds results.
    """
    for file in files:
        if _is_parquet(file):
            if _dataset(file) in _FOUND_AGAIN:
                raise UsageError(f"{file} holds {_dataset(file)}, which a replay makes itself: give the liquidations")
        elif venue is None and venue_of(file) is None and not is_recording(file):
            raise UsageError(f"{file} does not tell whose frames it holds: add --venue")


def _is_parquet(file: Path) -> bool:
    return file.is_dir() or file.suffix == ".parquet"


def _dataset(path: Path) -> str:
    """The dataset of Breakwater's own history a file, day or directory of it holds; else nothing."""
    if path.is_file():
        return dataset_name(open_parquet(path).schema_arrow)
    named = path.resolve()
    return next((name for name in (named.name, named.parent.name) if name in DATASETS), "")


def _chunked(found: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    """Pieces of ``size``; where the file is damaged, what stands before the damage comes first."""
    piece: list[Frame] = []
    try:
        for frame in found:
            piece.append(frame)
            if len(piece) == size:
                yield piece
                piece = []
    except RecordingError:
        yield piece
        raise
    if piece:
        yield piece


def replay(
    settings: Settings,
    files: Sequence[Path],
    *,
    speed: float | None,
    data_dir: Path | None,
    as_json: bool,
    venue: str | None,
) -> int:
    """Play the files and say what came of them; 0, or 130 where interrupted.

    What was played until an interruption or a damaged place in a file is kept.
    """
    check(files, venue)
    kept = data_dir or settings.data_dir / "replay"
    catalogue = Catalogue(snapshots())
    known = list(exchanges().values())
    normaliser = Normaliser(known, catalogue)
    detector = Detector(assembly.rules(settings), catalogue.assets, measures=assembly.under_count(settings))
    detector.warm_up()
    figures = Figures(detector, known, system_clock, live=False)
    history = archive = None
    if settings.history.enabled:
        create_views(kept)
        history = ParquetHistory(
            kept, flush_seconds=settings.history.flush, flush_rows=settings.history.flush_rows, clock=system_clock
        )
        archive = Archive(history, settings.history)
    newest = 0

    def keep(outcome: Outcome) -> None:
        nonlocal newest
        columns = outcome.batch.liquidations
        if len(columns):
            newest = max(newest, int(columns.receive_time.max()))
        figures.take(outcome)
        if archive is not None and history is not None:
            archive.take(outcome)
            history.flush_due(system_clock())

    stop = Stop(system_clock, None)
    played = Played(pieces(files, venue, _PIECE if speed is None else _PACED))
    with interruptible(stop):
        try:
            execute(build(ReplaySource(iter(played), speed, stop), normaliser, detector, keep))
            if newest and not stop.interrupted and played.error is None:
                keep(Outcome(_nothing(catalogue), detector.finish(newest + _AFTERWARDS)))
        finally:
            if history is not None:
                history.close()
    if played.error is not None:
        raise played.error
    _report(figures, history, kept, as_json=as_json)
    return INTERRUPTED if stop.interrupted else 0


class Played:
    """The pieces of a replay up to where they cannot be read on: the flow ends in order there."""

    def __init__(self, pieces: Iterator[list[Frame] | Batch]) -> None:
        self.error: BreakwaterError | None = None
        """What made it end early."""
        self._pieces = pieces

    def __iter__(self) -> Iterator[list[Frame] | Batch]:
        try:
            yield from self._pieces
        except BreakwaterError as error:
            self.error = error


def build(source: ReplaySource, normaliser: Normaliser, detector: Detector, keep: object) -> Dataflow:
    """The dataflow: the live steps behind another source."""
    flow = Dataflow("replay")
    batches = normalised(op.input("files", flow, source), normaliser)
    outcomes = detected(batches, detector, Seen())
    op.output("keep", outcomes, CallbackSink(keep))  # type: ignore[arg-type]  # a plain function
    return flow


def _nothing(catalogue: Catalogue) -> Batch:
    return Batch(LiquidationColumns.empty(), catalogue.symbols, catalogue.assets)


def _report(figures: Figures, history: ParquetHistory | None, kept: Path, *, as_json: bool) -> None:
    if as_json:
        told = {
            "events": figures.events,
            "adl": figures.adl,
            "cascades": figures.cascades,
            "signals": figures.signals,
            "dead_letters": figures.dead_letters,
            "duplicates": figures.duplicates,
            "late": figures.late,
            "frames": figures.frames,
            "by_venue": dict(sorted(figures.by_venue.items())),
            "files": history.files if history else 0,
        }
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    else:
        files = history.written() if history else []
        Console().print(summary(figures.view(), files, kept))
