"""The executor's write-ahead journal.

Guarantee: what a method was asked to write is on disk when it returns, whole, or it raised and nothing is. Everybody
may open it, read it and hand intents in. Orders are prepared by the one process that claimed it: an exclusive lock on a
file beside, and an epoch raised by each claim and checked in every writing of whoever claimed it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from schemas.orders import Account
from schemas.pairs import ControlState, Hint
from schemas.records import AccountEvent
from sinks.executor.ledger import EVERY, LIVING, Intent, Ledger
from sinks.executor.orders import Orders

__all__ = ["EVERY", "LIVING", "Control", "Intent", "Journal"]

_account = msgspec.json.Decoder(Account).decode
_event = msgspec.json.Decoder(AccountEvent).decode


class Control(NamedTuple):
    """What may be done at all; survives restarts."""

    state: ControlState
    reason: str
    since: int
    epoch: int


class Journal(Ledger, Orders):
    """One journal file: pairs and intents, attempts and fills, and what a person has to know."""

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
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?)",
                (account.venue, account.time, msgspec.json.encode(account)),
            )

    def accounts(self) -> dict[str, Account]:
        """The last account kept, by venue."""
        return {venue: _account(record) for venue, record in self._db.execute("SELECT venue, record FROM account")}

    def keep_hint(self, hint: Hint) -> bool:
        """How a venue is to be watched, instead of what the source said before; whether that is news."""
        with self._writing() as db:
            key = (hint.venue, hint.what, hint.source)
            known = db.execute("SELECT until FROM hint WHERE venue = ? AND what = ? AND source = ?", key).fetchone()
            if hint.until == (known[0] if known else 0) or (known is None and hint.until <= self._clock()):
                return False
            db.execute("INSERT OR REPLACE INTO hint VALUES (?, ?, ?, ?, ?)", (*key, hint.until, hint.reason))
            db.execute("DELETE FROM hint WHERE until <= ?", (self._clock(),))
            self._tell(db, "", "hint", venue=hint.venue, detail=f"{hint.what}: {hint.reason}")
            return True

    def hints(self, now: int) -> list[Hint]:
        """Those that have not run out."""
        rows = self._db.execute("SELECT venue, what, source, until, reason FROM hint WHERE until > ?", (now,))
        return [Hint(venue=v, what=what, source=s, until=until, reason=why) for v, what, s, until, why in rows]

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

    def keep_event(self, event: AccountEvent) -> bool:
        """What a private stream told of the account; whether it is new."""
        with self._writing() as db:
            row = (event.event_id, msgspec.json.encode(event))
            return bool(
                db.execute("INSERT OR IGNORE INTO account_event (event_id, record) VALUES (?, ?)", row).rowcount
            )

    def events(self, after: int = 0, limit: int = 1000) -> list[tuple[int, AccountEvent]]:
        """What the private streams told, numbered in the order it was heard, after a number."""
        rows = self._db.execute(
            "SELECT sequence, record FROM account_event WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return [(sequence, _event(record)) for sequence, record in rows]
