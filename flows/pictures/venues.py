"""The table of venues: channels from the evidence table of each dialect, the rest from frames it has just read.

The frames are those of the simulated venues, without sockets: what a price is, and whether ADL is told, is what the
dialect said of them.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from connectors.catalogue import Catalogue
from connectors.exchange import Connection, Endpoints, Exchange, Frame, Request
from connectors.exchanges import exchanges
from connectors.normaliser import Normaliser
from connectors.simulator import Truth, simulate, tell
from connectors.simulator.venue import Asked, Venue, Wires, World, encode
from connectors.simulator.venues import venues
from schemas.clock import MILLISECOND, SECOND
from schemas.records import COVERAGES, Coverage, Liquidation

MEANINGS: Mapping[Coverage, str] = {
    "complete": "the venue tells every forced close on this feed",
    "sampled": "the venue thins or merges: as a rule one per contract and second. Sums are floors",
    "partial": "the venue does not promise all, or tells something near it. Sums are floors",
}
"""What the word says about sums over the feed."""

_ROW = re.compile(r"^\| (?P<channel>.+?) \| (?P<tells>.+?) \| (?P<evidence>.+?) \|$", re.MULTILINE)
_DURATION = 8.0
_START = 1_790_000_000 * SECOND


def venue_table() -> str:
    """One row per venue."""
    truth = tell(simulate(1, _DURATION, ""))
    rows = ["| venue | identifier | forced closes from | coverage | price | ADL | open interest | funding |"]
    rows.append("|---" * 8 + "|")
    rows += [_row(exchange, truth) for exchange in exchanges().values()]
    return "\n".join(rows)


def coverage_table() -> str:
    """What each word means."""
    rows = [f"| `{word}` | {MEANINGS[word]} |" for word in COVERAGES]
    return "\n".join(["| coverage | meaning |", "|---|---|", *rows])


def _row(exchange: Exchange, truth: Truth) -> str:
    closes = observed(exchange, truth)
    prices = " ".join(sorted({f"`{close.price_kind}`" for close in closes})) or "–"
    adl = "told" if any(close.cause == "adl" for close in closes) else "not told"
    coverage = f"`{exchange.coverage}`" if exchange.has_liquidations else "–"
    return (
        f"| {exchange.title} | `{exchange.venue}` | {channel(exchange, '')} | {coverage} | {prices} | {adl} "
        f"| {channel(exchange, 'open interest')} | {channel(exchange, 'funding')} |"
    )


def channel(exchange: Exchange, about: str) -> str:
    """The first channel of the dialect's evidence table that tells ``about`` (of all its channels: the first)."""
    doc = sys.modules[type(exchange).__module__].__doc__ or ""
    rows = list(_ROW.finditer(doc))[1:]
    telling = (row for row in rows if about in row["tells"] or about.replace(" ", "_") in row["channel"])
    return next((row["channel"].replace("``", "`") for row in telling), "–")


def observed(exchange: Exchange, truth: Truth) -> list[Liquidation]:
    """The forced closes the dialect reads from its simulated venue, in one instant."""
    world = World(exchange.venue, truth, _START, lambda: _START + round(_DURATION * SECOND))
    venue, catalogue = venues()[exchange.venue], Catalogue()
    for request in exchange.metadata_requests():
        catalogue.add(exchange.metadata(_bytes(encode(venue.rest(_asked(request), world)), packed=False)))
    normaliser = Normaliser([exchange], catalogue)
    frames = [
        Frame(exchange.venue, connection.feed, payload, world.now() * MILLISECOND)
        for connection in exchange.connections(Endpoints("", ""), catalogue.of_venue(exchange.venue))
        for payload in _said(exchange, connection, venue, world, truth)
    ]
    return [record for record in normaliser.normalise(frames).records() if isinstance(record, Liquidation)]


def _said(exchange: Exchange, connection: Connection, venue: Venue, world: World, truth: Truth) -> Iterator[bytes]:
    """Everything a simulated venue says on one socket."""
    conversation = venue.converse(world, _asked(Request(connection.url, headers=connection.headers)))
    wires: list[Wires] = [conversation.opening()]
    wires += [list(conversation.hear(message)) for message in connection.subscribe]
    wires.append(conversation.context())
    wires += [conversation.forced(telling.closes) for telling in truth.tellings if telling.venue == exchange.venue]
    for wire in (wire for some in wires for wire in some):
        if isinstance(wire, (str, bytes)):
            yield _bytes(wire, packed=exchange.compressed)


def _asked(request: Request) -> Asked:
    url = urlsplit(request.path)
    headers = {name.lower(): value for name, value in request.headers}
    return Asked(request.method, url.path, dict(parse_qsl(url.query)), request.body, headers=headers)


def _bytes(wire: str | bytes, *, packed: bool) -> bytes:
    raw = wire if isinstance(wire, bytes) else wire.encode()
    return gzip.decompress(raw) if packed and raw[:2] == b"\x1f\x8b" else raw
