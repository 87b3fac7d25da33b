"""Kafka as a source of the dataflow: one consumer per worker over all its partitions, and no consumer group.

The engine divides the partitions among the workers and keeps an offset for each, so that any number of workers can
resume what any other number left. Exactly one partition of a worker, the *leader*, waits (a few milliseconds at most)
and hands on what arrived in all of them; the others only keep their offsets. Two partitions that wait would wait for
each other: stock sources are at ten milliseconds a hop with twelve partitions.

The leader hands on a partition's messages only while both stand in the same epoch: a message and the offset after it
then always belong to the same snapshot. Guarantee: at least once, exactly once for state kept by the engine.

What happens when: **the broker is away** or a partition has no leader: the source waits, says so once, and reads on
(no ticks meanwhile: silence of the bus says nothing of the market). **A topic is deleted** or was made anew:
``TopicMissing``. **An offset is no longer kept**: ``OffsetLost``, which says the range there is and the way out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.kafka.consumer import BusConsumer, Lag, Place, Reading, Run, Start
from connectors.kafka.metadata import partition_names
from schemas.batches import Tick
from schemas.bus import Bus
from schemas.clock import MILLISECOND, Clock
from schemas.topics import Topic

log = structlog.get_logger(__name__)

TICK = 100 * MILLISECOND
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""An awake time in the past: call again at once."""
_NOW_AND_THEN = timedelta(milliseconds=50)
"""How often a partition that does not lead is asked whether it has ended."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What one activation brings."""

    runs: tuple[Run, ...]

    def __len__(self) -> int:
        return sum(len(run.messages) for run in self.runs)


class KafkaPartition(StatefulSourcePartition[Any, Place]):
    """One partition of a topic; the first of a worker leads."""

    def __init__(self, name: str, worker: _Worker) -> None:
        self.name, self._worker = name, worker
        self.epoch = 0

    def next_batch(self) -> list[Any]:
        """What arrived in all partitions of this worker, if this one leads; else nothing."""
        if self._worker.ended:
            raise StopIteration
        return self._worker.read() if self._worker.leads(self) else []

    def next_awake(self) -> datetime:
        """At once: reading waits by itself."""
        return _AT_ONCE if self._worker.leads(self) else datetime.fromtimestamp(0, UTC) + self._worker.later()

    def snapshot(self) -> Place:
        """The offset after what was handed on."""
        self.epoch += 1
        return self._worker.consumer.place(self.name)

    def close(self) -> None:
        """The last one closes the consumer."""
        self._worker.leave(self)


class _Worker:
    """What the partitions of one worker share."""

    def __init__(self, consumer: BusConsumer, reading: Reading, clock: Clock, stopped: Callable[[], bool]) -> None:
        self.consumer = consumer
        self.ended = False
        self._reading, self._clock, self._stopped = reading, clock, stopped
        self._parts: dict[str, KafkaPartition] = {}
        self._leader: KafkaPartition | None = None
        self._tick = 0

    def join(self, name: str, resume: Place | None) -> KafkaPartition:
        """A partition of its own."""
        self.consumer.add(name, resume)
        made = self._parts[name] = KafkaPartition(name, self)
        self._leader = self._parts[min(self._parts)]  # the engine asks them in this order
        return made

    def leads(self, part: KafkaPartition) -> bool:
        """Whether this is the one that waits."""
        return part is self._leader

    def later(self) -> timedelta:
        """When to ask those that do not lead again, since 1970."""
        return timedelta(microseconds=self._clock() // 1000) + _NOW_AND_THEN

    def leave(self, part: KafkaPartition) -> None:
        """The engine is done with a partition."""
        self._parts.pop(part.name, None)
        if not self._parts:
            self.consumer.close()

    def read(self) -> list[Any]:
        """Wait a few milliseconds at most, then everything there is."""
        if self._stopped():
            self.ended = True
            raise StopIteration
        leader = self._leader
        if any(part.epoch != leader.epoch for part in self._parts.values()):  # type: ignore[union-attr] # it is the leader who asks
            return []
        runs = self.consumer.read()
        items: list[Any] = [Arrivals(tuple(runs))] if runs else []
        if self._reading.ticks:
            now = self._clock()
            if now - self._tick >= TICK and self.consumer.current(now):
                self._tick = now // TICK * TICK
                items.append(Tick(now))
        if self._reading.bounded and not runs and self.consumer.finished():
            log.info("read to where the topics ended at the start")
            self.ended = True
            raise StopIteration
        return items


class KafkaSource(FixedPartitionedSource[Any, Place]):
    """Topics as ``Arrivals`` (and ``Tick``), at least once, resumable by any number of workers.

    :arg stopped: asked each time it looks; true ends the flow after what was handed on, with its offsets kept.
    :raises BusUnreachable, TopicMissing, OffsetLost: while the flow is built or runs; each says what to do.
    """

    def __init__(self, bus: Bus, reading: Reading, clock: Clock, stopped: Callable[[], bool] = lambda: False) -> None:
        self.bus, self.reading = bus, reading
        self._clock, self._stopped = clock, stopped
        self._workers: dict[int, _Worker] = {}

    def list_parts(self) -> list[str]:
        """Every partition of every topic; one added later is read after the next start."""
        return partition_names(self.bus, self.reading.topics)

    def partitions(self, topic: Topic) -> list[int]:
        """The numbers of the partitions a topic of these has."""
        prefix = f"{self.bus.name(topic)}/"
        return [int(name.removeprefix(prefix)) for name in self.list_parts() if name.startswith(prefix)]

    def build_part(self, step_id: str, for_part: str, resume_state: Place | None) -> KafkaPartition:  # noqa: ARG002 - the engine's signature
        """Join the partitions this worker (a thread of this process) already reads."""
        thread = threading.get_ident()
        worker = self._workers.get(thread)
        if worker is None:
            consumer = BusConsumer(self.bus, self.reading, self._clock)
            worker = self._workers[thread] = _Worker(consumer, self.reading, self._clock, self._stopped)
        return worker.join(for_part, resume_state)

    def lags(self) -> dict[str, Lag]:
        """How far each partition read by this process is behind, by ``topic/partition``."""
        return {name: lag for worker in list(self._workers.values()) for name, lag in worker.consumer.lags().items()}


__all__ = ["Arrivals", "KafkaSource", "Lag", "Place", "Reading", "Run", "Start"]
