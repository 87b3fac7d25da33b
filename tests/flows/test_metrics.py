"""The names are a contract: dashboards and alerts are written against them."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from flows import metrics

CONTRACT = {
    ("breakwater_frames_total", "counter", ("venue",)),
    ("breakwater_events_total", "counter", ("venue", "cause")),
    ("breakwater_dead_letters_total", "counter", ("venue",)),
    ("breakwater_duplicates_total", "counter", ()),
    ("breakwater_late_total", "counter", ()),
    ("breakwater_signals_total", "counter", ("level",)),
    ("breakwater_cascades_open", "gauge", ()),
    ("breakwater_stage_seconds", "histogram", ("stage",)),
    ("breakwater_lag_seconds", "gauge", ("topic", "partition")),
    ("breakwater_lag_records", "gauge", ("topic", "partition")),
    ("breakwater_feed_state", "gauge", ("venue", "feed", "state")),
    ("breakwater_gap_seconds_total", "counter", ("venue",)),
    ("breakwater_produced_total", "counter", ("topic",)),
    ("breakwater_delivery_failures_total", "counter", ("topic",)),
    ("breakwater_history_rows_total", "counter", ("dataset",)),
    ("breakwater_history_flush_failures_total", "counter", ()),
    ("breakwater_worker_up", "gauge", ("worker",)),
    ("breakwater_executor_intents", "gauge", ("state",)),
    ("breakwater_executor_state", "gauge", ()),
    ("breakwater_executor_detect_seconds", "histogram", ("path",)),
    ("breakwater_executor_flat_seconds", "histogram", ()),
}


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def test_every_metric_of_the_contract_is_there_with_its_labels_and_no_other() -> None:
    assert {(name, kind, labels) for name, kind, labels, _ in metrics.described()} == CONTRACT


def test_every_metric_says_what_it_means() -> None:
    assert all(meaning.endswith(".") for *_, meaning in metrics.described())


def test_what_prometheus_reads_holds_the_names_and_no_second_series_of_creation_times() -> None:
    metrics.frames.labels("bybit").inc(3)
    text = generate_latest(metrics.REGISTRY).decode()
    assert 'breakwater_frames_total{venue="bybit"} ' in text
    assert re.search(r"^breakwater_duplicates_total \d", text, re.MULTILINE), (
        "one without labels is there from the start"
    )
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text


def test_a_feed_is_in_one_state_at_a_time_and_a_gap_is_none() -> None:
    metrics.set_feed_state("okx", "public", "connecting")
    metrics.set_feed_state("okx", "public", "silent")
    told = {
        state: value("breakwater_feed_state", venue="okx", feed="public", state=state)
        for state in ("connecting", "silent", "subscribed", "gap")
    }
    assert told == {"connecting": 0.0, "silent": 1.0, "subscribed": 0.0, "gap": None}
