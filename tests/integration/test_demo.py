"""The whole job as processes: simulated venues, sockets, scoring, history, readers, and every way to end it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from schemas.records import VENUES
from schemas.tables import DATASETS
from tests.integration.processes import (
    assert_is_the_truth,
    breakwater,
    children,
    ended,
    is_alive,
    one_object,
    rows,
    started,
    truth,
    until,
)

SEED, DURATION = 7, 12
DEMO = ("demo", "--duration", DURATION, "--seed", SEED, "--headless", "--json", "--data-dir")
QUICK_FLUSH = {"BREAKWATER_HISTORY__FLUSH": "400ms"}
VIEWS = (*(name for name in DATASETS if name != "cascades"), "cascades", "cascade_updates", "liquidations_1m")


def counted(data_dir: Path, demo: subprocess.Popen[str]) -> list[int]:
    """How many forced closes ``breakwater sql`` finds, asked again and again while the demo runs."""
    until(lambda: list(data_dir.glob("history/liquidations/dt=*/part-*")), 60, demo)
    found = []
    while demo.poll() is None:
        asked = breakwater(
            "sql", "SELECT count(*), sum(notional_usd) FROM liquidations", "--format", "json", "--data-dir", data_dir,
            cwd=data_dir.parent,
        )  # fmt: skip
        assert (asked.returncode, asked.stderr) == (0, "")
        found.append(int(json.loads(asked.stdout)[0]["count_star()"]))
        sleep(0.3)
    return found


def test_a_demo_keeps_all_its_venues_told_while_others_read_and_does_the_same_again(tmp_path: Path) -> None:
    """Two runs of one seed, side by side; three readers ask the history of the first all the while."""
    first, second = tmp_path / "first", tmp_path / "second"
    demos = [started(*DEMO, first, cwd=tmp_path, **QUICK_FLUSH), started(*DEMO, second, cwd=tmp_path)]
    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(counted, first, demos[0]) for _ in range(3)]
        outcomes = [pool.submit(ended, demo) for demo in demos]
    for outcome, data_dir in zip(outcomes, (first, second), strict=True):
        done = outcome.result()
        assert done.returncode == 0, done.stderr
        report = one_object(done.stdout)
        assert_is_the_truth(data_dir, truth(SEED, DURATION))
        assert_report_is_of(report, data_dir)
        assert "Traceback" not in done.stderr
        assert "panicked" not in done.stderr
    kept = "SELECT venue, instrument, position, cause, quantity FROM liquidations WHERE venue <> 'bitmex' ORDER BY ALL"
    assert rows(first, kept) == rows(second, kept)
    for reader in readers:
        counts = reader.result()
        assert counts == sorted(counts), "rows once seen went away"
        assert counts[-1] > counts[0], "nothing arrived while reading"
    assert_every_view_answers(first)


def assert_report_is_of(report: dict[str, object], data_dir: Path) -> None:
    """The figures of the JSON object are those of the history."""
    known = truth(SEED, DURATION).told()
    assert report["dead_letters"] == report["duplicates"] == report["gaps"] == 0
    assert report["adl"] == sum(close.cause == "adl" for close in known) > 0
    assert report["events"] == sum(close.cause != "adl" for close in known) > 300
    per_venue = rows(data_dir, "SELECT venue, count(*) FROM liquidations GROUP BY venue ORDER BY venue")
    assert report["by_venue"] == dict(per_venue)
    assert rows(data_dir, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert [(report["signals"],)] == rows(data_dir, "SELECT count(*) FROM signals")
    assert [(report["cascades"],)] == rows(data_dir, "SELECT count(*) FROM cascades")
    assert report["cascades"] > 0  # type: ignore[operator]  # JSON
    assert report["files"] == len(list(data_dir.glob("history/*/dt=*/part-*.parquet")))
    assert_pair_was_saved(report["paper_pair"])
    orders = "SELECT venue, side, reduce_only FROM executions WHERE what = 'prepared' ORDER BY sequence"
    assert ("hyperliquid", "buy", True) in rows(data_dir, orders)
    assert all(reduce_only for _, _, reduce_only in rows(data_dir, orders))
    latency = report["latency_ms"]
    assert isinstance(latency, dict)
    assert 0 < latency["p50"] <= latency["p99"]


def assert_pair_was_saved(pair: object) -> None:
    """The cascade took the long leg, the executor flattened the short, and the book ends better than one left alone.

    The short that is left alone gives back what the price recovers; the market is the seed's, so is the order of both.
    """
    assert isinstance(pair, dict)
    assert (pair["opened"], pair["hit"], pair["reason"]) == (True, "aster", "LIQUIDATION_ASTER")
    assert pair["path"] in {"private_notice", "own_fill"}
    assert 0 < pair["detection_ms"] < pair["flat_ms"] < 5_000
    # The long is gone with at most its margin of 20,000 / 6; the short was worth more at the bottom than at the end.
    assert -3_400 < pair["idle_pnl_usd"] < pair["pnl_usd"] < 3_400


def assert_every_view_answers(data_dir: Path) -> None:
    """One question per view through the command itself, each with the columns and rows the view has."""
    query = " UNION ALL ".join(f"SELECT '{view}' AS name, count(*) AS n FROM {view}" for view in VIEWS)  # noqa: S608 - our own names
    asked = breakwater("sql", query, "--format", "json", "--data-dir", data_dir, cwd=data_dir.parent)
    assert asked.returncode == 0, asked.stderr
    counts = {row["name"]: int(row["n"]) for row in json.loads(asked.stdout)}
    assert set(counts) == set(VIEWS)
    assert {name for name, count in counts.items() if not count} == {
        "account_events", "dead_letters", "mark_prices", "trades",
    }, "marks and trades are not kept unless asked for"  # fmt: skip
    assert counts["cascade_updates"] >= counts["cascades"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_a_readable_history_and_nobody_behind(
    tmp_path: Path, ending: signal.Signals
) -> None:
    """Ctrl-C reaches the whole process group, as from a terminal; SIGTERM one process, as from a supervisor."""
    kept = tmp_path / "kept"
    arguments = ("demo", "--duration", 60, "--seed", SEED, "--headless", "--json", "--data-dir", kept)
    demo = started(*arguments, cwd=tmp_path, **QUICK_FLUSH)
    until(lambda: list(kept.glob("history/liquidations/dt=*/part-*")), 30, demo)
    (simulator,) = children(demo.pid)
    ports = listening(simulator)
    assert len(ports) == 1
    if ending is signal.SIGINT:
        os.killpg(demo.pid, ending)
    else:
        demo.send_signal(ending)
    done = ended(demo, within=10)
    assert done.returncode == 130, done.stderr
    assert not is_alive(simulator)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    report = one_object(done.stdout)
    stored = rows(kept, "SELECT count(*) FILTER (cause <> 'adl'), count(*) FROM liquidations")
    assert stored == [(report["events"], report["events"])]
    assert stored[0][0] > 0
    assert report["gaps"] == report["dead_letters"] == 0, "the venues go after the sockets are closed"
    last = "SELECT venue, feed, arg_max(state, event_time) AS state FROM feeds GROUP BY ALL HAVING state <> 'closed'"
    assert rows(kept, last) == []


def listening(pid: int) -> list[int]:
    """The TCP ports a process listens at on 127.0.0.1."""
    held = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    table = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [int(line[1].split(":")[1], 16) for line in table if line[3] == "0A" and f"socket:[{line[9]}]" in held]


def test_venues_that_cannot_be_reached_are_told_with_a_reason_and_stop_nothing(tmp_path: Path) -> None:
    """Nobody listens at any gateway; ``run`` goes on, ends when its time is over, and says so of every venue."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        gateways = ",".join(f"{venue}={nobody}/{venue}" for venue in VENUES)
        arguments = ("run", "--duration", 3, "--headless", "--data-dir", "kept")
        runs = [
            started(*arguments, cwd=tmp_path, BREAKWATER_VENUES__GATEWAYS=gateways),
            started(
                *arguments[:-1], "one", "--venue", "bybit", "--asset", "BTC",
                cwd=tmp_path, BREAKWATER_VENUES__GATEWAYS=gateways,
            ),
        ]  # fmt: skip
        done = [ended(run) for run in runs]
    assert [d.returncode for d in done] == [0, 0]
    assert "forced closes" in done[0].stdout
    unreachable = "SELECT DISTINCT venue FROM feeds WHERE state = 'unreachable' AND reason <> ''"
    assert {venue for (venue,) in rows(tmp_path / "kept", unreachable)} == set(VENUES) - {"pacifica"}
    assert {venue for (venue,) in rows(tmp_path / "one", "SELECT DISTINCT venue FROM feeds")} == {"bybit"}
