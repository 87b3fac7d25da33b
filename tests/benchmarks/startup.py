"""From process start to an answer, and to the first frame read: warm, so with everything compiled before."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec

from connectors.simulator import SimulatorProcess
from schemas.clock import SECOND, system_clock
from tests.benchmarks.figures import Row, Target, middle, row, spread

_ROOT = Path(__file__).parents[2]
_CLI = "import sys; from flows.cli import main; sys.argv[0] = 'breakwater'; main()"
_FIRST = Target("≤", 2.0)


def startup(*, quick: bool) -> list[Row]:
    """Seconds of wall time; the first run of each is not counted."""
    rounds = 1 if quick else 5
    empty = [_run("-c", "pass") for _ in range(rounds + 1)][1:]
    rows = [row("an interpreter that does nothing", middle(empty), "s", spread=spread(empty))]
    for arguments in (("version",), ("--help",)):
        times = [_run("-c", _CLI, *arguments) for _ in range(rounds + 1)][1:]
        rows.append(
            row(f"breakwater {' '.join(arguments)}", middle(times), "s", baseline="an interpreter that does nothing",
                ratio=middle(times) / middle(empty), spread=spread(times))
        )  # fmt: skip
    with SimulatorProcess("--duration", "300", "--lead", "0") as venues:
        addresses = msgspec.json.encode({venue: e.rest for venue, e in venues.endpoints.items()})
        found = [_first(addresses) for _ in range(rounds + 1)][1 if rounds > 1 else 0 :]
    frames, closes = [frame for frame, _ in found], [close for _, close in found]
    against = f"an interpreter that does nothing, {middle(empty):.3f} s"
    return [
        *rows,
        row("start to first frame read, all venues", middle(frames), "s", _FIRST, baseline=against,
            ratio=middle(frames) / middle(empty), spread=spread(frames)),
        row("start to first forced close at the sink", middle(closes), "s", spread=spread(closes)),
    ]  # fmt: skip


def _run(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=_ROOT, check=True, capture_output=True)  # noqa: S603 - our own interpreter
    return time.perf_counter() - began


def _first(addresses: bytes) -> tuple[float, float]:
    """Seconds to the first frame and to the first forced close."""
    began = system_clock()
    command = [sys.executable, "-m", "tests.benchmarks.first_frame"]
    done = subprocess.run(command, cwd=_ROOT, check=False, capture_output=True, input=addresses)  # noqa: S603 - our own module
    seen = msgspec.json.decode(done.stdout or b"{}", type=dict[str, int])
    if not (seen.get("frame") and seen.get("close")):
        raise RuntimeError(f"nothing arrived: {done.stderr.decode()[-2000:]}")
    return (seen["frame"] - began) / SECOND, (seen["close"] - began) / SECOND
