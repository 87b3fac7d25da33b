"""Questions: answered in four formats, allowed to read the history and nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from schemas.errors import HistoryError, UsageError
from schemas.records import Liquidation
from sinks import query as querying
from sinks.parquet import ParquetHistory
from sinks.prompt import prompt
from sinks.query import Format, query

Make = Callable[..., Liquidation]
COLUMNS = "SELECT event_id, price, event_time, backfill FROM liquidations ORDER BY event_id"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """A history of two forced closes, one without a price; only read."""
    root = tmp_path_factory.mktemp("asked")
    history = ParquetHistory(root / "data")
    history.add(make(1, notional_usd=1_234_567.891))
    history.add(make(2, price=float("nan"), position="short"))
    history.close()
    return root / "data"


def ask(data_dir: Path, sql: str, format: Format = "csv") -> bytes:
    out = io.BytesIO()
    query(data_dir, sql, format, out)
    return out.getvalue()


def test_csv_is_one_line_a_row_and_empty_where_untold(data_dir: Path) -> None:
    assert ask(data_dir, COLUMNS).decode().splitlines() == [
        "event_id,price,event_time,backfill",
        "0000000000000001,80000.0,2026-11-21 12:00:00,false",
        "0000000000000002,,2026-11-21 12:00:00,false",
    ]


def test_json_is_an_array_with_one_object_a_line(data_dir: Path) -> None:
    answer = ask(data_dir, COLUMNS, "json")
    assert json.loads(answer)[1] == {
        "event_id": "0000000000000002", "price": None, "event_time": "2026-11-21 12:00:00", "backfill": False,
    }  # fmt: skip
    assert len(answer.decode().splitlines()) == 4
    assert json.loads(ask(data_dir, "FROM signals", "json")) == []


def test_json_stays_json_where_a_number_is_not_finite(data_dir: Path) -> None:
    not_finite = "SELECT 'nan'::DOUBLE AS \"a \"\"b\", 'inf'::DOUBLE AS c, 1.5 AS d"
    answer = ask(data_dir, not_finite, "json")
    assert json.loads(answer) == [{'a "b': None, "c": None, "d": 1.5}]


def test_parquet_keeps_types(data_dir: Path, tmp_path: Path) -> None:
    query(data_dir, COLUMNS, "parquet", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "double", "timestamp[us]", "bool"]
    assert table["price"].to_pylist() == [80_000.0, None]


def test_a_table_is_for_people(data_dir: Path) -> None:
    shown = ask(data_dir, "SELECT position, notional_usd, price FROM liquidations ORDER BY ALL", "table").decode()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert rows == [["long", "1,234,567.89", "80,000.00"], ["short", "40,000.00", "-"]]


def test_a_table_stops_where_nobody_reads_on_and_turns_where_it_is_too_wide(data_dir: Path) -> None:
    assert ask(data_dir, "FROM range(101)", "table").decode().endswith(
        "the first 100 rows; format csv, json or parquet gives all\n"
    )  # fmt: skip
    assert "the first" not in ask(data_dir, "FROM range(100)", "table").decode()
    wide = ask(
        data_dir, "SELECT * REPLACE (repeat('x', 150) AS venue) FROM liquidations ORDER BY event_id LIMIT 1", "table"
    ).decode()
    assert "notional_usd  1,234,567.89\n" in wide
    assert ask(data_dir, "FROM signals", "table").decode().endswith("no rows\n")


def test_many_rows_come_as_a_stream_in_order(data_dir: Path) -> None:
    rows = list(csv.reader(io.StringIO(ask(data_dir, "SELECT range AS n FROM range(25_000)").decode())))
    assert rows == [["n"], *([str(n)] for n in range(25_000))]
    assert json.loads(ask(data_dir, "FROM range(25_000) t(n)", "json")) == [{"n": n} for n in range(25_000)]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1; SELECT 2",
        "SET threads = 1",
        "INSTALL httpfs",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '{dir}/history/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{dir}/history/x.csv'",
        "WITH x AS (COPY (SELECT 1) TO '{dir}/history/x.csv') SELECT 1",
        "WITH y AS (WITH x AS (COPY (SELECT 1) TO '{dir}/history/x.csv') SELECT 1) SELECT * FROM y",
        "FROM query('WITH x AS (COPY (SELECT 1) TO ''{dir}/history/x.csv'') SELECT 1')",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "ATTACH '{dir}/other.db'",
    ],
)
def test_only_one_select_is_answered(data_dir: Path, sql: str) -> None:
    with pytest.raises(UsageError):
        ask(data_dir, sql.replace("{dir}", str(data_dir)))
    assert not (data_dir / "history" / "x.csv").exists()


@pytest.mark.parametrize(
    "source",
    [
        "read_text('{dir}/../secret')",
        "read_text('{dir}/history/../../secret')",
        "read_csv('{dir}/../secret')",
        "'{dir}/../secret.parquet'",
        "glob('{dir}/../*')",
        "sniff_csv('{dir}/../secret')",
        "connection",
    ],
)
def test_no_other_file_is_read(data_dir: Path, source: str) -> None:
    (data_dir.parent / "secret").write_text("secret\n")
    with pytest.raises(UsageError):
        ask(data_dir, "FROM " + source.replace("{dir}", str(data_dir)))


def test_the_history_itself_may_be_read_as_files(data_dir: Path) -> None:
    files = f"{data_dir}/history/liquidations/dt=*/part-*.parquet"
    assert ask(data_dir, f"FROM '{files}' SELECT count(*) AS n") == b"n\n2\n"


def test_a_mistake_is_told_in_duckdbs_words_with_what_there_is(data_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)nope does not exist.*views: account_events, .*liquidations_1m"):
        ask(data_dir, "FROM nope")
    with pytest.raises(UsageError, match="syntax error at or near"):
        ask(data_dir, "SELEC 1")
    with pytest.raises(UsageError, match='column "sied" not found'):
        ask(data_dir, "SELECT sied FROM liquidations")
    with pytest.raises(UsageError, match="choose from table, csv, json, parquet"):
        query(data_dir, "SELECT 1", "xml")  # type: ignore[arg-type] # what is tried


def test_a_place_that_cannot_be_written_is_named(data_dir: Path) -> None:
    with pytest.raises(HistoryError, match=r"cannot write .*absent/out.csv: No such file"):
        query(data_dir, "SELECT 1", "csv", data_dir / "absent" / "out.csv")


@pytest.mark.parametrize(("times", "answered"), [(1, True), (4, True), (5, False)])
def test_a_file_compacted_away_is_no_error_the_first_times(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, times: int, answered: bool
) -> None:
    texts, left = querying._texts, iter(range(times))

    def vanishing(relation: Any) -> Iterator[Any]:
        if next(left, None) is not None:
            raise duckdb.IOException('Cannot open file "part-x.parquet": No such file or directory')
        yield from texts(relation)

    monkeypatch.setattr(querying, "_texts", vanishing)
    if answered:
        assert ask(data_dir, "SELECT count(*) AS n FROM liquidations") == b"n\n2\n"
    else:
        with pytest.raises(HistoryError, match="compacted away while reading, 5 times"):
            ask(data_dir, "SELECT count(*) AS n FROM liquidations")


def typed(data_dir: Path, *lines: str) -> list[str]:
    """What the prompt says to lines typed one after the other."""
    out, waiting = io.BytesIO(), iter(lines)

    def read(_: str) -> str:
        line = next(waiting, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    prompt(data_dir, out, read)
    return out.getvalue().decode().splitlines()


def test_the_prompt_answers_until_the_end_of_input(data_dir: Path) -> None:
    said = "\n".join(typed(data_dir, "select count(*) as n", "from liquidations;", "from nope", "", "select 42 as m"))
    assert "│ 2 │" in said
    assert "nope does not exist" in said
    assert "│ 42 │" in said


def test_the_prompt_lists_views_and_columns_and_ends_when_told(data_dir: Path) -> None:
    assert "liquidations_1m" in typed(data_dir, ".views")
    assert "notional_usd" in "\n".join(typed(data_dir, ".schema liquidations"))
    assert "nope does not exist" in "\n".join(typed(data_dir, ".schema nope"))
    assert "42" not in "\n".join(typed(data_dir, ".quit", "select 42"))


def test_the_prompt_takes_a_statement_over_lines_and_forgets_an_interrupted_one(data_dir: Path) -> None:
    assert "│ 43 │" in "\n".join(typed(data_dir, "select", "  40 + 3", "as n"))
    assert "│ 44 │" in "\n".join(typed(data_dir, "select (", "^C", "select 44 as n;"))
