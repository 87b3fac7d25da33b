"""The rules of contracts at the venues ccxt signs for, as each lists them in public: orders are rounded by these.

| venue | asked | quantities are counted in |
|---|---|---|
| Binance USD-M | ``/fapi/v1/exchangeInfo`` | coins |
| Bybit | ``/v5/market/instruments-info`` | coins |
| OKX | ``/api/v5/public/instruments`` | contracts of ``ctVal`` x ``ctMult`` coins |
| Gate | ``/api/v4/futures/usdt/contracts/{name}`` | contracts of ``quanto_multiplier`` coins |
| Bitget | ``/api/v2/mix/market/contracts`` | coins |
| KuCoin | ``/api/v1/contracts/{name}`` | contracts of ``multiplier`` coins |
| Bitfinex | ``/v2/conf/pub:info:pair:futures`` | coins |

Only linear contracts are traded. Bitfinex prices have five significant figures: the tick is that of the last price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from connectors.exchange import Endpoints
from connectors.venues.ccxt_venue import Market
from connectors.venues.transport import UNREAD, Lost, Transport, decimal, optional
from schemas.errors import ConnectionLost, UsageError
from schemas.orders import ContractRules

_PATIENCE = 15.0
_FIGURES = 5
_FUTURES = "F0"
_FIRST_CURRENCIES = {"UST": "USDT"}


class _Listing(NamedTuple):
    """Where one venue lists a contract, and how its row is read."""

    path: Callable[[str], str]
    rows: Callable[[Any], Iterable[Any]]
    name: Callable[[Any], str]
    market: Callable[[Any], Market]


async def listed_markets(venue: str, names: Sequence[str], endpoints: Endpoints) -> list[Market]:
    """The contracts of these names, in order.

    :raises ConnectionLost: the venue does not answer, or not as its documentation says.
    :raises UsageError: it lists none of a name, or one that is not linear.
    """
    rest = Transport(endpoints.rest, timeout=_PATIENCE)
    try:
        return [await _listed(venue, name, rest) for name in names]
    finally:
        await rest.close()


async def _listed(venue: str, name: str, rest: Transport) -> Market:
    listing = _LISTINGS[venue]
    path = listing.path(name)
    answer = await rest.request("GET", path)
    if isinstance(answer, Lost) or answer.status >= 500 or answer.status in {418, 429}:
        raise ConnectionLost(f"{venue}: GET {path}: {answer.reason if isinstance(answer, Lost) else answer.status}")
    try:
        row = next((r for r in listing.rows(answer.body) if listing.name(r) == name), None)
        if row is None:
            raise UsageError(f"{venue} lists no {name}; a pair or a hedge names it")
        market = listing.market(row)
        return market if venue != "bitfinex" else await _priced(market, rest)
    except UNREAD as error:
        told = f"HTTP {answer.status} {str(answer.body)[:200]}"
        raise ConnectionLost(
            f"{venue}: GET {path} is not understood: {type(error).__name__}: {error}; {told}"
        ) from None


def _market(
    row: Any, name: str, base: str, quote: str, settle: str, *, tick: Decimal, step: Decimal, least: Decimal,
    most: Decimal | None, worth: Any = None, contract: Decimal = Decimal(1),
) -> Market:  # fmt: skip
    """Steps and quantities in the venue's counting, in."""
    rules = ContractRules(
        instrument=row[name], asset=row[base], tick=tick, step=step * contract, min_quantity=least * contract,
        min_notional=optional(worth) or Decimal(0), max_quantity=most * contract if most is not None else None,
    )  # fmt: skip
    if rules.tick <= 0 or rules.step <= 0:
        raise ValueError(f"tick {rules.tick}, step {rules.step}")
    return Market(rules=rules, contract=contract, quote=row[quote], settle=row[settle])


def _binance(row: Any) -> Market:
    filters = {f["filterType"]: f for f in row["filters"]}
    lot = filters["LOT_SIZE"]
    return _market(
        row, "symbol", "baseAsset", "quoteAsset", "marginAsset",
        tick=decimal(filters["PRICE_FILTER"]["tickSize"]), step=decimal(lot["stepSize"]), least=decimal(lot["minQty"]),
        most=optional(lot.get("maxQty")), worth=filters["MIN_NOTIONAL"]["notional"],
    )  # fmt: skip


def _bybit(row: Any) -> Market:
    _linear(row["contractType"] == "LinearPerpetual", row["symbol"])
    lot = row["lotSizeFilter"]
    return _market(
        row, "symbol", "baseCoin", "quoteCoin", "settleCoin",
        tick=decimal(row["priceFilter"]["tickSize"]), step=decimal(lot["qtyStep"]), least=decimal(lot["minOrderQty"]),
        most=optional(lot.get("maxOrderQty")), worth=lot.get("minNotionalValue"),
    )  # fmt: skip


