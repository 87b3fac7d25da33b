"""The protocol: fit on the earlier half, judge on the later, every baseline beside, intervals by blocks of days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flows.domain.model import CascadeModel
from flows.study import features
from flows.study.baselines import Forecast, baselines
from flows.study.events import Events, Recording
from flows.study.fit import fit_model
from flows.study.labels import Labels, floor_of, label
from flows.study.metrics import (
    BUDGETS,
    Alarms,
    Bin,
    Blocks,
    Ranked,
    alarms,
    brier_skill,
    calibration_error,
    delays,
    interval,
    log_score,
    reliability,
    worst_decile,
)
from schemas.clock import MINUTE, SECOND
from schemas.errors import UsageError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OURS = "Breakwater"
FIXED = "Breakwater, not recalibrated"
PROMPT = 5.0
"""Seconds from the start of an episode within which it counts as detected."""


class Figure(Struct, frozen=True):
    """A number and the middle 90 % of its resamples."""

    value: float
    interval: tuple[float, float] | None = None


class Scores(Struct, frozen=True):
    """A forecast over one set of times."""

    times: int
    base_rate: float
    auc: Figure
    ap: Figure
    brier_skill: Figure
    log_score: float
    calibration_error: float
    worst_decile: float
    reliability: list[Bin]


class Row(Struct, frozen=True):
    """A forecast judged."""

    name: str
    all_times: Scores
    onset: Scores
    alarms: list[Alarms]
    detected: float | None
    """Share of episodes at the level of 20 alarms a day within five seconds of their start; none without episodes."""
    delay: float | None
    """Median seconds from the start to that level; none where not within a minute."""


class Evaluation(Struct, frozen=True):
    """What a recording says about every forecast."""

    data: str
    data_hash: str
    target: str
    horizon: float
    """Seconds."""
    threshold_usd: float
    threshold_rule: str
    below_floor: bool
    """Whether the threshold is below what a cascade of the target has at least: ranking is judged, not cascades."""
    thinned: bool
    silence: float
    """Minutes; longer ones are not judged: the recorder may have been off."""
    fit_hours: float
    test_hours: float
    fit_from: str
    test_from: str
    test_to: str
    fit_crossings: int
    test_crossings: int
    test_episodes: int
    model: CascadeModel
    rows: list[Row]

    def row(self, name: str = OURS) -> Row:
        """The row of a forecast."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True)
class Study:
    """A recording labelled, a model for it, and every forecast: what the evaluation and its pictures are made of."""

    recording: Recording
    events: Events
    labels: Labels
    model: CascadeModel
    forecasts: list[Forecast]


def thinned(events: Events) -> Events:
    """What is left where at most one message per symbol and second is sent: the largest, seen when it was sent."""
    second = events.visible // SECOND
    order = np.lexsort((-events.usd, second, events.instrument))
    group = np.stack([events.instrument[order], second[order]])
    first = np.concatenate([[True], (group[:, 1:] != group[:, :-1]).any(axis=0)]) if len(order) else order == 0
    kept = events.take(np.sort(order[first]))
    return replace(kept, complete=np.zeros(len(kept), np.bool_))


def study(
    recording: Recording,
    target: str,
    *,
    horizon: int = MINUTE,
    threshold: float | None = None,
    model: CascadeModel | None = None,
    thin: bool = False,
) -> Study:
    """Label, fit (unless a model is given) and forecast.

    :arg thin: the detector sees one message per symbol and second; labels stay those of the full feed.
    :raises UsageError: where the recording is too short or too calm, or the model is for something else.
    """
    if model and (model.target, model.horizon) != (target, horizon):
        raise UsageError(f"the model is for {model.target}, {model.horizon / SECOND:g} s")
    if model and threshold not in {None, model.threshold_usd}:
        raise UsageError(f"the model is for a threshold of {model.threshold_usd:,.0f} USD")
    labels = label(recording.of(target), horizon, model.threshold_usd if model else threshold, recording.recorded)
    if thin:
        recording = replace(recording, events=thinned(recording.events))
    events = recording.of(target)
    fitted = model or fit_model(recording, target, labels)
    forecasts = [*forecasts_of(fitted, recording, labels), *baselines(events, labels)]
    return Study(recording, events, labels, fitted, forecasts)


def forecasts_of(model: CascadeModel, recording: Recording, labels: Labels) -> Iterator[Forecast]:
    """The model as it runs live, from the later half on, and without its recalibration."""
    odds = model_odds(model, recording, labels)
    fixed = 1 / (1 + np.exp(-odds))
    live = fixed.copy()
    later = slice(labels.split, None)
    features.recalibrated(model.recalibration()[0], labels.time[later], odds[later], labels.reached[later], live[later])
    # As with every baseline, ranks and alarms are by the score itself: they do not drift with the base rate.
    yield Forecast(OURS, live, odds)
    yield Forecast(FIXED, fixed, odds)


def model_odds(model: CascadeModel, recording: Recording, labels: Labels) -> Floats:
    """The fitted log odds at every decision time."""
    w, of_market = model.weights(), model.market_weights()
    found: Floats = w[0] + features.table(recording.of(model.target), labels.time) @ w[1:]
    if of_market.any():
        found = found + features.table(recording.events, labels.time) @ of_market
    return np.clip(found, -15, 15)


def evaluate(
    recording: Recording,
    target: str,
    *,
    horizon: int = MINUTE,
    threshold: float | None = None,
    model: CascadeModel | None = None,
    thin: bool = False,
) -> Evaluation:
    """``study``, judged on the later half."""
    return judged(
        study(recording, target, horizon=horizon, threshold=threshold, model=model, thin=thin),
        automatic=threshold is None and model is None,
        thin=thin,
    )


