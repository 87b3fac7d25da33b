"""``python -m tests.benchmarks.first_frame``: ``breakwater run`` from nothing until its first forced close.

Reads ``{venue: address}``, where each venue is reached, from standard input. Prints ``{"frame": <ns>, "close": <ns>}``:
when the flow had the first frame of a socket, and when the first forced close was at the sink.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from connectors.exchange import Frame
from connectors.recording import METADATA
from flows import assembly, live
from flows.settings import Settings, VenueSettings
from flows.stages import Outcome, execute
from schemas.clock import SECOND, system_clock

_PATIENCE = 30 * SECOND


def main() -> None:
    """What the command does, watched at both ends."""
    addresses = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, str])
    gateways = tuple(f"{venue}={address}" for venue, address in addresses.items())
    settings = Settings(venues=VenueSettings(enabled=tuple(addresses), gateways=gateways))
    with TemporaryDirectory() as name:
        venues = [assembly.venue_feeds(settings, exchange) for exchange in assembly.enabled(settings)]
        made = live.assemble(settings, venues, Path(name), system_clock)
        live.warm_up()
        seen = {"frame": 0, "close": 0}
        reader: Any = made.reader
        figures: Any = made.figures
        drain, until = reader.drain, system_clock() + _PATIENCE

        def watched(wait: float, most: int = 10_000) -> list[Any]:
            items: list[Any] = drain(wait, most)
            if not seen["frame"] and any(isinstance(item, Frame) and item.feed != METADATA for item in items):
                seen["frame"] = system_clock()
            return items

        def take(outcome: Outcome) -> None:
            if not seen["close"] and len(outcome.batch.liquidations):
                seen["close"] = system_clock()

        reader.drain, figures.take = watched, take
        try:
            execute(made.build(lambda: seen["close"] > 0 or system_clock() > until, lambda: None))
        finally:
            made.reader.stop()
            if made.history is not None:
                made.history.close()
    sys.stdout.buffer.write(msgspec.json.encode(seen) + b"\n")


if __name__ == "__main__":
    main()
