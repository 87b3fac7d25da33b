"""Two venues to practise on: what can be said to them, and a whole rehearsal with the commands of the document."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from flows.rehearsal import SAY, Rehearsal
from schemas.clock import system_clock
from schemas.errors import UsageError
from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "flows.cli"]


@pytest.mark.parametrize("names", [("aster", "aster"), ("aster", "lighter"), ("bybit", "aster")])
def test_only_two_different_venues_of_those_there_are(names: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="choose two of aster, extended, hyperliquid"):
        Rehearsal(*names, system_clock)


def test_what_is_said_happens_and_the_rest_is_not_understood() -> None:
    made = Rehearsal("extended", "aster", system_clock)
    assert made.obey("positions") == "extended holds 1 ETH-USD, aster holds -1 ETHUSDT"
    assert made.obey("liquidate aster 0.4") == "0.4 taken; extended holds 1 ETH-USD, aster holds -0.6 ETHUSDT"
    assert made.obey("mark 1900").endswith("extended holds 0 ETH-USD, aster holds -0.6 ETHUSDT"), "a thousand is lost"
    for wrong in ("liquidate lighter 1", "liquidate aster 2", "liquidate aster x", "mark -1", "mark ten", "dance"):
        assert made.obey(wrong) == f"not understood; say: {SAY}"


@contextmanager
def process(home: Path, environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    with (home / "log").open("a") as log:
        child = subprocess.Popen(  # noqa: S603 - our own program
            [*COMMAND, "executor", *words], cwd=home, env=environment, stdin=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=10)


def written(home: Path, what: str) -> None:
    for _ in range(600):
        if what in (home / "log").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"{what!r} is not in {(home / 'log').read_text()}")


@pytest.mark.slow
def test_a_rehearsal_as_the_document_tells_it(tmp_path: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with process(tmp_path, bare, "rehearse", "aster", "hyperliquid") as venues:
        written(tmp_path, "rehearsal.env says how they are found")
        file = tmp_path / "rehearsal.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        environment = bare | dict(line.split("=", 1) for line in file.read_text().splitlines())

        def told(*words: str) -> str:
            done = subprocess.run(  # noqa: S603 - our own program
                [*COMMAND, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            return done.stdout + done.stderr

        assert "OK    account hyperliquid: one-way mode, the key may trade, the key may not withdraw" in told("doctor")
        legs = ("aster:ETHUSDT:1@3000", "hyperliquid:ETH:-1@3000")
        assert "is under protection" in told("executor", "pair", "add", "basis", "ETH", *legs)
        with process(tmp_path, environment, "run", "--live"):
            written(tmp_path, "every venue was asked: watching")
            time.sleep(1)  # for the streams
            commands: IO[str] | None = venues.stdin
            assert commands is not None
            commands.write("liquidate aster 0.4\n")
            commands.flush()
            written(tmp_path, "case ended")
        assert "aster:ETHUSDT 0.6  hyperliquid:ETH -0.6" in told("executor", "positions")
        assert "by private_notice" in told("executor", "intents")
