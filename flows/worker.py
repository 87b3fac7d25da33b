"""What every worker has around its flow: settings, the bus, a health page, figures, and an orderly end.

A worker is a bytewax dataflow whose ``build`` anybody can run: ``breakwater worker NAME`` here,
``python -m bytewax.run`` with the engine's own options for recovery and clusters. Both come through ``Worker.begin``.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import FrameType

import structlog
from prometheus_client import Counter as Metric

from connectors.kafka import KafkaSource, Reading, Start
from flows import logs, metrics
from flows.bus import bus_of
from flows.configuration import load
from flows.garbage import rare_collections
from flows.health import Health, HealthPage
from flows.lifeline import follow
from flows.recovery import drop_unfinished, first_begun
from flows.settings import Settings, read_duration
from schemas.bus import Bus
from schemas.clock import SECOND, Clock, system_clock
from schemas.compiled import is_warm
from schemas.topics import Topic
from sinks.kafka import KafkaSink

log = structlog.get_logger(__name__)


class Worker:
    """The surroundings of one flow in one process.

    :arg bounded: end where the topics ended at the start, instead of running until told to stop.
    """

    def __init__(self, name: str, settings: Settings, clock: Clock = system_clock, *, bounded: bool = False) -> None:
        self.name, self.settings, self.clock = name, settings, clock
        self.health = Health(name)
        self._bounded = bounded
        self._store: Path | None = None
        self._stopping = self._warming = False
        self._page: HealthPage | None = None
        self._sources: list[KafkaSource] = []
        self._figures_due = 0
        self._sink: KafkaSink | None = None
        self._working = ExitStack()
        self._delivered: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    @classmethod
    def begin(
        cls, name: str, config: str | None = None, *, bounded: bool = False, recovery: str | None = None
    ) -> Worker:
        """Read the settings, log, serve the health page and hear SIGTERM: all a process needs before its flow.

        :arg recovery: the store it resumes from; rid of what an unfinished epoch left in it.
        """
        follow()
        settings = load(Path(config) if config else None).settings
        logs.configure(settings.log.format, settings.log.level)
        worker = cls(name, settings, bounded=bounded)
        if recovery is not None:
            worker.resume_from(Path(recovery))
        worker.serve()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, worker.stop)
        atexit.register(worker.close)
        faulthandler.register(signal.SIGUSR1)  # what each thread is doing, on stderr
        return worker

    def resume_from(self, store: Path) -> None:
        """A recovery store, rid of what an unfinished epoch left in it."""
        drop_unfinished(store)
        self._store = store

    def warm_up(self, load: Callable[[], object]) -> None:
        """Load what is compiled before the flow begins, a minute where it is the first time on a machine.

        No message waits for it then, and who is told to stop meanwhile ends at once.
        """
        if not is_warm():
            log.info("compiling, once on this machine", worker=self.name, pid=os.getpid())
        self._warming = True
        with ThreadPoolExecutor(
            1
        ) as beside:  # the compiler does not look up for seconds: who waits for it hears signals
            beside.submit(load).result()
        self._warming = False

    @cached_property
    def bus(self) -> Bus:
        """Where the topics are."""
        return bus_of(self.settings.kafka)

    def sink(self) -> KafkaSink:
        """Where messages go."""
        self._sink = KafkaSink(self.bus, self.settings.kafka.deadline)
        return self._sink

    def source(
        self,
        topics: Iterable[Topic],
        *,
        start: Start = "beginning",
        warm_up: float = 0.0,
        aligned: bool = False,
        ticks: bool = False,
        waits: bool = True,
    ) -> KafkaSource:
        """The topics, from where this worker left them.

        :arg start: where a worker without a snapshot begins; its end is the one it had when it first began.
        :arg warm_up: seconds that are read again before a place that was asked for.
        :arg aligned, ticks, waits: see ``Reading``.
        """
        said = self.settings.worker.start
        if start == "end" and self._store is not None:
            start = first_begun(self._store, self.clock()) or "end"
        reading = Reading(
            tuple(topics),
            start=start if said is None else self._moment(said),
            resume=said is None,
            warm_up=0 if said is None else round(warm_up * SECOND),
            aligned=aligned,
            bounded=self._bounded,
            ticks=ticks,
            waits=waits,
        )
        source = KafkaSource(self.bus, reading, self.clock, self.turned)
        self._sources.append(source)
        return source

    def _moment(self, start: str) -> Start:
        """``beginning``, ``end``, or so long ago."""
        if start == "beginning":
            return "beginning"
        return "end" if start == "end" else self.clock() - round(read_duration(start) * SECOND)

    def turned(self) -> bool:
        """Asked by sources each time they look for more: the flow is alive. Whether it is to stop."""
        self.health.turned()
        now = self.clock()
        if now >= self._figures_due:
            if not self._figures_due:
                self._working.enter_context(rare_collections())
                log.info("at work", worker=self.name, pid=os.getpid())
            self._figures_due = now + SECOND
            self.health.ready()
            self._tell_figures()
        return self._stopping

    def waits(self, reason: str, pause: float) -> bool:
        """Something outside is missing: alive, not ready, and to try again after so many seconds. Whether to stop."""
        self.health.unready(reason)
        self._figures_due = 0
        time.sleep(pause)
        self.health.turned()
        return self._stopping

    def _tell_figures(self) -> None:
        for source in self._sources:
            for place, lag in source.lags().items():
                topic, _, partition = place.rpartition("/")
                metrics.lag_records.labels(self.bus.bare(topic), partition).set(lag.messages)
                metrics.lag_seconds.labels(self.bus.bare(topic), partition).set(lag.seconds)
        if self._sink is not None:
            outbox = self._sink.outbox
            self._delivered = _counted(metrics.produced, outbox.delivered, self._delivered)
            self._failed = _counted(metrics.delivery_failures, outbox.failed, self._failed)

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """The system, or a person, asks to stop: drain, flush, keep the offsets, end. The second time at once."""
        if self._stopping:
            raise KeyboardInterrupt
        if self._warming:
            os._exit(0)  # nothing was begun, and the compiler cannot be interrupted
        self._stopping = True
        self.health.unready("stopping")
        log.info("stopping", worker=self.name, signal=signal.Signals(number).name)

    def serve(self) -> None:
        """Answer who asks for health and metrics."""
        if self.settings.health.enabled:
            self._page = HealthPage(self.health, self.settings.health)

    def close(self) -> None:
        """Answer no more."""
        self._working.close()
        self.health.unready("stopped")
        if self._page is not None:
            self._page.close()
            self._page = None


def _counted(metric: Metric, now: Counter[str], before: Counter[str]) -> Counter[str]:
    """Add what came since; the counts now."""
    now = Counter(now)
    for topic, count in now.items():
        metric.labels(topic).inc(count - before[topic])
    return now
