"""Recorded history: Breakwater's own and other people's, as batches; each shape of file by its own conventions.

A shape is known by its columns, never by its name. ``describe`` says what was filled in, assumed or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa

from connectors.catalogue import Catalogue
from connectors.closes import (
    Column,
    Extract,
    columns_of,
    forced_closes,
    instrument_of,
    untold,
    utc,
    venue_of,
)
from connectors.history import batches, in_order, is_history, open_parquet, placed, read_history
from connectors.intake import HOURS_PER_YEAR
from schemas.batches import Batch, LiquidationColumns
from schemas.clock import MILLISECOND, MINUTE, SECOND
from schemas.errors import RecordingError
from schemas.instruments import Instrument
from schemas.records import Cause, Funding, MarketRecord, MarkPrice, OpenInterest, Position, Trade

UNTOLD_COIN = "UNKNOWN"
"""The asset of events whose file does not tell the coin."""
_PUBLISHED_LATE = 5 * MINUTE
"""A five-minute open interest is known one interval after its time."""
_EIGHT_HOURS = 8.0


def read_extract(path: Path, rows: int = 10_000) -> Iterator[Batch]:
    """The forced closes and other records of a Parquet file, or of a directory of Breakwater's own history.

    :raises RecordingError: where it is no Parquet, or of a shape that is not known.
    """
    path = Path(path)
    if is_history(path):
        yield from read_history(path, rows)
        return
    extract = _read(path)
    yield from batches(extract.columns, extract.others, extract.catalogue.symbols, extract.catalogue.assets, rows)


def describe(path: Path) -> str:
    """What a file holds, and what was filled in, assumed or left out when reading it.

    :raises RecordingError: as ``read_extract``.
    """
    path = Path(path)
    if is_history(path):
        return f"{path.name}: Breakwater's own history, as stored"
    extract = _read(path)
    counts = f"{len(extract.columns)} forced closes, {len(extract.others)} other records"
    return "\n".join([f"{path.name}: {counts}", *(f"  {note}" for note in extract.notes)])


def _read(path: Path) -> Extract:
    try:
        table = open_parquet(path).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    names = frozenset(table.column_names)
    for required, read in SHAPES:
        if required <= names:
            return read(table)
    known = "; ".join(", ".join(sorted(required)) for required, _ in SHAPES)
    raise RecordingError(f"{path}: no known shape of columns {', '.join(table.column_names)}; known are: {known}")


def _placed(catalogue: Catalogue, records: list[MarketRecord], *notes: str) -> Extract:
    """A file without forced closes."""
    times = np.empty(0, np.int64)
    others = placed(times, records)
    span = f"{utc(others[0][1].event_time)} .. {utc(others[-1][1].event_time)}" if others else "empty"  # type: ignore[union-attr] # market records all have one
    return Extract(catalogue, LiquidationColumns.empty(), others, [span, *notes])


def _named(catalogue: Catalogue, venue: str, symbol: str) -> tuple[str, str, str, float]:
    """Venue, symbol, asset and divisor of a source's instrument."""
    instrument = instrument_of(venue_of(venue), symbol)
    catalogue.add([instrument])
    contract = catalogue.contracts[catalogue.codes(instrument.venue)[instrument.instrument]]
    return instrument.venue, instrument.instrument, contract.asset, contract.divisor


def _large_trades(table: pa.Table) -> Extract:
    """Aggregate trades above a size: agg_trade_id, price, qty, buyer_is_maker."""
    catalogue = Catalogue()
    records: list[MarketRecord] = []
    for row in table.to_pylist():
        venue, symbol, asset, divisor = _named(catalogue, row["venue"], row["symbol"])
        taker: Literal["buy", "sell"] = "sell" if row["buyer_is_maker"] else "buy"
        price, quantity, time = row["price"], row["qty"], row["ts_ms"] * MILLISECOND
        records.append(
            Trade(
                str(row["agg_trade_id"]), venue, symbol, asset, taker, price / divisor, quantity * divisor,
                price * quantity, time, time, backfill=False,
            )
        )  # fmt: skip
    return _placed(catalogue, records, "large trades, not forced closes; receive time is event time")


