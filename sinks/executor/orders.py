"""Attempts and fills in the journal: what was sent, and what came of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from schemas.errors import JournalError
from schemas.orders import Fill
from sinks.executor.attempts import Attempt
from sinks.executor.database import Database

_encode = msgspec.json.encode
_attempt = msgspec.json.Decoder(Attempt).decode
_fill = msgspec.json.Decoder(Fill).decode


class Orders(Database):
    """The part of a journal that says what was done."""

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

    def _tell_attempt(self, db: sqlite3.Connection, attempt: Attempt, asset: str, pair: str, detail: str) -> None:
        order = attempt.order
        whole = attempt.state == "prepared"
        self._tell(
            db, attempt.intent_id, attempt.state, pair, asset, venue=order.venue, instrument=order.instrument,
            client_id=order.client_id, side=order.side, quantity=order.quantity if whole else attempt.filled,
            price=order.price if whole else attempt.average_price, reduce_only=order.reduce_only, detail=detail,
        )  # fmt: skip
