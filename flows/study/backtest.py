"""What the detector's own alarms would have caught: recorded data through ``flows.domain.Detector``, per setting.

No forecast is re-made here: the events go through the detector a live run uses, with the settings it would use, and its
signals are judged by what followed. Settings are independent of each other, so that they share the cores.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from connectors.extracts import read_extract
from flows.domain.detector import Detector
from flows.domain.duplicates import Seen
from flows.domain.rules import Rules
from flows.progress import done
from flows.study.events import Recording
from flows.study.labels import crossings, episodes
from flows.study.metrics import REFRACTORY
from schemas.batches import Batch, Names
from schemas.cascades import LEVELS, Level, Signal
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.errors import UsageError

Times = NDArray[np.int64]
_AFTERWARDS = HOUR
"""So much time passes after the last event: levels fall when they are due."""


class Variant(Struct, frozen=True):
    """One setting of the grid."""

    name: str
    rules: Rules


class Caught(Struct, frozen=True):
    """What the alarms of one setting would have caught. Rates are NaN-free: none where there was nothing to divide by.

    An alarm is the target's level rising to the asked one or above, five minutes after the one before at the earliest.
    """

    setting: str
    alarms: int
    crossings: int
    a_day: float
    recall: float | None
    """Share of crossings with an alarm from five minutes before to one minute after."""
    foretold: float | None
    """Share of crossings with an alarm in the five minutes before."""
    precision: float | None
    """Share of alarms with a crossing from one minute before to five minutes after."""
    false_a_day: float
    lead: float | None
    """Median seconds from the first alarm to a crossing foretold."""
    delay: float | None
    """Median seconds from the start of an episode to its first alarm, 0 where that came before; of those noticed."""


class Backtest(Struct, frozen=True):
    """Every setting over the same data."""

    data: str
    data_hash: str
    target: str
    level: Level
    threshold_usd: float
    horizon: float
    """Seconds."""
    hours: float
    settings: list[Caught]


def combinations(grid: Sequence[str]) -> Iterator[dict[str, str]]:
    """Every combination of ``name=value,value`` terms; a term may vary names together: ``a=1,2;b=3,4``.

    :raises UsageError: where a term is none, or names varied together have different numbers of values.
    """
    axes: list[list[dict[str, str]]] = []
    for term in grid:
        together: list[list[tuple[str, str]]] = []
        for part in term.split(";"):
            name, _, values = part.partition("=")
            if not name.strip() or not values.strip():
                raise UsageError(f"grid {term!r}: write a setting and its values, such as levels.hold=5s,10s")
            together.append([(name.strip(), value.strip()) for value in values.split(",")])
        if len({len(values) for values in together}) > 1:
            raise UsageError(f"grid {term!r}: settings varied together need as many values each")
        axes.append([dict(row) for row in zip(*together, strict=True)])
    for chosen in product(*axes):
        yield {name: value for part in chosen for name, value in part.items()}


def played(paths: Sequence[Path], rules: Rules) -> list[Signal]:
    """Every signal the detector gives over the data, as in a replay of them.

    :raises RecordingError: as ``read_extract``.
    """
    # Windows are told for the history only and change no signal.
    detector, seen = Detector(replace(rules, snapshot=0), Names()), Seen()
    found: list[Signal] = []
    newest = 0
    for path in paths:
        for batch in read_extract(path):
            found += _signals(detector, seen, batch)
            if len(batch.liquidations):
                newest = max(newest, int(batch.liquidations.receive_time.max()))
    if newest:
        found += [told for told in detector.finish(newest + _AFTERWARDS).records if isinstance(told, Signal)]
    return found


def _signals(detector: Detector, seen: Seen, batch: Batch) -> Iterator[Signal]:
    own = batch.relabelled(detector.assets)
    seen.drop(own)
    return (told for told in detector.process(own).records if isinstance(told, Signal))


def alarms(signals: Sequence[Signal], target: str, level: Level) -> Times:
    """When the target rose to the level or above, ns by the socket's clock, at least five minutes apart."""
    needed, found = LEVELS.index(level), list[int]()
    for signal in signals:
        rose = LEVELS.index(signal.level) >= needed > LEVELS.index(signal.previous)
        at = max(signal.receive_time, signal.event_time)
        if signal.asset == target and rose and (not found or at - found[-1] >= REFRACTORY):
            found.append(at)
    return np.array(found, np.int64)


