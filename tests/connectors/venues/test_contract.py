"""What every client promises, each against its venue's dialect over real sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from connectors.simulator.trading import Window
from connectors.venues.access import ReadPermission
from schemas.clock import SECOND, system_clock
from schemas.errors import UsageError
from schemas.orders import Absent, Account, Book, ContractRules, Fill, Flat, Known, OrderStatus, Outcome, Unknown
from schemas.records import AccountEvent, FeedStatus
from tests.connectors.venues.benches import VENUES, Bench, bench

pytestmark = pytest.mark.parametrize("name", VENUES)

FOREIGN = (b"builder", b"referr", b"broker", b"integrator", b"approve", b"feeRate", b"builderFee")


async def until(found: Any, seconds: float = 3.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - any condition at all
            await asyncio.sleep(0.005)


async def settled(bench: Bench, client_id: str) -> OrderStatus:
    """The order, once the venue shows it done or resting."""
    async with asyncio.timeout(3):
        while True:
            found = await bench.port.lookup(bench.symbol, client_id)
            if isinstance(found, OrderStatus) and (found.state != "open" or found.filled):
                return found
            await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(bench: Bench) -> AsyncIterator[list[Any]]:
    """What the private stream tells, from its subscription on."""
    told: list[Any] = []

    async def listen() -> None:
        async for message in bench.port.events():
            told.append(message)  # noqa: PERF401 - each is seen as it comes

    task = asyncio.ensure_future(listen())
    try:
        await until(lambda: any(isinstance(m, FeedStatus) and m.state == "subscribed" for m in told))
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_an_order_goes_out_and_is_seen_everywhere(name: str) -> None:
    """Outcome, lookup, account, fills and the stream agree."""

    async def story() -> None:
        async with bench(name) as b, listening(b) as told:
            outcome = await b.send(b.order("buy", "2", "3010"))
            assert outcome.kind == "done"
            status = await settled(b, b.client_id(1))
            assert (status.state, status.filled, status.side, status.reduce_only) == ("filled", 2, "buy", False)
            account = await b.port.account()
            assert isinstance(account, Account)
            held = account.position(b.symbol)
            assert isinstance(held, Known)
            assert (held.quantity, held.entry_price) == (2, b.venue.ledger.wallets["desk"].holdings[b.symbol].entry)
            assert account.equity == pytest.approx(b.venue.ledger.equity("desk"))
            fills = await b.port.fills(system_clock() - 10 * SECOND)
            assert not isinstance(fills, Unknown)
            truth = b.venue.accounts.views["desk"].fills(0, b.venue.agenda.now)
            assert [(f.trade_id, f.client_id, f.price, f.quantity, f.fee, f.maker, f.cause) for f in fills] == [
                (f.trade_id, b.client_id(1), f.price, f.quantity, f.fee, f.maker, "order") for f in truth
            ]
            await until(lambda: sum(m.quantity for m in told if isinstance(m, Fill)) == 2)
            assert {m.client_id for m in told if isinstance(m, Fill)} == {b.client_id(1)}
            await until(lambda: any(isinstance(m, OrderStatus) and m.state == "filled" for m in told))

    asyncio.run(story())


def test_a_resting_order_is_modified_and_cancelled(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            assert (await b.send(b.order("buy", "1", "2900", "gtc"))).kind == "done"
            await asyncio.sleep(0.1)
            open_orders = await b.port.open_orders()
            assert [(o.client_id, o.quantity, o.state) for o in open_orders] == [(b.client_id(1), 1, "open")]
            wanted = b.order("buy", "2", "2910", "gtc")
            if b.port.capabilities.modify:
                assert (await b.port.send(b.port.prepare_modify(wanted, now=system_clock()))).kind == "done"
                await asyncio.sleep(0.1)
                assert [o.quantity for o in await b.port.open_orders()] == [2]
                resting = b.venue.desk.living("desk", b.client_id(1))
                assert resting is not None
                assert resting.price == 2910
            else:
                with pytest.raises(UsageError, match="cancel it and place another"):
                    b.port.prepare_modify(wanted, now=system_clock())
            cancel = b.port.prepare_cancel(b.symbol, b.client_id(1), now=system_clock())
            assert (await b.port.send(cancel)).kind == "done"
            await asyncio.sleep(0.1)
            assert list(await b.port.open_orders()) == []
            assert (await settled(b, b.client_id(1))).state == "cancelled"
            assert (await b.port.send(b.port.prepare_cancel(b.symbol, b.client_id(1), now=system_clock()))).kind in {
                "refused",
                "done",
            }

    asyncio.run(story())


def test_flags_reach_the_engine(name: str) -> None:
    """Reduce-only, IOC, post-only and market are what they say, on the venue's side of the wire."""

    async def story() -> None:
        async with bench(name) as b:
            b.venue.grant("desk", b.symbol, Decimal(3))
            orders = [
                b.order("sell", "1", "3100", "post_only", reduce_only=True, number=1),
                b.order("buy", "0.5", "2900", "gtc", number=2),
                b.order("sell", "0.25", "2990", "ioc", reduce_only=True, number=3),
            ]
            for order in orders:
                assert (await b.send(order)).kind == "done", order
            await asyncio.sleep(0.2)
            found = [b.venue.desk._orders["desk"][b.client_id(n)] for n in (1, 2, 3)]
            assert [(o.reduce_only, o.post_only, o.state, o.filled) for o in found] == [
                (True, True, "open", 0),
                (False, False, "open", 0),
                (True, False, "filled", Decimal("0.25")),
            ]

    asyncio.run(story())


