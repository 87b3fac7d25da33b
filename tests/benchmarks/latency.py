"""From the socket to the sink of the live dataflow, on loopback, at three rates, beside a bare websocket client."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.figures import Row, Target, kept, row
from tests.benchmarks.loopback import Heard, bare, through_the_flow

_JUDGED = 500
_LENGTHS = {20: 15.0, 500: 10.0, 5000: 6.0}
"""Seconds by frames per second."""
_QUICK = {200: 1.0}
_P50, _P99 = Target("≤", 0.3), Target("≤", 1.0)


def latency(*, quick: bool) -> list[Row]:
    """Milliseconds; the bare client decodes each frame and does nothing else."""
    rows = []
    for rate, seconds in (_QUICK if quick else _LENGTHS).items():
        frames = round(rate * seconds)
        load = ("--flood", str(rate), "--frames", str(frames))
        ours = through_the_flow(frames, *load, seconds=seconds)
        peer = bare(frames, *load, seconds=seconds)
        rows += _rows(f"{rate}/s", frames, ours, peer, judged=rate == _JUDGED)
    return rows


def _rows(title: str, frames: int, ours: Heard, peer: Heard, *, judged: bool) -> list[Row]:
    rows = [kept(f"{title}", frames, len(ours.handled)), kept(f"{title}, bare client", frames, len(peer.handled))]
    if len(ours.handled) != len(ours.sent) or not len(ours.handled):
        return rows
    inside = (ours.handled - ours.received) / 1e6
    whole, alone = (ours.handled - ours.sent) / 1e6, (peer.handled - peer.sent) / 1e6
    for share, target in ((0.5, _P50), (0.99, _P99)):
        name = f"p{share * 100:.0f}"
        sent_to_sink, sent_to_bare = (float(np.quantile(part, share)) for part in (whole, alone))
        rows += [
            row(f"{title}: receipt to sink, {name}", float(np.quantile(inside, share)), "ms",
                target if judged else None),
            row(f"{title}: sent to sink, {name}", sent_to_sink, "ms",
                baseline=f"bare client, {sent_to_bare:.3f} ms", ratio=sent_to_sink / sent_to_bare),
        ]  # fmt: skip
    rows += [
        row(f"{title}: receipt to sink, the first event", float(inside[0]), "ms"),
        row(f"{title}: rate the simulator kept", frames / ours.span, "frames/s"),
    ]
    return rows
