"""The tables of the journal. One file, written by one executor; anybody may read it, and hand intents in.

Each row of ``intent``, ``attempt``, ``fill`` and ``pair`` carries its whole record as JSON beside the columns that are
searched. ``execution`` is the outbox: every change above it, in order, gapless; ``account_event`` is that of what the
private streams told.
"""

from __future__ import annotations

VERSION = 2
"""Of the tables. An older journal is given what it lacks, a newer one is refused."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS control (
    one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL,
    epoch INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS pair (
    pair TEXT PRIMARY KEY, living INTEGER NOT NULL, record BLOB NOT NULL, opened BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS leg (
    venue TEXT NOT NULL, instrument TEXT NOT NULL, pair TEXT NOT NULL REFERENCES pair, PRIMARY KEY (venue, instrument)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intent (
    intent_id TEXT PRIMARY KEY, root TEXT NOT NULL, pair TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS intent_state ON intent (state);
CREATE TABLE IF NOT EXISTS venue_event (
    event_id TEXT PRIMARY KEY, intent_id TEXT NOT NULL REFERENCES intent, time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempt (
    venue TEXT NOT NULL, client_id TEXT NOT NULL, intent_id TEXT NOT NULL REFERENCES intent, state TEXT NOT NULL,
    record BLOB NOT NULL, PRIMARY KEY (venue, client_id)
);
CREATE INDEX IF NOT EXISTS attempt_intent ON attempt (intent_id);
CREATE TABLE IF NOT EXISTS fill (
    venue TEXT NOT NULL, account TEXT NOT NULL, trade_id TEXT NOT NULL, client_id TEXT NOT NULL,
    instrument TEXT NOT NULL, time INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (venue, account, trade_id)
);
CREATE INDEX IF NOT EXISTS fill_instrument ON fill (venue, instrument, time);
CREATE TABLE IF NOT EXISTS account_event (
    sequence INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, record BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS position_obs (
    venue TEXT NOT NULL, instrument TEXT NOT NULL, time INTEGER NOT NULL, quantity TEXT NOT NULL, source TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS account (venue TEXT PRIMARY KEY, time INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS decision (
    intent_id TEXT NOT NULL, time INTEGER NOT NULL, what TEXT NOT NULL, inputs TEXT NOT NULL, epoch INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS alarm (
    case_id TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (case_id, what)
);
CREATE TABLE IF NOT EXISTS hint (
    venue TEXT NOT NULL, what TEXT NOT NULL, source TEXT NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (venue, what, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS execution (sequence INTEGER PRIMARY KEY, record BLOB NOT NULL);
INSERT OR IGNORE INTO control VALUES (1, 'ACTIVE', '', 0, 0);
"""
