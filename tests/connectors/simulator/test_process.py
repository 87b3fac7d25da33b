"""The simulator in a process of its own: the same run, gone with its owner; and loads that say when they were sent."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from websockets.asyncio.client import connect

from connectors.simulator import SimulatorProcess
from schemas.clock import SECOND, system_clock
from schemas.errors import UsageError

MODULE = [sys.executable, "-m", "connectors.simulator", "--duration", "5"]


def started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(MODULE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["endpoints"]["okx"]["rest"] == f"http://127.0.0.1:{ready['port']}/okx"
    assert abs(ready["began"] - system_clock()) < 3 * SECOND
    return process


def test_ends_when_its_standard_input_ends() -> None:
    with started() as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(5) == 0


def test_ends_on_sigterm() -> None:
    with started() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_refused_arguments_are_an_error_of_the_caller(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--no-such"), SimulatorProcess("--no-such"):
        pass
    assert "--no-such" in capfd.readouterr().err


async def _pour(venues: SimulatorProcess, frames: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Everything with a ``sent`` field that a Binance and a Bybit client hear, and the report of the load."""
    binance = venues.endpoints["binance_usdm"].websocket + "/market/ws/!forceOrder@arr"
    bybit = venues.endpoints["bybit"].websocket + "/v5/public/linear"
    heard: list[dict[str, Any]] = []

    async def listen(url: str, subscribe: str) -> None:
        async with connect(url, max_queue=None) as socket:
            if subscribe:
                await socket.send(subscribe)
            async for message in socket:
                frame = json.loads(message)
                if "sent" in frame:
                    assert frame["sent"] <= system_clock()
                    heard.append(frame)

    topics = json.dumps({"op": "subscribe", "args": ["allLiquidation.BTCUSDT", "allLiquidation.ETHUSDT"]})
    listeners = [asyncio.create_task(listen(binance, "")), asyncio.create_task(listen(bybit, topics))]
    report = await asyncio.to_thread(venues.line)
    async with asyncio.timeout(10):
        while len(heard) < frames:  # noqa: ASYNC110 - a list rings no bell
            await asyncio.sleep(0.02)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return heard, report


def _events(heard: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Symbol and quantity, which differ from event to event."""
    found = set()
    for frame in heard:
        row = frame["o"] if "o" in frame else frame["data"][0]
        found.add((row["s"], row.get("z", row.get("v"))))
    return found


def test_a_flood_keeps_its_rate_and_loses_nothing() -> None:
    with SimulatorProcess("--flood", "500", "--frames", "300") as venues:
        heard, report = asyncio.run(_pour(venues, 300))
    assert report["frames"] == len(heard) == len(_events(heard)) == 300
    assert (report["last"] - report["first"]) / SECOND == pytest.approx(0.6, abs=0.3)
    sent = sorted(frame["sent"] for frame in heard)
    assert len(set(sent)) == 300


def test_a_burst_is_one_instant_and_loses_nothing() -> None:
    with SimulatorProcess("--burst", "3000") as venues:
        heard, report = asyncio.run(_pour(venues, 3000))
    assert report["frames"] == len(heard) == len(_events(heard)) == 3000
    assert {frame["sent"] for frame in heard} == {report["first"]}
    times = {frame["o"]["T"] if "o" in frame else frame["data"][0]["T"] for frame in heard}
    assert len(times) <= 2
