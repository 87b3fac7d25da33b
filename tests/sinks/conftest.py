"""Forced closes made to order, for tests of where records go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.records import Liquidation

DAY = 86_400_000_000_000
NOON = 1_795_262_400_000_000_000
"""2026-11-21 12:00 UTC."""

Make = Callable[..., Liquidation]


def liquidation(number: int, time: int = NOON, **changes: object) -> Liquidation:
    """The ``number``-th of a series; equal numbers are the same event."""
    fields: dict[str, object] = {
        "event_id": f"{number:016x}", "venue": "bybit", "instrument": "BTCUSDT", "asset": "BTC", "position": "long",
        "cause": "liquidation", "price": 80_000.0, "price_kind": "bankruptcy", "quantity": 0.5,
        "notional_usd": 40_000.0, "event_time": time, "receive_time": time + 1_000_000, "coverage": "complete",
        "backfill": False, "time_source": "venue",
    }  # fmt: skip
    return Liquidation(**{**fields, **changes})  # type: ignore[arg-type] # keyword by keyword


@pytest.fixture(scope="session")
def make() -> Make:
    """``make(number, time, **changes)``: a forced close."""
    return liquidation


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program of ours in a process of its own; ends it with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", program, *map(str, arguments)],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
