"""Keeps what venues send, byte by byte, with receive times and the instruments they list.

Reads: the feeds of the chosen venues. Writes: one zstd JSON-lines recording. Guarantee: at most once from the socket; a
killed process loses at most the last second.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from connectors.exchange import Frame
from connectors.recording import FrameWriter
from connectors.source import FeedSource, Items
from flows import assembly
from flows.live import INTERRUPTED, Stop, interruptible
from flows.settings import Settings
from flows.stages import execute
from schemas.clock import system_clock
from schemas.records import FeedStatus
from sinks.callback import CallbackSink


def record(settings: Settings, *, out: Path, duration: float | None) -> int:
    """Record until the duration is over or Ctrl-C; 0, or 130 where interrupted."""
    venues = [assembly.venue_feeds(settings, exchange) for exchange in assembly.enabled(settings)]
    reader = assembly.reader(settings, venues, system_clock)
    writer = FrameWriter(out, system_clock)
    stop = Stop(system_clock, duration)

    def keep(items: Items) -> None:
        writer.write(item for item in items if isinstance(item, Frame))
        for item in items:
            if isinstance(item, FeedStatus) and item.state in {"refused", "unreachable", "gap"}:
                sys.stderr.write(f"{item.venue} {item.feed}: {item.state}: {item.reason}\n")

    flow = Dataflow("record")
    op.output("file", op.input("feeds", flow, FeedSource(reader, system_clock, stop)), CallbackSink(keep))
    try:
        with interruptible(stop):
            execute(flow)
    finally:
        reader.stop()
        writer.close()
    sys.stderr.write(f"{writer.frames} frames in {out}\n")
    return INTERRUPTED if stop.interrupted else 0
