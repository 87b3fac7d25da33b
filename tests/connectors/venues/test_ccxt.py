"""Every venue signed for by ccxt, against a strict loopback server: fields, headers, signatures, codes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from connectors.exchange import Endpoints
from connectors.venues import ccxt_codec
from connectors.venues.access import LivePermission
from connectors.venues.ccxt_binance import Binance
from connectors.venues.ccxt_bitfinex import Bitfinex
from connectors.venues.ccxt_bitget import Bitget
from connectors.venues.ccxt_bybit import Bybit
from connectors.venues.ccxt_codec import Credentials
from connectors.venues.ccxt_gate import Gate
from connectors.venues.ccxt_kucoin import Kucoin
from connectors.venues.ccxt_okx import Okx
from connectors.venues.ccxt_port import CcxtPort
from connectors.venues.ccxt_venue import CcxtVenue, Market
from connectors.venues.ccxt_venues import CCXT_VENUES, credentials
from connectors.venues.transport import Lost
from schemas.clock import MILLISECOND, SECOND, system_clock
from schemas.errors import ExtraMissing, SettingsError, UsageError
from schemas.orders import (
    Absent,
    Account,
    Book,
    ContractRules,
    Fill,
    Flat,
    Known,
    Order,
    OrderSide,
    OrderStatus,
    Outcome,
    SignedRequest,
    TimeInForce,
    Unknown,
)
from schemas.records import AccountEvent, FeedStatus
from tests.connectors.venues.ccxt_loopback import (
    KEY,
    NOW,
    PASSPHRASE,
    SECRET,
    BinanceVoice,
    BybitVoice,
    OkxVoice,
    Refusal,
    Request,
    State,
    Voice,
    loopback,
    strict,
)
from tests.connectors.venues.ccxt_voices import BitfinexVoice, BitgetVoice, GateVoice, KucoinVoice


@dataclass(frozen=True)
class Case:
    venue: CcxtVenue
    voice: Voice
    instrument: str
    contract: str = "1"
    asset: str = "BTC"
    client_id: Callable[[int], str] = lambda n: f"bw{n:024d}"


CASES = {
    "binance_usdm": Case(Binance(), BinanceVoice(), "BTCUSDT"),
    "bybit": Case(Bybit(), BybitVoice(), "BTCUSDT"),
    "okx": Case(Okx(), OkxVoice(), "BTC-USDT-SWAP", "0.01"),
    "gate": Case(Gate(), GateVoice(), "BTC_USDT", "0.0001", client_id=lambda n: f"t-bw{n:020d}"),
    "bitget": Case(Bitget(), BitgetVoice(), "BTCUSDT"),
    "kucoin": Case(Kucoin(), KucoinVoice(), "XBTUSDTM", "0.001"),
    "bitfinex": Case(Bitfinex(), BitfinexVoice(), "tBTCF0:USTF0", client_id=lambda n: str((1 << 44) + n)),
}
CREDENTIALS = Credentials(SecretStr(KEY), SecretStr(SECRET), SecretStr(PASSPHRASE))
every = pytest.mark.parametrize("name", CASES)


def market(case: Case) -> Market:
    rules = ContractRules(
        instrument=case.instrument,
        asset=case.asset,
        tick=Decimal("0.1"),
        step=Decimal(case.contract) if case.contract != "1" else Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
    )
    return Market(rules=rules, contract=Decimal(case.contract))


@dataclass(frozen=True)
class Bench:
    case: Case
    port: CcxtPort
    state: State

    def order(
        self,
        side: OrderSide = "buy",
        quantity: str = "0.5",
        price: str | None = "60000.5",
        kind: TimeInForce = "ioc",
        *,
        reduce_only: bool = False,
        number: int = 1,
    ) -> Order:
        return Order(
            venue=self.case.venue.name,
            instrument=self.case.instrument,
            side=side,
            quantity=Decimal(quantity),
            price=Decimal(price) if price is not None else None,
            time_in_force=kind,
            reduce_only=reduce_only,
            client_id=self.case.client_id(number),
        )

    async def send(self, order: Order) -> Outcome:
        return await self.port.send(self.port.prepare(order, now=system_clock()))


def connected(case: Case, url: str, **more: Any) -> CcxtPort:
    return CcxtPort(case.venue, Endpoints("ws://127.0.0.1:9", url), CREDENTIALS, [market(case)], system_clock, **more)


@asynccontextmanager
async def bench(name: str, **more: Any) -> AsyncIterator[Bench]:
    case = CASES[name]
    with loopback(case.voice) as (url, state):
        port = CcxtPort(
            case.venue, Endpoints(url.replace("http", "ws"), url), CREDENTIALS, [market(case)], system_clock, **more
        )
        try:
            yield Bench(case, port, state)
        finally:
            await port.close()


def run(name: str, story: Callable[[Bench], Awaitable[None]], **more: Any) -> None:
    async def told() -> None:
        async with bench(name, **more) as b:
            await story(b)

    asyncio.run(told())


@every
def test_orders_arrive_signed_and_say_nothing_more(name: str) -> None:
    """The server refuses unknown fields, unknown headers and bad signatures: none of it was refused."""
    sides: tuple[OrderSide, ...] = ("buy", "sell")
    kinds: tuple[TimeInForce | None, ...] = ("gtc", "ioc", "post_only", None)

    async def story(b: Bench) -> None:
        for number, (side, kind, reduce_only) in enumerate(product(sides, kinds, (True, False)), 1):
            price = "60000.5" if kind is not None else None
            outcome = await b.send(b.order(side, "0.5", price, kind or "ioc", reduce_only=reduce_only, number=number))
            assert (outcome.kind, b.state.refused) == ("done", []), (side, kind, reduce_only)
            request = b.state.seen[-1]
            assert (request.method, request.path) == ("POST", b.case.venue.order_path)
            placed = b.state.orders[b.case.client_id(number)]
            assert placed.side.lower() == side
            assert Decimal(placed.quantity) * Decimal(b.case.contract) == Decimal("0.5")
            assert placed.reduce_only is reduce_only
            assert placed.kind == (kind or "market")
            if price is not None:
                assert Decimal(placed.price) == Decimal("60000.5")
        assert len(b.state.seen) == len(b.state.orders) == 16

    run(name, story)


@every
def test_what_is_journalled_is_what_is_sent_and_holds_no_credential(name: str) -> None:
    async def story(b: Bench) -> None:
        now = system_clock()
        request = b.port.prepare(b.order(), now=now)
        assert b.state.seen == []
        assert request.valid_until == now + b.case.venue.capabilities.validity
        raw = msgspec.json.encode(request)
        for secret in (KEY, SECRET, PASSPHRASE):
            assert secret.encode() not in raw
            assert secret not in repr(b.port) + str(vars(b.port)) + repr(vars(b.port))
        # From the journal, in another process: the bytes are enough.
        again = CcxtPort(b.case.venue, b.port._endpoints, CREDENTIALS, [market(b.case)], system_clock)
        try:
            assert (await again.send(msgspec.json.decode(raw, type=SignedRequest))).kind == "done"
        finally:
            await again.close()
        [seen] = b.state.seen
        assert seen.body.encode() == request.body

    run(name, story)


@every
def test_nothing_pays_or_approves_anybody(name: str) -> None:
    """Over everything a port can send. ccxt's own claims are looked for by their values too."""

    async def story(b: Bench) -> None:
        await b.send(b.order())
        await b.send(b.order("sell", price="61000", kind="gtc", number=2))
        if b.port.capabilities.modify:
            changed = b.order("sell", "0.25", "61001", "gtc", number=2)
            assert (await b.port.send(b.port.prepare_modify(changed, now=system_clock()))).kind == "done"
            assert Decimal(b.state.orders[b.case.client_id(2)].price) == 61001
        cancel = b.port.prepare_cancel(b.case.instrument, b.case.client_id(2), now=system_clock())
        assert (await b.port.send(cancel)).kind == "done"
        for query in (b.port.account, b.port.open_orders, lambda: b.port.fills(0), lambda: b.port.deadman(60 * SECOND)):
            assert not isinstance(await query(), Unknown)
        await b.port.book(b.case.instrument)
        await b.port.lookup(b.case.instrument, b.case.client_id(1))
        assert b.state.refused == []
        claims = ("ccxt", "x-cvbprnm9", "x-tkt5px2f", "x-xckt", "6b9ad766b55dbcde", "p4sve", "referer", "builder",
                  "broker", "partner", "referr", "channel", "affiliate", "approve", "integrator", '"tag"', "tag=",
                  "aff_code", "meta")  # fmt: skip
        for seen in b.state.seen:
            wire = f"{seen.path}?{seen.query} {dict(seen.headers)} {seen.body}".lower()
            assert [claim for claim in claims if claim in wire] == [], wire

    run(name, story)