def test_nothing_on_any_wire_pays_or_approves_anybody(name: str) -> None:
    """Every byte the client sent, and nothing the venue refused for being undocumented."""

    async def story() -> None:
        async with bench(name) as b, listening(b):
            await b.send(b.order("buy", "1", "3010"))
            await b.send(b.order("buy", "1", "2900", "gtc", number=2))
            if b.port.capabilities.modify:
                wanted = b.order("buy", "2", "2910", "gtc", number=2)
                await b.port.send(b.port.prepare_modify(wanted, now=system_clock()))
            await b.port.send(b.port.prepare_cancel(b.symbol, b.client_id(2), now=system_clock()))
            await b.port.deadman(60 * SECOND)
            for query in (b.port.account, b.port.open_orders):
                assert not isinstance(await query(), Unknown)
            await b.port.fence(b.port.prepare(b.order("buy", "1", "3010", number=3), now=system_clock()))
            wire = [part.lower() for _, path, body in b.face.seen for part in (path.encode(), body)]
            assert not [(word, part) for part in wire for word in FOREIGN if word.lower() in part]
            assert b.face.refused == []

    asyncio.run(story())


def test_a_client_that_only_looks_reads_everything_and_has_no_way_out_for_anything_else(name: str) -> None:
    """Every method that would change something was called; the venue has seen questions alone."""

    async def story() -> None:
        async with bench(name, permission=ReadPermission(name)) as b, listening(b) as told:
            order, now = b.order("buy", "1", "3010"), system_clock()
            requests = [b.port.prepare(order, now=now), b.port.prepare_cancel(b.symbol, b.client_id(1), now=now)]
            if b.port.capabilities.modify:
                requests.append(b.port.prepare_modify(order, now=now))
            outcomes = [await b.port.send(request) for request in requests]
            assert {(o.kind, o.code[:8]) for o in outcomes} == {("unknown", "not sent")}
            assert await b.port.fence(requests[0]) in {"unknown", "unsupported"}
            assert not await b.port.deadman(60 * SECOND)
            account, book = await b.port.account(), await b.port.book(b.symbol)
            assert isinstance(account, Account)
            assert isinstance(book, Book)
            assert await b.port.open_orders() == []
            b.venue.grant("desk", b.symbol, Decimal(1))
            b.venue.liquidate("desk", b.symbol, Decimal("0.5"))
            await until(lambda: any(isinstance(m, AccountEvent) and m.event == "liquidation" for m in told))
            changing = [
                (method, path)
                for method, path, _ in b.face.seen
                if method != "GET" and path not in {"/info", "/fapi/v3/listenKey"}
            ]
            assert changing == []

    asyncio.run(story())


