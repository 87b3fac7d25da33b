"""The executor's write-ahead journal: SQLite in WAL mode, synced at every commit.

Guarantee: what a method was asked to write is on disk when it returns, whole, or it raised and nothing is. Everybody
may open it, read it and hand intents in. Orders are prepared by the one process that claimed it: an exclusive lock on a
file beside, and an epoch raised by each claim and checked in every writing of whoever claimed it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from schemas.cascades import MARKET
from schemas.clock import Clock, system_clock
from schemas.errors import JournalError, JournalLocked, Superseded
from schemas.orders import Account, ExecutionReport, Fill, IntentState, OrderIntent
from schemas.pairs import ControlState, Leg, Pair
from sinks.executor.attempts import Attempt
from sinks.executor.tables import SCHEMA, VERSION

LIVING: tuple[IntentState, ...] = ("waiting", "working")
EVERY: tuple[IntentState, ...] = (*LIVING, "done", "noop", "refused", "expired", "failed")
_encode = msgspec.json.encode
_attempt = msgspec.json.Decoder(Attempt).decode
_intent = msgspec.json.Decoder(OrderIntent).decode
_pair = msgspec.json.Decoder(Pair).decode
_fill = msgspec.json.Decoder(Fill).decode
_account = msgspec.json.Decoder(Account).decode
_report = msgspec.json.Decoder(ExecutionReport).decode


class Intent(NamedTuple):
    """An intent and how far it came."""

    order: OrderIntent
    root: str
    """The intent that began the case; its own id unless it is a hedge or the unwinding of one."""
    state: IntentState
    detail: str


class Control(NamedTuple):
    """What may be done at all; survives restarts."""

    state: ControlState
    reason: str
    since: int
    epoch: int


class Journal:
    """One journal file. Use it from one thread."""

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
        if found not in {0, VERSION}:
            raise JournalError(f"{self.path} has tables of version {found}, this program knows {VERSION}")
        if not found:
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
        held = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if self.epoch is not None:
                (epoch,) = db.execute("SELECT epoch FROM control").fetchone()
                if epoch != self.epoch:
                    raise Superseded(f"{self.path}: epoch {epoch} has begun, this executor is of epoch {self.epoch}")
            yield db
            self._commit()
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"{self.path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    # Pairs

    def add_pair(self, pair: Pair) -> None:
        """Put a pair under protection. JournalError where its name or one of its contracts is taken."""
        with self._writing() as db:
            if db.execute("SELECT 1 FROM pair WHERE pair = ?", (pair.pair,)).fetchone():
                raise JournalError(f"there is a pair {pair.pair!r} already; choose another name")
            for leg in pair.legs:
                row = db.execute("SELECT pair FROM leg WHERE venue = ? AND instrument = ?", (leg.venue, leg.instrument))
                if (taken := row.fetchone()) is not None:
                    raise JournalError(f"{leg.instrument} at {leg.venue} already belongs to pair {taken[0]!r}")
            db.execute("INSERT INTO pair VALUES (?, 1, ?, ?)", (pair.pair, _encode(pair), _encode(pair)))
            db.executemany("INSERT INTO leg VALUES (?, ?, ?)", [(x.venue, x.instrument, pair.pair) for x in pair.legs])
            self._tell(db, "", "pair", pair=pair.pair, asset=pair.asset, detail="added")

    def pairs(self, *, living: bool = True) -> list[Pair]:
        """The pairs, those closed included where asked."""
        rows = self._db.execute(f"SELECT record FROM pair {'WHERE living' if living else ''} ORDER BY rowid")  # noqa: S608 - one of two texts
        return [_pair(record) for (record,) in rows]

    def pair(self, name: str) -> Pair | None:
        """One pair, living or closed."""
        row = self._db.execute("SELECT record FROM pair WHERE pair = ?", (name,)).fetchone()
        return _pair(row[0]) if row else None

    def opened_legs(self, name: str) -> tuple[Leg, Leg]:
        """The legs of a pair as they were when it was added."""
        row = self._db.execute("SELECT opened FROM pair WHERE pair = ?", (name,)).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: there is no pair {name}")
        return _pair(row[0]).legs

    def _store_pair(self, db: sqlite3.Connection, pair: Pair) -> None:
        living = pair.closed is None
        db.execute("UPDATE pair SET record = ?, living = ? WHERE pair = ?", (_encode(pair), living, pair.pair))
        if not living:
            db.execute("DELETE FROM leg WHERE pair = ?", (pair.pair,))

    # Intents

    def insert_intent(self, order: OrderIntent, root: str = "") -> bool:
        """Take an intent in unless it, or another of the same cause, is there; whether it is new.

        The same cause told again, or another cause of the same living case, changes nothing but its mention. Another
        cause that arrives when the case is over is looked into as a case of its own.
        """
        with self._writing() as db:
            if self._known(db, order):
                return False
            row = db.execute("SELECT state FROM intent WHERE intent_id = ?", (order.intent_id,)).fetchone()
            if row is not None and row[0] not in LIVING and order.cause:
                order = replace(order, intent_id=f"{order.intent_id}-{order.cause}")
                row = None
            if row is None:
                values = (order.intent_id, root or order.intent_id, order.pair, "waiting", "", _encode(order))
                db.execute("INSERT INTO intent VALUES (?, ?, ?, ?, ?, ?)", values)
                self._tell(db, order.intent_id, "intent", order.pair, order.asset, detail=_story(order))
            if order.cause:
                db.execute("INSERT INTO venue_event VALUES (?, ?, ?)", (order.cause, order.intent_id, order.created))
            return row is None

    @staticmethod
    def _known(db: sqlite3.Connection, order: OrderIntent) -> bool:
        seen = db.execute("SELECT 1 FROM venue_event WHERE event_id = ?", (order.cause,)).fetchone()
        return bool(order.cause) and seen is not None

    def intents(self, states: Sequence[IntentState] = LIVING, limit: int = 1_000_000) -> list[Intent]:
        """Intents in any of the states, oldest first; of more than ``limit`` the newest."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT record, root, state, detail FROM intent WHERE state IN ({marks}) ORDER BY rowid DESC LIMIT ?",  # noqa: S608 - marks only
            (*states, limit),
        ).fetchall()
        return [Intent(_intent(record), *rest) for record, *rest in reversed(rows)]

    def set_intent(self, intent_id: str, state: IntentState, detail: str) -> None:
        """How far an intent came."""
        with self._writing() as db:
            self._settle_intent(db, intent_id, state, detail)

    def _settle_intent(self, db: sqlite3.Connection, intent_id: str, state: IntentState, detail: str) -> None:
        db.execute("UPDATE intent SET state = ?, detail = ? WHERE intent_id = ?", (state, detail, intent_id))
        row = db.execute("SELECT record FROM intent WHERE intent_id = ?", (intent_id,)).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: there is no intent {intent_id}")
        order = _intent(row[0])
        self._tell(db, intent_id, state, order.pair, order.asset, detail=detail)

    def finish(self, endings: Sequence[tuple[str, IntentState, str]], pair: Pair | None) -> None:
        """End the intents of a case and say what the ledger holds now, in one writing."""
        with self._writing() as db:
            for intent_id, state, detail in endings:
                self._settle_intent(db, intent_id, state, detail)
            if pair is not None:
                self._store_pair(db, pair)
                if pair.closed is not None:
                    profit = "unknown" if pair.pnl is None else f"{pair.pnl:f} USD"
                    self._tell(db, "", "closed", pair.pair, pair.asset, detail=f"{pair.reason}, profit {profit}")

    # Attempts and fills

    def prepare(self, attempt: Attempt, asset: str, pair: str, why: str) -> None:
        """Make an attempt durable. Only then may its bytes leave. JournalError where its client id is taken."""
        if self.epoch is None:
            raise JournalError(f"{self.path} is not claimed: only the executor prepares orders")
        with self._writing() as db:
            row = (attempt.order.venue, attempt.client_id, attempt.intent_id, attempt.state, _encode(attempt))
            db.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?)", row)
            db.execute("UPDATE intent SET state = 'working' WHERE intent_id = ?", (attempt.intent_id,))
            db.execute(
                "INSERT INTO decision VALUES (?, ?, ?, ?, ?)",
                (attempt.intent_id, attempt.prepared, "place", why, self.epoch),
            )
            self._tell_attempt(db, attempt, asset, pair, why)

    def has_client_id(self, venue: str, client_id: str) -> bool:
        """Whether an attempt carries that id."""
        found = self._db.execute("SELECT 1 FROM attempt WHERE venue = ? AND client_id = ?", (venue, client_id))
        return found.fetchone() is not None

    def update(self, attempt: Attempt, asset: str, pair: str) -> None:
        """What became of an attempt."""
        with self._writing() as db:
            self._update(db, attempt, asset, pair)

    def _update(self, db: sqlite3.Connection, attempt: Attempt, asset: str, pair: str) -> None:
        row = (attempt.state, _encode(attempt), attempt.order.venue, attempt.client_id)
        db.execute("UPDATE attempt SET state = ?, record = ? WHERE venue = ? AND client_id = ?", row)
        self._tell_attempt(db, attempt, asset, pair, attempt.code)

    def attempts(self, intent_ids: Sequence[str]) -> list[Attempt]:
        """The attempts of the intents, in the order they were prepared."""
        marks = ",".join("?" * len(intent_ids))
        rows = self._db.execute(
            f"SELECT record FROM attempt WHERE intent_id IN ({marks}) ORDER BY rowid",  # noqa: S608 - marks only
            tuple(intent_ids),
        )
        return [_attempt(record) for (record,) in rows]

    def unsettled(self) -> list[Attempt]:
        """Every attempt whose end was not seen."""
        rows = self._db.execute(
            "SELECT record FROM attempt WHERE state IN ('prepared', 'unknown', 'acked', 'partial') ORDER BY rowid"
        )
        return [_attempt(record) for (record,) in rows]

    def add_fills(self, fills: Sequence[Fill], asset: str = "", pair: str = "") -> list[Fill]:
        """Fills of the account, ours or not; those not known before."""
        new = []
        with self._writing() as db:
            for fill in fills:
                row = (fill.venue, self._account, fill.trade_id, fill.client_id, fill.instrument, fill.time)
                done = db.execute("INSERT OR IGNORE INTO fill VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, _encode(fill)))
                if done.rowcount:
                    new.append(fill)
                    self._tell(
                        db, "", "fill", pair, asset, venue=fill.venue, instrument=fill.instrument,
                        client_id=fill.client_id, side=fill.side, quantity=fill.quantity, price=fill.price,
                        detail=f"{fill.cause} {fill.trade_id} fee {fill.fee:f}",
                    )  # fmt: skip
        return new

    def fills(self, venue: str, instrument: str, since: int = 0) -> list[Fill]:
        """Fills of a contract, oldest first."""
        rows = self._db.execute(
            "SELECT record FROM fill WHERE venue = ? AND instrument = ? AND time >= ? ORDER BY time, trade_id",
            (venue, instrument, since),
        )
        return [_fill(record) for (record,) in rows]

    def last_fill(self, venue: str) -> int:
        """Time of the newest fill known of a venue; 0 where none is."""
        (found,) = self._db.execute("SELECT max(time) FROM fill WHERE venue = ?", (venue,)).fetchone()
        return int(found or 0)

    # Control, observations, alarms, the outbox

    def control(self) -> Control:
        """What may be done at all."""
        return Control(*self._db.execute("SELECT state, reason, since, epoch FROM control").fetchone())

    def set_control(self, state: ControlState, reason: str) -> None:
        """Latch a state; it stays until somebody sets another."""
        with self._writing() as db:
            db.execute("UPDATE control SET state = ?, reason = ?, since = ?", (state, reason, self._clock()))
            self._tell(db, "", "control", detail=f"{state}: {reason}")

    def observe(self, venue: str, instrument: str, quantity: Decimal, source: str) -> None:
        """A position changed as far as is known."""
        with self._writing() as db:
            row = (venue, instrument, self._clock(), f"{quantity:f}", source)
            db.execute("INSERT INTO position_obs VALUES (?, ?, ?, ?, ?)", row)
            self._tell(db, "", "position", venue=venue, instrument=instrument, quantity=quantity, detail=source)

    def keep_account(self, account: Account) -> None:
        """What a venue last told of its account: for those who look from outside."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?)", (account.venue, account.time, _encode(account))
            )

    def accounts(self) -> dict[str, Account]:
        """The last account kept, by venue."""
        return {venue: _account(record) for venue, record in self._db.execute("SELECT venue, record FROM account")}

    def raise_alarm(self, case_id: str, what: str, detail: str, pair: str = "", asset: str = "") -> bool:
        """Something a person has to know, once per case and kind; whether it is new."""
        with self._writing() as db:
            row = (case_id, what, detail, self._clock())
            if not db.execute("INSERT OR IGNORE INTO alarm VALUES (?, ?, ?, ?)", row).rowcount:
                return False
            self._tell(db, case_id, "alarm", pair, asset, detail=f"{what}: {detail}")
            return True

    def alarms(self) -> list[tuple[str, str, str, int]]:
        """Case, kind, words and time of every alarm."""
        return list(self._db.execute("SELECT case_id, what, detail, time FROM alarm ORDER BY time"))

    def version(self) -> int:
        """Changes whenever another process writes."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def reports(self, after: int = 0, limit: int = 1000) -> list[ExecutionReport]:
        """What happened, in order, after a sequence number."""
        rows = self._db.execute(
            "SELECT record FROM execution WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return [_report(record) for (record,) in rows]

    def _tell_attempt(self, db: sqlite3.Connection, attempt: Attempt, asset: str, pair: str, detail: str) -> None:
        order = attempt.order
        whole = attempt.state == "prepared"
        self._tell(
            db, attempt.intent_id, attempt.state, pair, asset, venue=order.venue, instrument=order.instrument,
            client_id=order.client_id, side=order.side, quantity=order.quantity if whole else attempt.filled,
            price=order.price if whole else attempt.average_price, reduce_only=order.reduce_only, detail=detail,
        )  # fmt: skip

    def _tell(
        self, db: sqlite3.Connection, intent_id: str, what: str, pair: str = "", asset: str = "", **known: Any
    ) -> None:
        (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM execution").fetchone()
        blank: dict[str, Any] = dict.fromkeys(("venue", "instrument", "client_id", "detail"), "")
        blank |= dict.fromkeys(("side", "quantity", "price", "reduce_only"))
        told = {**blank, **known, "intent_id": intent_id, "what": what, "pair": pair, "asset": asset or MARKET}
        report = ExecutionReport(sequence=last + 1, time=self._clock(), **told)
        db.execute("INSERT INTO execution VALUES (?, ?)", (report.sequence, _encode(report)))


def _story(order: OrderIntent) -> str:
    return f"{order.intent} {order.reason} by {order.path}, cause {order.cause or 'none'}"
