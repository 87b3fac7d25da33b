"""The file of a journal: opened, claimed, written whole or not at all; and its outbox.

SQLite in WAL mode, synced at every commit. What each subject writes is in ``ledger``, ``orders`` and ``journal``.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from schemas.cascades import MARKET
from schemas.clock import Clock, system_clock
from schemas.errors import JournalError, JournalLocked, Superseded
from schemas.orders import ExecutionReport
from sinks.executor.tables import SCHEMA, VERSION

_report = msgspec.json.Decoder(ExecutionReport).decode


def at_work(path: Path) -> bool:
    """Whether an executor holds the journal at ``path`` now."""
    try:
        held = os.open(_lock(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(held)
    return False


def _lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class Database:
    """One file. Use it from one thread."""

    _joined = False
    """Whether what is written now ends with what it is a part of."""

    def __init__(self, path: Path, clock: Clock = system_clock, *, account: str = "main") -> None:
        self.path = path
        self.epoch: int | None = None
        """Of this claim; ``None`` for those who only read and hand in."""
        self._clock, self._account = clock, account
        self._lock: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._set_up()
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}; is it a journal, and is the folder writable?") from error

    def _set_up(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise JournalError(f"{self.path} has tables of version {found}, this program knows {VERSION}")
        if found < VERSION:
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and of the claim."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def claim(self) -> int:
        """Become the one that sends. Raises JournalLocked where another process is."""
        held = os.open(_lock(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise JournalLocked(f"{self.path}: another executor is at work; stop it first") from None
        self._lock = held
        with self._writing() as db:
            db.execute("UPDATE control SET epoch = epoch + 1")
            (epoch,) = db.execute("SELECT epoch FROM control").fetchone()
        self.epoch = int(epoch)
        return self.epoch

    @contextmanager
    def together(self) -> Iterator[None]:
        """Whatever is written within is one writing: synced once at its end, whole or not at all.

        What fails within fails all of it, so nobody may go on within after an error.
        """
        if self._joined:
            yield
            return
        self._joined = True
        try:
            yield
            if self._db.in_transaction:
                self._commit()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error
        finally:
            self._joined = False
            self._roll_back()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        try:
            if not db.in_transaction:
                self._begin()
            yield db
            if not self._joined:
                self._commit()
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"{self.path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        if self.epoch is not None:
            (epoch,) = self._db.execute("SELECT epoch FROM control").fetchone()
            if epoch != self.epoch:
                raise Superseded(f"{self.path}: epoch {epoch} has begun, this executor is of epoch {self.epoch}")

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def version(self) -> int:
        """Changes whenever another process writes."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def reports(self, after: int = 0, limit: int = 1000) -> list[ExecutionReport]:
        """What happened, in order, after a sequence number."""
        rows = self._db.execute(
            "SELECT record FROM execution WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return [_report(record) for (record,) in rows]

    def _tell(
        self, db: sqlite3.Connection, intent_id: str, what: str, pair: str = "", asset: str = "", **known: Any
    ) -> None:
        (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM execution").fetchone()
        blank: dict[str, Any] = dict.fromkeys(("venue", "instrument", "client_id", "detail"), "")
        blank |= dict.fromkeys(("side", "quantity", "price", "reduce_only"))
        told = {**blank, **known, "intent_id": intent_id, "what": what, "pair": pair, "asset": asset or MARKET}
        report = ExecutionReport(sequence=last + 1, time=self._clock(), **told)
        db.execute("INSERT INTO execution VALUES (?, ?)", (report.sequence, msgspec.json.encode(report)))
