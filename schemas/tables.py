"""One Arrow schema per stored dataset, and the way from records and columns to tables and back.

Times are naive UTC timestamps of nanosecond precision: a zone would make every reader in Python need another package.
Names are dictionary-encoded. ``event_id`` is the 64-bit number itself (the SQL views write it as 16 hex digits). A
price or a quantity nobody told is ``NULL`` in the file and NaN in columns, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.batches import LIQUIDATION_COLUMNS, LiquidationColumns, Names
from schemas.cascades import COMPONENTS, CascadeUpdate, Signal, WindowMetrics
from schemas.columns import Column, Lists, Maps, Named, Parts
from schemas.errors import HistoryError
from schemas.measures import ROLLING, SCALES, Measures
from schemas.orders import ExecutionReport, OrderIntent
from schemas.records import (
    CAUSES,
    COVERAGES,
    POSITIONS,
    PRICE_KINDS,
    TIME_SOURCES,
    VENUES,
    AccountEvent,
    Control,
    DeadLetter,
    FeedStatus,
    Funding,
    Liquidation,
    MarketRecord,
    MarkPrice,
    OpenInterest,
    Trade,
)

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning or type; stands in the metadata of every file."""

StoredRecord = MarketRecord | WindowMetrics | Measures | CascadeUpdate | Signal | ExecutionReport

_NAME = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("ns")
_FLOAT, _INT, _ID, _BOOL, _TEXT = pa.float64(), pa.int64(), pa.uint64(), pa.bool_(), pa.string()
_PLACES = 18
_EXACT = pa.decimal128(38, _PLACES)
"""Of orders: a quantity is what it says, not the nearest binary fraction."""
_DIGITS = Context(prec=38)
_FIGURES = pa.map_(_TEXT, _FLOAT)
_NAMES, _FLOATS = pa.list_(pa.string()), pa.list_(pa.float64())
_SCALES = pa.struct([(name, pa.float64()) for name in SCALES])
_ROLLING = pa.struct([(name, pa.float64()) for name in ROLLING])
_PARTS = pa.struct([(name, pa.float64()) for name in COMPONENTS])

_MEANINGS: dict[str, tuple[str, ...]] = {
    "venue": VENUES,
    "position": POSITIONS,
    "cause": CAUSES,
    "price_kind": PRICE_KINDS,
    "coverage": COVERAGES,
    "time_source": TIME_SOURCES,
}
"""What the small integers of ``LiquidationColumns`` stand for; instrument and asset have their own names."""

_UNTOLD = ("price", "quantity")
"""Columns where NaN means that nobody told."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One kind of stored record: a folder of Parquet files."""

    name: str
    record: type[StoredRecord]
    time: str
    """The column whose UTC day is the partition."""
    schema: pa.Schema


def _dataset(name: str, record: type[StoredRecord], time: str, /, **columns: Any) -> Dataset:
    metadata = {"breakwater.dataset": name, "breakwater.schema": str(SCHEMA_VERSION)}
    return Dataset(name, record, time, pa.schema(list(columns.items()), metadata))


