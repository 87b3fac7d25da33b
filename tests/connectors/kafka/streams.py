"""Flows over a bus for tests: what they read, kept in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink, cluster_main, run_main

from connectors.kafka import Arrivals, KafkaSource, Reading
from schemas.batches import Tick
from schemas.bus import Bus
from schemas.clock import MILLISECOND, system_clock
from schemas.codec import Outgoing
from schemas.topics import SIGNALS, Topic
from sinks.kafka import Outbox

EPOCH = timedelta(milliseconds=50)
RECENT = system_clock() // MILLISECOND - 120_000
"""Milliseconds. What is older than a topic's retention the broker removes, whenever it was sent."""


def numbered(numbers: Iterable[int], topic: Topic = SIGNALS, keys: int = 24, base: int = RECENT) -> list[Outgoing]:
    """Messages that say a number, a millisecond apart."""
    return [
        Outgoing(topic.name, b"key%d" % (number % keys), b"%d" % number, [("schema", b"x.v1")], base + number)
        for number in numbers
    ]


def send(bus: Bus, messages: Iterable[Outgoing]) -> None:
    outbox = Outbox(bus, deadline=20)
    outbox.send(messages)
    outbox.settle()


@dataclass
class Told:
    """What a flow was told."""

    numbers: list[int] = field(default_factory=list)
    warm: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    """Message times as they came, those of one activation sorted."""
    ticks: list[int] = field(default_factory=list)
    offsets: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def take(self, item: Any) -> None:
        if isinstance(item, Tick):
            self.ticks.append(item.receive_time)
            return
        assert isinstance(item, Arrivals)
        self.times += sorted(m.timestamp()[1] for run in item.runs for m in run.messages)
        for run in item.runs:
            said = [int(m.value() or b"-1") for m in run.messages]
            (self.warm if run.warm else self.numbers).extend(said)
            self.offsets.setdefault((run.topic, run.partition), []).extend(m.offset() or 0 for m in run.messages)


def flow_over(source: KafkaSource, told: Told, total: dict[str, int] | None = None) -> Dataflow:
    """A flow that keeps what it is told and, with ``total``, sums it in state of the engine."""
    flow = Dataflow("reading")
    items = op.input("bus", flow, source)
    kept = op.map("keep", items, lambda item: (told.take(item), item)[1])
    if total is None:
        op.output("out", kept, TestingSink([]))
        return flow
    numbers = op.flat_map(
        "numbers", kept, lambda a: [("all", int(m.value() or 0)) for run in a.runs for m in run.messages]
    )

    def add(state: int | None, number: int) -> tuple[int, int]:
        total["sum"] = (state or 0) + number
        return total["sum"], number

    op.output("out", op.stateful_map("sum", numbers, add), TestingSink([]))
    return flow


def read(
    bus: Bus,
    reading: Reading,
    *,
    recovery: RecoveryConfig | None = None,
    workers: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    total: dict[str, int] | None = None,
) -> Told:
    """Run a flow over the bus to its end."""
    told = Told()
    source = KafkaSource(bus, reading, system_clock, stopped)
    flow = flow_over(source, told, total)
    if workers == 1:
        run_main(flow, epoch_interval=EPOCH, recovery_config=recovery)
    else:
        cluster_main(flow, [], 0, epoch_interval=EPOCH, recovery_config=recovery, worker_count_per_proc=workers)
    return told