def judged(made: Study, *, automatic: bool, thin: bool = False) -> Evaluation:
    """Every forecast of a study in one table."""
    labels, target = made.labels, made.model.target
    blocks = Blocks(labels.time[labels.split :])
    step = float(np.diff(labels.time[:2])[0]) / SECOND
    later = labels.crossings[labels.crossings >= labels.cut]
    return Evaluation(
        data=made.recording.name,
        data_hash=made.recording.digest,
        target=target,
        horizon=labels.horizon / SECOND,
        threshold_usd=labels.threshold,
        threshold_rule="percentile of the earlier half" if automatic else "given",
        below_floor=labels.threshold < floor_of(target, made.events),
        thinned=thin,
        silence=made.recording.silence / MINUTE,
        fit_hours=labels.split * step / 3600,
        test_hours=(len(labels.time) - labels.split) * step / 3600,
        fit_from=_utc(labels.time[0]),
        test_from=_utc(labels.cut),
        test_to=_utc(labels.time[-1]),
        fit_crossings=len(labels.crossings) - len(later),
        test_crossings=len(later),
        test_episodes=int(np.count_nonzero(labels.episodes[:, 0] >= labels.cut)),
        model=made.model,
        rows=[_row(forecast, made, blocks) for forecast in made.forecasts],
    )


def _row(forecast: Forecast, made: Study, blocks: Blocks) -> Row:
    labels = made.labels
    later = slice(labels.split, None)
    reached, climate = labels.reached, float(labels.reached[labels.fitted].mean())
    whole = _scores(reached[later], forecast.probability[later], forecast.score[later], climate, blocks.weights)
    onset = labels.onset
    on = onset[later]
    climate = float(reached[labels.fitted][onset[labels.fitted]].mean())
    weights = [weight[on] for weight in blocks.weights]
    news = _scores(reached[later][on], forecast.probability[later][on], forecast.score[later][on], climate, weights)
    crossings = labels.crossings[labels.crossings >= labels.cut]
    judged_alarms = [
        alarms(labels.time[later], forecast.score[later], labels.below[later], crossings, budget) for budget in BUDGETS
    ]
    starts = labels.episodes[labels.episodes[:, 0] >= labels.cut, 0]
    waits = delays(labels.time[later], forecast.score[later], starts, judged_alarms[1].level)
    wait = float(np.median(waits)) if len(waits) else np.inf
    return Row(
        name=forecast.name,
        all_times=whole,
        onset=news,
        alarms=judged_alarms,
        detected=float(np.mean(waits <= PROMPT)) if len(waits) else None,
        delay=wait if np.isfinite(wait) else None,
    )


def _scores(reached: Flags, probability: Floats, score: Floats, climate: float, weights: list[Floats]) -> Scores:
    ranked = Ranked(reached, score)
    bins = reliability(reached, probability)
    return Scores(
        times=len(reached),
        base_rate=float(reached.mean()),
        auc=Figure(ranked.auc(), interval([ranked.auc(w) for w in weights])),
        ap=Figure(ranked.ap(), interval([ranked.ap(w) for w in weights])),
        brier_skill=Figure(
            brier_skill(reached, probability, climate),
            interval([brier_skill(reached, probability, climate, w) for w in weights]),
        ),
        log_score=log_score(reached, probability),
        calibration_error=calibration_error(bins),
        worst_decile=worst_decile(reached, probability),
        reliability=bins,
    )


def _utc(time: int) -> str:
    return f"{np.datetime64(int(time), 'ns').astype('datetime64[s]')}Z"


def as_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode()


def as_text(evaluation: Evaluation) -> str:
    """The evaluation as a table for a terminal."""
    e = evaluation
    rule = f"{e.threshold_rule}{', below the floor of a cascade' if e.below_floor else ''}"
    halves = (
        f"fitted on {e.fit_hours:.1f} h ({e.fit_crossings} crossings), judged on {e.test_hours:.1f} h from "
        f"{e.test_from} ({e.test_crossings} crossings, {e.test_episodes} episodes)"
    )
    lines = [
        f"{e.data} ({e.data_hash}){', thinned' if e.thinned else ''}",
        f"{e.target}: P(at least {e.threshold_usd:,.0f} USD in the next {e.horizon:g} s); threshold: {rule}",
        halves,
        "",
        f"{'':<34}{'onset':<35}{'all times':<28}{'20 alarms a day':<24}",
        f"{'':<34}{_HEAD}",
    ]
    lines += [_line(row) for row in e.rows]
    return "\n".join(lines)


_HEAD = "".join(
    f"{name:<{wide}}"
    for name, wide in (
        ("AUC", 20), ("AP", 7), ("skill", 8), ("AUC", 7), ("AP", 7), ("skill", 8), ("ECE pp", 7), ("recall", 7),
        ("prec.", 7), ("lead s", 7),
    )
)  # fmt: skip


def _line(row: Row) -> str:
    on, whole, twenty = row.onset, row.all_times, row.alarms[1]
    spread = on.auc.interval
    auc = f"{on.auc.value:.3f}" + (f" ({spread[0]:.2f}..{spread[1]:.2f})" if spread else "")
    lead = f"{twenty.lead:.0f}" if twenty.lead is not None else "-"
    return (
        f"{row.name:<34}{auc:<20}{on.ap.value:<7.3f}{on.brier_skill.value:<8.3f}{whole.auc.value:<7.3f}"
        f"{whole.ap.value:<7.3f}{whole.brier_skill.value:<8.3f}{100 * whole.calibration_error:<7.2f}"
        f"{twenty.recall:<7.2f}{twenty.precision:<7.2f}{lead:<7}"
    )