_WHERE = {"venue": _NAME, "instrument": _NAME, "asset": _NAME}
_WHEN = {"event_time": _TIME, "receive_time": _TIME}

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        _dataset(
            "liquidations", Liquidation, "event_time", event_id=_ID, **_WHERE, position=_NAME, cause=_NAME,
            price=_FLOAT, price_kind=_NAME, quantity=_FLOAT, notional_usd=_FLOAT, **_WHEN, coverage=_NAME,
            backfill=_BOOL, time_source=_NAME,
        ),
        _dataset(
            "windows", WindowMetrics, "time", asset=_NAME, window=_NAME, time=_TIME, count=_INT, usd=_FLOAT,
            long_count=_INT, short_count=_INT, long_usd=_FLOAT, short_usd=_FLOAT, adl_count=_INT, adl_usd=_FLOAT,
            floor_usd=_FLOAT, events_per_second=_FLOAT, usd_per_second=_FLOAT, acceleration=_FLOAT,
            usd_acceleration=_FLOAT, venues=pa.map_(_TEXT, _INT), leading_venue=_NAME,
        ),
        _dataset(
            "measures", Measures, "time", asset=_NAME, time=_TIME,
            events=_INT, complete_usd=_FLOAT, floor_usd=_FLOAT, estimate_usd=_FLOAT, largest_share=_FLOAT,
            top5_share=_FLOAT, whale_events=_INT, whale_share=_FLOAT, effective_venues=_FLOAT,
            venue_concentration=_FLOAT,
            events_per_second=_FLOAT, acceleration=_FLOAT, jerk=_FLOAT, usd_per_second=_FLOAT,
            usd_acceleration=_FLOAT, usd_jerk=_FLOAT, floor_usd_per_second=_FLOAT, estimate_usd_per_second=_FLOAT,
            long_events_per_second=_FLOAT, long_acceleration=_FLOAT, long_jerk=_FLOAT, long_usd_per_second=_FLOAT,
            long_usd_acceleration=_FLOAT, short_events_per_second=_FLOAT, short_acceleration=_FLOAT,
            short_jerk=_FLOAT, short_usd_per_second=_FLOAT, short_usd_acceleration=_FLOAT,
            venue_events_per_second=_FIGURES, venue_acceleration=_FIGURES, venue_jerk=_FIGURES,
            venue_usd_per_second=_FIGURES, venue_usd_acceleration=_FIGURES,
            burst_started=_TIME, leading_venue=_NAME, venue_lags=_FIGURES, lead_venues=_NAMES, lag_venues=_NAMES,
            lead_bursts=_FLOATS, lead_seconds=_FLOATS,
            igniters=_NAMES, ignited=_NAMES, ignitions=_FLOATS, ignition_seconds=_FLOATS, wave=_NAMES,
            wave_lags=_FLOATS, active_assets=_INT, breadth_burst=_FLOAT, breadth_watch=_FLOAT,
            breadth_cascade=_FLOAT,
            decayed_long_events=_SCALES, decayed_short_events=_SCALES, decayed_long_usd=_SCALES,
            decayed_short_usd=_SCALES, decayed_floor_usd=_SCALES, decayed_estimate_usd=_SCALES, heat=_FLOAT,
            branching_ratio=_FLOAT, branching_error=_FLOAT, branching_minutes=_FLOAT,
            rolling_15m=_ROLLING, rolling_1h=_ROLLING, rolling_4h=_ROLLING,
            price=_FLOAT, level_prices=_FLOATS, level_usd=_FLOATS, level_shares=_FLOATS, level_long_shares=_FLOATS,
            level_distances=_FLOATS,
            open_interest_usd_per_second=_FLOAT, funding_velocity=_FLOAT, funding_acceleration=_FLOAT,
        ),
        _dataset(
            "cascades", CascadeUpdate, "time", cascade_id=_TEXT, asset=_NAME, state=_NAME, time=_TIME, opened=_TIME,
            started=_TIME, closed=_TIME, side=_NAME, level=_NAME, peak_level=_NAME, score=_FLOAT, peak_score=_FLOAT,
            events=_INT, usd=_FLOAT, long_usd=_FLOAT, short_usd=_FLOAT, adl_events=_INT, adl_usd=_FLOAT,
            venues=pa.list_(_TEXT), entry_lags=pa.list_(_FLOAT), floor=_BOOL, assets=pa.list_(_TEXT),
            asset_lags=pa.list_(_FLOAT), long_usd_by_venue=_FIGURES, short_usd_by_venue=_FIGURES, peaked=_TIME,
            peak_usd_per_second=_FLOAT, heat=_FLOAT, probability=_FIGURES, peak_probability=_FIGURES,
            threshold_usd=_FIGURES,
        ),
        _dataset(
            "signals", Signal, "event_time", signal_id=_TEXT, asset=_NAME, level=_NAME, previous=_NAME, score=_FLOAT,
            components=_PARTS, weights=_PARTS, context=_FIGURES, boosted=_BOOL, side=_NAME,
            events_per_second=_FLOAT, usd_per_second=_FLOAT, acceleration=_FLOAT, window=_NAME, cascade_id=_TEXT,
            **_WHEN, event_id=_TEXT, floor=_BOOL, rules=_NAME, decided_by=_NAME, raw=_FIGURES, full_scale=_FIGURES,
            boost=_FLOAT, capped_event=_FLOAT, usual_events_per_second=_FLOAT, usual_usd_per_second=_FLOAT,
            heat=_FLOAT, probability=_FIGURES, usual_probability=_FIGURES, threshold_usd=_FIGURES, drivers=_FIGURES,
            models=pa.map_(_TEXT, _TEXT),
        ),
        _dataset(
            "open_interest", OpenInterest, "event_time", **_WHERE, quantity=_FLOAT, notional_usd=_FLOAT, **_WHEN,
        ),
        _dataset(
            "funding", Funding, "event_time", **_WHERE, rate=_FLOAT, interval_hours=_FLOAT, annualised=_FLOAT,
            next_time=_TIME, **_WHEN, settled=_BOOL,
        ),
        _dataset("mark_prices", MarkPrice, "event_time", **_WHERE, price=_FLOAT, index_price=_FLOAT, **_WHEN),
        _dataset(
            "trades", Trade, "event_time", trade_id=_TEXT, **_WHERE, taker=_NAME, price=_FLOAT, quantity=_FLOAT,
            notional_usd=_FLOAT, **_WHEN, backfill=_BOOL,
        ),
        _dataset(
            "feeds", FeedStatus, "event_time", venue=_NAME, feed=_NAME, state=_NAME, reason=_TEXT, event_time=_TIME,
            gap_from=_TIME, gap_to=_TIME, reconnects=_INT, dropped=_INT,
        ),
        _dataset(
            "account_events", AccountEvent, "event_time", event_id=_TEXT, **_WHERE, event=_NAME, position=_NAME,
            order_side=_NAME, price=_FLOAT, quantity=_FLOAT, notional_usd=_FLOAT, state=_NAME, remaining=_FLOAT,
            order_id=_TEXT, client_id=_TEXT, detail=_TEXT, **_WHEN,
        ),
        _dataset(
            "executions", ExecutionReport, "time", sequence=_INT, intent_id=_TEXT, pair=_NAME, asset=_NAME, what=_NAME,
            venue=_NAME, instrument=_NAME, client_id=_TEXT, side=_NAME, quantity=_EXACT, price=_EXACT,
            reduce_only=_BOOL, detail=_TEXT, time=_TIME,
        ),
        _dataset(
            "dead_letters", DeadLetter, "receive_time", venue=_NAME, feed=_NAME, reason=_TEXT, raw=pa.binary(),
            receive_time=_TIME,
        ),
    )
}  # fmt: skip
"""Every dataset by its name. Control records are not stored, nor intents: what came of them tells their story."""

