"""The rules of contracts, as seven venues list them; rows written to the documented shape."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from connectors.exchange import Endpoints
from connectors.venues.ccxt_markets import listed_markets
from connectors.venues.ccxt_venue import Market
from schemas.errors import ConnectionLost, UsageError
from schemas.orders import ContractRules
from tests.connectors.venues.ccxt_loopback import BinanceVoice, BybitVoice, OkxVoice, Voice, loopback
from tests.connectors.venues.ccxt_voices import BitfinexVoice, BitgetVoice, GateVoice, KucoinVoice

VOICES: dict[str, Voice] = {
    v.name: v
    for v in (BinanceVoice(), BybitVoice(), OkxVoice(), GateVoice(), BitgetVoice(), KucoinVoice(), BitfinexVoice())
}
LISTED: dict[str, tuple[str, dict[str, Any]]] = {
    "binance_usdm": (
        "BTCUSDT",
        {
            "/fapi/v1/exchangeInfo": {"symbols": [
                {"symbol": "ETHUSDT"},
                {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                    {"filterType": "MIN_NOTIONAL", "notional": "100"},
                ]},
            ]},
        },
    ),
    "bybit": (
        "BTCUSDT",
        {
            "/v5/market/instruments-info": {"retCode": 0, "result": {"list": [{
                "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "baseCoin": "BTC", "quoteCoin": "USDT",
                "settleCoin": "USDT", "priceFilter": {"tickSize": "0.10"},
                "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001", "maxOrderQty": "1000",
                                  "minNotionalValue": "5"},
            }]}},
        },
    ),
    "okx": (
        "BTC-USDT-SWAP",
        {
            "/api/v5/public/instruments": {"code": "0", "data": [{
                "instId": "BTC-USDT-SWAP", "ctType": "linear", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC",
                "settleCcy": "USDT", "tickSz": "0.1", "lotSz": "0.1", "minSz": "0.1", "maxLmtSz": "100000",
            }]},
        },
    ),
    "gate": (
        "BTC_USDT",
        {
            "/api/v4/futures/usdt/contracts/BTC_USDT": {
                "name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001", "order_price_round": "0.1",
                "order_size_min": 1, "order_size_max": 10_000_000, "mark_price": "60000.7",
            },
        },
    ),
    "bitget": (
        "BTCUSDT",
        {
            "/api/v2/mix/market/contracts": {"code": "00000", "data": [{
                "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "priceEndStep": "1", "pricePlace": "1",
                "sizeMultiplier": "0.001", "minTradeNum": "0.001", "minTradeUSDT": "5", "maxOrderQty": "",
            }]},
        },
    ),
    "kucoin": (
        "XBTUSDTM",
        {
            "/api/v1/contracts/XBTUSDTM": {"code": "200000", "data": {
                "symbol": "XBTUSDTM", "baseCurrency": "XBT", "quoteCurrency": "USDT", "settleCurrency": "USDT",
                "multiplier": 0.001, "lotSize": 1, "tickSize": 0.1, "maxOrderQty": 1_000_000, "isInverse": False,
            }},
        },
    ),
    "bitfinex": (
        "tBTCF0:USTF0",
        {
            "/v2/conf/pub:info:pair:futures": [[
                ["BTCF0:USTF0", [None, None, None, "0.0001", "100.0", None, None, None, 0.01, 0.005]],
            ]],
            "/v2/ticker/tBTCF0:USTF0": [60_000, 1, 60_001, 1, 0, 0, 60_000.5, 9, 61_000, 59_000],
        },
    ),
}  # fmt: skip


def rules(name: str, asset: str, tick: str, step: str, least: str, worth: str, most: str | None) -> ContractRules:
    return ContractRules(
        instrument=name, asset=asset, tick=Decimal(tick), step=Decimal(step), min_quantity=Decimal(least),
        min_notional=Decimal(worth), max_quantity=Decimal(most) if most is not None else None,
    )  # fmt: skip


EXPECTED = {
    "binance_usdm": Market(rules=rules("BTCUSDT", "BTC", "0.1", "0.001", "0.001", "100", "1000")),
    "bybit": Market(rules=rules("BTCUSDT", "BTC", "0.1", "0.001", "0.001", "5", "1000")),
    "okx": Market(rules=rules("BTC-USDT-SWAP", "BTC", "0.1", "0.001", "0.001", "0", "1000"), contract=Decimal("0.01")),
    "gate": Market(rules=rules("BTC_USDT", "BTC", "0.1", "0.0001", "0.0001", "0", "1000"), contract=Decimal("0.0001")),
    "bitget": Market(rules=rules("BTCUSDT", "BTC", "0.1", "0.001", "0.001", "5", None)),
    "kucoin": Market(rules=rules("XBTUSDTM", "XBT", "0.1", "0.001", "0.001", "0", "1000"), contract=Decimal("0.001")),
    "bitfinex": Market(rules=rules("tBTCF0:USTF0", "BTC", "1", "0.00000001", "0.0001", "0", "100")),
}
"""In base units."""


def asked(base: str, venue: str, *names: str) -> list[Market]:
    return asyncio.run(listed_markets(venue, names, Endpoints(base, base)))


@pytest.mark.parametrize("venue", LISTED)
def test_rules_are_read_in_base_units(venue: str) -> None:
    name, pages = LISTED[venue]
    with loopback(VOICES[venue]) as (base, state):
        state.pages |= pages
        assert asked(base, venue, name) == [EXPECTED[venue]]
        assert state.refused == []
        assert {request.method for request in state.seen} == {"GET"}


@pytest.mark.parametrize("venue", ["binance_usdm", "bybit", "okx", "gate", "kucoin"])
def test_what_a_venue_does_not_list_is_refused_by_name(venue: str) -> None:
    pages = {
        "binance_usdm": {"/fapi/v1/exchangeInfo": {"symbols": []}},
        "bybit": {"/v5/market/instruments-info": {"retCode": 0, "result": {"list": []}}},
        "okx": {"/api/v5/public/instruments": {"code": "51001", "msg": "no such", "data": []}},
        "gate": {"/api/v4/futures/usdt/contracts/NO": {"label": "CONTRACT_NOT_FOUND", "message": "no such"}},
        "kucoin": {"/api/v1/contracts/NO": {"code": "200000", "data": None}},
    }
    with loopback(VOICES[venue]) as (base, state):
        state.pages |= pages[venue]
        with pytest.raises(UsageError, match=f"{venue} lists no NO; a pair or a hedge names it"):
            asked(base, venue, "NO")


def test_an_inverse_contract_is_not_traded() -> None:
    with loopback(VOICES["okx"]) as (base, state):
        page = LISTED["okx"][1]["/api/v5/public/instruments"]
        state.pages["/api/v5/public/instruments"] = {**page, "data": [{**page["data"][0], "ctType": "inverse"}]}
        with pytest.raises(UsageError, match="no linear perpetual"):
            asked(base, "okx", "BTC-USDT-SWAP")


@pytest.mark.parametrize(
    "script", [(503, {}, {}), (429, {}, {}), (200, {}, {"symbols": [{"symbol": "BTCUSDT"}]}), (0, {}, None)]
)
def test_no_answer_or_a_strange_one_is_a_lost_connection(script: tuple[int, dict[str, str], Any]) -> None:
    """So that what was listed the last time is taken instead."""
    with loopback(VOICES["binance_usdm"]) as (base, state):
        state.script.append(script)
        with pytest.raises(ConnectionLost, match="binance_usdm: GET /fapi/v1/exchangeInfo"):
            asked(base, "binance_usdm", "BTCUSDT")
