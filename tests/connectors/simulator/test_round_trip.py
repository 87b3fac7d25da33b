"""What the venues tell, read by the real dialects with the venues' own metadata, is exactly what happened.

The wire shapes of the simulator and the dialects were written apart, both from the venues' documents: each checks the
other.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import ClientConnection, connect

from connectors.catalogue import Catalogue
from connectors.exchange import Acknowledged, Connection, Denied, Exchange, Frame, Request
from connectors.exchanges import exchanges
from connectors.normaliser import Normaliser
from connectors.simulator import Close, Simulator
from connectors.simulator.listings import LISTINGS, Listing
from connectors.simulator.venue import World
from connectors.simulator.venues import venues
from schemas.clock import MILLISECOND, SECOND, system_clock
from schemas.records import DeadLetter, Funding, Liquidation, MarketRecord, MarkPrice, OpenInterest, Trade
from tests.connectors.simulator.conversation import rest

SEED, DURATION, SPEED = 11, 24.0, 10.0
RHYTHM = 0.05
"""Of all heartbeats, so that a few seconds see several."""
TIMELESS = "bitmex"
"""Sends no time with a liquidation."""
COIN_TOLERANCE = 0.04
"""Of quanto contracts, whose worth moves with the settle coin between two of its prices."""


@dataclass
class Run:
    """Everything that was said to a client with every connection and poll of every venue."""

    simulator: Simulator
    catalogue: Catalogue = field(default_factory=Catalogue)
    frames: list[Frame] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    denied: list[tuple[str, str]] = field(default_factory=list)
    records: dict[str, list[MarketRecord]] = field(default_factory=dict)

    def world(self, venue: str) -> World:
        return self.simulator.world(venue)

    async def until(self, part: float) -> None:
        """Wait for that part of the run."""
        due = self.simulator.began + part * DURATION / SPEED * SECOND
        await asyncio.sleep(max(0.0, due - system_clock()) / SECOND)

    async def ask(self, venue: str, request: Request) -> bytes:
        body = request.body if request.method == "POST" else None
        return json.dumps(await rest(self.simulator, venue, request.path, body)).encode()

    async def load(self, exchange: Exchange) -> None:
        for request in exchange.metadata_requests():
            self.catalogue.add(exchange.metadata(await self.ask(exchange.venue, request)))

    def connections(self, exchange: Exchange) -> list[Connection]:
        listed = self.catalogue.of_venue(exchange.venue)
        return list(exchange.connections(self.simulator.endpoints(exchange.venue), listed))

    async def follow(self, exchange: Exchange, connection: Connection) -> None:
        url = connection.url
        if connection.token is not None:
            url, _ = exchange.address(await self.ask(exchange.venue, connection.token))
        self.expected[exchange.venue] += connection.acknowledgements
        headers = dict(connection.headers)
        async with connect(url, additional_headers=headers, ping_interval=20.0 * RHYTHM, max_size=None) as socket:
            for message in connection.subscribe:
                await socket.send(message)
            beating = asyncio.create_task(beat(socket, connection))
            async for raw in socket:
                frame = gzip.decompress(raw) if isinstance(raw, bytes) else raw.encode()
                self.frames.append(Frame(exchange.venue, connection.feed, frame, system_clock()))
                if (reply := exchange.reply(frame)) is not None:
                    await socket.send(reply)
                self.count(exchange, frame)
            beating.cancel()

    def count(self, exchange: Exchange, frame: bytes) -> None:
        match exchange.acknowledgement(frame):
            case Acknowledged():
                self.acknowledged[exchange.venue] += 1
            case Denied(reason):
                self.denied.append((exchange.venue, reason))

    async def poll(self, exchange: Exchange) -> None:
        for poll in exchange.polls(self.catalogue.of_venue(exchange.venue)):
            body = await self.ask(exchange.venue, poll.request)
            self.frames.append(Frame(exchange.venue, poll.feed, body, system_clock()))

    def normalise(self) -> None:
        batch = Normaliser(exchanges().values(), self.catalogue).normalise(self.frames)
        for record in batch.records():
            self.records.setdefault(record.venue, []).append(record)


async def beat(socket: ClientConnection, connection: Connection) -> None:
    """Say what the dialect promises to say."""
    while connection.heartbeat is not None:
        await asyncio.sleep(connection.heartbeat.every * RHYTHM)
        await socket.send(connection.heartbeat.message)


async def live_through() -> Run:
    run = Run(Simulator(SEED, DURATION, SPEED, lead=2.5, rhythm=RHYTHM))
    known = [exchange for venue, exchange in exchanges().items() if venue in venues()]
    async with run.simulator:
        await asyncio.gather(*(run.load(exchange) for exchange in known))
        followers = [
            asyncio.create_task(run.follow(exchange, connection))
            for exchange in known
            for connection in run.connections(exchange)
        ]
        await run.until(0.0)
        assert run.acknowledged.total() >= run.expected.total(), "the clients were too slow to be there from the start"
        await run.until(0.8)
        await asyncio.gather(*(run.poll(exchange) for exchange in known))
        await run.until(1.1)
        for follower in followers:
            assert not follower.done(), "a venue hung up on a client that keeps its heartbeat"
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        run.normalise()
    return run


@pytest.fixture(scope="module")
def run() -> Run:
    return asyncio.run(live_through())


def of(run: Run, venue: str, kind: type) -> list[MarketRecord]:
    return [record for record in run.records[venue] if isinstance(record, kind)]


VENUES = sorted(venues())


def is_quanto(close: Close) -> bool:
    return close.listing.kind == "quanto"


@pytest.mark.parametrize("venue", VENUES)
def test_metadata_names_every_contract(run: Run, venue: str) -> None:
    read = {instrument.instrument for instrument in run.catalogue.of_venue(venue)}
    assert read == {listing.symbol for listing in LISTINGS[venue]}


@pytest.mark.parametrize("venue", VENUES)
def test_subscriptions_are_acknowledged_and_none_refused(run: Run, venue: str) -> None:
    assert [reason for who, reason in run.denied if who == venue] == []
    assert run.acknowledged[venue] >= run.expected[venue]


@pytest.mark.parametrize("venue", VENUES)
def test_no_frame_is_a_dead_letter(run: Run, venue: str) -> None:
    assert [(letter.feed, letter.reason) for letter in of(run, venue, DeadLetter)] == []


@pytest.mark.parametrize("venue", VENUES)
def test_forced_closes_are_read_as_they_were_told(run: Run, venue: str) -> None:
    world = run.world(venue)
    told = sorted(run.simulator.truth().told(venue), key=_order)
    read = sorted(of(run, venue, Liquidation), key=_order)
    assert len(read) == len(told)
    for record, close in zip(read, told, strict=True):
        tolerance = COIN_TOLERANCE if is_quanto(close) else 1e-9
        assert (record.instrument, record.asset) == (close.listing.symbol, close.listing.coin)
        assert (record.position, record.cause) == (close.position, close.cause)
        assert record.price == pytest.approx(close.price, rel=1e-9)
        assert record.quantity == pytest.approx(close.quantity, rel=tolerance)
        assert record.notional_usd == pytest.approx(close.usd, rel=tolerance)
        if venue != TIMELESS:
            assert record.event_time == world.stamp(close) * MILLISECOND


def _order(close: Close | Liquidation) -> tuple[str, str, float, float]:
    """By what identifies it without regard to when it was read; quanto quantities are too vague to sort by."""
    if isinstance(close, Liquidation):
        return (close.instrument, close.position, close.price, round(close.quantity, 1))
    return (close.listing.symbol, close.position, close.price, round(close.quantity, 1))


@pytest.mark.parametrize("venue", VENUES)
def test_no_two_closes_share_an_id(run: Run, venue: str) -> None:
    ids = [record.event_id for record in of(run, venue, Liquidation)]
    assert len(set(ids)) == len(ids)


def test_something_was_told_and_adl_apart(run: Run) -> None:
    """So that the comparisons above compare something."""
    told = Counter(close.cause for close in run.simulator.truth().told())
    assert told["liquidation"] > 500
    assert told["adl"] > 50
    silent = {venue for venue in VENUES if not of(run, venue, Liquidation)}
    assert silent == {"hyperliquid", "kucoin"}


def seconds_of(run: Run, venue: str, listing: Listing) -> Iterator[World]:
    """The world of the venue at each second of the run."""
    truth = run.simulator.truth()
    for second in range(len(truth.market.context.mark)):
        yield World(venue, truth, 0, lambda second=second: second * SECOND)


def is_one_of(value: float, candidates: list[float], tolerance: float) -> bool:
    return any(math.isclose(value, candidate, rel_tol=tolerance) for candidate in candidates)


@pytest.mark.parametrize("venue", VENUES)
def test_open_interest_is_one_sided_coins(run: Run, venue: str) -> None:
    rows = {record.instrument: record for record in of(run, venue, OpenInterest)}
    assert set(rows) == {listing.symbol for listing in LISTINGS[venue]}
    for listing in LISTINGS[venue]:
        coins = [world.coins(listing) for world in seconds_of(run, venue, listing)]
        # coin counts derived from dollars follow a price that may be a second older
        assert is_one_of(rows[listing.symbol].quantity, coins, 0.02), (listing.symbol, rows[listing.symbol])


@pytest.mark.parametrize("venue", VENUES)
def test_funding_is_a_fraction_per_its_interval(run: Run, venue: str) -> None:
    rows = {record.instrument: record for record in of(run, venue, Funding)}
    assert set(rows) == {listing.symbol for listing in LISTINGS[venue]}
    for listing in LISTINGS[venue]:
        yearly = [world.funding(listing) * 1095.0 for world in seconds_of(run, venue, listing)]
        assert is_one_of(rows[listing.symbol].annualised, yearly, 0.02), (listing.symbol, rows[listing.symbol])


@pytest.mark.parametrize("venue", VENUES)
def test_marks_are_dollars_of_one_coin(run: Run, venue: str) -> None:
    rows = {record.instrument: record for record in of(run, venue, MarkPrice)}
    assert set(rows) == {listing.symbol for listing in LISTINGS[venue]}
    for listing in LISTINGS[venue]:
        marks = [world.mark(listing) / listing.divisor for world in seconds_of(run, venue, listing)]
        assert is_one_of(rows[listing.symbol].price, marks, 1e-9), (listing.symbol, rows[listing.symbol])


@pytest.mark.parametrize("venue", ["deribit", "kraken_futures", "dydx_v4", "lighter", "extended", "hyperliquid"])
def test_ordinary_trades_stay_ordinary(run: Run, venue: str) -> None:
    trades = of(run, venue, Trade)
    assert trades
    assert all(100.0 < trade.notional_usd < 6_000.0 for trade in trades)
