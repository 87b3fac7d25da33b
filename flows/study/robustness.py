"""What faults of the feed do to the forecast: thinned, half lost, late, doubled, skewed, flooded, silent.

Labels stay those of the sound recording; only what the detector sees is changed. Everything is seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from msgspec import Struct

from flows.domain.constants import MICRO
from flows.domain.decays import N_FEATURES, cleared, features, heat, take
from flows.domain.model import CascadeModel, log_odds, probability
from flows.study.evaluate import Study, model_odds, study, thinned
from flows.study.events import Events, Recording
from flows.study.labels import Labels
from flows.study.metrics import Ranked
from flows.study.units import BEFORE, RECENT, unit_faults
from schemas.clock import HOUR, MILLISECOND, SECOND

FLOOD = 20_000
_SEED = 20_251_010


class Run(Struct, frozen=True):
    """A fault and what became of the ranking at onset."""

    name: str
    auc: float
    change: float
    """Against the sound feed."""


class Shock(Struct, frozen=True):
    """What the model says around something it was never fitted on."""

    name: str
    before: float
    peak: float
    after: float
    """Ten minutes later."""
    heat: float
    """At the peak."""


def late_and_doubled(events: Events, rng: np.random.Generator) -> Events:
    """Every message up to two seconds late, every twentieth twice, times cut to whole seconds."""
    twice = np.sort(np.concatenate([np.arange(len(events)), np.flatnonzero(rng.random(len(events)) < 0.05)]))
    found = events.take(twice)
    late = rng.integers(0, 2 * SECOND, len(found))
    return replace(found, time=found.time // SECOND * SECOND, visible=found.visible + late).in_order()


def skewed(events: Events, by: int = 1500 * MILLISECOND) -> Events:
    """Seen 1.5 s after the venue's clock says."""
    return replace(events, visible=events.visible + by)


def half_lost(events: Events, after: int) -> Events:
    """The largest venue is gone from some time on; of a single venue, every other instrument."""
    venues = np.unique(events.venue)
    if len(venues) > 1:
        worth = [events.usd[events.venue == venue].sum() for venue in venues]
        gone = events.venue == venues[int(np.argmax(worth))]
    else:
        gone = events.instrument % 2 == 0
    return events.take(~gone | (events.time < after))


class UnitRun(Struct, frozen=True):
    """An instrument told in another unit from its middle on."""

    factor: float
    instruments: int
    """Long enough to be watched."""
    suspected: int
    """Of them, before anything was wrong."""
    noticed: int
    """Of the rest, within the messages that follow."""
    after: float
    """Median messages until then."""


def unit_runs(events: Events) -> Iterator[UnitRun]:
    """Each instrument in turn told in another unit from its middle on, as contracts taken for coins are."""
    events = events.take(events.usd > 0)
    if len(events) == 0 or events.time.max() - events.time.min() < HOUR:
        return
    suspected = {fault.instrument for fault in unit_faults(events)}
    numbers, counts = np.unique(events.instrument, return_counts=True)
    watched = numbers[counts >= 2 * (RECENT + BEFORE)]
    for factor in (10.0, 0.025):
        waits = []
        for number in [each for each in watched.tolist() if each not in suspected]:
            own = events.take(events.instrument == number)
            usd = own.usd.copy()
            middle = len(usd) // 2
            usd[middle:] = np.maximum(usd[middle:] * factor, 1).astype(np.int64)
            told = [fault.time for fault in unit_faults(replace(own, usd=usd))]
            waits += [int(np.searchsorted(own.visible, time, side="right")) - middle for time in told]
        sound = len(watched) - len(suspected.intersection(watched.tolist()))
        if sound:
            late = float(np.median(waits)) if waits else float("nan")
            yield UnitRun(factor, len(watched), len(watched) - sound, len(waits), late)


def runs(recording: Recording, target: str, made: Study) -> Iterator[Run]:
    """Each fault over the later half: the model as fitted, and refitted on the thinned feed."""
    rng = np.random.default_rng(_SEED)
    labels, sound = made.labels, recording.events
    base = _onset_auc(made.model, recording, labels)
    yield Run("as recorded", base, 0.0)
    faults: dict[str, Callable[[], Events]] = {
        "one message per symbol and second, model as fitted": lambda: thinned(sound),
        "largest venue lost halfway (every other instrument, where there is one venue)": lambda: half_lost(
            sound, int(labels.time[labels.split + (len(labels.time) - labels.split) // 2])
        ),
        "up to 2 s late, 5 % doubled, whole seconds": lambda: late_and_doubled(sound, rng),
        "clock skew of 1.5 s": lambda: skewed(sound),
    }
    for name, fault in faults.items():
        auc = _onset_auc(made.model, replace(recording, events=fault()), labels)
        yield Run(name, auc, auc - base)
    refitted = study(recording, target, horizon=labels.horizon, threshold=labels.threshold, thin=True)
    auc = _onset_auc(refitted.model, refitted.recording, labels)
    yield Run("one message per symbol and second, refitted", auc, auc - base)


def _onset_auc(model: CascadeModel, recording: Recording, labels: Labels) -> float:
    later = slice(labels.split, None)
    onset = labels.onset[later]
    return Ranked(labels.reached[later][onset], model_odds(model, recording, labels)[later][onset]).auc()


def shocks(made: Study) -> Iterator[Shock]:
    """A flood of 20,000 messages in one second, and a burst after six hours of silence."""
    rng = np.random.default_rng(_SEED)
    flood = np.sort(rng.integers(0, SECOND, FLOOD))
    yield _shock(f"{FLOOD:,} messages in one second", made, 0, flood)
    burst = np.sort(rng.integers(0, 10 * SECOND, 50))
    yield _shock("six hours of silence, then 50 in ten seconds", made, 6 * HOUR, burst)


def _shock(name: str, made: Study, silence: int, burst: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Shock:
    """The recording, silence, then a burst of ordinary events."""
    events, model = made.events, made.model
    (me, market), fresh = cleared(2), model.recalibration()[0]
    usd = int(np.median(events.usd)) or MICRO
    for known, of in ((me, events), (market, made.recording.events)):
        for i in range(len(of)):
            take(known, of.time[i], of.usd[i], of.side[i], of.venue[i])
    start = int(market["at"]) + silence + 5 * SECOND
    said = []
    for at in (start, start + int(burst[-1]) + 1, start + int(burst[-1]) + 600 * SECOND):
        if at == start + int(burst[-1]) + 1:
            for later in burst.tolist():
                for known in (me, market):
                    take(known, start + later, usd, 0, int(events.venue[0]))
        own, all_together = np.zeros(N_FEATURES), np.zeros(N_FEATURES)
        features(me, at, own)
        features(market, at, all_together)
        odds = log_odds(model.weights(), own) + float(model.market_weights() @ all_together)
        said.append((float(probability(fresh, odds)), float(heat(me, at))))
    return Shock(name, said[0][0], said[1][0], said[2][0], said[1][1])
