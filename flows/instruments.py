"""``breakwater instruments``: the contracts of a venue in the format ``--instruments`` reads."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from connectors.exchange import UNREADABLE
from connectors.exchanges import exchange
from connectors.instruments import snapshot
from schemas.errors import UsageError
from schemas.instruments import Instrument

_encode = msgspec.json.Encoder().encode


def listing(venue: str, body: bytes | None = None) -> Iterator[bytes]:
    """One JSON line per contract, of the built-in snapshot or of ``body``, the venue's own metadata answer.

    Raises UsageError where the body is not such an answer.
    """
    for instrument in snapshot(venue) if body is None else _metadata(venue, body):
        yield _encode(_line(instrument)) + b"\n"


def _metadata(venue: str, body: bytes) -> list[Instrument]:
    try:
        return list(exchange(venue).metadata(body))
    except UNREADABLE as error:
        asked = " or ".join(request.path for request in exchange(venue).metadata_requests())
        raise UsageError(f"that is no answer of {venue} to {asked}: {type(error).__name__}: {error}") from None


def _line(instrument: Instrument) -> dict[str, object]:
    told = msgspec.structs.asdict(instrument)
    del told["venue"]
    return {name: value for name, value in told.items() if value not in {None, ""}}
