"""``python -m connectors.simulator``: run the venues in a process of their own.

Prints one JSON line when ready: ``{"port": …, "began": <ns>, "endpoints": {venue: {"websocket": …, "rest": …}}}``.
With ``--flood`` or ``--burst`` it sends that load instead of the run's forced closes, as soon as each venue of ``--as``
has a subscriber, and prints a second line when done: ``{"frames": …, "first": <ns>, "last": <ns>}``.
Ends on SIGTERM, SIGINT, or when its standard input ends, so that it never outlives whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from contextlib import suppress

from connectors.simulator.load import Load
from connectors.simulator.server import Simulator


async def _parent_gone() -> None:
    """Return when standard input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while await reader.read(4096):
            pass
    finally:
        transport.close()


def _signals() -> asyncio.Event:
    """Set from now on by a signal to stop."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    return told


async def _stopped(simulator: Simulator, told: asyncio.Event) -> None:
    """Return when told to stop, or when the run broke."""
    gone = asyncio.create_task(_parent_gone())
    ends = [gone, asyncio.create_task(told.wait()), asyncio.create_task(simulator.failure())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _run(arguments: argparse.Namespace) -> None:
    told = _signals()
    simulator = Simulator(
        arguments.seed,
        arguments.duration,
        arguments.speed,
        lead=arguments.lead,
        silent=arguments.silent,
        load=_load(arguments),
    )
    endpoints = await simulator.start(arguments.port)
    ready = {
        "port": simulator.port,
        "began": simulator.began,
        "endpoints": {name: {"websocket": e.websocket, "rest": e.rest} for name, e in endpoints.items()},
    }
    print(json.dumps(ready), flush=True)
    report = asyncio.create_task(_report(simulator)) if _load(arguments) else None
    await _stopped(simulator, told)
    if report is not None:
        report.cancel()
    await simulator.stop()


def _load(arguments: argparse.Namespace) -> Load | None:
    venues = tuple(arguments.load_as.split(","))
    if arguments.burst:
        return Load(arguments.burst, venues=venues)
    return Load(arguments.frames, arguments.flood, venues) if arguments.flood else None


async def _report(simulator: Simulator) -> None:
    """Print what the load sent."""
    print(json.dumps((await simulator.poured())._asdict()), flush=True)


def main() -> None:
    """Parse the command line and run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m connectors.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=60.0, help="seconds")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the run per second")
    parser.add_argument("--lead", type=float, default=1.0, help="seconds before the run begins")
    parser.add_argument("--silent", default="okx", help="venue that falls silent in the middle; '' for none")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--flood", type=float, default=0.0, help="frames per second")
    parser.add_argument("--frames", type=int, default=10_000, help="how many frames a flood has")
    parser.add_argument("--burst", type=int, default=0, help="this many frames in one instant")
    parser.add_argument("--as", dest="load_as", default="binance_usdm,bybit", help="venues that send the load")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