def _funding(table: pa.Table) -> Extract:
    """Funding paid: ts_ms, rate, symbol."""
    catalogue = Catalogue()
    records: list[MarketRecord] = []
    for row in table.to_pylist():
        venue, symbol, asset, _ = _named(catalogue, "binance_usdm", row["symbol"])
        rate, time = row["rate"], row["ts_ms"] * MILLISECOND
        annual = rate * HOURS_PER_YEAR / _EIGHT_HOURS
        records.append(Funding(venue, symbol, asset, rate, _EIGHT_HOURS, annual, None, time, time, settled=True))
    return _placed(
        catalogue, records, "settled funding, not forced closes; binance_usdm, 8 h intervals, USDT put back on symbols"
    )


def _open_interest(table: pa.Table) -> Extract:
    """Open interest every five minutes: ts_ms, oi, oi_usd, symbol."""
    catalogue = Catalogue()
    records: list[MarketRecord] = []
    for row in table.to_pylist():
        venue, symbol, asset, divisor = _named(catalogue, "binance_usdm", row["symbol"])
        time = row["ts_ms"] * MILLISECOND
        quantity, usd = row["oi"] * divisor, row["oi_usd"]
        records.append(OpenInterest(venue, symbol, asset, quantity, usd, time, time + _PUBLISHED_LATE))
    return _placed(
        catalogue, records, "open interest, not forced closes; binance_usdm, USDT put back on symbols",
        "receive time is five minutes after the time of a row: it is published that late",
    )  # fmt: skip


def _state(table: pa.Table) -> Extract:
    """Mark price, open interest and funding of several venues at one moment."""
    catalogue = Catalogue()
    records: list[MarketRecord] = []
    for row in table.to_pylist():
        venue, symbol, asset, divisor = _named(catalogue, row["venue"], row["symbol"])
        time, mark, rate = row["ts_ms"] * MILLISECOND, row["mark_price"] / divisor, row["funding_rate"]
        usd = row["oi_value_usd"]
        annual = rate * HOURS_PER_YEAR / _EIGHT_HOURS
        records += [
            MarkPrice(venue, symbol, asset, mark, None, time, time),
            OpenInterest(venue, symbol, asset, usd / mark, usd, time, time),
            Funding(venue, symbol, asset, rate, _EIGHT_HOURS, annual, None, time, time),
        ]
    return _placed(
        catalogue, records, "market state, not forced closes; funding taken as per 8 h",
        "open interest in base units taken from USD / mark price: OKX counts contracts there",
    )  # fmt: skip


def _counts(table: pa.Table) -> Extract:
    """How many forced fills and ADL fills in a second, spread evenly over it."""
    catalogue = Catalogue()
    seconds = table["bucket_start_ms"].to_numpy() * MILLISECOND
    parts = []
    for column, position, cause in (("liquidations", *_LONGS), ("adls", *_SHORTS)):
        counts = table[column].to_numpy()
        instruments = [Instrument("hyperliquid", UNTOLD_COIN, UNTOLD_COIN, 1.0, "base")] * int(counts.sum())
        parts.append(
            columns_of(
                catalogue, untold(instruments, position, cause, np.zeros(counts.sum()), _spread(seconds, counts))
            )
        )
    columns = in_order(LiquidationColumns.concatenate(parts))
    return Extract(catalogue, columns, [], [
        f"counts per second: {len(parts[0])} liquidation and {len(parts[1])} ADL fills spread evenly over their second",
        f"the file tells no coin ({UNTOLD_COIN}), price, quantity or USD: USD is 0, a floor that adds nothing",
        _SIDES_ASSUMED, "in seconds with ADL both counterparties' fills are counted",
    ])  # fmt: skip


