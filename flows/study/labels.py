"""What is to be predicted: whether the USD of the next minute reach a threshold; and when that began.

Labels are by event time, predictions see only what was visible strictly before them. ``onset`` times are those that
tell something new: the past minute is below the threshold and no episode is running.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.study.events import Events, Spans, decisions, stretches
from schemas.clock import MINUTE, SECOND
from schemas.errors import UsageError

Times = NDArray[np.int64]
Flags = NDArray[np.bool_]

EPISODE_GAP = 10 * SECOND
EPISODE_EVENTS = 5
MERGE = 60 * SECOND
PERCENTILES = (99.0, 98.0, 97.0, 95.0, 90.0)
"""Of the sums at the fit times: the first that leaves enough crossings to fit on is the automatic threshold."""
CROSSINGS_TO_FIT = 8
CROSSINGS_TO_JUDGE = 5
HOURS = 6.0
"""A recording shorter than this is not studied."""
FLOOR_MARKET, FLOOR_MAJOR, FLOOR_OTHER = 1_000_000.0, 250_000.0, 100_000.0
"""USD a minute needs at least to be called a cascade, on feeds that tell everything; a third of it on others."""
_FULL = {"*", "BTC", "ETH"}
_MAJORS = {"SOL", "XRP", "BNB", "DOGE"}


class Sums:
    """Exact USD sums over any stretch of event time."""

    def __init__(self, events: Events) -> None:
        order = np.argsort(events.time, kind="stable")
        self._time = events.time[order]
        self._total = np.concatenate([[0], np.cumsum(events.usd[order])])

    def between(self, after: Times, until: Times) -> NDArray[np.float64]:
        """USD with ``after < time <= until``."""
        last = np.searchsorted(self._time, until, side="right")
        first = np.searchsorted(self._time, after, side="right")
        found: NDArray[np.float64] = (self._total[last] - self._total[first]) / MICRO
        return found


@dataclass(frozen=True, slots=True)
class Labels:
    """What happened after (and before) each decision time."""

    time: Times
    horizon: int
    threshold: float
    reached: Flags
    """USD in ``(t, t + horizon]`` reach the threshold."""
    onset: Flags
    """USD in ``[t - horizon, t)`` do not, and no episode is running."""
    below: Flags
    """USD in ``[t - horizon, t)`` do not."""
    crossings: Times
    """Event times at which the trailing sum rises to the threshold, at least a minute apart."""
    episodes: Times
    """N x 2: first and last event of each episode."""
    split: int
    """Index of the first decision time of the later half."""

    @property
    def fitted(self) -> slice:
        """The decision times a fit may use: those whose outcome was known when the later half began."""
        return slice(0, int(np.searchsorted(self.time, self.cut - self.horizon, side="right")))

    @property
    def cut(self) -> int:
        """The time of the split."""
        return int(self.time[self.split])


def episodes(events: Events, floor: float) -> Times:
    """First and last event (N x 2) of runs of one side: gaps of 10 s at most, five events, USD at the floor or above.

    Runs less than a minute apart are one.
    """
    found: list[tuple[int, int]] = []
    for side in (0, 1):
        rows = np.flatnonzero(events.side == side)
        rows = rows[np.argsort(events.time[rows], kind="stable")]
        time, usd = events.time[rows], events.usd[rows] / MICRO
        if not len(time):
            continue
        start = np.concatenate([[0], np.flatnonzero(np.diff(time) > EPISODE_GAP) + 1])
        end = np.concatenate([start[1:], [len(time)]])
        worth = np.add.reduceat(usd, start)
        kept = np.flatnonzero((end - start >= EPISODE_EVENTS) & (worth >= floor))
        found.extend((int(time[start[i]]), int(time[end[i] - 1])) for i in kept)
    return _merged(sorted(found))


def _merged(runs: list[tuple[int, int]]) -> Times:
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and first - merged[-1][1] < MERGE:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return np.array(merged, np.int64).reshape(-1, 2)


def crossings(events: Events, horizon: int, threshold: float) -> Times:
    """Event times at which the sum of the trailing ``horizon`` rises to the threshold; within a minute they are one."""
    time = np.unique(events.time)
    above = Sums(events).between(time - horizon, time) >= threshold
    # Between two events a horizon apart the sum fell to nothing: each may rise anew.
    fell = np.concatenate([[True], ~above[:-1] | (np.diff(time) >= horizon)])
    rises = time[above & fell]
    kept = [int(rise) for i, rise in enumerate(rises) if i == 0 or rise - rises[i - 1] >= MERGE]
    return np.array(kept, np.int64)


def floor_of(target: str, events: Events) -> float:
    """USD a cascade of the target has at least; a third where a feed does not tell everything."""
    whole = FLOOR_MARKET if target in _FULL else FLOOR_MAJOR if target in _MAJORS else FLOOR_OTHER
    return whole if len(events) and events.complete.all() else whole / 3


def label(
    events: Events, horizon: int = MINUTE, threshold: float | None = None, recorded: Spans | None = None
) -> Labels:
    """Label the decision times of a recording, halved by number of decision times.

    :arg threshold: USD; automatic where not given, see ``PERCENTILES``. :arg recorded: when the recorder ran; where
        not given, the events themselves tell.
    :raises UsageError: where the recording is too short or too calm to be halved and judged.
    """
    time = decisions(stretches(events.time) if recorded is None else recorded, horizon)
    hours = len(time) * 5 / 3600
    if hours < HOURS:
        raise UsageError(f"too short: {hours:.1f} h recorded without a long silence, {HOURS:.0f} needed")
    split = len(time) // 2
    sums = Sums(events)
    future = sums.between(time, time + horizon)
    if threshold is None:
        threshold = _automatic(events, horizon, future[time + horizon <= time[split]], int(time[split]))
    found = crossings(events, horizon, threshold)
    early = int(np.count_nonzero(found < time[split]))
    for half, have, needed in (("earlier", early, CROSSINGS_TO_FIT), ("later", len(found) - early, CROSSINGS_TO_JUDGE)):
        if have < needed:
            raise UsageError(f"too few: {threshold:,.0f} USD reached {have} times in the {half} half, {needed} needed")
    below = sums.between(time - horizon - 1, time - 1) < threshold
    runs = episodes(events, threshold)
    return Labels(
        time, horizon, threshold, future >= threshold, below & ~_inside(time, runs), below, found, runs, split
    )


def _automatic(events: Events, horizon: int, sums: NDArray[np.float64], cut: int) -> float:
    """From the earlier half alone."""
    earlier = events.take(events.time < cut)
    for percentile in PERCENTILES:
        threshold = float(f"{np.quantile(sums, percentile / 100):.3g}")
        if threshold > 0 and len(crossings(earlier, horizon, threshold)) >= CROSSINGS_TO_FIT:
            return threshold
    raise UsageError(
        f"too few: no minute in ten has events enough for {CROSSINGS_TO_FIT} crossings in the earlier half"
    )


def _inside(time: Times, runs: Times) -> Flags:
    """Which times lie after the first and not after the last event of a run."""
    inside = np.zeros(len(time), np.bool_)
    if len(runs):
        which = np.searchsorted(runs[:, 0], time, side="left") - 1
        inside = (which >= 0) & (time <= runs[which, 1])
    return inside