_OF_RECORD: dict[type[Any], str | None] = {d.record: d.name for d in DATASETS.values()} | {
    Control: None,
    OrderIntent: None,
}


def dataset_of(record: StoredRecord) -> str | None:
    """The dataset a record is stored in, or nothing where it is not."""
    return _OF_RECORD[type(record)]


def liquidation_table(
    columns: LiquidationColumns, instruments: Sequence[str], assets: Names | Sequence[str]
) -> pa.Table:
    """Forced closes as a table; only the names in use are written."""
    names: dict[str, Any] = {**_MEANINGS, "instrument": instruments, "asset": assets}
    schema = DATASETS["liquidations"].schema
    arrays = []
    for field in schema:
        values = getattr(columns, field.name)
        if field.name in names:
            arrays.append(_named(values, names[field.name]))
        elif field.type == _TIME:
            arrays.append(pa.array(values).cast(_TIME))
        else:
            arrays.append(pa.array(values, from_pandas=field.name in _UNTOLD))
    return pa.Table.from_arrays(arrays, schema=schema)


def _named(codes: NDArray[Any], names: Names | Sequence[str]) -> pa.Array:
    used, indices = np.unique(codes, return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        pa.array(indices.astype(np.int32)), pa.array([names[code] for code in used], pa.string())
    )


def liquidation_columns(table: pa.Table | pa.RecordBatch, instruments: Names, assets: Names) -> LiquidationColumns:
    """The columns of a stored table of forced closes; names new to ``instruments`` and ``assets`` are added."""
    made: dict[str, NDArray[Any]] = {}
    for name, dtype in LIQUIDATION_COLUMNS.items():
        column = table.column(name)
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if name in _MEANINGS or name in {"instrument", "asset"}:
            made[name] = _codes(array, _coder(name, instruments, assets)).astype(dtype)
        elif array.type == _TIME:
            made[name] = array.view(_INT).to_numpy(zero_copy_only=False)
        else:
            made[name] = array.to_numpy(zero_copy_only=False)
    return LiquidationColumns(**made)


