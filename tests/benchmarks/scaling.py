"""Two processes of a worker beside one, each held to a third of a core: what is left is enough for the broker.

On a machine of two cores the broker and one worker leave no core for a second one; unheld, the two would be measured
sharing what one had. A process is held by being stopped: it runs 10 ms of each 30, and no two at the same time.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Producer

from connectors.instruments import snapshot
from schemas.bus import Bus
from schemas.topics import SIGNALS
from tests.benchmarks.bus import PRODUCER, bus_of, own_broker
from tests.benchmarks.catchup import PARTITIONS, caught_up
from tests.benchmarks.figures import Row, Target, row
from tests.integration.workers import Workers, feed, frames

EVENTS = {"cascades": 100_000, "archive": 0, "normalise": 300_000}
"""How many are added before it runs. In this order what one tells again is not what the next reads; a shard tells
many windows for each event, so that more of them would measure the broker's disk."""
_SLOT = 0.01
_SLOTS = 3


def scaling(*, quick: bool) -> list[Row]:
    """Seconds for the same topics with one and with two processes."""
    found: list[Row] = []
    with TemporaryDirectory() as name, own_broker(Path(name)) as broker:
        bus, directory = bus_of(broker, "full", PARTITIONS), Path(name)
        symbols = _symbols(bus_of(broker, "keys", PARTITIONS))
        for worker, events in EVENTS.items():
            if events:
                told = min(events, 2000) if quick else events
                feed(bus, frames(told, seed=events, together=0.0, symbols=symbols))  # two venues, half each
                caught_up(bus, directory / "fill", "normalise")
            one, two = (
                caught_up(bus, directory / f"{worker}{count}", worker, "--workers", str(count), while_it_runs=held)
                for count in (1, 2)
            )
            target = Target("≥", 1.7, "ratio")
            found.append(
                row(f"{worker}: two processes, each a third of a core", two, "s", target,
                    baseline=f"one such process {one:.1f} s", ratio=one / two)
            )  # fmt: skip
    return found


def _symbols(bus: Bus) -> list[str]:
    """Assets both venues list, equally many of each partition."""
    first, second = ({i.instrument for i in snapshot(venue)} for venue in ("binance_usdm", "aster"))
    landed: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    outbox = Producer(bus.client(PRODUCER | {"partitioner": "murmur2_random"}))
    for name in sorted(name.removesuffix("USDT") for name in first & second if name.endswith("USDT")):
        outbox.produce(
            bus.name(SIGNALS), b"", name, on_delivery=lambda _, m: landed[m.partition()].append(m.key().decode())
        )
    outbox.flush(10)
    each = min(map(len, landed.values()))
    return [name for names in landed.values() for name in names[:each]]


@contextmanager
def held(pipeline: Workers) -> Iterator[None]:
    """Let each process of the worker run a third of the time, in turn."""
    over = threading.Event()
    holding = threading.Thread(target=_hold, args=(pipeline, over))
    holding.start()
    try:
        yield
    finally:
        over.set()
        holding.join()


def _hold(pipeline: Workers, over: threading.Event) -> None:
    known: list[int] = []
    while not over.is_set():
        for name in list(pipeline.running):
            with suppress(KeyError):  # it has ended meanwhile
                known += [pid for pid in pipeline.pids(name) if pid not in known]
        for slot in range(_SLOTS):
            pid = known[slot] if slot < len(known) else 0
            _tell(pid, signal.SIGCONT)
            time.sleep(_SLOT)
            _tell(pid, signal.SIGSTOP)
    for pid in known:
        _tell(pid, signal.SIGCONT)


def _tell(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, what)