def test_fills_since_long_ago_hold_the_last_ones(name: str) -> None:
    """A restart asks from when the oldest pair began."""

    async def story() -> None:
        async with bench(name) as b:
            assert (await b.send(b.order("buy", "1", "3010"))).kind == "done"
            await settled(b, b.client_id(1))
            fills = await b.port.fills(system_clock() - 400 * 24 * 3600 * SECOND)
            assert not isinstance(fills, Unknown)
            assert sum(f.quantity for f in fills) == 1
            told = [path + body.decode() for _, path, body in b.face.seen]
            times = [int(t) for text in told for t in re.findall(r'startTime(?:=|":)(\d{13})', text)]
            assert all(system_clock() // 10**6 - t < 8 * 24 * 3600 * 1000 for t in times)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "effect"), [("lost_before", False), ("lost_after", True), ("error_before", False), ("error_after", True)]
)
def test_no_answer_and_503_are_unknown(name: str, kind: Any, effect: bool) -> None:
    async def story() -> None:
        async with bench(name, Window(kind=kind, count=1), patience=0.4) as b:
            outcome = await b.send(b.order("buy", "1", "3010"))
            assert outcome.kind == "unknown", outcome
            await asyncio.sleep(0.1)
            assert b.venue.ledger.wallets["desk"].quantity(b.symbol) == (1 if effect else 0)

    asyncio.run(story())


