"""What falls due as event time passes: peaks, falls of levels, windows to be told, forecasts to be learnt from.

All of it happens in order of its due time and carries that time, however late the arrival that lets it pass. Compiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.domain.cascade import next_peak
from flows.domain.constants import NEVER
from flows.domain.forecast import SILENCE, note
from flows.domain.forecast import read as seen
from flows.domain.model import STEP, drop_pending, due, learn
from flows.domain.rings import align, between, first_after, read
from flows.domain.score import BY_TIME
from flows.domain.state import LONG_USD, SHORT_USD, Shard, State
from flows.domain.telling import CLOSES, PEAKS, UPDATES, Told, has_room, tell_cascade, tell_signal, tell_windows
from schemas.compiled import compiled


@compiled
def advance(s: State, out: Told, time: int) -> bool:
    """Let everything due until ``time`` happen; false where the buffers are full."""
    shard = s.shard[0]
    if time <= shard.clock:
        return True
    while not nothing_due(shard, time):
        if not has_room(out):
            return False
        told_due = shard.grid_due if shard.dirty else -NEVER
        now = min(shard.peaks_due, shard.falls_due, told_due, shard.learn_due)
        if now == shard.peaks_due:
            _pass_peak(s, out, now)
        elif now == shard.falls_due:
            _pass_fall(s, out, now)
        elif now == told_due:
            _pass_windows(s, out, now)
        else:
            _pass_forecasts(s, now)
    shard.clock = time
    return True


@compiled
def nothing_due(shard: Shard, time: int) -> bool:
    """Whether nothing falls due until ``time``."""
    return (
        shard.falls_due > time
        and shard.peaks_due > time
        and shard.learn_due > time
        and (shard.dirty == 0 or shard.grid_due > time)
    )


@compiled
def touch(s: State, slot: int) -> None:
    """The windows of ``slot`` are to be told at the next grid point."""
    shard = s.shard[0]
    if shard.dirty == 0:
        shard.grid_due = (shard.clock // shard.snapshot + 1) * shard.snapshot
    s.slot[slot].is_dirty = True
    s.dirty[shard.dirty] = slot
    shard.dirty += 1


@compiled
def _pass_peak(s: State, out: Told, now: int) -> None:
    slot = next_peak(s)
    if slot >= 0 and s.shard[0].peaks_due == now:
        _peak(s, out, slot, now)
        next_peak(s)


@compiled
def _peak(s: State, out: Told, slot: int, now: int) -> None:
    s.slot[slot].peak_told = True
    tell_cascade(s, out, slot, now, PEAKS)


@compiled
def _pass_fall(s: State, out: Told, now: int) -> None:
    slot = _next_fall(s)
    if slot >= 0 and s.shard[0].falls_due == now:
        _fall(s, out, slot, now)
        _next_fall(s)


@compiled
def _next_fall(s: State) -> int:
    """The slot whose level falls first; sets ``falls_due``. -1 where all are at rest."""
    found = -1
    soonest = -NEVER
    for slot in range(len(s.slot)):
        if s.slot[slot].level:
            falls = s.slot[slot].reached[s.slot[slot].level] + s.shard[0].hold
            if falls < soonest:
                soonest = falls
                found = slot
    s.shard[0].falls_due = soonest
    return found


@compiled
def _fall(s: State, out: Told, slot: int, now: int) -> None:
    """The level of ``slot`` was not reached for ``hold``: it falls to the highest that still holds."""
    me, shard = s.slot[slot], s.shard[0]
    previous = me.level
    reached = 0
    for step in range(1, previous):
        if me.reached[step] + shard.hold > now:
            reached = step
    me.level = reached
    align(s.event, me, max(now, me.now), shard.span)
    read(s.event, me, me.now, shard.span, shard.sums, shard.earlier, shard.counts)
    shard.raw[:] = np.nan
    shard.raw[1] = 0.0
    shard.parts[:] = np.nan
    shard.scale[:] = np.nan
    shard.rule = BY_TIME
    tell_signal(s, out, slot, now, previous, -1)
    if not me.open:
        return
    if reached:
        tell_cascade(s, out, slot, now, UPDATES)
        return
    if not me.peak_told:
        _peak(s, out, slot, now)
    me.open = False
    tell_cascade(s, out, slot, now, CLOSES)


@compiled
def _pass_windows(s: State, out: Told, now: int) -> None:
    """Tell one of the slots with new events."""
    shard = s.shard[0]
    if shard.told == 0:
        # By number, whatever arrived first; the market last: it is measured by what its assets came to.
        put_in_order(s.dirty, shard.dirty)
    slot = s.dirty[shard.dirty - 1 - shard.told]
    s.slot[slot].is_dirty = False
    tell_windows(s, out, slot, now)
    shard.told += 1
    if shard.told == shard.dirty:
        shard.dirty = 0
        shard.told = 0


@compiled
def put_in_order(numbers: NDArray[np.int64], count: int) -> None:
    """Sort the first ``count``; few, and compiled in a blink."""
    for i in range(1, count):
        moved = numbers[i]
        k = i
        while k > 0 and numbers[k - 1] > moved:
            numbers[k] = numbers[k - 1]
            k -= 1
        numbers[k] = moved


@compiled
def _pass_forecasts(s: State, now: int) -> None:
    """Learn from every outcome known by now and predict anew; after a long silence forget what is pending and rest."""
    shard = s.shard[0]
    silent = now - s.slot[0].decays.at > SILENCE
    for k in range(len(s.forecast)):
        mine = s.forecast[k]
        me = s.slot[mine.slot]
        if silent:
            drop_pending(mine.learning)
        elif me.decays.at != NEVER:
            _learn_known(s, k, now - shard.lateness)
            seen(me, s.slot[0], now, shard.features)
            note(mine, now, shard.features)
    shard.learn_due = -NEVER if silent else now + STEP


@compiled
def _learn_known(s: State, number: int, known: int) -> None:
    """Learn every outcome of a forecast that is complete at ``known``."""
    mine = s.forecast[number]
    me = s.slot[mine.slot]
    sums = s.shard[0].sums
    while True:
        time = due(mine.learning, known)
        if time == NEVER:
            return
        last = first_after(s.event, me, time + mine.learning.horizon, me.last)
        between(s.event, me, first_after(s.event, me, time, last), last, sums, s.shard[0].counts)
        learn(mine.learning, sums[LONG_USD] + sums[SHORT_USD] >= mine.threshold)
