"""Which files of the history stand for which: what compaction says to everyone who reads.

A day that is over is *sealed*: its rows, each once and sorted, stand in ``day-<n>.parquet``, and the parts they came
from are *replaced*: still there for a while, for readers that began before, and not to be read beside the seal. The
manifest is one small file, renamed into place as a whole: whoever reads it once has one consistent answer.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec
import pyarrow as pa

from schemas.errors import HistoryError

FILE = "_manifest.json"
LOCK = "_compact.lock"
"""Held while files are sealed or removed; there from the first time on."""
NEVER = "1970-01-01"


class Seal(msgspec.Struct, frozen=True):
    """A sorted file of a closed day. The seals of a day share no row."""

    file: str
    rows: int
    columns: str
    """``columns_of`` the schema it was written with."""


class Replaced(msgspec.Struct, frozen=True):
    """A part whose rows a seal holds. Size and time tell it from a later file of the same name."""

    size: int
    modified: int
    """Nanoseconds, by the file system."""
    since: int
    """When it was replaced, nanoseconds."""

    def is_file(self, path: Path) -> bool:
        """Whether this file is the one that was replaced."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)


class Sealed(msgspec.Struct, frozen=True):
    """The state of one dataset."""

    until: str = NEVER
    """No day from this one on is sealed."""
    swept: int = 0
    """Counts removals of files; a view made before the last one must not be read any more."""
    days: dict[str, tuple[Seal, ...]] = {}
    replaced: dict[str, Replaced] = {}
    """By ``dt=<day>/<file>``."""


class Manifest(msgspec.Struct, frozen=True):
    """The state of every dataset that has been compacted."""

    format: int = 1
    datasets: dict[str, Sealed] = {}

    def of(self, dataset: str) -> Sealed:
        """The state of a dataset, compacted or not."""
        return self.datasets.get(dataset, Sealed())

    def shows(self, dataset: str, path: Path) -> bool:
        """Whether a file of a day's folder is one to read: a seal, or a part that none replaces."""
        state, folder = self.of(dataset), path.parent.name
        if path.name.startswith("day-"):
            return any(seal.file == path.name for seal in state.days.get(folder.removeprefix("dt="), ()))
        replaced = state.replaced.get(f"{folder}/{path.name}")
        return replaced is None or not replaced.is_file(path)


def columns_of(schema: pa.Schema) -> str:
    """A short name for a set of columns and their types."""
    told = ";".join(f"{field.name} {field.type}" for field in schema)
    return blake2b(told.encode(), digest_size=6).hexdigest()


def read_manifest(root: Path) -> Manifest:
    """The manifest of the history at ``root``; an empty one where nothing was ever compacted.

    :raises HistoryError: where it cannot be read, or is gone while sealed days are there.
    """
    path = root / FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        if (root / LOCK).exists() and any(root.glob("*/dt=*/day-*.parquet")):
            raise HistoryError(
                f"{path} is gone, but there are sealed days: bring it back from a copy, or rename each "
                "day-N.parquet to part-restored-N.parquet"
            ) from None
        return Manifest()
    except (OSError, msgspec.MsgspecError) as error:
        raise HistoryError(f"cannot read {path}: {error}; bring it back from a copy") from error
    if manifest.format != 1:
        raise HistoryError(f"{path} has format {manifest.format}: it was written by a newer version")
    return manifest