def _coder(name: str, instruments: Names, assets: Names) -> Callable[[str], int]:
    if name == "instrument":
        return instruments.code
    return assets.code if name == "asset" else partial(_meaning, name)


def _meaning(column: str, name: str) -> int:
    if name not in _MEANINGS[column]:
        raise HistoryError(f"{column} {name!r} is not known: the file was written by a newer version")
    return _MEANINGS[column].index(name)


def _codes(array: pa.Array, coder: Callable[[str], int]) -> NDArray[Any]:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    meaning = np.array([coder(name) for name in encoded.dictionary.to_pylist()], np.int32)
    indices: NDArray[np.int32] = encoded.indices.to_numpy(zero_copy_only=False)
    return meaning[indices]


def columns_table(dataset: str, columns: Mapping[str, Column]) -> pa.Table:
    """Columns of one dataset as a table: the same as ``table`` of the records they are spelled out as."""
    schema = DATASETS[dataset].schema
    return pa.Table.from_arrays([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    if isinstance(column, Named):
        named = pa.DictionaryArray.from_arrays(pa.array(column.codes, pa.int32()), pa.array(column.names, _TEXT))
        text = named.dictionary_decode()
        return text.dictionary_encode() if pa.types.is_dictionary(kind) else text
    if isinstance(column, Lists):
        return pa.ListArray.from_arrays(_offsets(column.lengths), _array(column.members, kind.value_type))
    if isinstance(column, Maps):
        keys, items = _array(column.keys, kind.key_type), _array(column.values, kind.item_type)
        return pa.MapArray.from_arrays(_offsets(column.lengths), keys, items)
    if isinstance(column, Parts):
        values = [_array(column.values[:, k], part.type) for k, part in enumerate(kind)]
        return pa.StructArray.from_arrays(values, fields=list(kind))
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    plain = pa.array(np.ascontiguousarray(np.ma.getdata(column)), mask=mask)
    return plain if plain.type == kind else plain.cast(kind)


def _offsets(lengths: NDArray[Any]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def table(dataset: str, records: Iterable[StoredRecord]) -> pa.Table:
    """Records of one dataset as a table, in order."""
    rows = list(records)
    arrays = [_column(dataset, field, [getattr(row, field.name) for row in rows]) for field in DATASETS[dataset].schema]
    return pa.Table.from_arrays(arrays, schema=DATASETS[dataset].schema)


def _column(dataset: str, field: pa.Field, values: list[Any]) -> pa.Array:
    if dataset == "liquidations":
        if field.name == "event_id":
            values = [int(value, 16) for value in values]
        elif field.name in _UNTOLD:
            return pa.array(np.array(values, np.float64), from_pandas=True)
    if field.type == _EXACT:
        values = [
            None if value is None else value.quantize(Decimal((0, (1,), -_PLACES)), None, _DIGITS) for value in values
        ]
    if pa.types.is_map(field.type):
        values = [list(value.items()) for value in values]
    return pa.array(values, field.type)


def records(stored: pa.Table | pa.RecordBatch, dataset: str = "") -> list[Any]:
    """The records of a stored table, in order: the inverse of ``table``.

    :arg dataset: its name, where the table carries none in its metadata.
    """
    dataset = dataset or dataset_name(stored.schema)
    made = DATASETS[dataset]
    columns = [_values(dataset, field, stored.column(field.name)) for field in made.schema]
    fields = [field.name for field in made.schema]
    return [made.record(**dict(zip(fields, row, strict=True))) for row in zip(*columns, strict=True)]


def dataset_name(schema: pa.Schema) -> str:
    """The dataset a stored file belongs to; empty where Breakwater did not write it."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return metadata.get(b"breakwater.dataset", b"").decode()


def _values(dataset: str, field: pa.Field, column: Any) -> list[Any]:
    if field.type == _TIME:
        return list(column.cast(_INT).to_pylist())
    values: list[Any] = column.to_pylist()
    if dataset == "liquidations":
        if field.name == "event_id":
            return [f"{value:016x}" for value in values]
        if field.name in _UNTOLD:
            return [float("nan") if value is None else value for value in values]
    return [dict(value) for value in values] if pa.types.is_map(field.type) else values
