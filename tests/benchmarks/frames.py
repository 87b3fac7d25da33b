"""Native forced-close frames of fourteen venues from a seed, in the order and at the pace a reader would see them.

Each writer spells a frame as the venue documents it. Symbols are those of the built-in instrument snapshots, coins and
contracts are drawn by Zipf's law, USD are log-normal, the rate of events wanders between calm and cascade, and each
venue tells as late as the rhythm of its pushes makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from connectors import force_order
from connectors.catalogue import Contract, contract
from connectors.exchange import Frame
from connectors.exchanges import (
    bitfinex,
    bitget,
    bitmex,
    bybit,
    deribit,
    dydx_v4,
    extended,
    gate,
    htx,
    kraken_futures,
    lighter,
    okx,
)
from connectors.instruments import snapshot
from connectors.simulator.truth import PACES
from schemas.clock import MILLISECOND

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "binance_usdm": force_order._event,
    "binance_coinm": force_order._event,
    "aster": force_order._event,
    "bybit": bybit._frame,
    "okx": okx._frame,
    "gate": gate._frame,
    "bitget": bitget._frame,
    "htx": htx._notice,
    "bitfinex": bitfinex._rows,
    "deribit": deribit._notice,
    "bitmex": bitmex._table,
    "kraken_futures": kraken_futures._trade,
    "dydx_v4": dydx_v4._frame,
    "lighter": lighter._frame,
    "extended": extended._frame,
}
"""The typed decoder each dialect reads forced closes with: the baseline of the replay."""

PIECE = 10_000
BEGAN = 1_760_130_900_000
"""2025-10-10 21:15:00 UTC, milliseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALM = 20.0
"""Events per second, the median; log-normal around it."""


class Close(NamedTuple):
    """One forced close in the venue's own terms."""

    number: int
    symbol: str
    coin: str
    market: str
    sold: bool
    price: str
    quantity: str
    time: int


Writer = Callable[[Sequence[Close], int], str]
"""Closes of one symbol and the milliseconds the frame is sent -> the frame."""


def _force_order(closes: Sequence[Close], now: int) -> str:
    c = closes[0]
    return (
        f'{{"stream":"!forceOrder@arr","data":{{"e":"forceOrder","E":{now},"o":{{"s":"{c.symbol}",'
        f'"S":"{"SELL" if c.sold else "BUY"}","o":"LIMIT","f":"IOC","q":"{c.quantity}","p":"{c.price}",'
        f'"ap":"{c.price}","X":"FILLED","l":"{c.quantity}","z":"{c.quantity}","T":{c.time},"ps":"{c.symbol}","st":1}}}}}}'
    )


def _bybit(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"T":{c.time},"s":"{c.symbol}","S":"{"Buy" if c.sold else "Sell"}","v":"{c.quantity}","p":"{c.price}"}}'
        for c in closes
    )
    return f'{{"topic":"allLiquidation.{closes[0].symbol}","type":"snapshot","ts":{now},"data":[{rows}]}}'


def _okx(closes: Sequence[Close], now: int) -> str:
    details = ",".join(
        f'{{"bkLoss":"0","bkPx":"{c.price}","ccy":"","posSide":"{"long" if c.sold else "short"}",'
        f'"side":"{"sell" if c.sold else "buy"}","sz":"{c.quantity}","ts":"{c.time}"}}'
        for c in closes
    )
    symbol = closes[0].symbol
    family = symbol.removesuffix("-SWAP")
    return (
        '{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":['
        f'{details}],"instFamily":"{family}","instId":"{symbol}","instType":"SWAP","uly":"{family}"}}]}}'
    )


def _gate(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"price":{c.price},"size":"{"-" if c.sold else ""}{c.quantity}","time_ms":{c.time},"contract":"{c.symbol}"}}'
        for c in closes
    )
    return (
        f'{{"time":{now // 1000},"time_ms":{now},"channel":"futures.public_liquidates","event":"update",'
        f'"result":[{rows}]}}'
    )


def _bitget(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"symbol":"{c.symbol}","side":"{"buy" if c.sold else "sell"}","price":"{c.price}",'
        f'"amount":"{c.quantity}","ts":"{c.time}"}}'
        for c in closes
    )
    head = '{"action":"update","arg":{"instType":"usdt-futures","topic":"liquidation"},"data":['
    return f'{head}{rows}],"ts":{now}}}'


def _htx(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"symbol":"{c.coin}","contract_code":"{c.symbol}","direction":"{"sell" if c.sold else "buy"}",'
        f'"offset":"close","volume":{c.quantity},"price":{c.price},"created_at":{c.time},"amount":{c.quantity},'
        f'"trade_turnover":8420.0,"contract_type":"swap","pair":"{c.symbol}","business_type":"swap",'
        '"trade_partition":"USDT"}'
        for c in closes
    )
    topic = f"public.{closes[0].symbol}.liquidation_orders"
    return f'{{"op":"notify","topic":"{topic}","ts":{now},"data":[{rows}]}}'


