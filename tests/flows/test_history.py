"""The commands over the history, and times as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app
from flows.moments import moment
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.errors import UsageError
from schemas.records import OpenInterest
from sinks.parquet import ParquetHistory

NOON = 1_795_262_400_000_000_000
"""2026-11-21 12:00 UTC."""
OCTOBER = 1_760_054_400 * SECOND
"""2025-10-10 00:00 UTC."""


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("now", NOON),
        ("-1h", NOON - HOUR),
        ("-1.5m", NOON - 90 * SECOND),
        ("2025-10-10", OCTOBER),
        ("2025-10-10T21:15:00Z", OCTOBER + 21 * HOUR + 15 * MINUTE),
        ("2025-10-10T21:15", OCTOBER + 21 * HOUR + 15 * MINUTE),
        ("2025-10-10T21:15:00+02:00", OCTOBER + 19 * HOUR + 15 * MINUTE),
        ("2025-10-10 21:15:00.000001", OCTOBER + 21 * HOUR + 15 * MINUTE + 1_000),
    ],
)
def test_times_are_read_as_people_type_them(text: str, time: int) -> None:
    assert moment(text, NOON) == time


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1h", "2025-13-01", "10.10.2025"])
def test_what_is_no_time_is_said_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is no time: write 2025-10-10, 2025-10-10T21:15:00Z, -1h or now"):
        moment(text, NOON)


def breakwater(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_history_is_compacted_exported_and_retained_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history = ParquetHistory(tmp_path / "data", "one")
    for number in range(4):
        time = OCTOBER + number * 12 * HOUR
        history.add(OpenInterest("okx", "BTC-USDT-SWAP", "BTC", float(number), 1e6, time, time))
        history.flush()
    done = breakwater("compact", "--now", "--json")
    assert (done.exit_code, json.loads(done.stdout)["rows"]) == (0, 4)
    chosen = ["--dataset", "open_interest", "--from", "2025-10-10T12:00:00Z", "--to", "2025-10-11", "--asset", "btc"]
    done = breakwater("export", *chosen, "--format", "json", "-o", "oi.json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith("  oi.json  1 rows\n")
    assert [row["quantity"] for row in json.loads((tmp_path / "oi.json").read_text())] == [1.0]
    assert json.loads((tmp_path / "oi.json.manifest.json").read_text())["rows"] == 1
    assert "every day is kept" in breakwater("retain").stdout
    assert breakwater("retain", "--keep", "90d").stdout.startswith("2 days before ")
    refused = breakwater("compact", "--before", "2999-01-01")
    assert (refused.exit_code, "only days that are over" in refused.stderr) == (2, True)
