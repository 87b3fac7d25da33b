"""Recovery stores: what a worker knew at the end of its last finished epoch, in SQLite files the engine writes.

The engine writes the state of each key touched in an epoch as the epoch ends, and, once every step has done so, that
the epoch is finished. Who dies in between leaves states of an epoch that never was. The next execution goes through
that epoch again, but replaces only what it touches in it by the wall clock; what it does not touch would count later,
ahead of the offsets that belong to it: messages read again would be taken for known, and what they had to tell, which
nobody had told, would be missing. ``drop_unfinished`` takes such states out before anything is read from a store
(bytewax 0.21.1; its ``snaps`` rows do not say which execution they are of).
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from bytewax.recovery import init_db_dir

from schemas.errors import UsageError

log = structlog.get_logger(__name__)

_LAYOUT, _FIRST_LAYOUT = "2", "1"
"""What the flows keep in a store, and under which names: another number where either has changed."""
_FIRST_EPOCH = 1
_PATIENCE = 30.0
"""Seconds to wait for another process of the same cluster that does the same."""


def make(store: Path) -> None:
    """Make a store where there is none, whole or not at all. One file serves any number of workers that see it.

    :raises UsageError: the one that is there is of another version.
    """
    if any(_parts(store)):
        check_layout(store)
        return
    store.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=store) as directory:
        made = Path(directory)
        (made / "layout").write_text(f"{_LAYOUT}\n", encoding="utf-8")
        (made / "writer").write_text(f"a{secrets.token_hex(4)}\n", encoding="utf-8")
        init_db_dir(made, 1)
        for file in (made / "layout", made / "writer", *_parts(made)):
            with suppress(FileExistsError):  # another process of the same cluster was first
                os.link(file, store / file.name)


def check_layout(store: Path) -> None:
    """Refuse what another version kept: nothing of it would be found under its names.

    :raises UsageError: it is one, and why; one the engine's own command made belongs to no version.
    """
    layout = store / "layout"
    found = layout.read_text(encoding="utf-8").strip() if layout.exists() else _FIRST_LAYOUT
    if found != _LAYOUT and (store / "writer").exists():
        raise UsageError(
            f"{store} is a recovery store of layout {found}, this version keeps {_LAYOUT}: move it away. "
            "Without it a worker tells again what the topics keep, with the same ids; `--from end` begins with what "
            "comes now"
        )


def writer_of(store: Path) -> str:
    """Whose files an archive that resumes from this store writes.

    Its own and no other's: with a new store comes a new name, since files a store knows nothing of are taken back.
    """
    name = store / "writer"
    return name.read_text(encoding="utf-8").strip() if name.exists() else "archive"


@contextmanager
def held(store: Path, process: int) -> Iterator[None]:
    """Nobody else is this process of a cluster meanwhile; given back when the process ends, however it ends.

    :raises UsageError: somebody is: two that write the same files and keep the same offsets would spoil both.
    """
    with (store / f"lock-{process}").open("ab") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process works with {store}: stop it first, or give this one a --recovery of its own"
            ) from None
        yield


def first_begun(store: Path, now: int) -> int | None:
    """When a worker first began with this store, in nanoseconds; ``None`` where it does now.

    Who begins with what comes then is killed before his first snapshot, and still misses nothing.
    """
    begun = store / "begun"
    if begun.exists():
        return int(begun.read_text(encoding="utf-8"))
    if store.is_dir():
        written = store / f"begun.{os.getpid()}"
        written.write_text(f"{now}\n", encoding="utf-8")
        written.replace(begun)
    return None


def drop_unfinished(store: Path) -> int:
    """Take out the states of epochs no execution has finished; how many there were.

    To be called before an execution begins, by any number of its processes.

    :raises UsageError: not all parts of the store are here, so that nobody can say what was finished; or it is of
        another version.
    """
    check_layout(store)
    parts = list(_parts(store))
    epoch = _resume_epoch(store, parts)
    dropped = 0
    for part in parts:
        with closing(sqlite3.connect(part, timeout=_PATIENCE)) as database, database:
            dropped += database.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,)).rowcount
    if dropped:
        log.info("forgot what an unfinished epoch left behind", store=str(store), epoch=epoch, states=dropped)
    return dropped


def _parts(store: Path) -> Iterator[Path]:
    return store.glob("part-*.sqlite3")


def _resume_epoch(store: Path, parts: list[Path]) -> int:
    """The one the engine will begin with: the oldest that some worker of the last execution had not finished."""
    executions: dict[int, tuple[int, int]] = {}
    frontiers: dict[tuple[int, int], int] = {}
    for part in parts:
        with closing(sqlite3.connect(part, timeout=_PATIENCE)) as database:
            (count,) = database.execute("SELECT max(part_count) FROM parts").fetchone()
            if count != len(parts):
                raise UsageError(
                    f"{store} holds {len(parts)} of the {count} parts of a recovery store: all hosts must see one "
                    "directory with all of them, since only the whole tells what a killed worker had not finished"
                )
            for number, workers, epoch in database.execute("SELECT ex_num, worker_count, resume_epoch FROM exs"):
                executions[number] = workers, epoch
            for number, worker, epoch in database.execute("SELECT ex_num, worker_index, worker_frontier FROM fronts"):
                frontiers[number, worker] = epoch
    if not executions:
        return _FIRST_EPOCH
    last = max(executions)
    workers, begun = executions[last]
    return min(max(begun, frontiers.get((last, worker), begun)) for worker in range(workers))
