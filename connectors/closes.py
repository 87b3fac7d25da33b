"""Forced closes out of tables other people recorded, each source by its own conventions.

Every source means something else by ``side``, cuts symbols differently and lacks different things. Nothing is made up
silently: a price or a quantity nobody told is NaN, what was filled in or left out is a note, and a recording of others
is at most ``sampled``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.catalogue import Catalogue
from connectors.conversion import ROW
from connectors.history import Other, in_order
from connectors.identity import event_ids
from schemas.batches import LiquidationColumns
from schemas.clock import MILLISECOND
from schemas.errors import RecordingError
from schemas.instruments import Instrument
from schemas.records import CAUSES, COVERAGES, POSITIONS, PRICE_KINDS, TIME_SOURCES, VENUES, Cause, Position

Column = NDArray[Any]

_VENUES = {"binance": "binance_usdm"}
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD1")
_PLAIN = {"pacifica", "hyperliquid"}
"""Venues whose symbol is the coin."""
_POSITIONS: dict[str, Position] = {"sell": "long", "buy": "short", "long": "long", "short": "short"}
"""An order that sells closes a long. Order sides are accepted of Binance only: Bybit means the opposite by them."""
_ORDER_SIDED = {"sell", "buy"}
_IN_CONTRACTS = {"okx"}
"""Venues whose quantities the recordings left in contracts."""
_BANKRUPTCY = {"bybit", "okx"}
"""Venues that tell the bankruptcy price."""


@dataclass(frozen=True, slots=True)
class Extract:
    """A file read: its events by receive time, and what was filled in."""

    catalogue: Catalogue
    columns: LiquidationColumns
    """By receive time."""
    others: list[Other]
    notes: list[str]


@dataclass(slots=True)
class Closes:
    """Forced closes in the source's own numbers."""

    instruments: list[Instrument]
    position: Column
    cause: Cause
    price: Column
    price_kind: Column
    quantity: Column
    """Base coins as the venue counts them, NaN where untold."""
    usd: Column
    event_time: Column
    receive_time: Column
    coverage: Column
    time_source: Column


def columns_of(catalogue: Catalogue, closes: Closes) -> LiquidationColumns:
    """In base units and with ids: those a frame of the venue with the same numbers would have."""
    catalogue.add(closes.instruments)
    code = np.array([catalogue.codes(i.venue)[i.instrument] for i in closes.instruments], np.int32)
    terms = catalogue.columns
    cause = CAUSES.index(closes.cause)
    rows = np.zeros(len(code), ROW)
    rows["code"], rows["terms"] = code, closes.position | cause << 1
    rows["price"], rows["time"] = closes.price, closes.event_time
    rows["quantity"] = np.where(np.isnan(closes.quantity), closes.usd, closes.quantity)
    price = closes.price / terms.divisor[code]
    with np.errstate(invalid="ignore"):
        quantity = np.where(np.isnan(closes.quantity), closes.usd / price, closes.quantity * terms.coin[code])
    return LiquidationColumns(
        event_id=event_ids(rows, terms.salt, np.array([len(code)], np.int64)),
        venue=terms.venue[code],
        instrument=code,
        asset=terms.asset[code],
        position=closes.position.astype(np.int8),
        cause=np.full(len(code), cause, np.int8),
        price=price,
        price_kind=closes.price_kind.astype(np.int8),
        quantity=quantity,
        notional_usd=closes.usd,
        event_time=closes.event_time,
        receive_time=closes.receive_time,
        coverage=closes.coverage.astype(np.int8),
        backfill=np.zeros(len(code), np.bool_),
        time_source=closes.time_source.astype(np.int8),
    )  # fmt: skip


def instrument_of(venue: str, symbol: str) -> Instrument:
    """The contract a source means: the venue's own symbol, with the ``USDT`` some recorders cut off put back."""
    if venue in _PLAIN:
        return Instrument(venue, symbol, symbol, 1.0, "base", quote="USD", settle="USDC")
    base, _, delivery = symbol.partition("_")
    quote = next((q for q in _QUOTES if base.endswith(q) and base != q), "")
    asset = base.removesuffix(quote)
    name = asset + (quote or "USDT") + (f"_{delivery}" if delivery else "")
    return Instrument(venue, name, asset, 1.0, "base", quote=quote or "USDT", settle=quote or "USDT")


def forced_closes(table: pa.Table) -> Extract:
    """One row per close: venue, symbol, ts_ms, side, price, qty, usd, ts_kind."""
    notes: list[str] = []
    table = _kept(table, notes)
    venues = [venue_of(name) for name in table["venue"].to_pylist()]
    symbols = table["symbol"].to_pylist()
    instruments = [instrument_of(venue, symbol) for venue, symbol in zip(venues, symbols, strict=True)]
    cut = sum(i.instrument != symbol for i, symbol in zip(instruments, symbols, strict=True))
    price, quantity, usd = (floats(table, name) for name in ("price", "qty", "usd"))
    in_contracts = np.isin(venues, sorted(_IN_CONTRACTS)) & ~np.isnan(quantity)
    quantity[in_contracts] = usd[in_contracts] / price[in_contracts]
    event_time = table["ts_ms"].to_numpy() * MILLISECOND
    recorder = "inserted_ts" in table.column_names
    received = table["inserted_ts"].to_numpy() * MILLISECOND if recorder else event_time
    by_venue = np.array([kind.startswith("exchange_") for kind in table["ts_kind"].to_pylist()])
    summed = np.isnan(quantity) | ~np.isin(venues, "binance_usdm")
    closes = Closes(
        instruments, _positions(table, venues), "liquidation", price, _price_kinds(table, venues), quantity, usd,
        event_time, received,
        coverage=np.where(summed, COVERAGES.index("partial"), COVERAGES.index("sampled")),
        time_source=np.where(by_venue, TIME_SOURCES.index("venue"), TIME_SOURCES.index("receive")),
    )  # fmt: skip
    catalogue = Catalogue()
    columns = in_order(columns_of(catalogue, closes))
    notes += _said(table, columns, cut=cut, in_contracts=int(in_contracts.sum()), recorder=recorder)
    return Extract(catalogue, columns, [], notes)


