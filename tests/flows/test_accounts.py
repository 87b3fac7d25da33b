"""The accounts of the seven venues ccxt signs for, as settings make them: with a permission to look, and with one to
trade."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.venues.access import LivePermission, ReadPermission
from flows.accounts import opening, ports, secret_origins
from flows.contracts import contracts
from flows.settings import ExecutorSettings
from flows.settings.accounts import AccountsSettings, PassphraseAccount
from schemas.clock import HOUR, SECOND, system_clock
from schemas.errors import ConnectionLost, SettingsError
from schemas.orders import Account, Order, Unknown
from tests.connectors.venues.ccxt_loopback import KEY, PASSPHRASE, SECRET, loopback
from tests.connectors.venues.test_ccxt import CASES
from tests.connectors.venues.test_ccxt_markets import LISTED, VOICES

DAY = 24 * HOUR
every = pytest.mark.parametrize("venue", LISTED)


def secrets(venue: str) -> dict[str, str]:
    return {
        f"{venue}_api_{what}".upper(): value
        for what, value in (("key", KEY), ("secret", SECRET), ("passphrase", PASSPHRASE))
    }


def said(venue: str, gateway: str) -> ExecutorSettings:
    account = AccountsSettings().model_dump()[venue] | {"enabled": True, "gateway": gateway}
    return ExecutorSettings(accounts=AccountsSettings.model_validate({venue: account}))


@every
def test_with_a_permission_to_look_everything_is_read_and_no_order_arrives(venue: str, tmp_path: Path) -> None:
    name, pages = LISTED[venue]
    order = order_of(venue)

    async def story(base: str) -> None:
        opened = opening(said(venue, base), venue, ReadPermission(venue), system_clock, secrets(venue))
        two = ports(opened, await contracts(venue, [name], opened.endpoints, system_clock, tmp_path))
        for port in two:
            account = await port.account()
            assert isinstance(account, Account), account
            assert await port.open_orders() == []
            outcome = await port.send(port.prepare(order, now=system_clock()))
            assert (outcome.kind, outcome.code.startswith("not sent")) == ("unknown", True)
            cancel = port.prepare_cancel(order.instrument, order.client_id, now=system_clock())
            assert (await port.send(cancel)).kind == "unknown"
            assert not await port.deadman(60 * SECOND)
            await port.close()

    with loopback(VOICES[venue]) as (base, state):
        state.pages |= pages
        asyncio.run(story(base))
        assert state.orders == {}
        assert all(r.method == "GET" or r.path.startswith("/v2/auth/r/") for r in state.seen)


@every
def test_with_a_permission_to_trade_the_order_arrives_with_the_listed_rules(venue: str, tmp_path: Path) -> None:
    name, pages = LISTED[venue]
    order = order_of(venue)

    async def story(base: str) -> None:
        opened = opening(said(venue, base), venue, LivePermission(venue), system_clock, secrets(venue))
        two = ports(opened, await contracts(venue, [name], opened.endpoints, system_clock, tmp_path))
        assert (await two[1].send(two[1].prepare(order, now=system_clock()))).kind == "done"
        for port in two:
            await port.close()

    with loopback(VOICES[venue]) as (base, state):
        state.pages |= pages
        asyncio.run(story(base))
        (placed,) = state.orders.values()
        assert placed.reduce_only
        assert state.refused == []


def order_of(venue: str) -> Order:
    return Order(
        venue=venue, instrument=LISTED[venue][0], side="sell", quantity=Decimal("0.5"), price=Decimal(60_000),
        time_in_force="ioc", reduce_only=True, client_id=CASES[venue].client_id(1),
    )  # fmt: skip


def test_what_was_listed_the_last_time_stands_in_for_a_venue_that_does_not_answer(tmp_path: Path) -> None:
    """An executor that starts while a venue is away has to protect what is elsewhere."""

    async def story(base: str) -> list[object]:
        opened = opening(said("okx", base), "okx", ReadPermission("okx"), system_clock, secrets("okx"))
        return [*await contracts("okx", ["BTC-USDT-SWAP"], opened.endpoints, system_clock, tmp_path)]

    with loopback(VOICES["okx"]) as (base, state):
        state.script.append((503, {}, {}))
        with pytest.raises(ConnectionLost):
            asyncio.run(story(base))
        state.pages |= LISTED["okx"][1]
        listed = asyncio.run(story(base))
        state.script.append((503, {}, {}))
        assert asyncio.run(story(base)) == listed
        (tmp_path / "okx.json").write_text("[")
        state.script.append((503, {}, {}))
        with pytest.raises(ConnectionLost):
            asyncio.run(story(base))


def test_a_missing_passphrase_is_told_by_the_name_of_its_account(tmp_path: Path) -> None:
    accounts = AccountsSettings(okx=PassphraseAccount(enabled=True))
    settings = ExecutorSettings(accounts=accounts)
    told = secrets("okx")
    del told["OKX_API_PASSPHRASE"]
    assert {name: origin[:8] for name, origin in secret_origins(settings, told).items()} == {
        "OKX_API_KEY": "env", "OKX_API_SECRET": "env", "OKX_API_PASSPHRASE": "missing:",
    }  # fmt: skip
    with pytest.raises(SettingsError, match="account at okx: no secret OKX_API_PASSPHRASE"):
        ports(opening(settings, "okx", ReadPermission("okx"), system_clock, told), [])


@pytest.mark.parametrize(
    ("venue", "path", "page", "modes"),
    [
        ("binance_usdm", "/fapi/v1/positionSide/dual", {"dualSidePosition": True}, (False, None, None)),
        (
            "bybit", "/v5/user/query-api",
            {"retCode": 0, "result": {
                "readOnly": 0, "permissions": {"ContractTrade": ["Order"], "Wallet": ["Withdraw"]},
            }},
            (None, True, True),
        ),
        (
            "okx", "/api/v5/account/config",
            {"code": "0", "data": [{"posMode": "net_mode", "perm": "read_only,trade"}]}, (True, True, False),
        ),
        ("gate", "/api/v4/futures/usdt/accounts", {"in_dual_mode": True}, (False, None, None)),
        (
            "bitget", "/api/v2/mix/account/account", {"code": "00000", "data": {"posMode": "hedge_mode"}},
            (False, None, None),
        ),
        ("bitfinex", "/v2/auth/r/permissions", [["orders", 1, 0], ["withdraw", 0, 0]], (True, False, False)),
        ("kucoin", "/nowhere", {}, (None, None, None)),
    ],
)  # fmt: skip
def test_modes_and_rights_are_those_the_venue_tells(
    venue: str, path: str, page: Any, modes: tuple[bool | None, ...], tmp_path: Path
) -> None:
    async def story(base: str) -> object:
        opened = opening(said(venue, base), venue, ReadPermission(venue), system_clock, secrets(venue))
        two = ports(opened, await contracts(venue, [LISTED[venue][0]], opened.endpoints, system_clock, tmp_path))
        found = await two[0].modes()
        for port in two:
            await port.close()
        return found

    with loopback(VOICES[venue]) as (base, state):
        state.pages |= {**LISTED[venue][1], path: page}
        assert asyncio.run(story(base)) == modes
        assert state.refused == []


@every
def test_fills_are_asked_for_no_further_back_than_the_venue_tells_the_last_ones(venue: str, tmp_path: Path) -> None:
    """Asked from when a pair began, a month ago, it would tell the first week and not what happened just now."""

    now = system_clock()

    async def story(base: str) -> None:
        opened = opening(said(venue, base), venue, ReadPermission(venue), lambda: now, secrets(venue))
        two = ports(opened, await contracts(venue, [LISTED[venue][0]], opened.endpoints, lambda: now, tmp_path))
        for since in (now - 40 * DAY, now - DAY):
            assert not isinstance(await two[0].fills(since), Unknown)
        for port in two:
            await port.close()

    with loopback(VOICES[venue]) as (base, state):
        state.pages |= LISTED[venue][1]
        asyncio.run(story(base))
        names = ("startTime", "begin", "from", "startAt", "start")
        began = [int(r.fields[name]) for r in state.seen for name in names if name in r.fields]
        unit = 10**9 if venue == "gate" else 10**6
        back = {"okx": 3}.get(venue, 7) * DAY - 60 * SECOND
        assert began == [(now - back) // unit, (now - DAY) // unit]
