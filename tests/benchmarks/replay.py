"""Replay of native frames on one core, in a plain loop and inside the engine, beside decoding the same frames alone."""

from __future__ import annotations

import gc
from collections.abc import Callable

from connectors.source import ReplaySource
from flows.replay import build
from flows.stages import execute
from tests.benchmarks.figures import Cost, Row, Target, cost, kept, middle, row, spread
from tests.benchmarks.frames import DECODERS, Corpus, corpus
from tests.benchmarks.pipeline import Pipeline, Tally

_RATIO = Target("≤", 2.5, "ratio")
_RATE = Target("≥", 0.4)


def replay(*, quick: bool) -> list[Row]:
    """Frames → signals; ratios are of process CPU time, rates of wall time."""
    frames = corpus(20_000 if quick else 1_000_000)
    rounds = 1 if quick else 3
    Pipeline().run(frames.pieces[:1])
    # The corpus would be walked by every full collection; in a replay frames die as they are read.
    gc.collect()
    gc.freeze()
    found: dict[str, list[tuple[Cost, Tally]]] = {"decode": [], "loop": [], "told": [], "flow": []}
    for _ in range(rounds):
        found["decode"].append((cost(_decoding(frames)), Tally()))
        found["loop"].append(_measured(_looping, frames))
        found["told"].append(_measured(_looping, frames, tell_windows=True))
        found["flow"].append(_measured(_flowing, frames))
    gc.unfreeze()
    return _rows(frames, found)


def _decoding(frames: Corpus) -> Callable[[], None]:
    pairs = [(DECODERS[frame.venue], frame.payload) for piece in frames.pieces for frame in piece]

    def work() -> None:
        for decode, payload in pairs:
            decode(payload)

    return work


def _looping(frames: Corpus, pipeline: Pipeline) -> None:
    pipeline.run(frames.pieces)


def _flowing(frames: Corpus, pipeline: Pipeline) -> None:
    source = ReplaySource(iter(frames.pieces))
    execute(build(source, pipeline.normaliser, pipeline.detector, pipeline.tally.take))


def _measured(
    work: Callable[[Corpus, Pipeline], None], frames: Corpus, *, tell_windows: bool = False
) -> tuple[Cost, Tally]:
    pipeline = Pipeline(tell_windows=tell_windows)
    return cost(lambda: work(frames, pipeline)), pipeline.tally


def _rows(frames: Corpus, found: dict[str, list[tuple[Cost, Tally]]]) -> list[Row]:
    count = frames.frames
    alone = [c for c, _ in found["decode"]]
    cpu = middle(c.cpu for c in alone)
    against = f"decode alone, {cpu / count * 1e6:.2f} µs CPU a frame"
    rows = [row("decode alone", count / middle(c.wall for c in alone) / 1e6, "M frames/s")]
    for name, title in (("loop", "in a plain loop"), ("flow", "inside bytewax")):
        costs = [c for c, _ in found[name]]
        ratios = [c.cpu / a.cpu for c, a in zip(costs, alone, strict=True)]
        walls = [c.wall / a.wall for c, a in zip(costs, alone, strict=True)]
        rates = [count / c.wall / 1e6 for c in costs]
        rows += [
            row(f"{title}: CPU", middle(c.cpu for c in costs) / count * 1e6, "µs/frame", _RATIO, baseline=against,
                ratio=middle(ratios), spread=spread(ratios)),
            row(f"{title}: wall", middle(c.wall for c in costs) / count * 1e6, "µs/frame",
                baseline="decode alone, wall", ratio=middle(walls), spread=spread(walls)),
            row(f"{title}: rate", middle(rates), "M frames/s", _RATE, spread=spread(rates)),
            kept(title, frames.events, found[name][-1][1].events),
        ]  # fmt: skip
    told = [c.cpu / a.cpu for (c, _), a in zip(found["told"], alone, strict=True)]
    rows.append(
        row("in a plain loop, the windows of each second told as well: CPU",
            middle(c.cpu for c, _ in found["told"]) / count * 1e6, "µs/frame", baseline=against, ratio=middle(told),
            spread=spread(told))
    )  # fmt: skip
    tally = found["loop"][-1][1]
    rows += [row(f"of it {step}, CPU", s / count * 1e6, "µs/frame") for step, s in tally.seconds.items()]
    rows.append(row("signals", tally.signals, "records"))
    return rows
