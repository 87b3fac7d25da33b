"""Stored tables: what goes in comes out."""

from __future__ import annotations

import math
import types
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batches import LIQUIDATION_COLUMNS, Batch, LiquidationColumns, Names
from schemas.cascades import COMPONENTS
from schemas.errors import HistoryError
from schemas.measures import ROLLING, SCALES
from schemas.records import Control, DeadLetter, Liquidation
from schemas.tables import (
    DATASETS,
    dataset_name,
    dataset_of,
    liquidation_columns,
    liquidation_table,
    records,
    table,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(0, 2**62)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def of_type(kind: Any, name: str) -> st.SearchStrategy[Any]:
    """Any value a field of this type and name may have."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*(of_type(choice, name) for choice in get_args(kind)))
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is list:
        return st.lists(of_type(get_args(kind)[0], name), max_size=3)
    if get_origin(kind) is dict:
        values = of_type(get_args(kind)[1], name)
        if name in {"components", "weights"}:
            return st.fixed_dictionaries(dict.fromkeys(COMPONENTS, values))
        if name.startswith(("rolling_", "decayed_")):
            keys = ROLLING if name.startswith("rolling_") else SCALES
            return st.fixed_dictionaries(dict.fromkeys(keys, values))
        return st.dictionaries(TEXT, values, max_size=3)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT, float: NUMBERS, int: INTEGERS, bool: st.booleans(), bytes: st.binary(max_size=9),
        type(None): st.none(), Decimal: st.decimals(-(10**15), 10**15, places=12),
    }  # fmt: skip
    return plain[kind]


def any_record(record: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any record of this type."""
    hints = get_type_hints(record)
    fields = {name: of_type(hints[name], name) for name in record.__struct_fields__}
    if record is Liquidation:
        fields["event_id"] = st.integers(0, 2**64 - 1).map("{:016x}".format)
        fields["venue"] = st.sampled_from(["binance_usdm", "okx", "pacifica"])
    return st.builds(record, **fields)


@pytest.mark.parametrize("name", DATASETS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_record_stored_and_read_back_is_the_same_record(name: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(any_record(DATASETS[name].record), max_size=4))
    buffer = pa.BufferOutputStream()
    pq.write_table(table(name, rows), buffer)
    stored = pq.read_table(pa.BufferReader(buffer.getvalue()))
    assert dataset_name(stored.schema) == name
    assert records(stored) == rows


@pytest.mark.parametrize("name", DATASETS)
def test_every_field_of_a_record_has_its_column_in_its_order(name: str) -> None:
    assert tuple(DATASETS[name].schema.names) == DATASETS[name].record.__struct_fields__
    assert DATASETS[name].time in DATASETS[name].schema.names


def test_a_file_tells_its_dataset_and_the_version_of_its_schema() -> None:
    assert DATASETS["signals"].schema.metadata == {b"breakwater.dataset": b"signals", b"breakwater.schema": b"1"}


def test_letters_are_stored_and_controls_are_not() -> None:
    assert dataset_of(DeadLetter("okx", "liquidations", "why", b"{", 1)) == "dead_letters"
    assert dataset_of(Control("okx", "ping", "", 1)) is None


def sample() -> Batch:
    assets = Names()
    assets.code("never used")
    columns = LiquidationColumns(
        event_id=np.array([2**64 - 1, 7, 7], np.uint64),
        venue=np.array([0, 2, 17], np.int8),
        instrument=np.array([1, 0, 1], np.int32),
        asset=np.array([assets.code("BTC"), assets.code("PEPE"), 1], np.int32),
        position=np.array([0, 1, 0], np.int8),
        cause=np.array([0, 1, 2], np.int8),
        price=np.array([82651.9, math.nan, 3.5]),
        price_kind=np.array([0, 2, 1], np.int8),
        quantity=np.array([0.19, math.nan, 1e9]),
        notional_usd=np.array([15703.861, 30000.0, 3.5e9]),
        event_time=np.array([1791565602120000001, 0, 1], np.int64),
        receive_time=np.array([1791565602163456789, 5, 1], np.int64),
        coverage=np.array([1, 0, 2], np.int8),
        backfill=np.array([False, True, False]),
        time_source=np.array([0, 1, 3], np.int8),
    )
    return Batch(columns, ["1000PEPEUSDT", "BTCUSDT"], assets)


def test_columns_stored_and_read_back_are_the_same_to_the_bit() -> None:
    batch = sample()
    instruments, assets = Names(), Names()
    stored = liquidation_table(batch.liquidations, batch.instruments, batch.assets)
    columns = liquidation_columns(stored, instruments, assets)
    for name, dtype in LIQUIDATION_COLUMNS.items():
        if name not in {"instrument", "asset"}:
            ours, theirs = getattr(batch.liquidations, name), getattr(columns, name)
            assert theirs.dtype == dtype, name
            assert theirs.tobytes() == ours.tobytes(), name
    assert [instruments[code] for code in columns.instrument] == ["BTCUSDT", "1000PEPEUSDT", "BTCUSDT"]
    assert [assets[code] for code in columns.asset] == ["BTC", "PEPE", "BTC"]


def test_columns_and_records_make_the_same_table() -> None:
    batch = sample()
    from_columns = liquidation_table(batch.liquidations, batch.instruments, batch.assets)
    from_records = table("liquidations", [batch.liquidation(row) for row in range(3)])
    assert from_columns.schema == from_records.schema
    for name in from_columns.column_names:
        theirs, ours = (
            t[name].cast(pa.int64()) if "time" in name and name != "time_source" else t[name]
            for t in (from_records, from_columns)
        )
        assert ours.to_pylist() == theirs.to_pylist(), name


def test_what_nobody_told_is_null_and_never_zero() -> None:
    batch = sample()
    stored = liquidation_table(batch.liquidations, batch.instruments, batch.assets)
    assert stored["price"].to_pylist() == [82651.9, None, 3.5]
    assert stored["quantity"].to_pylist() == [0.19, None, 1e9]
    assert math.isnan(records(stored)[1].price)


def test_only_names_in_use_are_written() -> None:
    batch = sample()
    stored = liquidation_table(batch.liquidations, batch.instruments, batch.assets)
    assert stored["asset"].chunk(0).dictionary.to_pylist() == ["BTC", "PEPE"]


def test_a_venue_of_a_newer_version_is_refused_and_not_guessed() -> None:
    batch = sample()
    stored = liquidation_table(batch.liquidations, batch.instruments, batch.assets)
    newer = stored.set_column(1, stored.schema.field("venue"), pa.array(["nowhere"] * 3).dictionary_encode())
    with pytest.raises(HistoryError, match=r"venue .nowhere. is not known.*newer version"):
        liquidation_columns(newer, Names(), Names())
