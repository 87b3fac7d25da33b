"""The ``breakwater`` command as a real process, the way a shell starts it, and the truth its simulated venues tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from connectors.simulator.market import Close, Market, simulate
from connectors.simulator.truth import Truth, tell
from sinks.duckdb import connect

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "flows.cli"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")},
    "PYTHONPATH": str(ROOT),
    "TERM": "dumb",
    "COLUMNS": "200",
}
_PRICE_AGE = 3
"""Seconds the last price of a coin may be old where contracts are paid in it: the machine is shared."""

Done = subprocess.CompletedProcess[str]
Key = tuple[str, str, str, str]
"""Venue, symbol, position, cause."""


def started(*arguments: object, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """A command at work in a process group of its own, as in a terminal; stdout and stderr apart."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        env={**ENVIRONMENT, **env}, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], within: float = 60.0) -> Done:
    """What a command said and returned."""
    with process:
        try:
            out, err = process.communicate(timeout=within)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def breakwater(*arguments: object, cwd: Path, **env: str) -> Done:
    """A command from its start to its end."""
    return ended(started(*arguments, cwd=cwd, **env))


def one_object(text: str) -> dict[str, Any]:
    """The only line of a text, a JSON object."""
    (line,) = text.splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


def rows(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    """The answer of the history."""
    with connect(data_dir) as history:
        found: list[tuple[Any, ...]] = history.execute(query).fetchall()
    return found


def until(came: Any, within: float, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until ``came()`` is true; fails where the process ends before, or the time."""
    end = monotonic() + within
    while not came():
        assert monotonic() < end, f"not within {within} s"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended too early with {process.returncode}: {process.communicate()}")
        sleep(0.05)


def children(pid: int) -> list[int]:
    """The processes a process started, by the kernel's own list."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def truth(seed: int, duration: float) -> Truth:
    """What the simulated venues of that run tell."""
    return tell(simulate(seed, duration))


def told(known: Truth) -> dict[Key, list[Close]]:
    """Every forced close that is told, by what it is; equal kinds by price."""
    found: dict[Key, list[Close]] = {}
    for close in known.told():
        found.setdefault((close.venue, close.listing.symbol, close.position, close.cause), []).append(close)
    return {key: sorted(closes, key=lambda close: (close.price, close.usd)) for key, closes in found.items()}


def assert_is_the_truth(data_dir: Path, known: Truth) -> None:
    """The history holds exactly what was told: once, of the right asset, for the right price, quantity and USD."""
    stored = rows(
        data_dir,
        "SELECT venue, instrument, position, cause, asset, price, quantity, notional_usd FROM liquidations",
    )
    expected = told(known)
    assert Counter(row[:4] for row in stored) == Counter({key: len(closes) for key, closes in expected.items()})
    for key, closes in expected.items():
        found = sorted((row[4:] for row in stored if row[:4] == key), key=lambda row: (row[1], row[3]))
        for (asset, price, quantity, usd), close in zip(found, closes, strict=True):
            low, high = paid_in(close, known.market)
            assert asset == close.listing.coin
            assert abs(price / close.price - 1) < 1e-6, (key, close)
            assert low < quantity / close.quantity < high, (key, close)
            assert low < usd / close.usd < high, (key, close)


def paid_in(close: Close, market: Market) -> tuple[float, float]:
    """Within what its worth may be told, as a share of the truth: of a quanto contract, what bitcoin did lately."""
    if close.listing.kind != "quanto":
        return 1 - 1e-6, 1 + 1e-6
    second, marks = close.time // 1000, market.context.mark[:, 0]
    seen = marks[max(second - _PRICE_AGE, 0) : second + 2] / market.context.marks_at(close.time, 0)
    return float(seen.min()) * 0.995, float(seen.max()) * 1.005
