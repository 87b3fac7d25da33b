"""An executor in a process of its own, over the wire clients of two simulated venues. Says ``ready`` and works.

``python -m tests.integration.executor_process JOURNAL ASTER_REST ASTER_WS HYPERLIQUID_REST HYPERLIQUID_WS``
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from connectors.exchange import Endpoints
from connectors.venues.aster import AsterPort
from connectors.venues.hyperliquid import HyperliquidPort
from flows.desk import executor
from flows.settings import ExecutorSettings
from schemas.clock import system_clock
from schemas.instruments import Instrument
from schemas.orders import VenuePort
from sinks.executor.journal import Journal
from tests.connectors.venues.benches import KEY, USER

ETH = {
    "aster": Instrument("aster", "ETHUSDT", "ETH", 1.0, "base"),
    "hyperliquid": Instrument("hyperliquid", "ETH", "ETH", 1.0, "base", "USD", "USDC", number="0"),
}


def ports(aster: Endpoints, hyperliquid: Endpoints) -> dict[str, list[VenuePort]]:
    """Two connections to each."""
    return {
        "aster": [AsterPort(aster, USER, KEY, [ETH["aster"]], system_clock) for _ in range(2)],
        "hyperliquid": [HyperliquidPort(hyperliquid, USER, KEY, [ETH["hyperliquid"]], system_clock) for _ in range(2)],
    }


async def work(path: Path, aster: Endpoints, hyperliquid: Endpoints) -> None:
    """Until killed."""
    journal = Journal(path)
    journal.claim()
    made = executor(ExecutorSettings(), journal, ports(aster, hyperliquid))
    running = asyncio.ensure_future(made.run())
    await made.ready.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await running


if __name__ == "__main__":
    journal_path, *urls = sys.argv[1:]
    asyncio.run(work(Path(journal_path), Endpoints(urls[1], urls[0]), Endpoints(urls[3], urls[2])))
