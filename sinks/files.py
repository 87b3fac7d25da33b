"""Files of the history: where they lie, and how each is whole from the moment it is seen."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import HistoryError
from schemas.manifest import NEVER, Manifest, read_manifest
from schemas.tables import DATASETS, Dataset

EMPTY = "_empty.parquet"
"""A file without rows, so that every dataset can be read before anything happened."""
ROW_GROUP = 65_536
"""Rows of a row group: what one asset's rows are picked from by statistics."""
_REMEDY = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file size limit of this process is too small: raise it (ulimit -f)",
    errno.EACCES: "no permission: let this user write there, or choose another data_dir",
    errno.EPERM: "no permission: let this user write there, or choose another data_dir",
    errno.EROFS: "the file system is read-only: choose another data_dir",
    errno.ENOTDIR: "a file is in the way: choose another data_dir",
    errno.EEXIST: "a file is in the way: choose another data_dir",
}


def history_dir(data_dir: Path) -> Path:
    """Where the datasets are, absolute."""
    return Path(data_dir).resolve() / "history"


def lay_out(data_dir: Path) -> None:
    """Make the folder of every dataset, readable though empty. Any number of processes may do so at once.

    :raises HistoryError: naming the path and what to do, where it cannot be written.
    """
    root = history_dir(data_dir)
    with explained(root):
        (root / "_tmp").mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(root)
        for dataset in DATASETS.values():
            for path in (empty_file(root, dataset.name), marker(root, dataset.name, manifest)):
                if not _fits(path, dataset.schema):
                    _lay(root, path, dataset)


def empty_file(root: Path, dataset: str) -> Path:
    """The file of a dataset that is always there."""
    return root / dataset / f"dt={NEVER}" / EMPTY


def marker(root: Path, dataset: str, manifest: Manifest) -> Path:
    """A file without rows that is there as long as no other file was removed.

    Every view names it, so that one made before a removal fails loudly instead of missing rows.
    """
    return empty_file(root, dataset).with_name(f"swept-{manifest.of(dataset).swept}.parquet")


@contextmanager
def settled(root: Path) -> Iterator[None]:
    """Nobody else makes or removes markers meanwhile; released when the process ends, however it ends."""
    with (root / "_markers.lock").open("ab") as held:
        flock(held, LOCK_EX)
        yield


def _lay(root: Path, path: Path, dataset: Dataset) -> None:
    with settled(root):
        current = {empty_file(root, dataset.name), marker(root, dataset.name, read_manifest(root))}
        if path in current:
            write_whole(
                dataset.schema.empty_table(), path, root / "_tmp" / f"-{os.getpid()}-{dataset.name}-{path.name}"
            )


def _fits(empty: Path, schema: pa.Schema) -> bool:
    if not empty.exists():
        return False
    stored = pq.read_schema(empty)
    return bool(stored.names == schema.names and stored.metadata == schema.metadata)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDY.get(error.errno or 0, "see that the directory exists and can be written")
        reason = error.strerror or str(error)
        raise HistoryError(f"cannot write history to {error.filename or path}: {reason}; {remedy}") from error


def write_whole(rows: pa.Table, path: Path, temporary: Path) -> None:
    """Write a file that is whole when it is seen, and stays when the machine stops."""
    with placed(path, temporary) as file:
        pq.write_table(rows, file, compression="zstd", row_group_size=ROW_GROUP)


@contextmanager
def placed(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """A file to write to that appears at ``path`` once it is whole and synced, and not at all where that fails."""
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