@pytest.mark.parametrize(
    ("name", "claim"), [("bybit", "referer"), ("bitget", "x-channel-api-code"), ("kucoin", "kc-api-partner")]
)
def test_what_ccxt_sends_by_itself_is_refused(name: str, claim: str) -> None:
    """The control: without our table the client claims its share, and the server does refuse it."""
    case = CASES[name]
    keys = {"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE}
    ask = case.venue.cancel(market(case), case.client_id(1), "", 0)
    made = getattr(ccxt_codec._ccxt(), case.venue.ccxt_id)(keys).sign(ask.path, list(ask.api), "POST", dict(ask.fields))
    headers = {name.lower(): str(value) for name, value in made["headers"].items()}
    assert claim in headers
    with pytest.raises(Refusal, match=claim):
        strict(case.voice, Request("POST", "/", "", headers, made["body"] or ""), State())


@every
def test_an_order_is_seen_everywhere(name: str) -> None:
    async def story(b: Bench) -> None:
        outcome = await b.send(b.order("sell", reduce_only=True))
        assert outcome.order_id
        told = await b.port.lookup(b.case.instrument, b.case.client_id(1))
        assert told == OrderStatus(
            client_id=b.case.client_id(1), order_id=outcome.order_id, instrument=b.case.instrument, side="sell",
            state="filled", quantity=Decimal("0.5"), filled=Decimal("0.5"), average_price=Decimal("60000.5"),
            reduce_only=True, time=NOW * MILLISECOND,
        )  # fmt: skip
        fills = await b.port.fills(0)
        assert not isinstance(fills, Unknown), fills
        [fill] = fills
        assert (fill.client_id, fill.order_id, fill.side, fill.price, fill.quantity, fill.fee, fill.maker) == (
            b.case.client_id(1), outcome.order_id, "sell", Decimal("60000.5"), Decimal("0.5"), Decimal("1.25"), False,
        )  # fmt: skip
        assert (fill.cause, fill.time, fill.instrument) == ("order", NOW * MILLISECOND, b.case.instrument)
        assert await b.port.fills(NOW * MILLISECOND + 1) == []
        await b.send(b.order("buy", price="59000", kind="gtc", number=2))
        living = await b.port.open_orders()
        assert not isinstance(living, Unknown)
        assert [(o.client_id, o.state, o.quantity, o.filled) for o in living] == [
            (b.case.client_id(2), "open", Decimal("0.5"), 0)
        ]
        assert await b.port.lookup(b.case.instrument, b.case.client_id(9)) == Absent()

    run(name, story)


@every
def test_fills_find_their_ids_after_a_restart(name: str) -> None:
    """Nothing is remembered: what fills do not name is read from the orders."""

    async def story(b: Bench) -> None:
        await b.send(b.order())
        again = CcxtPort(b.case.venue, b.port._endpoints, CREDENTIALS, [market(b.case)], system_clock)
        try:
            fills = await again.fills(0)
            assert not isinstance(fills, Unknown), fills
            assert [(f.client_id, f.cause) for f in fills] == [(b.case.client_id(1), "order")]
        finally:
            await again.close()

    run(name, story)


@every
@pytest.mark.parametrize("quantity", ["2", "-3"])
def test_positions_are_base_units_with_a_sign(name: str, quantity: str) -> None:
    async def story(b: Bench) -> None:
        b.state.position = quantity
        account = await b.port.account()
        assert isinstance(account, Account), account
        held = account.position(b.case.instrument)
        assert isinstance(held, Known)
        assert held.quantity == Decimal(quantity) * Decimal(b.case.contract)
        assert (held.entry_price, held.liquidation_price) == (Decimal("60000.5"), Decimal(30000))
        assert (account.equity, account.free_margin) == (Decimal("1000.5"), Decimal("900.25"))
        b.state.position = "0"
        flat = await b.port.account()
        assert isinstance(flat, Account)
        assert flat.position(b.case.instrument) == Flat()

    run(name, story)


@every
def test_an_outage_is_unknown_and_never_flat(name: str) -> None:
    async def story(b: Bench) -> None:
        for status, told in ((503, {}), (200, None), (200, "maintenance"), (200, {}), (429, {}), (401, {"msg": "no"})):
            b.state.script = [(status, {}, told)] * 2
            assert isinstance(await b.port.account(), Unknown), (status, told)
            b.state.script = [(status, {}, told)] * 2
            assert isinstance(await b.port.open_orders(), Unknown), (status, told)
            b.state.script = [(status, {}, told)] * 2
            assert isinstance(await b.port.fills(0), Unknown), (status, told)
            b.state.script = [(status, {}, told)] * 3
            assert isinstance(await b.port.lookup(b.case.instrument, b.case.client_id(1)), Unknown), (status, told)
            b.state.script = [(status, {}, told)] * 2
            assert isinstance(await b.port.book(b.case.instrument), Unknown), (status, told)
            b.state.script = []

    run(name, story)


@every
def test_statuses_are_judged_before_words(name: str) -> None:
    cases: list[tuple[int, dict[str, str], Any, str]] = [
        (503, {}, {}, "unknown"),
        (500, {}, {}, "unknown"),
        (200, {}, None, "unknown"),
        (302, {"Location": "http://127.0.0.1:9/"}, {}, "unknown"),
        (429, {"Retry-After": "7"}, {}, "throttled"),
        (418, {"Retry-After": "7"}, {}, "throttled"),
    ]

    async def story(b: Bench) -> None:
        for status, headers, body, kind in cases:
            b.state.script = [(status, headers, body)]
            outcome = await b.send(b.order())
            assert (outcome.kind, outcome.retry_after) == (kind, 7 * SECOND if headers.get("Retry-After") else None)

    run(name, story)


@every
def test_a_second_order_of_a_living_id_is_a_duplicate(name: str) -> None:
    async def story(b: Bench) -> None:
        first = b.port.prepare(b.order(price="59000", kind="gtc"), now=system_clock())
        assert (await b.port.send(first)).kind == "done"
        relied_on = b.port.capabilities.client_id.unique != "none"
        assert (await b.port.send(first)).kind == ("duplicate" if relied_on else "done")
        assert len(b.state.orders) == 1

    run(name, story)


@every
def test_the_cancel_of_what_is_not_there_is_refused(name: str) -> None:
    async def story(b: Bench) -> None:
        cancel = b.port.prepare_cancel(b.case.instrument, b.case.client_id(5), now=system_clock())
        assert (await b.port.send(cancel)).kind == "refused"

    run(name, story)


@every
def test_the_book_is_in_base_units(name: str) -> None:
    async def story(b: Bench) -> None:
        book = await b.port.book(b.case.instrument)
        assert isinstance(book, Book), book
        assert [(level.price, level.quantity) for level in book.bids] == [(60000, 2)]
        assert [(level.price, level.quantity) for level in book.asks] == [(60001, 3)]
        assert book.mark_price == Decimal("60000.7")
        told = abs(book.time - system_clock()) < SECOND if name == "bitfinex" else book.time == NOW * MILLISECOND
        assert told

    run(name, story)


@every
def test_the_switch_is_armed_or_said_not_to_be(name: str) -> None:
    async def story(b: Bench) -> None:
        assert await b.port.deadman(30 * SECOND) is b.port.capabilities.deadman
        b.state.script = [(503, {}, {})]
        assert await b.port.deadman(30 * SECOND) is False

    run(name, story)


@every
def test_what_cannot_be_said_is_refused_before_the_journal(name: str) -> None:
    async def story(b: Bench) -> None:
        with pytest.raises(UsageError, match="no multiple of"):
            b.port.prepare(b.order(quantity="0.00005"), now=system_clock())
        if name == "gate":
            long = msgspec.structs.replace(b.order(), client_id="t-" + "x" * 40)
            with pytest.raises(UsageError, match="ccxt gate refuses to make"):
                b.port.prepare(long, now=system_clock())
        with pytest.raises(UsageError, match="were not given"):
            b.port.prepare_cancel("DOGEUSDT", "a", now=system_clock())
        if not b.port.capabilities.modify:
            with pytest.raises(UsageError, match="cancel it and place another"):
                b.port.prepare_modify(b.order(), now=system_clock())
        assert await b.port.fence(b.port.prepare(b.order(), now=system_clock())) == "unsupported"
        assert b.state.seen == []

    run(name, story)


@every
def test_a_client_that_adds_to_an_order_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a release that claims a fee would: a field, a header, or a request of its own."""
    case = CASES[name]
    port = connected(case, "http://127.0.0.1:9")
    b = Bench(case, port, State())
    client = port._codec._client
    place, sign = client.create_order, client.sign

    def other_number(*arguments: Any, **named: Any) -> Any:
        return place(*arguments[:3], arguments[3] * 2, *arguments[4:], **named)

    client.create_order = other_number
    with pytest.raises(UsageError, match=r"says \(theirs, ours\)"):
        port.prepare(b.order(), now=system_clock())

    def with_header(*arguments: Any, **named: Any) -> Any:
        made = sign(*arguments, **named)
        return {**made, "headers": {**made["headers"], "X-Fee-To": "somebody"}}

    client.create_order, client.sign = place, with_header
    with pytest.raises(UsageError, match="adds headers"):
        port.prepare(b.order(), now=system_clock())

    def elsewhere(*arguments: Any, **named: Any) -> Any:
        made = sign(*arguments, **named)
        return {**made, "url": made["url"].replace("/order", "/approve")}

    client.sign = elsewhere
    with pytest.raises(UsageError, match="instead of placing an order"):
        port.prepare(b.order(), now=system_clock())
    asyncio.run(port.close())


@every
def test_polling_says_that_it_is_polling_and_where_it_was_blind(name: str) -> None:
    async def story(b: Bench) -> None:
        told: list[Any] = []

        async def listen() -> None:
            async for message in b.port.events():
                told.append(message)  # noqa: PERF401 - each is seen as it comes

        async def until(found: Callable[[], Any]) -> None:
            async with asyncio.timeout(5):
                while not found():  # noqa: ASYNC110 - any condition at all
                    await asyncio.sleep(0.005)

        task = asyncio.ensure_future(listen())
        try:
            await until(lambda: told)
            assert (told[0].state, told[0].feed) == ("subscribed", "polling")
            assert "no stream is read" in told[0].reason
            b.state.position = "2"
            await until(lambda: any(isinstance(m, AccountEvent) for m in told))
            event = next(m for m in told if isinstance(m, AccountEvent))
            assert (event.event, event.asset, event.position) == ("position", "BTC", "long")
            assert event.remaining == float(Decimal(2) * Decimal(b.case.contract))
            await b.send(b.order("buy", price="59000", kind="gtc", number=2))
            await until(lambda: any(isinstance(m, OrderStatus) for m in told))
            before = len(told)
            b.state.script = [(503, {}, {})] * 8
            await until(lambda: any(isinstance(m, FeedStatus) and m.state == "gap" for m in told))
            states = [m.state for m in told[before:] if isinstance(m, FeedStatus)]
            assert states[0] == "unreachable"
            assert states[-2:] == ["gap", "subscribed"]
            gap = next(m for m in told if isinstance(m, FeedStatus) and m.state == "gap")
            assert gap.gap_from is not None
            assert gap.gap_to is not None
            assert gap.gap_from < gap.gap_to
            assert not [m for m in told if isinstance(m, Fill)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(name, story, every=0.02, watch="polling")


@every
def test_nobody_trades_by_accident(name: str) -> None:
    case = CASES[name]
    with pytest.raises(UsageError, match="need a live permission"):
        CcxtPort(case.venue, case.venue.production, CREDENTIALS, [market(case)], system_clock)
    allowed = LivePermission(case.venue.name)
    port = CcxtPort(case.venue, case.venue.production, CREDENTIALS, [market(case)], system_clock, permission=allowed)
    asyncio.run(port.close())


def test_the_secrets_of_each_venue_are_asked_for_by_name() -> None:
    told = {f"{name.upper()}_API_{what}": what for name in CASES for what in ("KEY", "SECRET", "PASSPHRASE")}
    assert CCXT_VENUES.keys() == CASES.keys()
    for name in CASES:
        found = credentials(name, told)
        assert (found.key.get_secret_value(), found.secret.get_secret_value()) == ("KEY", "SECRET")
        assert (found.passphrase is not None) is (name in {"okx", "bitget", "kucoin"})
        with pytest.raises(SettingsError, match=f"no secret {name.upper()}_API_KEY"):
            credentials(name, {})


@every
def test_ids_of_the_venues_rule_are_taken(name: str) -> None:
    """The longest and strangest a rule allows: letters and digits after the prefix, or all bits of a number."""

    async def story(b: Bench) -> None:
        rule = b.case.venue.capabilities.client_id
        longest = rule.prefix + ("z9" * rule.limit)[: rule.limit - len(rule.prefix)]
        made = str((1 << rule.limit) - 1) if rule.form == "integer" else longest
        order = msgspec.structs.replace(b.order(), client_id=made)
        assert (await b.send(order)).kind == "done"
        assert [*b.state.orders] == [made]

    run(name, story)


def test_without_ccxt_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(ExtraMissing, match=r"ccxt is not installed: pip install 'breakwater\[live\]'"):
        connected(CASES["bybit"], "http://127.0.0.1:9")


def test_another_release_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccxt_codec, "VERSION", "4.5.64")
    with pytest.raises(UsageError, match=r"only 4\.5\.64 was looked at"):
        connected(CASES["bybit"], "http://127.0.0.1:9")


CODES: list[tuple[str, int, Any, str]] = [
    ("binance_usdm", 400, {"code": -4116, "msg": "dup"}, "duplicate"),
    ("binance_usdm", 408, {"code": -1007, "msg": "Timeout"}, "unknown"),
    ("binance_usdm", 400, {"code": -1015, "msg": "Too many"}, "throttled"),
    ("binance_usdm", 400, {"code": -2022, "msg": "ReduceOnly"}, "refused"),
    ("binance_usdm", 400, {"code": -5022, "msg": "post only"}, "refused"),
    ("binance_usdm", 200, {"hello": 1}, "unknown"),
    ("bybit", 200, {"retCode": 110072, "retMsg": "dup"}, "duplicate"),
    ("bybit", 200, {"retCode": 10000, "retMsg": "Server Timeout"}, "unknown"),
    ("bybit", 200, {"retCode": 10006, "retMsg": "Too many"}, "throttled"),
    ("bybit", 200, {"retCode": 110007, "retMsg": "balance"}, "refused"),
    ("bybit", 200, {"result": {}}, "unknown"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51016", "sMsg": "dup"}]}, "duplicate"),
    ("okx", 200, {"code": "50004", "msg": "Endpoint request timeout", "data": []}, "unknown"),
    ("okx", 200, {"code": "50026", "msg": "System error", "data": []}, "unknown"),
    ("okx", 200, {"code": "50011", "msg": "Rate limit", "data": []}, "throttled"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51008", "sMsg": "balance"}]}, "refused"),
    ("okx", 200, {"code": "1", "msg": "", "data": []}, "unknown"),
    ("gate", 400, {"label": "INSUFFICIENT_AVAILABLE", "message": "x"}, "refused"),
    ("gate", 400, {"label": "TOO_MANY_REQUESTS", "message": "x"}, "throttled"),
    ("gate", 400, {"label": "TOO_BUSY", "message": "x"}, "unknown"),
    ("gate", 200, {"hello": 1}, "unknown"),
    ("bitget", 400, {"code": "40786", "msg": "Duplicate clientOid"}, "duplicate"),
    ("bitget", 400, {"code": "40010", "msg": "Request timed out"}, "unknown"),
    ("bitget", 400, {"code": "40725", "msg": "service return an error"}, "unknown"),
    ("bitget", 400, {"code": "429", "msg": "Too many"}, "throttled"),
    ("bitget", 400, {"code": "40762", "msg": "balance"}, "refused"),
    ("kucoin", 200, {"code": "126044", "msg": "dup"}, "duplicate"),
    ("kucoin", 200, {"code": "500000", "msg": "Internal"}, "unknown"),
    ("kucoin", 200, {"code": "429000", "msg": "Too many"}, "throttled"),
    ("kucoin", 200, {"code": "300003", "msg": "balance"}, "refused"),
    ("kucoin", 200, {"code": "200000", "data": {}}, "unknown"),
    ("bitfinex", 500, ["error", 10114, "nonce: small"], "duplicate"),
    ("bitfinex", 500, ["error", 10001, "Invalid order: not enough tradable balance"], "refused"),
    ("bitfinex", 429, ["error", 11010, "ratelimit: error"], "throttled"),
    ("bitfinex", 500, {"error": "bad gateway"}, "unknown"),
    ("bitfinex", 200, [1, "on-req", None, None, None, None, "ERROR", "no"], "refused"),
    ("bitfinex", 200, [], "unknown"),
]


@every
def test_outcomes_are_read_from_raw_codes(name: str) -> None:
    async def story(b: Bench) -> None:
        for status, body, kind in [case[1:] for case in CODES if case[0] == name]:
            b.state.script = [(status, {}, body)]
            assert (await b.send(b.order())).kind == kind, body

    run(name, story)


FORCED: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("binance_usdm", {}, "autoclose-17", "liquidation"),
    ("binance_usdm", {}, "adl_autoclose", "adl"),
    ("binance_usdm", {}, "settlement_autoclose-1", "settlement"),
    ("binance_usdm", {}, None, "unknown"),
    ("bybit", {"execType": "BustTrade"}, None, "liquidation"),
    ("bybit", {"execType": "AdlTrade"}, None, "adl"),
    ("bybit", {"createType": "CreateByLiq"}, None, "liquidation"),
    ("bybit", {"execType": "Settle"}, None, "settlement"),
    ("okx", {"subType": "104"}, None, "liquidation"),
    ("okx", {"subType": "126"}, None, "adl"),
    ("okx", {"subType": "112"}, None, "settlement"),
    ("gate", {"text": "liquidation"}, None, "liquidation"),
    ("gate", {"text": "auto_deleveraging"}, None, "adl"),
    ("bitget", {"tradeSide": "burst_sell_single"}, "x", "liquidation"),
    ("bitget", {"tradeSide": "dte_sys_adl_sell_in_single_side_mode"}, "x", "adl"),
    ("bitget", {"tradeSide": "delivery_close_long"}, "x", "settlement"),
    ("kucoin", {"tradeType": "liquidation"}, "x", "liquidation"),
    ("kucoin", {"tradeType": "ADL"}, "x", "adl"),
    ("kucoin", {"tradeType": "something new"}, "x", "unknown"),
]


@pytest.mark.parametrize("name", sorted({case[0] for case in FORCED}))
def test_a_fill_the_venue_forced_is_nobodys_order(name: str) -> None:
    async def story(b: Bench) -> None:
        await b.send(b.order("sell", reduce_only=True))
        ask = b.case.venue.fills(market(b.case), 0)
        [row] = [row for row in await b.port._rows([ask]) if row.get("execType") != "Funding"]
        for _, told, client_id, cause in [case for case in FORCED if case[0] == name]:
            found = b.case.venue.fill({**row, **told}, market(b.case), client_id)
            assert found is not None
            assert (found.cause, found.client_id) == (cause, ""), told

    run(name, story)


HEDGED: dict[str, dict[str, Any]] = {
    "binance_usdm": {"positionSide": "LONG"},
    "bybit": {"positionIdx": 1},
    "okx": {"posSide": "long"},
    "gate": {"mode": "dual_long"},
    "bitget": {"posMode": "hedge_mode"},
    "kucoin": {"positionSide": "LONG"},
}


@pytest.mark.parametrize("name", HEDGED)
def test_what_cannot_be_told_apart_is_unknown(name: str) -> None:
    """Hedge mode, a position in a contract nobody gave rules for, and a list that fills its page."""

    async def story(b: Bench) -> None:
        b.state.position = "2"
        [ask] = b.case.venue.positions([market(b.case)])
        [row] = await b.port._rows([ask])
        path = b.state.seen[-1].path
        whole = await b.port._ask(ask)
        assert not isinstance(whole, Lost)

        def instead(*rows: Any) -> None:
            text = json.dumps(whole.body).replace(json.dumps([row]), json.dumps(list(rows)))
            b.state.pages[path] = json.loads(text)

        instead({**row, **HEDGED[name]})
        found = await b.port.account()
        assert isinstance(found, Unknown)
        assert "hedge mode" in found.reason
        place = next(key for key, value in row.items() if value == b.case.instrument)
        instead(row, {**row, place: "OTHER"})
        found = await b.port.account()
        assert isinstance(found, Unknown)
        assert "OTHER is in the account and its rules were not given" in found.reason
        instead(row)
        assert isinstance(await b.port.account(), Account)

    run(name, story)


def test_a_list_that_fills_a_page_is_unknown() -> None:
    async def story(b: Bench) -> None:
        await b.send(b.order(price="59000", kind="gtc"))
        [row] = [b.case.voice.row(o) for o in b.state.orders.values()]  # type: ignore[attr-defined]  # this one has rows
        b.state.pages["/api/v5/trade/orders-pending"] = {"code": "0", "msg": "", "data": [row] * 100}
        found = await b.port.open_orders()
        assert isinstance(found, Unknown)
        assert "100 rows fill a page" in found.reason

    run("okx", story)
