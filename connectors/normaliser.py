"""Frames in, batches out: the one path from a venue's bytes to records, live, replayed or typed by hand."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from typing import Any

from connectors.catalogue import Catalogue
from connectors.exchange import UNREADABLE, Exchange, Frame, Session
from connectors.intake import Intake, VenueIntake
from connectors.recording import METADATA
from connectors.spool import Item, Listed, Opened
from schemas.batches import Batch, Tick


class _Learning(Session):
    """Reads instrument metadata: takes the instruments in before anything else of the body is read."""

    def __init__(self, exchange: Exchange, catalogue: Catalogue, session: Session) -> None:
        super().__init__(session.intake)
        self._exchange, self._catalogue, self._session = exchange, catalogue, session

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        self._catalogue.add(self._exchange.metadata(payload))
        self._session.read(payload, receive_time, feed)


class Normaliser:
    """Holds a session per venue and feed; turns runs of frames into batches.

    Nothing is lost: a frame becomes events, a known control record, or a dead letter with the raw bytes. Statuses and
    ticks pass through in their place; a connection made anew resets its session; instruments in a frame of feed
    ``metadata`` are known from then on, live and replayed.

    :arg track: keep in ``closing`` which frames told forced closes, for the feed's own rate.
    """

    def __init__(self, exchanges: Iterable[Exchange], catalogue: Catalogue, *, track: bool = False) -> None:
        self._exchanges = {exchange.venue: exchange for exchange in exchanges}
        self._intake = Intake(catalogue)
        self._intake.track = track
        self._sessions: dict[tuple[str, str], Session] = {}

    @property
    def closing(self) -> list[tuple[str, str, bytes, int]]:
        """The frames of the last batch that told forced closes."""
        return self._intake.closing

    def reset(self, venue: str, feed: str) -> None:
        """The connection was made anew: forget what the old one had told."""
        self._sessions.pop((venue, feed), None)

    def warm_up(self) -> None:
        """Load what is compiled, so that the first forced close does not wait for it."""
        self._intake.warm_up()

    def snapshot(self) -> bytes:
        """What the open sessions have been told so far, for a successor that reads on from here."""
        out = io.BytesIO()
        venues = {venue: (v.funding_hours, v.mark_of) for venue, v in self._intake.venues.items()}
        _Pickler(out, pickle.HIGHEST_PROTOCOL).dump((self._sessions, self._intake.references, venues))
        return out.getvalue()

    def restore(self, stored: bytes) -> None:
        """Go on where the predecessor was. Instruments it learned must be in the catalogue already."""
        sessions, references, venues = _Unpickler(stored, self._exchanges, self._intake).load()
        self._sessions.update(sessions)
        self._intake.references.update(references)
        for venue, (hours, marks) in venues.items():
            known = self._known(venue)
            known.funding_hours.update(hours)
            known.mark_of.update(marks)

    def _known(self, venue: str) -> VenueIntake:
        return self._intake.venue(venue, self._exchanges[venue].coverage)

    def normalise(self, items: Iterable[Item | Tick]) -> Batch:
        """Read the items in order."""
        intake, sessions = self._intake, self._sessions
        items = list(items)
        rows, done = intake.open([item for item in items if type(item) is Frame])
        for item in items:
            if type(item) is not Frame:
                self._note(item)
                continue
            venue, feed, payload, received = item
            session = sessions.get((venue, feed)) or self._open(venue, feed)
            try:
                session.read(payload, received, feed)
            except UNREADABLE as error:
                intake.reject(f"unreadable frame: {type(error).__name__}: {error}")
            done(len(rows))
        return intake.take()

    def _note(self, item: Item | Tick) -> None:
        """What is no frame."""
        if isinstance(item, Opened):
            self.reset(item.venue, item.feed)
        elif isinstance(item, Listed):
            self._intake.catalogue.add(item.instruments)
        elif not isinstance(item, Frame):
            self._intake.put(item)

    def _open(self, venue: str, feed: str) -> Session:
        exchange = self._exchanges[venue]
        session = exchange.session(self._known(venue))
        if feed == METADATA:
            session = _Learning(exchange, self._intake.catalogue, session)
        self._sessions[venue, feed] = session
        return session


class _Pickler(pickle.Pickler):
    """Writes sessions; what they all share is written as a name."""

    def persistent_id(self, thing: Any) -> tuple[str, str] | None:
        """The name of what is shared."""
        if isinstance(thing, VenueIntake):
            return "intake", thing.name
        if isinstance(thing, Exchange):
            return "exchange", thing.venue
        return ("catalogue", "") if isinstance(thing, Catalogue) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, stored: bytes, exchanges: dict[str, Exchange], intake: Intake) -> None:
        super().__init__(io.BytesIO(stored))
        self._exchanges, self._intake = exchanges, intake

    def persistent_load(self, name: Any) -> Exchange | VenueIntake | Catalogue:
        """What is shared, by its name."""
        what, venue = name
        if what == "intake":
            return self._intake.venue(venue, self._exchanges[venue].coverage)
        return self._intake.catalogue if what == "catalogue" else self._exchanges[venue]