def _bitfinex(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'["pos",{190_000_000 + c.number},{c.time},null,"{c.symbol}",{"" if c.sold else "-"}{c.quantity},{c.price},'
        f"null,1,1,null,{c.price}]"
        for c in closes
    )
    return f"[4100,[{rows}]]"


def _deribit(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"timestamp":{c.time},"price":{c.price},"amount":{c.quantity},"direction":"{"sell" if c.sold else "buy"}",'
        f'"index_price":{c.price},"instrument_name":"{c.symbol}","trade_seq":{c.number},"mark_price":{c.price},'
        f'"tick_direction":2,"contracts":100.0,"trade_id":"{400_000_000 + c.number}","liquidation":"T"}}'
        for c in closes
    )
    channel = f"trades.{closes[0].symbol}.100ms"
    return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":[{rows}]}}}}'


def _bitmex(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"orderID":"00000000-0000-4000-8000-{c.number:012d}","symbol":"{c.symbol}",'
        f'"side":"{"Sell" if c.sold else "Buy"}","price":{c.price},"leavesQty":{c.quantity}}}'
        for c in closes
    )
    return f'{{"table":"liquidation","action":"insert","data":[{rows}]}}'


def _kraken(closes: Sequence[Close], now: int) -> str:
    c = closes[0]
    return (
        f'{{"feed":"trade","product_id":"{c.symbol}","uid":"00000000-0000-4000-8000-{c.number:012d}",'
        f'"side":"{"sell" if c.sold else "buy"}","type":"liquidation","seq":{c.number},"time":{c.time},'
        f'"qty":{c.quantity},"price":{c.price}}}'
    )


def _dydx(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"id":"{c.number:024x}","side":"{"SELL" if c.sold else "BUY"}","size":"{c.quantity}","price":"{c.price}",'
        f'"type":"LIQUIDATED","createdAt":"{_iso(c.time)}","createdAtHeight":"105900000"}}'
        for c in closes
    )
    return (
        f'{{"type":"channel_data","connection_id":"6c7d0a0e","message_id":{closes[0].number},'
        f'"id":"{closes[0].symbol}","channel":"v4_trades","version":"2.1.0","contents":{{"trades":[{rows}]}}}}'
    )


def _lighter(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"trade_id":{31_000_000_000 + c.number},"trade_id_str":"{31_000_000_000 + c.number}","type":"liquidation",'
        f'"market_id":{c.market},"size":"{c.quantity}","price":"{c.price}","usd_amount":"27.100000",'
        f'"ask_client_id":41232660,"bid_client_id":0,"ask_account_id":7684,"bid_account_id":281474976000000,'
        f'"is_maker_ask":{"false" if c.sold else "true"},"timestamp":{c.time},"maker_fee":28,"taker_fee":10000,'
        f'"taker_position_size_before":"{"" if c.sold else "-"}{c.quantity}","taker_position_sign_changed":true}}'
        for c in closes
    )
    return (
        f'{{"channel":"trade:{closes[0].market}","liquidation_trades":[{rows}],"nonce":{closes[0].number},'
        '"trades":[],"type":"update/trade"}'
    )


def _extended(closes: Sequence[Close], now: int) -> str:
    rows = ",".join(
        f'{{"i":{2_104_498_792_354_000_000 + c.number},"m":"{c.symbol}","S":"{"SELL" if c.sold else "BUY"}",'
        f'"tT":"LIQUIDATION","T":{c.time},"p":"{c.price}","q":"{c.quantity}"}}'
        for c in closes
    )
    return f'{{"data":[{rows}],"ts":{now}}}'


