"""Frame → signal through a real broker, three hops, beside the bare client handing the same frames on three times."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from confluent_kafka import Producer

from connectors.instruments import snapshot
from schemas.bus import Bus
from schemas.clock import MILLISECOND, SECOND, system_clock
from schemas.codec import encode_frame
from schemas.topics import LIQUIDATIONS, RAW, SIGNALS
from tests.benchmarks.bus import PRODUCER, bus_of, consumer, forwarders, own_broker, quantiles
from tests.benchmarks.figures import Row, Target, kept, row
from tests.integration.workers import workers

RATE = 500
HOPS = 3
_EVERY_EVENT = {
    "BREAKWATER_LEVELS__WATCH__RATE": "0.1", "BREAKWATER_LEVELS__WATCH__SCORE": "0", "BREAKWATER_LEVELS__HOLD": "10ms",
}  # fmt: skip
"""Each event raises its asset from NONE, to which it fell since the last."""
_WARM = 6.0
"""Seconds before what counts: the broker's first are cold."""


def hops(*, quick: bool) -> list[Row]:
    """With 1 and 12 partitions."""
    seconds = 2.0 if quick else 20.0
    found: list[Row] = []
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        for partitions in (12,) if quick else (1, 12):
            bus = bus_of(broker, f"bare{partitions}", partitions)
            with forwarders(bus, [(RAW.name, LIQUIDATIONS.name), (LIQUIDATIONS.name, SIGNALS.name)], partitions):
                bare = _measured(bus, partitions, seconds, lambda told: told["ts_ns"])
            bus = bus_of(broker, f"ours{partitions}", partitions)
            place = Path(directory) / f"{partitions}"
            place.mkdir()
            with workers(bus, place, **_EVERY_EVENT) as pipeline:
                for name in ("normalise", "cascades"):
                    pipeline.start(name, "--snapshot", "10")
                for name in ("normalise", "cascades"):
                    pipeline.await_begun(name, 120)
                ours = _measured(bus, partitions, seconds, lambda told: told["receive_time"] if told["event_id"] else 0)
            found += _rows(partitions, bare, ours, round(seconds * RATE))
    return found


def _rows(partitions: int, bare: list[float], ours: list[float], sent: int) -> list[Row]:
    of = f"{partitions} partitions"
    (bare50, bare99), (ours50, ours99) = quantiles(bare), quantiles(ours)
    against = f"bare client {bare50:.2f} / {bare99:.2f} ms"
    return [
        row(
            f"{of}: frame → signal p50",
            ours50,
            "ms",
            Target("≤", 1.5, "ratio"),
            baseline=against,
            ratio=ours50 / bare50,
        ),
        row(
            f"{of}: frame → signal p99",
            ours99,
            "ms",
            Target("≤", 1.5, "ratio"),
            baseline=against,
            ratio=ours99 / bare99,
        ),
        row(f"{of}: p50 a hop", ours50 / HOPS, "ms", Target("≤", 0.6)),
        kept(f"{of}, bare client", sent, len(bare)),
        kept(of, sent, len(ours)),
    ]


def _measured(bus: Bus, partitions: int, seconds: float, stamp: Callable[[Any], int]) -> list[float]:
    """Send at the rate; seconds from each frame's stamp to the arrival of what it led to, the warming apart."""
    reader, found = consumer(bus, SIGNALS.name, partitions), list[float]()
    begin = system_clock() + round(_WARM * SECOND)
    end = begin + round(seconds * SECOND)
    sender = threading.Thread(target=_send, args=(bus, end))
    sender.start()
    while system_clock() < end + 5 * SECOND:
        message = reader.poll(0.05)
        if message is None or message.error() is not None:
            continue
        now = system_clock()
        stamped = stamp(json.loads(message.value() or b"{}"))
        if begin <= stamped < end:
            found.append((now - stamped) / SECOND)
    sender.join()
    reader.close()
    return found


def _send(bus: Bus, end: int) -> None:
    symbols = [i.instrument for i in snapshot("bybit")][:100]
    producer = Producer(bus.client(PRODUCER))
    due, number = system_clock(), 0
    while (now := system_clock()) < end:
        if now < due:
            producer.poll((due - now) / SECOND)
            continue
        frame = encode_frame("bybit", "public", _frame(symbols[number % len(symbols)], number, due), due)
        producer.produce(bus.name(RAW), frame.value, frame.key, headers=list(frame.headers))
        due += SECOND // RATE
        number += 1
    producer.flush(10)


def _frame(symbol: str, number: int, now: int) -> bytes:
    one = {"T": now // MILLISECOND, "s": symbol, "S": "Buy", "v": f"{1 + number % 97}", "p": f"{1000 + number % 31}"}
    told = {
        "topic": f"allLiquidation.{symbol}",
        "type": "snapshot",
        "ts": now // MILLISECOND,
        "ts_ns": now,
        "data": [one],
    }
    return json.dumps(told).encode()
