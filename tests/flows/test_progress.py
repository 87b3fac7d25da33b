"""A bar for people, on a terminal only; what passes through is unchanged."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from flows.progress import done, rows_of, shown, size


def test_pieces_pass_unchanged_and_a_terminal_sees_files_and_rows(tmp_path: Path) -> None:
    files = [tmp_path / "one.parquet", tmp_path / "two.frames"]
    pq.write_table(pa.table({"a": list(range(40))}), files[0])
    files[1].write_bytes(b"x" * 500)

    def read(file: Path) -> Iterator[list[int]]:
        yield from ([0] * 10 for _ in range(4 if file == files[0] else 1))

    def told(terminal: bool) -> str:
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100)
        assert [len(piece) for piece in shown(files, read, len, console)] == [10] * 5
        return out.getvalue()

    assert told(terminal=False).strip() == ""
    bar = told(terminal=True)
    assert "two.frames (2/2)" in bar
    assert "50 rows" in bar


def test_what_a_replay_makes_itself_is_not_counted(tmp_path: Path) -> None:
    for dataset in ("liquidations", "windows"):
        folder = tmp_path / "history" / dataset / "dt=2026-01-01"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"a": [1, 2, 3]}), folder / "a.parquet")
    assert rows_of(tmp_path) == 3
    assert size(tmp_path) == (tmp_path / "history/liquidations/dt=2026-01-01/a.parquet").stat().st_size


def test_results_come_as_they_are() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    assert list(done(iter([3, 1, 2]), 3, "settings", console)) == [3, 1, 2]
    assert "3/3" in out.getvalue()
