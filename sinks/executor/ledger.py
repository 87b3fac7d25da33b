"""Pairs and intents in the journal: what is held, what is to be done about it, and how far that came."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from schemas.errors import JournalError
from schemas.orders import IntentState, Order, OrderIntent
from schemas.pairs import Leg, Pair
from sinks.executor.database import Database

LIVING: tuple[IntentState, ...] = ("waiting", "working")
EVERY: tuple[IntentState, ...] = (*LIVING, "done", "noop", "refused", "expired", "failed")
_encode = msgspec.json.encode
_intent = msgspec.json.Decoder(OrderIntent).decode
_pair = msgspec.json.Decoder(Pair).decode


class Intent(NamedTuple):
    """An intent and how far it came."""

    order: OrderIntent
    root: str
    """The intent that began the case; its own id unless it is a hedge or the unwinding of one."""
    state: IntentState
    detail: str


class Ledger(Database):
    """The part of a journal that says what is wanted."""

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

    def intent(self, intent_id: str) -> Intent | None:
        """One intent."""
        row = self._db.execute("SELECT record, root, state, detail FROM intent WHERE intent_id = ?", (intent_id,))
        found = row.fetchone()
        return Intent(_intent(found[0]), *found[1:]) if found else None

    def count_intents(self) -> dict[IntentState, int]:
        """How many there are in each state."""
        found = dict(self._db.execute("SELECT state, count(*) FROM intent GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in EVERY}

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

    def withhold(self, intent_id: str, order: Order, detail: str) -> None:
        """An order that was decided on and is not sent, because nothing may be: the intent says so and lives on."""
        with self._writing() as db:
            row = db.execute("SELECT record FROM intent WHERE intent_id = ?", (intent_id,)).fetchone()
            if row is None:
                raise JournalError(f"{self.path}: there is no intent {intent_id}")
            db.execute("UPDATE intent SET detail = ? WHERE intent_id = ?", (detail, intent_id))
            intent = _intent(row[0])
            self._tell(
                db, intent_id, "withheld", intent.pair, intent.asset, venue=order.venue, instrument=order.instrument,
                client_id=order.client_id, side=order.side, quantity=order.quantity, price=order.price,
                reduce_only=order.reduce_only, detail=detail,
            )  # fmt: skip

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


def _story(order: OrderIntent) -> str:
    return f"{order.intent} {order.reason} by {order.path}, cause {order.cause or 'none'}"
