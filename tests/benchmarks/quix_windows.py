"""Run by ``quix`` in a process of its own, with nothing of ours imported: the six windows in quixstreams."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found] # installed where the benchmark is told
from quixstreams.dataframe.windows import Count, Sum  # type: ignore[import-not-found] # same

WINDOWS = (100, 1_000, 5_000, 10_000, 60_000, 300_000)
"""Milliseconds."""


def main(bootstrap: str, topic: str, state: str, events: int) -> None:
    """Read so many events from the beginning; print how many windows were told, and how many seconds it took."""
    app = Application(
        broker_address=bootstrap, consumer_group="quix", auto_offset_reset="earliest", state_dir=state,
        loglevel="ERROR", use_changelog_topics=False, consumer_extra_config={"auto.offset.reset": "earliest"},
    )  # fmt: skip
    closes = app.dataframe(
        app.topic(topic, value_deserializer="json", key_deserializer="str", timestamp_extractor=_happened)
    )
    began, ended, told, read = 0.0, 0.0, 0, 0

    def count(_: Any) -> None:
        nonlocal began, read
        began = began or time.perf_counter()
        read += 1
        if read == events:
            app.stop()

    def tell(_: Any) -> None:
        nonlocal ended, told
        told += 1
        ended = time.perf_counter()

    closes.update(count)
    for length in WINDOWS:
        window = closes.sliding_window(timedelta(milliseconds=length), grace_ms=timedelta(seconds=5), name=str(length))
        window.agg(count=Count(), usd=Sum("notional_usd")).current().update(tell)
    app.run()
    print(json.dumps({"read": read, "told": told, "seconds": ended - began}))


def _happened(value: Any, headers: Any, timestamp: float, kind: Any) -> int:
    return int(value["event_time"]) // 1_000_000


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