def _adl(table: pa.Table) -> Extract:
    """USD deleveraged by coin in a second, as many fills as it counts, shared by USD and spread evenly."""
    catalogue = Catalogue()
    parts = []
    for row in table.to_pylist():
        for column, position, cause in (("liquidatedByAsset", *_LONGS), ("adldByAsset", *_SHORTS)):
            by_coin: dict[str, float] = msgspec.json.decode(row[column])
            counts = _shares(np.array(list(by_coin.values())), row["adl_events"])
            worth = np.repeat(np.array(list(by_coin.values())) / counts, counts)
            instruments = [instrument_of("hyperliquid", coin) for coin in by_coin]
            which = np.repeat(np.arange(len(counts)), counts)
            at = _spread(np.array([row["bucket_start_ms"] * MILLISECOND]), np.array([len(which)]))
            mixed = np.argsort(np.concatenate([np.arange(n) / n for n in counts]), kind="stable")
            parts.append(
                columns_of(catalogue, untold([instruments[i] for i in which[mixed]], position, cause, worth[mixed], at))
            )
    columns = in_order(LiquidationColumns.concatenate(parts))
    usd = float(columns.notional_usd.sum()) / 2
    return Extract(catalogue, columns, [], [
        f"{usd:,.0f} USD of longs liquidated against as much deleveraged, {len(columns) // 2} fills each by its count",
        "USD by second and coin is the file's; each coin's is shared evenly by fills in proportion to its USD",
        "price and quantity are untold (NULL); fills are spread evenly over their second", _SIDES_ASSUMED,
    ])  # fmt: skip


def _waves(table: pa.Table) -> Extract:
    """Figures about deleveraging policies, by coin and wave."""
    return Extract(Catalogue(), LiquidationColumns.empty(), [], [
        f"no events: {table.num_rows} rows of deleveraging by coin and wave, counted already in the ADL flow per second"
    ])  # fmt: skip


_SIDES_ASSUMED = (
    "sides are not in the file: as in the crash of 10 October 2025, longs liquidated and shorts deleveraged"
)
_LONGS: tuple[Position, Cause] = ("long", "liquidation")
_SHORTS: tuple[Position, Cause] = ("short", "adl")


def _spread(starts: Column, counts: Column) -> Column:
    """``counts[i]`` times, evenly from ``starts[i]`` over one second."""
    total = np.repeat(counts, counts)
    index = np.arange(len(total)) - np.repeat(np.cumsum(counts) - counts, counts)
    times: Column = np.repeat(starts, counts) + index * SECOND // np.maximum(total, 1)
    return times


def _shares(usd: Column, events: int) -> Column:
    """``events`` split in proportion to ``usd``, at least one each (largest remainders)."""
    spare = max(events - len(usd), 0)
    exact = usd / usd.sum() * spare
    counts: Column = np.floor(exact).astype(np.int64)
    largest = np.argsort(-(exact - counts), kind="stable")[: spare - int(counts.sum())]
    counts[largest] += 1
    counts += 1
    return counts


SHAPES: tuple[tuple[frozenset[str], Callable[[pa.Table], Extract]], ...] = (
    (frozenset({"venue", "symbol", "ts_ms", "side", "price", "qty", "usd", "ts_kind"}), forced_closes),
    (frozenset({"venue", "symbol", "ts_ms", "agg_trade_id", "price", "qty", "buyer_is_maker"}), _large_trades),
    (frozenset({"ts_ms", "rate", "symbol"}), _funding),
    (frozenset({"ts_ms", "oi", "oi_usd", "symbol"}), _open_interest),
    (frozenset({"venue", "symbol", "ts_ms", "mark_price", "oi_value_usd", "funding_rate"}), _state),
    (frozenset({"bucket_start_ms", "liquidations", "adls"}), _counts),
    (frozenset({"bucket_start_ms", "adl_events", "adldByAsset", "liquidatedByAsset"}), _adl),
    (frozenset({"coin", "cluster_id", "t_start_ms", "budget_queue_usd"}), _waves),
)
"""The columns that tell a shape, and its reader."""