def _okx(row: Any) -> Market:
    _linear(row["ctType"] == "linear", row["instId"])
    told = {**row, "quote": row["instId"].split("-")[1]}
    return _market(
        told, "instId", "ctValCcy", "quote", "settleCcy",
        tick=decimal(row["tickSz"]), step=decimal(row["lotSz"]), least=decimal(row["minSz"]),
        most=optional(row.get("maxLmtSz")), contract=decimal(row["ctVal"]) * decimal(row["ctMult"]),
    )  # fmt: skip


def _gate(row: Any) -> Market:
    _linear(row["type"] == "direct", row["name"])
    base, _, quote = row["name"].rpartition("_")
    return _market(
        {**row, "base": base, "quote": quote}, "name", "base", "quote", "quote",
        tick=decimal(row["order_price_round"]), step=Decimal(1), least=decimal(row["order_size_min"]),
        most=optional(row.get("order_size_max")), contract=decimal(row["quanto_multiplier"]),
    )  # fmt: skip


def _bitget(row: Any) -> Market:
    return _market(
        row, "symbol", "baseCoin", "quoteCoin", "quoteCoin",
        tick=decimal(row["priceEndStep"]).scaleb(-int(row["pricePlace"])), step=decimal(row["sizeMultiplier"]),
        least=decimal(row["minTradeNum"]), most=optional(row.get("maxOrderQty")), worth=row.get("minTradeUSDT"),
    )  # fmt: skip


def _kucoin(row: Any) -> Market:
    _linear(not row["isInverse"], row["symbol"])
    lot = decimal(row["lotSize"])
    return _market(
        row, "symbol", "baseCurrency", "quoteCurrency", "settleCurrency",
        tick=decimal(row["tickSize"]), step=lot, least=lot, most=optional(row.get("maxOrderQty")),
        contract=decimal(row["multiplier"]),
    )  # fmt: skip


def _bitfinex(row: Any) -> Market:
    pair, sizes = row
    base, _, quote = (part.removesuffix(_FUTURES) for part in pair.partition(":"))
    money = _FIRST_CURRENCIES.get(quote, quote)
    step = Decimal(1).scaleb(-8)
    return _market(
        {"name": f"t{pair}", "base": base, "quote": money}, "name", "base", "quote", "quote",
        tick=Decimal(1), step=step, least=decimal(sizes[3]), most=optional(sizes[4]),
    )  # fmt: skip


async def _priced(market: Market, rest: Transport) -> Market:
    """With the tick that five significant figures leave at the last price."""
    path = f"/v2/ticker/{market.rules.instrument}"
    answer = await rest.request("GET", path)
    if isinstance(answer, Lost) or not answer.good:
        raise ConnectionLost(f"bitfinex: GET {path}: {answer}")
    tick = Decimal(1).scaleb(decimal(answer.body[6]).adjusted() - _FIGURES + 1)
    rules = market.rules
    return Market(
        rules=ContractRules(
            instrument=rules.instrument, asset=rules.asset, tick=tick, step=rules.step,
            min_quantity=rules.min_quantity, min_notional=rules.min_notional, max_quantity=rules.max_quantity,
        ),
        quote=market.quote, settle=market.settle,
    )  # fmt: skip


def _linear(linear: bool, name: str) -> None:
    if not linear:
        raise UsageError(f"{name} is no linear perpetual: not traded")


def _one(body: Any) -> list[Any]:
    return [body] if isinstance(body, dict) and "name" in body else []


def _kucoins(body: Any) -> list[Any]:
    return [body["data"]] if body.get("data") else []


_LISTINGS = {
    "binance_usdm": _Listing(
        lambda _: "/fapi/v1/exchangeInfo", lambda body: body["symbols"], lambda r: str(r["symbol"]), _binance
    ),
    "bybit": _Listing(
        lambda name: f"/v5/market/instruments-info?category=linear&symbol={name}",
        lambda body: body["result"].get("list", ()), lambda r: str(r["symbol"]), _bybit,
    ),
    "okx": _Listing(
        lambda name: f"/api/v5/public/instruments?instType=SWAP&instId={name}",
        lambda body: body["data"], lambda r: str(r["instId"]), _okx,
    ),
    "gate": _Listing(
        lambda name: f"/api/v4/futures/usdt/contracts/{name}", _one, lambda r: str(r["name"]), _gate
    ),
    "bitget": _Listing(
        lambda name: f"/api/v2/mix/market/contracts?productType={_product(name)}&symbol={name}",
        lambda body: body["data"] or (), lambda r: str(r["symbol"]), _bitget,
    ),
    "kucoin": _Listing(lambda name: f"/api/v1/contracts/{name}", _kucoins, lambda r: str(r["symbol"]), _kucoin),
    "bitfinex": _Listing(
        lambda _: "/v2/conf/pub:info:pair:futures", lambda body: body[0], lambda r: f"t{r[0]}", _bitfinex
    ),
}  # fmt: skip


def _product(name: str) -> str:
    return "USDC-FUTURES" if name.endswith("PERP") else "USDT-FUTURES"
