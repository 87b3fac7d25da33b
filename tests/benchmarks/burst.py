"""22,558 events in one instant, as on 10 October 2025, through the live dataflow: none lost, and how fast drained."""

from __future__ import annotations

from tests.benchmarks.figures import Row, Target, kept, middle, row, spread
from tests.benchmarks.loopback import Heard, bare, through_the_flow

_EVENTS = 22_558
_DRAINED = Target("≤", 100.0)


def burst(*, quick: bool) -> list[Row]:
    """Milliseconds from the first frame received to the last event at the sink, and what the client took of it."""
    events = 1_000 if quick else _EVENTS
    rounds = 1 if quick else 3
    load = ("--burst", str(events))
    ours = [through_the_flow(events, *load, seconds=0.0) for _ in range(rounds)]
    peers = [bare(events, *load, seconds=0.0) for _ in range(rounds)]
    worst = min(ours, key=lambda heard: len(heard.handled))
    rows = [kept("burst", events, len(worst.handled)), kept("bare client", events, len(peers[-1].handled))]
    if any(len(heard.handled) == 0 for heard in (*ours, *peers)):
        return rows
    alone = middle(_reading(heard) for heard in peers)
    drained = [_drained(heard) for heard in ours]
    reading = [_reading(heard) for heard in ours]
    return [
        *rows,
        row("first received to last handled", middle(drained), "ms", _DRAINED,
            baseline=f"bare client, {alone:.0f} ms from first to last", ratio=middle(drained) / alone,
            spread=spread(drained, 0)),
        row("of it first received to last received (websocket parse)", middle(reading), "ms",
            baseline="bare client", ratio=middle(reading) / alone, spread=spread(reading, 0)),
        row("of it last received to last handled", middle(d - r for d, r in zip(drained, reading, strict=True)), "ms"),
        row("events handled while the burst was drained", events / middle(drained), "k events/s"),
    ]  # fmt: skip


def _drained(heard: Heard) -> float:
    return float(heard.handled[-1] - heard.received[0]) / 1e6


def _reading(heard: Heard) -> float:
    return float(heard.received.max() - heard.received.min()) / 1e6