def test_the_same_bytes_twice_have_one_effect(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            request = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            assert (await b.port.send(request)).kind == "done"
            assert (await b.port.send(request)).kind == "duplicate"
            await asyncio.sleep(0.1)
            assert b.venue.ledger.wallets["desk"].quantity(b.symbol) == 1

    asyncio.run(story())


def test_an_id_among_the_open_orders_is_a_duplicate(name: str) -> None:
    """Except at a venue that documents no rule for it."""

    async def story() -> None:
        async with bench(name) as b:
            await b.send(b.order("buy", "1", "2900", "gtc"))
            await asyncio.sleep(0.05)
            again = await b.send(b.order("buy", "1", "2900", "gtc"))
            expected = "done" if b.port.capabilities.client_id.unique == "none" else "duplicate"
            assert again.kind == expected

    asyncio.run(story())


@pytest.mark.parametrize(("kind", "code", "wait"), [("throttled", "HTTP 429", 1), ("banned", "HTTP 418", 120)])
def test_a_throttled_request_says_how_long_to_wait(name: str, kind: Any, code: str, wait: int) -> None:
    async def story() -> None:
        async with bench(name, Window(kind=kind, count=1)) as b:
            outcome = await b.send(b.order("buy", "1", "3010"))
            assert outcome == Outcome(kind="throttled", code=code, retry_after=wait * SECOND)
            if kind == "banned":
                assert isinstance(await b.port.account(), Unknown)

    asyncio.run(story())


def test_refusals_are_refusals(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            assert (await b.send(b.order("buy", "1", "9000", number=2))).kind == "refused"
            fine = b.order("buy", "0.0015", "3010", number=1)
            if name == "lighter":  # its wire has no such quantity
                with pytest.raises(UsageError, match="more than 3 decimals"):
                    b.port.prepare(fine, now=system_clock())
            else:
                assert (await b.send(fine)).kind == "refused"
            assert b.venue.ledger.wallets["desk"].quantity(b.symbol) == 0

    asyncio.run(story())


def test_a_failed_query_is_unknown_and_an_empty_one_is_flat(name: str) -> None:
    async def story() -> None:
        async with bench(name, Window(kind="query_error", start=SECOND // 2)) as b:
            account = await b.port.account()
            assert isinstance(account, Account)
            assert account.position(b.symbol) == Flat()
            assert await b.port.lookup(b.symbol, b.client_id(9)) == Absent()
            await asyncio.sleep(0.6)
            assert isinstance(await b.port.account(), Unknown)
            assert isinstance(await b.port.lookup(b.symbol, b.client_id(9)), Unknown)
            assert isinstance(await b.port.open_orders(), Unknown)
            assert isinstance(await b.port.fills(0), Unknown)

    asyncio.run(story())


def test_rules_and_book_are_the_venues(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            rules = await b.port.rules(b.symbol)
            assert isinstance(rules, ContractRules)
            truth = b.venue.contract(b.symbol).rules
            assert (rules.tick, rules.step, rules.asset) == (truth.tick, truth.step, "ETH")
            book = await b.port.book(b.symbol)
            assert isinstance(book, Book)
            assert book.mark_price in {None, 3000}
            assert book.bids[0].price < 3000 < book.asks[0].price
            assert book.bids[0].quantity > 0
            assert isinstance(await b.port.rules("NONE"), Unknown)

    asyncio.run(story())


def test_a_fence_voids_what_has_not_run_and_tells_what_has(name: str) -> None:
    async def story() -> None:
        async with bench(name, Window(kind="late", count=1, delay=SECOND), patience=0.3) as b:
            late = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            assert (await b.port.send(late)).kind == "unknown"
            supported = b.port.capabilities.fence != "none"
            assert await b.port.fence(late) == ("voided" if supported else "unsupported")
            await asyncio.sleep(1.0)
            assert b.venue.ledger.wallets["desk"].quantity(b.symbol) == (0 if supported else 1)
            if supported:
                ran = b.port.prepare(b.order("buy", "1", "3010", number=2), now=system_clock())
                assert (await b.port.send(ran)).kind == "done"
                assert await b.port.fence(ran) == "used"

    asyncio.run(story())


def test_the_deadman_cancels_when_not_asked_again(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            await b.send(b.order("buy", "1", "2900", "gtc"))
            # Hyperliquid asks for five seconds at least, Extended counts whole ones.
            ttl = {"hyperliquid": 5.2, "extended": 1.0}.get(name, 0.3)
            assert await b.port.deadman(int(ttl * SECOND))
            assert b.venue.desk.living("desk", b.client_id(1)) is not None
            b.venue.agenda.run_until(system_clock() + int(ttl * SECOND))
            assert b.venue.desk.living("desk", b.client_id(1)) is None

    asyncio.run(story())


@pytest.mark.parametrize("cause", ["liquidation", "adl"])
def test_a_forced_close_is_told_by_the_stream(name: str, cause: Any) -> None:
    """As an account event where the venue has one, and as a fill that is not ours."""

    async def story() -> None:
        async with bench(name) as b, listening(b) as told:
            b.venue.grant("desk", b.symbol, Decimal(2))
            began = system_clock()
            b.face.catch_up()
            if cause == "liquidation":
                b.venue.liquidate("desk", b.symbol)
            else:
                b.venue.deleverage("desk", b.symbol, Decimal(2))
            await until(lambda: [m for m in told if isinstance(m, AccountEvent) and m.event == cause])
            event = next(m for m in told if isinstance(m, AccountEvent) and m.event == cause)
            assert (event.instrument, event.asset, event.position, event.order_side) == (
                b.symbol,
                "ETH",
                "long",
                "sell",
            )
            assert event.receive_time - began < SECOND
            forced = [m for m in told if isinstance(m, Fill)]
            assert all(f.client_id == "" and f.cause == cause for f in forced)
            assert not [m for m in told if isinstance(m, FeedStatus) and "not understood" in m.reason]

    asyncio.run(story())


def test_a_cut_stream_comes_back_and_tells_the_hole(name: str) -> None:
    async def story() -> None:
        window = Window(kind="stream_gap", start=SECOND, end=SECOND + SECOND // 5)
        async with bench(name, window) as b, listening(b) as told:
            await until(lambda: any(isinstance(m, FeedStatus) and m.state == "gap" for m in told), 5)
            gap = next(m for m in told if isinstance(m, FeedStatus) and m.state == "gap")
            assert gap.gap_from is not None
            assert gap.gap_to is not None
            assert gap.gap_from <= b.venue.faults.began + SECOND + SECOND // 5 <= gap.gap_to
            await b.send(b.order("buy", "1", "3010"))
            await until(lambda: any(isinstance(m, Fill) for m in told))

    asyncio.run(story())


def test_no_secret_shows(name: str) -> None:
    async def story() -> None:
        async with bench(name) as b:
            request = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            shown = [repr(b.port), str(vars(b.port)), repr(request), *(repr(v) for v in vars(b.port).values())]
            assert not [text for text in shown if "17" * 16 in text]

    asyncio.run(story())
