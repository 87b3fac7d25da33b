"""Retention: days older than a limit leave the history, each as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import msgspec

from schemas.clock import SECOND
from schemas.errors import HistoryError
from schemas.manifest import NEVER, Manifest, Sealed, read_manifest
from schemas.tables import DATASETS
from sinks.compaction import alone, day_of, outdate, save
from sinks.files import explained, history_dir, lay_out
from sinks.views import HOURS


@dataclass(slots=True)
class Removed:
    """What a run did."""

    before: str
    """No day before this one is left."""
    days: int = 0
    """Days of datasets removed."""
    files: int = 0
    megabytes: float = 0.0
    """10^6 bytes."""


def retain(data_dir: Path, now: int, keep: float) -> Removed:
    """Remove the days that ended more than ``keep`` ago.

    A day goes by one rename, so that no reader finds a part of it; views from before fail and are made anew. Rows that
    come for such a day later are removed by the next run.

    :arg now: nanoseconds.
    :arg keep: seconds; 0 keeps everything.
    :raises HistoryError: where another run is at work, or the history cannot be written.
    """
    root = history_dir(data_dir)
    if not root.is_dir():
        raise HistoryError(f"there is no history below {data_dir}; run the pipeline first, or give --data-dir")
    if not keep:
        return Removed(NEVER)
    removed = Removed(str(day_of(now - round(keep * SECOND))))
    lay_out(data_dir)
    with alone(root), explained(root):
        folders = {
            name: [folder for folder in sorted(root.glob(f"{name}/dt=*")) if _old(folder, removed.before)]
            for name in (*DATASETS, HOURS)
        }
        if any(folders.values()):
            _forget(data_dir, root, {name for name in DATASETS if folders[name]}, removed.before)
        for name, found in folders.items():
            for folder in found:
                _remove(root, folder, removed, counted=name != HOURS)
    return removed


def _old(folder: Path, before: str) -> bool:
    day = folder.name.removeprefix("dt=")
    return NEVER < day < before


def _forget(data_dir: Path, root: Path, datasets: set[str], before: str) -> None:
    """Leave the days out of the manifest and outdate the views that name their files."""
    manifest = read_manifest(root)
    states = {name: _since(state, before) if name in datasets else state for name, state in manifest.datasets.items()}
    save(root, Manifest(datasets=states))
    outdate(data_dir, root, datasets)


def _since(state: Sealed, before: str) -> Sealed:
    return msgspec.structs.replace(
        state,
        days={day: seals for day, seals in state.days.items() if day >= before},
        replaced={file: old for file, old in state.replaced.items() if file >= f"dt={before}"},
    )


def _remove(root: Path, folder: Path, removed: Removed, *, counted: bool) -> None:
    files = list(folder.iterdir())
    size = sum(path.stat().st_size for path in files)
    going = root / "_tmp" / f"-compact-removed-{os.getpid()}-{folder.parent.name}-{folder.name}"
    folder.rename(going)
    rmtree(going)
    removed.days += counted
    removed.files += len(files)
    removed.megabytes += size / 1e6
