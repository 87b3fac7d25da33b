"""Frame → signal through a real broker, three hops, beside the bare client handing the same frames on three times."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer

from connectors.instruments import snapshot
from schemas.bus import Bus
from schemas.clock import MILLISECOND, SECOND, system_clock
from schemas.codec import encode_frame
from schemas.topics import LIQUIDATIONS, RAW, SIGNALS
from tests.benchmarks.bus import PRODUCER, bus_of, busy, consumer, forwarders, own_broker, quantiles
from tests.benchmarks.figures import Row, Target, kept, row
from tests.integration.workers import workers

RATES = (100, 500)
"""Frames a second: with room to spare, and what is asked."""
HOPS = 3
_EVERY_EVENT = {
    "BREAKWATER_LEVELS__WATCH__RATE": "0.1", "BREAKWATER_LEVELS__WATCH__SCORE": "0", "BREAKWATER_LEVELS__HOLD": "10ms",
}  # fmt: skip
"""Each event raises its asset from NONE, to which it fell since the last."""
_PATIENCE = 20 * SECOND
_WARM = 4.0
"""Seconds before what counts: the broker's first are cold."""


def hops(*, quick: bool) -> list[Row]:
    """With 1 and 12 partitions, at each rate."""
    seconds = 2.0 if quick else 15.0
    found: list[Row] = []
    with TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        if not quick:
            busy(broker)
        for partitions, rate in ((12, 500),) if quick else [(p, rate) for p in (1, 12) for rate in RATES]:
            bus = bus_of(broker, f"bare{partitions}.{rate}", partitions)
            with forwarders(bus, [(RAW.name, LIQUIDATIONS.name), (LIQUIDATIONS.name, SIGNALS.name)], partitions):
                bare = _measured(bus, partitions, rate, seconds, lambda told: told["ts_ns"])
            bus = bus_of(broker, f"ours{partitions}.{rate}", partitions)
            place = Path(directory) / f"{partitions}.{rate}"
            place.mkdir()
            with workers(bus, place, **_EVERY_EVENT) as pipeline:
                for name in ("normalise", "cascades"):
                    pipeline.start(name, "--snapshot", "10")
                for name in ("normalise", "cascades"):
                    pipeline.await_begun(name, 120)
                ours = _measured(
                    bus, partitions, rate, seconds, lambda told: told["receive_time"] if told["event_id"] else 0
                )
            found += _rows(f"{partitions} partitions, {rate}/s", bare, ours)
    return found


class Measured(NamedTuple):
    """What was sent, and how long each frame took that came through."""

    sent: int
    seconds: list[float]


def _rows(of: str, bare: Measured, ours: Measured) -> list[Row]:
    (bare50, bare99), (ours50, ours99) = quantiles(bare.seconds), quantiles(ours.seconds)
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
        kept(f"{of}, bare client", bare.sent, len(bare.seconds)),
        row(f"{of}: frames that led to a signal", len(ours.seconds) / max(ours.sent, 1), "of 1"),
    ]


def _measured(bus: Bus, partitions: int, rate: int, seconds: float, stamp: Callable[[Any], int]) -> Measured:
    """Send at the rate; seconds from each frame's stamp to the arrival of what it led to, the warming apart."""
    reader = consumer(bus, SIGNALS.name, partitions)
    _await_through(bus, reader, rate)
    begin = system_clock() + round(_WARM * SECOND)
    end = begin + round(seconds * SECOND)
    sent, found = list[int](), dict[int, float]()
    sender = threading.Thread(target=lambda: sent.extend(due for due in _send(bus, end, rate) if due >= begin))
    sender.start()
    while system_clock() < end + _PATIENCE and (sender.is_alive() or len(found) < len(sent)):
        message = reader.poll(0.05)
        if message is None or message.error() is not None:
            continue
        now = system_clock()
        stamped = stamp(json.loads(message.value() or b"{}"))
        if begin <= stamped < end:
            found.setdefault(stamped, (now - stamped) / SECOND)
    sender.join()
    reader.close()
    return Measured(len(sent), list(found.values()))


def _await_through(bus: Bus, reader: Consumer, rate: int) -> None:
    """Until the first frame has come out at the other end: everybody has started."""
    for _ in range(120):
        _send(bus, system_clock() + SECOND // 50, rate)
        if reader.poll(1.0) is not None:
            return
    raise TimeoutError("no frame came through within two minutes")


def _send(bus: Bus, end: int, rate: int) -> list[int]:
    """Frames at the rate until then; their stamps."""
    symbols = list({i.asset: i.instrument for i in snapshot("bybit")}.values())[:100]
    producer = Producer(bus.client(PRODUCER))
    due, number, sent = system_clock(), 0, list[int]()
    while (now := system_clock()) < end:
        if now < due:
            producer.poll((due - now) / SECOND)
            continue
        frame = encode_frame("bybit", "public", _frame(symbols[number % len(symbols)], number, due), due)
        producer.produce(bus.name(RAW), frame.value, frame.key, headers=list(frame.headers))
        sent.append(due)
        due += SECOND // rate
        number += 1
    producer.flush(10)
    return sent


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