def _kept(table: pa.Table, notes: list[str]) -> pa.Table:
    """Without what its recorder probably counted twice, and what has no value."""
    if "dup_suspect" in table.column_names:
        single = pc.invert(table["dup_suspect"])
        notes.append(
            f"{table.num_rows - pc.sum(single).as_py()} rows left out: its recorder suspects it counted them twice"
        )
        table = table.filter(single)
    usd = floats(table, "usd")
    sound = np.isfinite(usd) & (usd > 0)
    if not sound.all():
        notes.append(f"{int((~sound).sum())} rows left out: no USD value")
    return table.filter(pa.array(sound))


def _positions(table: pa.Table, venues: list[str]) -> Column:
    """Whose position was closed, by the source's own convention."""
    sides = [side.lower() for side in table["side"].to_pylist()]
    for venue, side in zip(venues, sides, strict=True):
        if side not in _POSITIONS or (side in _ORDER_SIDED and venue != "binance_usdm"):
            raise RecordingError(f"side {side!r} of {venue}: neither a position nor a Binance order side")
    return np.array([POSITIONS.index(_POSITIONS[side]) for side in sides])


def _price_kinds(table: pa.Table, venues: list[str]) -> Column:
    """Binance: the average fill where the file has it, else the order's price; others as the venue tells it."""
    average = table["avg_price"].to_pylist() if "avg_price" in table.column_names else ["None"] * table.num_rows
    kinds = [
        ("order" if told == "None" else "fill") if venue == "binance_usdm" else _kind_of(venue)
        for venue, told in zip(venues, average, strict=True)
    ]
    return np.array([PRICE_KINDS.index(kind) for kind in kinds])


def _kind_of(venue: str) -> str:
    return "bankruptcy" if venue in _BANKRUPTCY else "fill"


def _said(
    table: pa.Table, columns: LiquidationColumns, *, cut: int, in_contracts: int, recorder: bool
) -> Iterator[str]:
    """What the reader of a file of forced closes should know."""
    venues = sorted({VENUES[code] for code in columns.venue})
    usd = float(columns.notional_usd.sum())
    first, last = int(columns.event_time.min()), int(columns.event_time.max())
    yield f"{', '.join(venues)}; {utc(first)} .. {utc(last)}; {usd:,.0f} USD"
    sides = sorted(set(table["side"].to_pylist()))
    ordered = {side.lower() for side in sides} <= _ORDER_SIDED
    yield f"side {'/'.join(sides)} is the {'order (sell closed a long)' if ordered else 'position closed'}"
    if cut:
        yield f"USDT put back on {cut} symbols"
    if in_contracts:
        yield f"{in_contracts} quantities counted contracts: taken from usd / price"
    unpriced, unmeasured = int(np.isnan(columns.price).sum()), int(np.isnan(floats(table, "qty")).sum())
    if unpriced:
        yield f"{unpriced} rows tell USD only: price and quantity are untold (NULL); each sums several orders"
    elif unmeasured:
        yield f"{unmeasured} quantities taken from usd / price"
    partial = int((columns.coverage == COVERAGES.index("partial")).sum())
    yield f"coverage: {partial} partial, {len(columns) - partial} sampled; sums are floors"
    kinds = sorted(set(table["ts_kind"].to_pylist()))
    yield f"event time is {', '.join(kinds)}; receive time is {'the recorder clock' if recorder else 'the same'}"


def untold(instruments: list[Instrument], position: Position, cause: Cause, usd: Column, at: Column) -> Closes:
    """Closes of an aggregate: nothing told but how many, when and perhaps their USD."""
    nothing = np.full(len(instruments), np.nan)
    return Closes(
        instruments, np.full(len(instruments), POSITIONS.index(position)), cause, nothing,
        np.full(len(instruments), PRICE_KINDS.index("fill")), nothing, usd, at, at,
        coverage=np.full(len(instruments), COVERAGES.index("partial")),
        time_source=np.full(len(instruments), TIME_SOURCES.index("venue")),
    )  # fmt: skip


def venue_of(name: str) -> str:
    """Our identifier of a venue as a source names it.

    :raises RecordingError: where there is no such venue.
    """
    venue = _VENUES.get(name, name)
    if venue not in VENUES:
        raise RecordingError(f"no venue {name!r}; known are {', '.join(VENUES)}")
    return venue


def floats(table: pa.Table, name: str) -> Column:
    """A column as numbers, NaN where untold."""
    values: Column = table[name].cast(pa.float64()).to_numpy().copy()
    return values


def utc(time: int) -> str:
    """Nanoseconds as a date and time for people."""
    return str(np.datetime64(int(time), "ns").astype("datetime64[s]")).replace("T", " ")