def _iso(milliseconds: int) -> str:
    return (_EPOCH + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class _Venue(NamedTuple):
    share: float
    """Of all frames."""
    events: float
    """Mean in one frame."""
    write: Writer
    whole: bool = False
    """Whether it counts whole contracts."""


VENUES: dict[str, _Venue] = {
    "binance_usdm": _Venue(0.25, 1.0, _force_order),
    "bybit": _Venue(0.22, 1.6, _bybit),
    "okx": _Venue(0.14, 1.4, _okx),
    "gate": _Venue(0.10, 2.0, _gate, whole=True),
    "bitget": _Venue(0.08, 1.4, _bitget),
    "htx": _Venue(0.05, 1.1, _htx),
    "aster": _Venue(0.03, 1.0, _force_order),
    "binance_coinm": _Venue(0.02, 1.0, _force_order, whole=True),
    "bitmex": _Venue(0.015, 1.0, _bitmex, whole=True),
    "kraken_futures": _Venue(0.02, 1.0, _kraken),
    "dydx_v4": _Venue(0.015, 1.2, _dydx),
    "lighter": _Venue(0.03, 1.2, _lighter),
    "extended": _Venue(0.01, 1.2, _extended),
    "deribit": _Venue(0.01, 1.2, _deribit),
    "bitfinex": _Venue(0.01, 1.1, _bitfinex),
}
"""Whose frames are written."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Frames in order of receipt."""

    pieces: list[list[Frame]]
    events: int
    """Forced closes in them."""

    @property
    def frames(self) -> int:
        """How many."""
        return sum(len(piece) for piece in self.pieces)


def corpus(frames: int, seed: int = 7, piece: int = PIECE) -> Corpus:
    """The frames of ``seed``: the same seed gives the same frames."""
    rng = np.random.default_rng(seed)
    names = list(VENUES)
    shares = np.array([v.share for v in VENUES.values()])
    venues = rng.choice(len(names), frames, p=shares / shares.sum())
    means = np.array([v.events for v in VENUES.values()])[venues]
    sizes = rng.geometric(1.0 / means)
    sizes[means == 1.0] = 1
    received = _receipts(rng, sizes)
    contracts = [_contracts(name) for name in names]
    which = _zipf(rng, venues, [len(c) for c in contracts])
    draws = _Draws(rng, int(sizes.sum()))
    made: list[Frame] = []
    first = 0
    for venue, index, size, receipt in zip(
        venues.tolist(), which.tolist(), sizes.tolist(), received.tolist(), strict=True
    ):
        name = names[venue]
        kind = VENUES[name]
        told = contracts[venue][index]
        closes = [draws.close(n, told, name, receipt, whole=kind.whole) for n in range(first, first + size)]
        first += size
        made.append(Frame(name, "liquidations", kind.write(closes, receipt).encode(), receipt * MILLISECOND))
    return Corpus([made[start : start + piece] for start in range(0, frames, piece)], first)


def _receipts(rng: np.random.Generator, sizes: Any) -> Any:
    """Milliseconds of receipt; the rate is drawn anew every 500 frames."""
    rates = np.clip(_CALM * rng.lognormal(0.0, 1.5, len(sizes) // 500 + 1), 5.0, 2000.0).repeat(500)[: len(sizes)]
    return (BEGAN + np.cumsum(rng.exponential(1000.0 * sizes / rates))).astype(np.int64)


def _zipf(rng: np.random.Generator, venues: Any, counts: Sequence[int]) -> Any:
    """A contract of each frame's venue, the n-th with weight 1/n."""
    found = np.zeros(len(venues), np.int64)
    for venue, count in enumerate(counts):
        weights = 1.0 / np.arange(1, count + 1)
        mine = venues == venue
        found[mine] = rng.choice(count, int(mine.sum()), p=weights / weights.sum())
    return found


class _Told(NamedTuple):
    contract: Contract
    price: float
    """Native, around which events scatter."""
    worth: float
    """USD of one unit of a native quantity at that price."""


def _contracts(venue: str) -> list[_Told]:
    """Those that need no other price to become USD."""
    made = [contract(i) for i in snapshot(venue)]
    found = []
    for place, one in enumerate(c for c in made if not c.reference and c.instrument.contract_unit in {"base", "usd"}):
        price = 60_000.0 / (place + 1) ** 2 + 0.5
        worth = price * one.instrument.contract_size
        if venue == "bitget":
            worth = 1.0
        elif venue in {"htx", "binance_usdm", "aster"}:
            worth = price
        if one.instrument.contract_unit == "usd":
            worth = one.instrument.contract_size
        found.append(_Told(one, price, worth))
    return found


class _Draws:
    """The random part of every event, drawn at once."""

    def __init__(self, rng: np.random.Generator, events: int) -> None:
        self._usd = rng.lognormal(np.log(4_000.0), 1.5, events).tolist()
        self._slip = rng.normal(1.0, 0.01, events).tolist()
        self._sold = (rng.random(events) < 0.6).tolist()
        self._way = rng.integers(5, 120, events).tolist()
        self._wait = rng.random(events).tolist()

    def close(self, number: int, told: _Told, venue: str, receipt: int, *, whole: bool) -> Close:
        """Event ``number`` of the corpus."""
        native = self._usd[number] / told.worth
        quantity = str(max(1, round(native))) if whole else f"{max(native, 0.01):.4f}"
        instrument = told.contract.instrument
        return Close(
            number,
            instrument.instrument,
            instrument.asset,
            instrument.number,
            self._sold[number],
            f"{told.price * self._slip[number]:.6f}",
            quantity,
            receipt - self._way[number] - int(self._wait[number] * PACES[venue].every),
        )
