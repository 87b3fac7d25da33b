"""Frames in, batches out: the one path from a venue's bytes to records, live, replayed or typed by hand."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.catalogue import Catalogue
from connectors.exchange import UNREADABLE, Exchange, Frame, Session
from connectors.intake import Intake
from schemas.batches import Batch


class Normaliser:
    """Holds a session per venue and feed; turns runs of frames into batches.

    Nothing is lost: a frame becomes events, a known control record, or a dead letter with the raw bytes.
    """

    def __init__(self, exchanges: Iterable[Exchange], catalogue: Catalogue) -> None:
        self._exchanges = {exchange.venue: exchange for exchange in exchanges}
        self._intake = Intake(catalogue)
        self._sessions: dict[tuple[str, str], Session] = {}

    def reset(self, venue: str, feed: str) -> None:
        """The connection was made anew: forget what the old one had told."""
        self._sessions.pop((venue, feed), None)

    def normalise(self, frames: Iterable[Frame]) -> Batch:
        """Read the frames in order."""
        intake, sessions = self._intake, self._sessions
        for frame in frames:
            venue, feed, payload, received = frame
            intake.begin(venue, feed, payload, received)
            session = sessions.get((venue, feed)) or self._open(venue, feed)
            try:
                session.read(payload, received, feed)
            except UNREADABLE as error:
                intake.reject(f"unreadable frame: {type(error).__name__}: {error}")
            intake.end()
        return intake.take()

    def _open(self, venue: str, feed: str) -> Session:
        exchange = self._exchanges[venue]
        session = exchange.session(self._intake.venue(venue, exchange.coverage))
        self._sessions[venue, feed] = session
        return session
