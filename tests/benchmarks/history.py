"""Replay of Breakwater's own Parquet history, as one file and as a data directory, beside reading its columns alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from connectors.extracts import read_extract
from connectors.source import ReplaySource
from flows.replay import build
from flows.stages import execute
from schemas.batches import LiquidationColumns
from schemas.clock import system_clock
from schemas.tables import liquidation_table
from sinks.parquet import ParquetHistory
from tests.benchmarks.figures import Cost, Row, Target, cost, kept, middle, row, spread
from tests.benchmarks.frames import PIECE, corpus
from tests.benchmarks.pipeline import Pipeline

_RATE = Target("≥", 5.0)


def history(*, quick: bool) -> list[Row]:
    """Parquet → signals on one core; rates by wall time, ratios by process CPU time."""
    with TemporaryDirectory() as name:
        file, directory, events = _write(Path(name), 20_000 if quick else 600_000)
        sources = {"one file": file, "a data directory": directory}
        rounds = 1 if quick else 3
        rows = []
        for title, path in sources.items():
            found = [(cost(_reading(file)), _loop(path), _flow(path)) for _ in range(rounds)]
            alone = [one for one, _, _ in found]
            rows += _rows(f"{title}, plain loop", alone, [one for _, one, _ in found], events)
            rows += _rows(f"{title}, bytewax", alone, [one for _, _, one in found], events)
        return rows


def _write(directory: Path, frames: int) -> tuple[Path, Path, int]:
    """The events of the replay benchmark as one file, and as the history a live run leaves behind."""
    parts, pipeline = [], Pipeline()
    kept_in = ParquetHistory(directory / "data", flush_seconds=1e6, clock=system_clock)
    for piece in corpus(frames).pieces:
        batch = pipeline.normaliser.normalise(piece)
        parts.append(batch.liquidations)
        kept_in.append(batch)
        kept_in.flush_due(system_clock())
    kept_in.close()
    columns = LiquidationColumns.concatenate(parts)
    file = directory / "liquidations.parquet"
    catalogue = pipeline.catalogue
    pq.write_table(liquidation_table(columns, catalogue.symbols, catalogue.assets), file, compression="zstd")
    return file, directory / "data", len(columns)


def _reading(file: Path) -> Callable[[], None]:
    def work() -> None:
        table = pq.ParquetFile(file).read(use_threads=False).unify_dictionaries()
        for column in table.columns:
            column.combine_chunks()

    return work


def _loop(path: Path) -> tuple[Cost, Pipeline]:
    pipeline = Pipeline()
    return cost(lambda: pipeline.run(read_extract(path, PIECE))), pipeline


def _flow(path: Path) -> tuple[Cost, Pipeline]:
    pipeline = Pipeline()
    source = ReplaySource(read_extract(path, PIECE))
    flow = build(source, pipeline.normaliser, pipeline.detector, pipeline.tally.take)
    return cost(lambda: execute(flow)), pipeline


def _rows(title: str, alone: list[Cost], found: list[tuple[Cost, Pipeline]], events: int) -> list[Row]:
    ratios = [c.cpu / a.cpu for (c, _), a in zip(found, alone, strict=True)]
    rates = [events / c.wall / 1e6 for c, _ in found]
    against = f"reading the columns alone, {events / middle(a.cpu for a in alone) / 1e6:.1f} M events/s"
    tally = found[-1][1].tally
    return [
        row(title, middle(rates), "M events/s", _RATE, baseline=against, ratio=middle(ratios), spread=spread(rates)),
        *(row(f"{title}: of it {step}, CPU", tally.seconds[step] / events * 1e9, "ns/event")
          for step in ("duplicates", "detect") if tally.seconds[step]),
        kept(title, events, tally.events),
    ]  # fmt: skip
