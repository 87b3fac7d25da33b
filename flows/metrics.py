"""What workers count and measure, for Prometheus: every metric there is, its name, its labels and its meaning.

Counters begin at zero with the process; Prometheus knows that they do. A metric without labels is there from the start,
one with labels from its first value. The names are a contract with the dashboards: append only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from schemas.records import FeedState

# A second series per counter, telling when it began, is what a restart already shows.
disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotations

REGISTRY = CollectorRegistry()
"""Holds every metric of this process, and what the kernel knows about it (memory, CPU, open files)."""
ProcessCollector(registry=REGISTRY)

_QUICK = (50e-6, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds: from what a step takes to what a person notices."""
_SLOW = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds: what venues take."""


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: Iterable[float], *labels: str) -> Histogram:
    return Histogram(name, meaning, labels, buckets=tuple(buckets), registry=REGISTRY)


frames = _counter("breakwater_frames_total", "Native frames read.", "venue")
events = _counter(
    "breakwater_events_total", "Forced closes told, by cause (liquidation, adl, backstop, unknown).", "venue", "cause"
)
dead_letters = _counter("breakwater_dead_letters_total", "Frames or records that could not be understood.", "venue")
duplicates = _counter("breakwater_duplicates_total", "Forced closes known already by their id, taken out.")
late = _counter("breakwater_late_total", "Forced closes too late to be scored; they are stored all the same.")
signals = _counter("breakwater_signals_total", "Changes of level told, by the level reached.", "level")
cascades_open = _gauge("breakwater_cascades_open", "Cascades open now, of all assets this worker scores.")
stage_seconds = _histogram(
    "breakwater_stage_seconds",
    "Time from when our socket received it to the end of a stage, per batch: of the newest frame or event in it.",
    _QUICK,
    "stage",
)
lag_seconds = _gauge(
    "breakwater_lag_seconds",
    "Age of the last record read, where more wait; 0 where all is read.",
    "topic",
    "partition",
)
lag_records = _gauge("breakwater_lag_records", "Records that wait to be read.", "topic", "partition")
feed_state = _gauge(
    "breakwater_feed_state", "1 for the state a feed is in, 0 for the others.", "venue", "feed", "state"
)
gap_seconds = _counter(
    "breakwater_gap_seconds_total", "Seconds of feeds in which events may have been missed, once each is over.", "venue"
)
produced = _counter("breakwater_produced_total", "Records the broker confirmed.", "topic")
delivery_failures = _counter(
    "breakwater_delivery_failures_total", "Records the broker did not confirm; the worker stops and repeats.", "topic"
)
history_rows = _counter("breakwater_history_rows_total", "Rows written to the history.", "dataset")
history_flush_failures = _counter(
    "breakwater_history_flush_failures_total", "Times the disk refused a file; its rows are kept and tried again."
)
worker_up = _gauge("breakwater_worker_up", "1 while the worker does its work, 0 while it starts or stops.", "worker")
executor_intents = _gauge("breakwater_executor_intents", "Order intents in the journal by their state.", "state")
executor_state = _gauge(
    "breakwater_executor_state",
    "What the executor may do: 0 halted, 1 only reduce, 2 active (open and reduce); NaN where nobody looked.",
)
executor_state.set(math.nan)  # every worker has it, and only one that reads the journal knows
executor_detect_seconds = _histogram(
    "breakwater_executor_detect_seconds",
    "From what happened to a leg at its venue to its detection here, by how it was noticed.",
    _SLOW,
    "path",
)
executor_flat_seconds = _histogram(
    "breakwater_executor_flat_seconds", "From the detection of a lost leg to both legs proven flat.", _SLOW
)

_STATES: tuple[FeedState, ...] = get_args(FeedState)


def set_feed_state(venue: str, feed: str, state: FeedState | Literal[""]) -> None:
    """Say which state a feed is in; a gap is a hole that closed, not a state to be in."""
    for known in _STATES:
        if known != "gap":
            feed_state.labels(venue, feed, known).set(known == state)


def described() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Every metric of ours: name as Prometheus shows it, kind, labels, meaning."""
    ours = [value for value in globals().values() if isinstance(value, Counter | Gauge | Histogram)]
    return [(_shown(m), m._type, m._labelnames, m._documentation) for m in ours]  # noqa: SLF001 - there is no other way to ask


def _shown(metric: Counter | Gauge | Histogram) -> str:
    return f"{metric._name}_total" if isinstance(metric, Counter) else metric._name  # noqa: SLF001 - likewise
