"""The venue port in process, in virtual time: what a client sees of every fault, and that time costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from decimal import Decimal
from time import perf_counter
from typing import Any

import pytest

from connectors.simulator.trading import (
    Agenda,
    Faults,
    Pacemaker,
    SimulatedPort,
    SimulatedVenue,
    StuckError,
    VirtualTime,
    Window,
    profile,
)
from schemas.clock import MINUTE, SECOND, system_clock
from schemas.orders import Absent, Account, Fill, Flat, Known, OrderStatus, Unknown, VenuePort
from schemas.records import AccountEvent, FeedStatus
from tests.connectors.simulator.trading.scenes import ETH, open_venue, order

Scene = Callable[[SimulatedVenue, SimulatedPort], Coroutine[Any, Any, None]]


def play(scene: Scene, name: str = "aster", *script: Window) -> SimulatedVenue:
    """Run a scene with a venue of that name under those faults."""
    with VirtualTime() as time:
        venue = open_venue(time.agenda, style=profile(name), faults=Faults(name, script=script))
        port = SimulatedPort(venue, "desk")
        as_port: VenuePort = port
        assert as_port.capabilities.venue == name
        time.run(scene(venue, port))
        return venue


async def listen(port: SimulatedPort, told: list[object]) -> None:
    async for message in port.events():
        told.append(message)  # noqa: PERF401 - each is seen as it comes


def test_an_order_is_sent_looked_up_and_seen_in_the_account() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010"), now=venue.agenda.now)
        outcome = await port.send(request)
        assert (outcome.kind, outcome.state, outcome.filled) == ("done", "filled", 2)
        await asyncio.sleep(0.2)
        found = await port.lookup(ETH, "a")
        assert isinstance(found, OrderStatus)
        assert (found.state, found.filled) == ("filled", 2)
        account = await port.account()
        assert isinstance(account, Account)
        held = account.position(ETH)
        assert isinstance(held, Known)
        assert (held.quantity, held.leverage) == (2, 10)
        fills = await port.fills(0)
        assert not isinstance(fills, Unknown)
        assert [(f.client_id, f.quantity, f.maker, f.cause) for f in fills] == [("a", 2, False, "order")]

    play(scene)


def test_a_query_sees_what_happened_only_after_a_while() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        await port.send(port.prepare(order("buy", "2", "3010"), now=venue.agenda.now))
        assert await port.lookup(ETH, "a") == Absent()
        await asyncio.sleep(port.capabilities.visibility / SECOND)
        assert isinstance(await port.lookup(ETH, "a"), OrderStatus)

    play(scene)


@pytest.mark.parametrize(
    ("kind", "code", "effect"),
    [
        ("lost_before", "timeout", False),
        ("lost_after", "timeout", True),
        ("error_before", "unavailable", False),
        ("error_after", "unavailable", True),
        ("late", "timeout", True),
    ],
)
def test_an_unknown_outcome_may_or_may_not_have_an_effect(kind: Any, code: str, effect: bool) -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010"), now=venue.agenda.now)
        outcome = await port.send(request)
        assert (outcome.kind, outcome.code) == ("unknown", code)
        if kind == "late":
            assert venue.ledger.wallets["desk"].quantity(ETH) == 0
            await asyncio.sleep(3)
        assert venue.ledger.wallets["desk"].quantity(ETH) == (2 if effect else 0)
        again = await port.send(request)
        assert again.kind == ("duplicate" if effect else "done")
        assert venue.ledger.wallets["desk"].quantity(ETH) == 2

    venue = play(scene, "aster", Window(kind=kind, count=1, delay=4 * SECOND))
    assert [(s.fault_id, s.kind) for s in venue.faults.log] == [("aster-1", kind)]


@pytest.mark.parametrize(
    ("name", "fenced"), [("aster", True), ("hyperliquid", True), ("lighter", True), ("extended", False)]
)
def test_a_fence_voids_a_request_that_is_still_under_way(name: str, fenced: bool) -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010", client_id="7"), now=venue.agenda.now)
        assert (await port.send(request)).kind == "unknown"
        assert await port.fence(request) == ("voided" if fenced else "unsupported")
        await asyncio.sleep(10)
        assert venue.ledger.wallets["desk"].quantity(ETH) == (0 if fenced else 2)

    play(scene, name, Window(kind="late", count=1, delay=5 * SECOND))


def test_a_fence_after_the_order_ran_says_so() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010"), now=venue.agenda.now)
        await port.send(request)
        assert await port.fence(request) == "used"

    play(scene, "aster", Window(kind="lost_after", count=1))


def test_a_request_past_its_validity_is_refused() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010"), now=venue.agenda.now)
        await asyncio.sleep(port.capabilities.validity / SECOND)
        assert (await port.send(request)).code == "expired"

    play(scene, "extended")


def test_a_lost_request_with_sequential_nonces_costs_one_refusal() -> None:
    """The next nonce is one too many; the port asks for the right one and goes on."""

    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        codes = []
        for number in range(3):
            request = port.prepare(order("buy", "1", "3010", client_id=str(number)), now=venue.agenda.now)
            codes.append((await port.send(request)).code)
        assert codes == ["timeout", "nonce_wrong", ""]

    play(scene, "lighter", Window(kind="lost_before", count=1))


def test_changed_bytes_are_refused() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        request = port.prepare(order("buy", "2", "3010"), now=venue.agenda.now)
        forged = type(request)(
            **{
                **{f: getattr(request, f) for f in request.__struct_fields__},
                "body": request.body.replace(b'"quantity":"2"', b'"quantity":"9"'),
            }
        )
        assert (await port.send(forged)).code == "signature"

    play(scene)


def test_an_outage_is_unknown_and_never_flat() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        told: list[object] = []
        task = asyncio.ensure_future(listen(port, told))
        venue.grant("desk", ETH, Decimal(3))
        await asyncio.sleep(1)
        assert isinstance(await port.account(), Unknown)
        assert (await port.send(port.prepare(order("sell", "1", "2990"), now=venue.agenda.now))).kind == "unknown"
        await asyncio.sleep(10 * 60)
        task.cancel()
        account = await port.account()
        assert isinstance(account, Account)
        assert isinstance(account.position(ETH), Known)
        gaps = [m for m in told if isinstance(m, FeedStatus) and m.state == "gap"]
        assert [(g.gap_to or 0) - (g.gap_from or 0) for g in gaps] == [10 * MINUTE]
        assert not [m for m in told if isinstance(m, AccountEvent) and m.state == "flat"]

    play(scene, "aster", Window(kind="outage", start=SECOND // 2, end=SECOND // 2 + 10 * MINUTE))


def test_a_gap_is_told_and_followed_by_a_snapshot() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        told: list[object] = []
        task = asyncio.ensure_future(listen(port, told))
        await asyncio.sleep(2)
        venue.grant("desk", ETH, Decimal(3))
        await asyncio.sleep(3)
        task.cancel()
        assert [(m.state, m.gap_from, m.gap_to) for m in told if isinstance(m, FeedStatus)][1:] == [
            ("gap", venue.faults.began + SECOND, venue.faults.began + 4 * SECOND),
            ("subscribed", None, None),
        ]
        assert [m.remaining for m in told if isinstance(m, AccountEvent)] == [3.0]

    play(scene, "aster", Window(kind="stream_gap", start=SECOND, end=4 * SECOND))


def test_a_stalled_stream_is_noticed_by_its_silence() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        told: list[object] = []
        task = asyncio.ensure_future(listen(port, told))
        await asyncio.sleep(2)
        venue.grant("desk", ETH, Decimal(3))
        await asyncio.sleep(5)
        states = [m.state for m in told if isinstance(m, FeedStatus)]
        await asyncio.sleep(30)
        task.cancel()
        assert states == ["subscribed", "silent"]
        assert [m.state for m in told if isinstance(m, FeedStatus)] == ["subscribed", "silent", "gap", "subscribed"]

    play(scene, "aster", Window(kind="stream_stall", start=SECOND, end=20 * SECOND))


def test_false_zeros_come_and_go() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        told: list[object] = []
        venue.grant("desk", ETH, Decimal(3))
        await asyncio.sleep(1)
        task = asyncio.ensure_future(listen(port, told))
        await asyncio.sleep(1)
        first, second = await port.account(), await port.account()
        assert isinstance(first, Account)
        assert isinstance(second, Account)
        assert (type(first.position(ETH)), type(second.position(ETH))) == (Flat, Known)
        await port.send(port.prepare(order("buy", "1", "3010"), now=venue.agenda.now))
        await asyncio.sleep(1)
        task.cancel()
        assert [m.state for m in told if isinstance(m, AccountEvent)] == ["known", "flat"]

    flat = Window(kind="stream_false_flat", start=SECOND, count=1)
    play(scene, "aster", Window(kind="false_flat", count=1), flat)


def test_a_stream_may_drop_repeat_and_reorder() -> None:
    async def told_under(*script: Window) -> list[object]:
        told: list[object] = []

        async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
            task = asyncio.ensure_future(listen(port, told))
            await asyncio.sleep(1)
            await port.send(port.prepare(order("buy", "1", "3010"), now=venue.agenda.now))
            await asyncio.sleep(1)
            task.cancel()

        await asyncio.to_thread(lambda: play(scene, "aster", *script))
        return [type(m) for m in told][1:]

    usual = [OrderStatus, Fill, OrderStatus, AccountEvent]
    assert asyncio.run(told_under()) == usual
    assert asyncio.run(told_under(Window(kind="stream_drop", skip=1, count=1))) == [usual[0], *usual[2:]]
    assert asyncio.run(told_under(Window(kind="stream_duplicate", skip=1, count=1))) == [usual[0], Fill, *usual[1:]]
    assert asyncio.run(told_under(Window(kind="stream_reorder", skip=1, count=1))) == [usual[0], *usual[2:], Fill]


def test_a_throttled_request_says_how_long_to_wait() -> None:
    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        outcome = await port.send(port.prepare(order("buy", "1", "3010"), now=venue.agenda.now))
        assert (outcome.kind, outcome.retry_after) == ("throttled", SECOND)
        outcome = await port.send(port.prepare(order("buy", "1", "3010"), now=venue.agenda.now))
        assert (outcome.kind, outcome.code, outcome.retry_after) == ("throttled", "banned", 2 * MINUTE)
        assert await port.account() == Unknown("HTTP 418")

    play(scene, "aster", Window(kind="throttled", count=1), Window(kind="banned", count=1))


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    with VirtualTime(horizon=60 * SECOND) as time:
        open_venue(time.agenda)
        with pytest.raises(StuckError, match="horizon"):
            time.run(asyncio.sleep(3600))
    with VirtualTime() as time, pytest.raises(StuckError, match="nothing is on the agenda"):
        time.run(asyncio.Event().wait())


def test_an_error_in_a_background_task_fails_the_run() -> None:
    async def broken() -> None:
        raise ValueError("seen")

    async def scene() -> None:
        task = asyncio.ensure_future(broken())
        await asyncio.sleep(1)
        del task

    with VirtualTime() as time, pytest.raises(ValueError, match="seen"):
        time.run(scene())


def test_the_same_venue_runs_in_real_time() -> None:
    """A pacemaker carries it along: an order over 10 ms of simulated wire takes about as long."""

    async def scene() -> float:
        agenda = Agenda(system_clock())
        style = profile("aster")
        venue = open_venue(agenda, style=replace(style, latency=replace(style.latency, jitter=0.0)))
        pacemaker = Pacemaker(agenda, system_clock, asyncio.get_running_loop())
        began = perf_counter()
        outcome = await SimulatedPort(venue, "desk").send(
            SimulatedPort(venue, "desk").prepare(order("buy", "1", "3010"), now=system_clock())
        )
        took = perf_counter() - began
        pacemaker.stop()
        assert outcome.state == "filled"
        return took

    assert 0.0095 <= asyncio.run(scene()) < 1.0


def test_histories_are_cheap() -> None:
    """A hundred histories of three orders and a crash with two minutes of virtual time each."""

    async def scene(venue: SimulatedVenue, port: SimulatedPort) -> None:
        for number in range(3):
            await port.send(port.prepare(order("buy", "5", "3010", client_id=str(number)), now=venue.agenda.now))
            await port.lookup(ETH, str(number))
        venue.set_mark(ETH, Decimal(500))
        await asyncio.sleep(120)
        assert venue.ledger.wallets["desk"].quantity(ETH) == 0

    began = perf_counter()
    for _ in range(100):
        play(scene)
    assert perf_counter() - began < 5.0
