"""The command line as its users meet it: real processes, their exit codes, stdout apart from stderr."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from connectors.exchange import Endpoints, Frame
from connectors.instruments import read_instruments
from connectors.recording import FrameWriter
from flows.cli import main
from flows.configuration import template
from flows.doctor import examine
from flows.instruments import as_lines, asked, listed, snapshot
from flows.pipe import normalise
from schemas.clock import system_clock
from schemas.errors import ConnectionLost, UsageError
from schemas.records import VENUES

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "flows.cli"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")},
    "PYTHONPATH": str(ROOT),
    "TERM": "dumb",
    "COLUMNS": "200",
}
LIQUIDATION = (
    '{"e":"forceOrder","E":1700000000500,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"2","p":"30000",'
    '"ap":"30010.5","X":"FILLED","l":"2","z":"2","T":1700000000123}}'
)
ACKNOWLEDGEMENT = '{"result":null,"id":1}'
CONTRACT = '{"instrument":"BTCUSDT","asset":"BTC","contract_size":1.0,"contract_unit":"base"}'
PERPETUAL = {
    "symbol": "1000PEPEUSDT", "baseAsset": "1000PEPE", "quoteAsset": "USDT", "marginAsset": "USDT",
    "contractType": "PERPETUAL", "status": "TRADING",
    "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.0000001"}],
}  # fmt: skip


def converted(file: Path, contracts: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What ``normalise`` makes of a file: records and notes."""
    out, notes = io.BytesIO(), list[str]()
    normalise("binance_usdm", file, out, notes.append, Path(contracts))
    return [json.loads(row) for row in out.getvalue().splitlines()], notes


Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def breakwater(tmp_path: Path) -> Run:
    """``breakwater("sql", ..., input="", env={})`` in an empty directory."""

    def run(*arguments: str, told: str = "", **env: str) -> Done:
        return subprocess.run(  # noqa: S603 - our own program
            [*COMMAND, *arguments], input=told, capture_output=True, text=True, cwd=tmp_path,
            env={**ENVIRONMENT, **env}, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def contracts(tmp_path: Path) -> str:
    file = tmp_path / "contracts.jsonl"
    file.write_text(CONTRACT + "\n")
    return str(file)


def test_help_is_quick_and_names_every_command(breakwater: Run) -> None:
    started = time.perf_counter()
    done = breakwater("--help")
    took = time.perf_counter() - started
    assert done.returncode == 0
    for command in [
        "demo",
        "run",
        "record",
        "replay",
        "normalise",
        "sql",
        "config",
        "doctor",
        "version",
        "instruments",
    ]:
        assert f" {command} " in done.stdout
    assert took < 2.5, "0.5 s on an idle machine"


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pydantic", "duckdb", "bytewax", "structlog", "pyarrow", "numba", "httpx2"}
    code = f"import sys, flows.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def test_version_as_json(breakwater: Run) -> None:
    versions = json.loads(breakwater("version", "--json").stdout)
    assert versions["breakwater"] == version("breakwater")
    assert versions["python"] == sys.version.split()[0]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["normalise", "bynance_usdm"], "no venue 'bynance_usdm'; did you mean 'binance_usdm'"),
        (["run", "--venue", "qqqq"], "no venue 'qqqq'; there are binance_usdm, "),
        (["record", "--out", "x"], "--venue"),
        (["replay", "nowhere.zst"], "nowhere.zst"),
        (["demo", "--duration", "soon"], "--duration"),
        (["sql", "from x", "--format", "xml"], "--format"),
        (["replay", __file__, "--speed", "0"], "'0' is neither max nor a positive number"),
        (["run", "--asset", "qqqq"], "no common asset 'qqqq'"),
        (["nonsense"], "nonsense"),
        (["config", "show", "--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors_are_two_and_on_stderr(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["breakwater", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert complaint in " ".join(told.err.replace("│", " ").split())
    assert told.out == ""


def test_a_bad_setting_is_two_and_one_line(breakwater: Run) -> None:
    done = breakwater("config", "check", BREAKWATER_WINDOWS__TIKC="1s")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: env: unknown setting 'BREAKWATER_WINDOWS__TIKC'; did you mean 'BREAKWATER_WINDOWS__TICK'?\n"
    )


def test_config_says_values_and_origins(breakwater: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[windows]\ntick = "50ms"\n')
    done = breakwater("--config", "mine.toml", "config", "show", BREAKWATER_VENUES__PROXY="http://u:hunter2@p:1")
    rows = {row.split()[0]: row.split(maxsplit=1)[1] for row in done.stdout.splitlines()}
    assert rows["windows.tick"] == '"50ms"  (mine.toml)'
    assert rows["venues.proxy"] == '"**********"  (env)'
    assert rows["log.level"] == '"info"  (default)'
    shown = json.loads(breakwater("--config", "mine.toml", "config", "show", "--json").stdout)
    assert shown["windows.tick"] == {"value": "50ms", "origin": "mine.toml"}


def test_config_init_writes_a_file_that_is_fine(breakwater: Run, tmp_path: Path) -> None:
    assert breakwater("config", "init").returncode == 0
    done = breakwater("config", "check")
    assert done.stdout.startswith("fine: breakwater.toml, 0 of ")
    assert (tmp_path / "breakwater.toml").read_text() == template()
    again = breakwater("config", "init")
    assert (again.returncode, again.stderr) == (2, "error: breakwater.toml exists; --force replaces it\n")


def test_normalise_writes_a_record_per_line_in_arrival_order(tmp_path: Path, contracts: str) -> None:
    file = tmp_path / "force_order.jsonl"
    file.write_text(f"{ACKNOWLEDGEMENT}\n{LIQUIDATION}\n\nnot json\n{LIQUIDATION}")
    records, notes = converted(file, contracts)
    assert [r["kind"] for r in records] == ["control", "liquidation", "dead_letter", "liquidation"]
    first = records[1]
    assert (first["asset"], first["position"], first["quantity"]) == ("BTC", "long", 2.0)
    assert (first["price"], first["notional_usd"]) == (30010.5, 60021.0)
    assert first["event_time"] == first["receive_time"] == 1_700_000_000_123_000_000
    assert notes == [
        f"{file} tells no receive time: each record carries its event time instead",
        "1 of 4 frames hold a dead letter; each says its reason",
    ]


def test_normalise_reads_gzip(tmp_path: Path, contracts: str) -> None:
    """... and knows the given instruments only."""
    file = tmp_path / "frames.jsonl.gz"
    other = LIQUIDATION.replace("BTCUSDT", "ETHUSDT")
    file.write_bytes(gzip.compress(f"{LIQUIDATION}\n{ACKNOWLEDGEMENT}\n{other}\n".encode()))
    records, _ = converted(file, contracts)
    assert [record["kind"] for record in records] == ["liquidation", "control", "dead_letter"]
    assert records[2]["reason"].startswith("instrument 'ETHUSDT' is not known on binance_usdm")


def test_a_file_that_cannot_be_read_is_a_failure_told_in_one_line(breakwater: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^nowhere.jsonl: there is no such file"):
        normalise("bybit", Path("nowhere.jsonl"), io.BytesIO(), print)
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"x" * 1000)[:-4] + b"abcd")
    done = breakwater("normalise", "bybit", "broken.gz")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: broken.gz cannot be read: ")


def test_normalise_reads_recordings_of_many_venues(tmp_path: Path, contracts: str) -> None:
    """Only the named venue's frames, with the times they were received at."""
    file = tmp_path / "r.frames.zst"
    received = 1_700_000_000_200_000_000
    writer = FrameWriter(file, lambda: received)
    writer.write([Frame("binance_usdm", "market", LIQUIDATION.encode(), received), Frame("okx", "x", b"{}", received)])
    writer.close()
    (record,), notes = converted(file, contracts)
    assert (record["event_time"], record["receive_time"]) == (1_700_000_000_123_000_000, received)
    assert notes == []


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_normalise_answers_a_frame_before_the_next_comes_and_ctrl_c_is_one_line(
    contracts: str, ending: signal.Signals
) -> None:
    with started("normalise", "binance_usdm", "-", "--instruments", contracts) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"{LIQUIDATION}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["asset"] == "BTC"
        process.send_signal(ending)
        assert process.wait(10) == 130
        assert process.stderr.read().splitlines()[1:] == ["interrupted"]


def test_a_reader_that_leaves_is_no_failure(contracts: str) -> None:
    with started("normalise", "binance_usdm", "-", "--instruments", contracts) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(f"{LIQUIDATION}\n" * 10)
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr.read().splitlines()[1:] == []


def test_instruments_are_printed_the_way_they_are_read(breakwater: Run) -> None:
    done = breakwater("instruments", "binance_usdm", "-", told=json.dumps({"symbols": [PERPETUAL]}))
    assert json.loads(done.stdout) == {
        "instrument": "1000PEPEUSDT", "asset": "1000PEPE", "contract_size": 1.0, "contract_unit": "base",
        "quote": "USDT", "settle": "USDT", "tick": 1e-7,
    }  # fmt: skip
    (known,) = read_instruments("binance_usdm", done.stdout.encode().splitlines(), "told")
    assert (known.asset, known.tick) == ("1000PEPE", 1e-7)
    with pytest.raises(UsageError, match=r"no answer of binance_usdm to /fapi/v1/exchangeInfo: KeyError"):
        listed("binance_usdm", b"{}")


def test_a_built_in_listing_reads_back_as_itself() -> None:
    for venue in VENUES:
        lines = as_lines(snapshot(venue)).splitlines()
        assert tuple(read_instruments(venue, lines, "told")) == snapshot(venue)


def test_a_venue_can_be_asked_and_says_why_not() -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"symbols": [PERPETUAL]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        here = Endpoints("ws://127.0.0.1", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        found = asked("binance_usdm", lambda: 1, endpoints=here)
        server.shutdown()
        thread.join()
    assert [i.instrument for i in found] == ["1000PEPEUSDT"]
    with pytest.raises(ConnectionLost, match=r"^binance_usdm: "):
        asked("binance_usdm", lambda: 1, endpoints=here)


def test_doctor_finds_this_machine_fit_and_leaves_nothing_behind(breakwater: Run, tmp_path: Path) -> None:
    done = breakwater("doctor", "--json", "--data-dir", "made/up")
    findings = {f["subject"]: f for f in json.loads(done.stdout)}
    assert done.returncode == int(any(f["verdict"] == "FAIL" for f in findings.values()))
    for subject in ["python", "clock", "loopback", "data directory", "bytewax", "duckdb"]:
        assert findings[subject]["verdict"] == "OK", findings[subject]
    assert {"disk", "extras", "window kernel"} <= set(findings)
    assert all(f["fix"] for f in findings.values() if f["verdict"] != "OK"), "each says the fix"
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_where_history_could_not_be_written_or_the_clock_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = next(f for f in examine(tmp_path / "file" / "below", system_clock) if f.subject == "data directory")
    assert found.verdict == "FAIL"
    assert "BREAKWATER_DATA_DIR" in found.fix
    found = next(f for f in examine(tmp_path, lambda: 0) if f.subject == "clock")
    assert (found.verdict, found.found) == ("FAIL", "1970-01-01 00:00:00 UTC")


def test_parquet_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    driver, terminal = pty.openpty()
    done = subprocess.run(  # noqa: S603 - our own program
        [*COMMAND, "sql", "from x", "--format", "parquet"], stdin=subprocess.DEVNULL, stdout=terminal,
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60, check=False,
    )  # fmt: skip
    os.close(terminal)
    os.close(driver)
    assert done.returncode == 2
    assert "add > FILE.parquet" in done.stderr