def judged(name: str, at: Times, crossed: Times, starts: Times, days: float) -> Caught:
    """Alarms against what was crossed and when episodes began."""
    foretold = [int(c - before[0]) for c in crossed.tolist() if len(before := _between(at, c - REFRACTORY, c))]
    noticed = [c for c in crossed.tolist() if len(_between(at, c - REFRACTORY, c + MINUTE))]
    hits = [a for a in at.tolist() if len(_between(crossed, a - MINUTE, a + REFRACTORY + 1))]
    waits = [
        max(int(first[0]) - s, 0) for s in starts.tolist() if len(first := _between(at, s - REFRACTORY, s + MINUTE))
    ]
    return Caught(
        setting=name,
        alarms=len(at),
        crossings=len(crossed),
        a_day=len(at) / days,
        recall=len(noticed) / len(crossed) if len(crossed) else None,
        foretold=len(foretold) / len(crossed) if len(crossed) else None,
        precision=len(hits) / len(at) if len(at) else None,
        false_a_day=(len(at) - len(hits)) / days,
        lead=float(np.median(foretold)) / SECOND if foretold else None,
        delay=float(np.median(waits)) / SECOND if waits else None,
    )


def _between(times: Times, first: int, end: int) -> Times:
    low, high = np.searchsorted(times, [first, end], side="left")
    return times[low:high]


def backtest(
    paths: Sequence[Path],
    recording: Recording,
    variants: Sequence[Variant],
    *,
    target: str,
    level: Level,
    threshold: float,
    horizon: int = MINUTE,
    jobs: int = 1,
) -> Backtest:
    """Every variant over the data, ``jobs`` at a time in processes of their own; in the order they were given."""
    events = recording.of(target)
    crossed = crossings(events, horizon, threshold)
    starts = episodes(events, threshold)[:, 0]
    hours = sum(last - first for first, last in recording.recorded.tolist()) / HOUR
    if not hours:
        raise UsageError(f"too short: {recording.name} holds no two events to play")
    work = partial(_alarms_of, list(paths), target, level)
    rules = [variant.rules for variant in variants]
    if jobs == 1:
        found = list(done(map(work, rules), len(rules), "settings"))
    else:
        # Not forked: threads of the engine and of numba would be left behind half way.
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            found = list(done(pool.map(work, rules), len(rules), "settings"))
    return Backtest(
        data=recording.name,
        data_hash=recording.digest,
        target=target,
        level=level,
        threshold_usd=threshold,
        horizon=horizon / SECOND,
        hours=hours,
        settings=[judged(v.name, at, crossed, starts, hours / 24) for v, at in zip(variants, found, strict=True)],
    )


def _alarms_of(paths: list[Path], target: str, level: Level, rules: Rules) -> Times:
    return alarms(played(paths, rules), target, level)


def as_json(found: Backtest) -> str:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


_HEAD = ("setting", "alarms/day", "false/day", "recall", "foretold", "precision", "lead s", "delay s")


def as_text(found: Backtest) -> str:
    """As a table for a terminal."""
    rows = [_HEAD, *(_line(each) for each in found.settings)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    asked = f"{found.threshold_usd:,.0f} USD in {found.horizon:g} s"
    lines = [
        f"{found.data} ({found.data_hash}), {found.hours:.1f} h",
        f"{found.target}: {found.level} or above; {found.settings[0].crossings} times at least {asked}",
        "",
    ]
    for row in rows:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True))
        lines.append("  ".join([row[0].ljust(wide[0]), *figures]))
    return "\n".join(lines)


def _line(c: Caught) -> tuple[str, ...]:
    shares = (_told(c.recall, ".2f"), _told(c.foretold, ".2f"), _told(c.precision, ".2f"))
    return (c.setting, f"{c.a_day:.1f}", f"{c.false_a_day:.1f}", *shares, _told(c.lead, ".1f"), _told(c.delay, ".1f"))


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
