"""Through a real broker: what a hop costs beside the bare client, and how fast a worker catches up.

A hop is timed from the sender's clock (a process of its own, 500 messages a second) to the step behind the source.
The bare client is ``confluent_kafka`` in a plain loop; stock is the engine's own Kafka source. All take turns in one
run, so that what else the machine does meets them alike. The first second of each turn is not counted: it is cold.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import bytewax.operators as op
import numpy as np
from bytewax.connectors.kafka import KafkaSource as StockSource
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from connectors.kafka import Arrivals, KafkaSource, Reading
from connectors.kafka.topics import create
from schemas.batches import Names
from schemas.bus import Bus
from schemas.clock import MILLISECOND, system_clock
from schemas.codec import CloseDecoder, Outgoing, encode
from schemas.records import VENUES, Liquidation
from schemas.topics import LIQUIDATIONS, Topic
from sinks.callback import CallbackSink
from sinks.kafka import Outbox
from tests.benchmarks.bus import busy, own_broker
from tests.benchmarks.figures import Row, Target, kept, row
from tests.broker import Broker, missing

RATE = 500
COLD = 1.0
"""Seconds at the start of a turn that are not counted."""
PAD = b"x" * 280
CONFIG = {"group.id": "bench", "enable.auto.commit": "false", "auto.offset.reset": "latest"}

Until = Callable[[], bool]
Read = Callable[[Bus, Topic, list[bytes], Until], None]
"""Collects values as they arrive until told to stop."""


def kafka(*, quick: bool) -> list[Row]:
    """Hops with 1 and 12 partitions, then catching up; nothing where no broker can be had."""
    if why := missing():
        sys.stderr.write(f" left out: {why} …")
        return []
    with tempfile.TemporaryDirectory() as directory, own_broker(Path(directory)) as broker:
        if not quick:
            busy(broker)
        return [*_hops(broker, 1, quick), *_hops(broker, 12, quick), *_catching_up(broker, quick)]


def _hops(broker: Broker, partitions: int, quick: bool) -> list[Row]:
    topic = Topic("hop.v1", "", (), ("n",), 3600, partitions=partitions)
    readers: dict[str, tuple[Read, bool]] = {"bare client": (_bare, True), "ours": (_ours, False)}
    readers["stock KafkaSource"] = (_stock, True)
    rounds, seconds = (1, 0.6) if quick else (3, 5.0)
    found: dict[str, list[list[float]]] = {name: [] for name in readers}
    sent = arrived = 0
    for _ in range(rounds):
        for name, (read, bare) in readers.items():
            bus = broker.bus()
            create(bus, [topic])
            count, latencies, got = _turn(bus, topic, read, seconds if quick else seconds + COLD, bare=bare)
            found[name].append(latencies)
            if name == "ours":
                sent, arrived = sent + count, arrived + got
    label = f"hop, {partitions} partition{'s' * (partitions > 1)}"
    rows = []
    for percent, target in ((50, Target("≤", 0.6)), (99, None)):
        figures = {name: [float(np.percentile(turn, percent)) for turn in turns] for name, turns in found.items()}
        base = statistics.median(figures["bare client"])
        rows.append(row(f"{label}: p{percent}, bare client", base, "ms", spread=_spread(figures["bare client"])))
        ours = statistics.median(figures["ours"])
        if target is not None and partitions > 1:
            rows.append(row(f"{label}: p{percent}", ours, "ms", target, spread=_spread(figures["ours"])))
        limit = Target("≤", 1.5, "ratio")
        rows.append(row(f"{label}: p{percent} over bare", ours, "ms", limit, baseline="bare client", ratio=ours / base))
        stock = statistics.median(figures["stock KafkaSource"])
        rows.append(row(f"{label}: p{percent}, stock source", stock, "ms", baseline="ours", ratio=stock / ours))
    return [*rows, kept(label, sent, arrived)]


def _turn(bus: Bus, topic: Topic, read: Read, seconds: float, *, bare: bool) -> tuple[int, list[float], int]:
    """Sent, milliseconds of each hop after the cold start, arrived."""
    context = get_context("spawn")
    go, told = context.Event(), context.Queue()
    sender = context.Process(target=_send, args=(bus, topic, seconds, bare, go, told))
    sender.start()
    arrived: list[bytes] = []
    until = time.monotonic() + seconds + 60
    count = -1

    def done() -> bool:
        nonlocal count
        go.set()
        if count < 0 and not told.empty():
            count = told.get()
        return 0 <= count <= len(arrived) or time.monotonic() > until

    read(bus, topic, arrived, done)
    sender.join()
    hops = [tuple(map(int, value.split(b" ")[:2])) for value in arrived]
    first = min(at for at, _ in hops)
    cold = first + (round(COLD * 1e9) if seconds > COLD else 0)
    return count, [(seen - at) / 1e6 for at, seen in hops if at >= cold], len(arrived)


def _send(bus: Bus, topic: Topic, seconds: float, bare: bool, go: Any, told: Any) -> None:
    """The sending half: by our outbox, or by the client alone with the same settings."""
    outbox = Outbox(bus)
    client = {"enable.idempotence": True, "linger.ms": 0, "compression.type": "lz4"}
    producer: Any = Producer(bus.client(client)) if bare else None
    name = bus.name(topic)
    go.wait(60)
    time.sleep(0.5)  # the reader is assigned by then
    began, number = time.perf_counter(), 0
    while (due := began + number / RATE) < began + seconds:
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        value, key = b"%d %s" % (time.time_ns(), PAD), b"%d" % (number % 97)  # noqa: TID251 - two processes, one clock
        if bare:
            producer.produce(name, value, key)
            producer.poll(0)
        else:
            outbox.send([Outgoing(topic.name, key, value, [], time.time_ns() // MILLISECOND)])  # noqa: TID251 - same
        number += 1
    _ = producer.flush() if bare else outbox.settle()
    told.put(number)


def _stamped(values: Sequence[bytes | None], into: list[bytes]) -> None:
    now = time.time_ns()  # noqa: TID251 - the sender's process has the same clock
    into += [b"%s %d" % ((value or b"").split(b" ", 1)[0], now) for value in values]


def _bare(bus: Bus, topic: Topic, into: list[bytes], done: Until) -> None:
    consumer = Consumer(bus.client(CONFIG))
    consumer.assign([TopicPartition(bus.name(topic), number, 0) for number in range(topic.partitions)])
    while not done():
        message = consumer.poll(0.001)
        if message is not None:
            _stamped([message.value()], into)
    consumer.close()


def _ours(bus: Bus, topic: Topic, into: list[bytes], done: Until) -> None:
    def take(arrivals: Arrivals) -> None:
        for run in arrivals.runs:
            _stamped([message.value() for message in run.messages], into)

    flow = Dataflow("hop")
    source = KafkaSource(bus, Reading((topic,)), system_clock, done)
    op.output("out", op.input("in", flow, source), CallbackSink(take))
    run_main(flow)


class _Stopping(FixedPartitionedSource[Any, Any]):
    """The stock source as it is, but for an end."""

    def __init__(self, source: StockSource, done: Until) -> None:
        self._source, self._done = source, done

    def list_parts(self) -> list[str]:
        return list(self._source.list_parts())

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Any:
        part = self._source.build_part(step_id, for_part, resume_state)
        ask = part.next_batch

        def next_batch() -> Any:
            if self._done():
                raise StopIteration
            return ask()

        part.next_batch = next_batch
        return part


def _stock(bus: Bus, topic: Topic, into: list[bytes], done: Until) -> None:
    flow = Dataflow("hop")
    source = StockSource([bus.bootstrap], [bus.name(topic)], starting_offset=OFFSET_BEGINNING)
    items = op.input("in", flow, _Stopping(source, done))
    op.output("out", items, CallbackSink(lambda message: _stamped([message.value], into)))
    run_main(flow)


def _catching_up(broker: Broker, quick: bool) -> list[Row]:
    """Everything a topic holds, as fast as it can be read."""
    events, rounds = (4_000, 1) if quick else (200_000, 3)
    bus = broker.bus_with(LIQUIDATIONS)
    outbox = Outbox(bus)
    outbox.send(encode(close) for close in _closes(events))
    outbox.settle()
    rates: dict[str, list[float]] = {}
    rows = 0
    for _ in range(rounds):
        for name, read in (("bare", _drain), ("ours", _columns), ("aligned", _aligned), ("stock", _drain_stock)):
            began = time.perf_counter()
            count = read(bus, events)
            rates.setdefault(name, []).append(count / (time.perf_counter() - began) / 1e6)
            rows = count if name == "ours" else rows
    middle = {name: statistics.median(figures) for name, figures in rates.items()}
    bare = "bare client, one Message each"
    return [
        row("catching up: bare client, not decoded", middle["bare"], "M/s", spread=_spread(rates["bare"])),
        row(
            "catching up: to columns in a flow", middle["ours"], "M/s", Target("≥", 0.6, "ratio"), baseline=bare,
            ratio=middle["ours"] / middle["bare"], spread=_spread(rates["ours"]),
        ),
        row(
            "catching up: the same, partitions in order of time", middle["aligned"], "M/s", baseline=bare,
            ratio=middle["aligned"] / middle["bare"], spread=_spread(rates["aligned"]),
        ),
        row(
            "catching up: stock source, not decoded", middle["stock"], "M/s", baseline=bare,
            ratio=middle["stock"] / middle["bare"], spread=_spread(rates["stock"]),
        ),
        kept("catching up", events, rows),
    ]  # fmt: skip


def _closes(count: int) -> Iterator[Liquidation]:
    began = system_clock() - count * 50_000
    for number in range(count):
        at = began + number * 50_000
        yield Liquidation(
            f"{number:016x}", VENUES[number % 17], "BTCUSDT", f"A{number % 300}", "long", "liquidation", 64_000.5,
            "fill", 0.25, 16_000.125, at, at + 3_000_000, "complete", False, "venue",
        )  # fmt: skip


def _drain(bus: Bus, events: int) -> int:
    consumer = Consumer(bus.client(CONFIG))
    name = bus.name(LIQUIDATIONS)
    consumer.assign([TopicPartition(name, number, 0) for number in range(LIQUIDATIONS.partitions)])
    count = 0
    while count < events:
        count += len(consumer.consume(10_000, 0.01))
    consumer.close()
    return count


def _columns(bus: Bus, events: int, *, aligned: bool = False) -> int:
    decoder, count = CloseDecoder(Names(), Names()), 0

    def take(arrivals: Arrivals) -> None:
        nonlocal count
        columns, _ = decoder.columns([message.value() for run in arrivals.runs for message in run.messages])
        count += len(columns)

    flow = Dataflow("catching up")
    source = KafkaSource(bus, Reading((LIQUIDATIONS,), aligned=aligned, bounded=True), system_clock)
    op.output("out", op.input("in", flow, source), CallbackSink(take))
    run_main(flow)
    return count


def _aligned(bus: Bus, events: int) -> int:
    return _columns(bus, events, aligned=True)


def _drain_stock(bus: Bus, events: int) -> int:
    count = 0

    def take(_: Any) -> None:
        nonlocal count
        count += 1

    flow = Dataflow("catching up")
    source = StockSource([bus.bootstrap], [bus.name(LIQUIDATIONS)], tail=False)
    op.output("out", op.input("in", flow, source), CallbackSink(take))
    run_main(flow)
    return count


def _spread(figures: list[float]) -> str:
    return f"{min(figures):.2f} to {max(figures):.2f}" if len(figures) > 1 else ""
