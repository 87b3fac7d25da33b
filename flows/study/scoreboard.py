"""The public scoreboard: every recording long enough, our model and every baseline, failures told too.

``make scoreboard`` writes ``SCOREBOARD.md`` beside this file. The same data give the same page: it carries their hashes
and no clock.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import Struct

from flows.assembly import rules
from flows.progress import done
from flows.settings import Settings
from flows.study.attempts import attempts
from flows.study.evaluate import OURS, Evaluation, Row, Study, judged, study
from flows.study.events import SILENCE, Recording, read_recording
from flows.study.robustness import runs, shocks, unit_runs
from flows.study.simulated import calm, october
from flows.study.units import BEFORE, RECENT
from schemas.cascades import MARKET
from schemas.clock import MINUTE, SECOND
from schemas.errors import BreakwaterError, UsageError

PAGE = Path(__file__).with_name("SCOREBOARD.md")
_ASSETS = 2
"""Assets studied on their own, by USD."""
_HOURS = 20
"""Faults and attempts are shown where the judged half is at least this long."""
_LAST, _FORMULA = "USD of the last 60 s", "formula .25/.20/.20/.15, isotonic"
_INTRODUCTION = """\
# Scoreboard

P(liquidated USD of the next minute reach a threshold): fitted on the earlier half of a recording, judged on the later,
for our model and every baseline. `make scoreboard` makes this page anew from the recordings whose hashes it carries
(`BREAKWATER_SHARED` names the folder above `history`); `breakwater evaluate FILE` makes one table of it.

- *Onset*: times at which the past minute is below the threshold and no episode is running. They tell the truth; at
  all times anything that notices a running cascade looks good.
- *Threshold*: unless given, the highest of the 99th..90th percentiles of the fit half that was crossed often enough to
  fit on. Where it is below the floor of a cascade (1 M USD; a third of it on sampled feeds) the table judges ranking.
- *Skill*: Brier skill against the base rate of the fit half. *ECE*: mean gap between said and happened, percentage
  points. In brackets: the middle 90 % of 200 resamples of whole days (six hours where fewer than ten days).
- *Alarms*: at a budget of 20 a day over the judged half, five minutes apart, while the threshold is not crossed. A
  crossing in the next five minutes makes it a hit; lead is from the first such alarm to the crossing, the median.
- *In 5 s*: share of episodes (five events of one side at most 10 s apart that reach the threshold) at the level of 20
  alarms a day within five seconds of their first event.
- The recordings are sampled feeds of one venue each, short, and made by others: no table here says how good the model
  is on complete feeds.
"""
_SILENCES = """\
- *Silences*: a silence of over 30 minutes is not judged, as the recorder may have been off. Where rows are sums
  written once 30,000 USD were gathered (`binance_buckets_2023-01`), a calm hour leaves no row: up to six hours are
  kept there. That this recorder ran on is in its file: the funding it took once at its start never changes in six
  days, no silence exceeds two hours, and the first row after one of over half an hour sums a median of 27 messages
  against 18 otherwise. The market is judged both ways.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or to the file named."""
    folder = Path(os.environ.get("BREAKWATER_SHARED", "../shared")) / "history"
    files = sorted(folder.glob("*.parquet"))
    if not files:
        sys.stderr.write(f"no recordings in {folder}: set BREAKWATER_SHARED\n")
        return 1
    page = Path(arguments[0]) if arguments else PAGE
    page.write_text("\n".join(sections(files, os.cpu_count() or 1)) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {page}\n")
    return 0


class Question(Struct, frozen=True):
    """A table to be made."""

    file: Path
    target: str
    threshold: float | None
    horizon: int
    silence: int
    own: bool
    """Whether silences are judged as the recording asks for; faults and attempts are shown of those."""


class Answer(Struct, frozen=True):
    """What came of a question: a table and what goes with it, or why there is none."""

    evaluation: Evaluation | None
    refused: str = ""
    faults: list[str] = []
    attempts: list[str] = []


def sections(files: list[Path], jobs: int = 1) -> Iterator[str]:
    """The page, part by part.

    :arg jobs: tables made at once, in processes of their own.
    """
    yield _INTRODUCTION
    yield _SILENCES
    questions = [question for file in files for question in _questions(file)]
    if jobs == 1:
        answers = list(done(map(_answer, questions), len(questions), "tables"))
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            answers = list(done(pool.map(_answer, questions), len(questions), "tables"))
    found = [answer.evaluation for answer in answers if answer.evaluation]
    yield from _summary(found)
    yield from _targets(found)
    yield from _detector(files)
    yield "\n## Every table\n"
    yield from ("\n".join(_table(evaluation)) for evaluation in found)
    yield "\n## Not studied\n\n| recording | target | horizon | why |\n|---|---|---|---|"
    yield from (answer.refused for answer in answers if answer.refused)
    for answer in answers:
        yield from answer.faults
    for answer in answers:
        yield from answer.attempts


def _answer(question: Question) -> Answer:
    q = question
    recording = replace(read_recording([q.file]), silence=q.silence)
    try:
        made = study(recording, q.target, threshold=q.threshold, horizon=q.horizon)
    except UsageError as error:
        return Answer(None, f"| {q.file.stem} | {_name(q.target)} | {q.horizon // SECOND} s | {error} |")
    evaluation = judged(made, automatic=q.threshold is None)
    more = q.own and q.threshold is None and q.horizon == MINUTE and evaluation.test_hours >= _HOURS
    if not more:
        return Answer(evaluation)
    return Answer(evaluation, "", list(_robustness(recording, made)), list(_attempts(recording, made)))


def _questions(file: Path) -> Iterator[Question]:
    """Every table of a recording."""
    recording = read_recording([file])
    for target, threshold, horizon in _asked(recording):
        yield Question(file, target, threshold, horizon, recording.silence, own=True)
    if recording.silence != SILENCE:
        yield Question(file, MARKET, None, MINUTE, SILENCE, own=False)


def _asked(recording: Recording) -> Iterator[tuple[str, float | None, int]]:
    yield MARKET, None, MINUTE
    events = recording.events
    if len(events) == 0 or len(recording.assets) == 1:
        return
    worth = np.bincount(events.asset, weights=events.usd, minlength=len(recording.assets))
    for asset in np.argsort(-worth, kind="stable")[:_ASSETS]:
        yield recording.assets[asset], None, MINUTE
    if worth.sum() > 100e6 * 1e6:
        yield MARKET, 1e6, MINUTE
        yield MARKET, None, 10 * SECOND
        yield MARKET, None, 5 * MINUTE


def _name(target: str) -> str:
    return "market" if target == MARKET else target


def _title(e: Evaluation) -> str:
    cut = "" if e.silence * MINUTE == SILENCE else f", silences of {e.silence / 60:g} h kept"
    return f"{e.data.removesuffix('.parquet')}, {_name(e.target)}, {e.threshold_usd:,.0f} USD in {e.horizon:g} s{cut}"


def _table(e: Evaluation) -> Iterator[str]:
    yield f"### {_title(e)}\n"
    floor = " **Below the floor of a cascade: ranking only.**" if e.below_floor else ""
    yield (
        f"`{e.data_hash}`, threshold: {e.threshold_rule}. Fitted on {e.fit_hours:.1f} h from {e.fit_from} "
        f"({e.fit_crossings} crossings), judged on {e.test_hours:.1f} h from {e.test_from} "
        f"({e.test_crossings} crossings, {e.test_episodes} episodes; "
        f"base rate {100 * e.row().all_times.base_rate:.2f} %, "
        f"at onset {100 * e.row().onset.base_rate:.2f} %).{floor}\n"
    )
    yield (
        "| | onset AUC | onset AP | onset skill | AUC | AP | skill | log score | ECE | recall | precision | "
        "false a day | lead | in 5 s |"
    )
    yield "|---|" + "---:|" * 13
    yield from (_line(row) for row in e.rows)
    bins = e.row().all_times.reliability
    said = ", ".join(f"{100 * b.said:.2g} → {100 * b.happened:.2g} ({b.times})" for b in bins)
    yield f"\nSaid → happened in percent (times), {OURS}: {said}.\n"
    others = "; ".join(
        f"{a.budget} a day: recall {a.recall:.2f}, precision {a.precision:.2f}, lead {_seconds(a.lead)}"
        for a in e.row().alarms
    )
    yield f"Alarms of {OURS}: {others}.\n"


def _line(row: Row) -> str:
    on, whole, a = row.onset, row.all_times, row.alarms[1]
    figures = [
        _figure(on.auc.value, on.auc.interval), _figure(on.ap.value, on.ap.interval),
        _figure(on.brier_skill.value, on.brier_skill.interval), f"{whole.auc.value:.3f}", f"{whole.ap.value:.3f}",
        _figure(whole.brier_skill.value, whole.brier_skill.interval), f"{whole.log_score:.4f}",
        f"{100 * whole.calibration_error:.2f}", f"{a.recall:.2f}", "-" if a.a_day == 0 else f"{a.precision:.2f}",
        f"{a.false_a_day:.1f}", _seconds(a.lead), "-" if row.detected is None else f"{row.detected:.2f}",
    ]  # fmt: skip
    name = f"**{row.name}**" if row.name == OURS else row.name
    return f"| {name} | {' | '.join(figures)} |"


def _figure(value: float, spread: tuple[float, float] | None) -> str:
    return f"{value:.3f}" + (f" ({spread[0]:.2f}..{spread[1]:.2f})" if spread else "")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


def _summary(found: list[Evaluation]) -> Iterator[str]:
    yield "\n## In short\n"
    yield "| | onset AUC | against last 60 s | against the formula | onset skill | ECE pp | recall | precision | lead |"
    yield "|---|" + "---:|" * 8
    for e in found:
        ours, last, formula = e.row(), e.row(_LAST), e.row(_FORMULA)
        auc, a = ours.onset.auc.value, ours.alarms[1]
        yield (
            f"| {_title(e)} | {auc:.3f} | {auc - last.onset.auc.value:+.3f} | {auc - formula.onset.auc.value:+.3f} | "
            f"{ours.onset.brier_skill.value:.3f} | {100 * ours.all_times.calibration_error:.2f} | {a.recall:.2f} | "
            f"{a.precision:.2f} | {_seconds(a.lead)} |"
        )


def _targets(found: list[Evaluation]) -> Iterator[str]:
    """Measured against what was asked for, on recordings of a whole market above the floor."""
    yield "\n## Against the targets"
    for e in found:
        above = not e.below_floor and e.threshold_rule != "given"
        if above and e.target == MARKET and e.horizon * SECOND == MINUTE and e.test_hours >= _HOURS:
            yield from _target(e)


def _target(e: Evaluation) -> Iterator[str]:
    ours, a = e.row(), e.row().alarms[1]
    asked: list[tuple[str, float, float, float]] = [
        ("all times, AUC", ours.all_times.auc.value, 0.93, 0.95),
        ("all times, Brier skill", ours.all_times.brier_skill.value, 0.25, 0.35),
        ("onset, AUC", ours.onset.auc.value, 0.86, 0.90),
        ("onset, AP against last 60 s", ours.onset.ap.value / e.row(_LAST).onset.ap.value, 1.1, 1.3),
        ("onset, Brier skill", ours.onset.brier_skill.value, 0.04, 0.08),
        ("onset AUC above last 60 s", ours.onset.auc.value - e.row(_LAST).onset.auc.value, 0.04, 0.04),
        ("onset AUC above the formula", ours.onset.auc.value - e.row(_FORMULA).onset.auc.value, 0.04, 0.04),
        ("calibration error, pp (at most)", -100 * ours.all_times.calibration_error, -1.0, -0.3),
        ("worst decile, pp (at most)", -100 * ours.all_times.worst_decile, -5.0, -5.0),
        ("recall at 20 alarms a day", a.recall, 0.60, 0.80),
        ("precision at 20 alarms a day", a.precision, 0.20, 0.30),
        ("median lead, s", a.lead or 0.0, 20.0, 45.0),
        ("median delay after start, s (at most)", -_delay(ours), -5.0, -2.0),
    ]
    yield f"\n{_title(e)}.\n\n| | must | good | measured | |\n|---|---:|---:|---:|---|"
    for name, value, must, good in asked:
        verdict = "good" if value >= good else "must" if value >= must else "**missed**"
        yield f"| {name} | {abs(must):g} | {abs(good):g} | {abs(value):.3f} | {verdict} |"


def _detector(files: list[Path]) -> Iterator[str]:
    """The detector itself, at its default settings."""
    known = rules(Settings())
    yield (
        "\n## The detector's levels\n\nThe detector of a live run at its default settings. Calm feeds of a day: 12 "
        "assets, 4 venues, log-normal USD around 5,000; rises of any asset or the market.\n\n"
        "| feed | events | WATCH or above | ALERT or above | an hour |\n|---|---:|---:|---:|---:|"
    )
    for each in calm(known):
        yield f"| {each.name} | {each.events:,} | {each.watch} | {each.alert} | {each.alert_an_hour:.2f} |"
    for file in [file for file in files if file.stem == "oct10_2025_hyperliquid_counts_1s"]:
        yield (
            "\n10 October 2025 by its published fills per second, spread evenly over each: seconds from the first "
            "liquidation to each level of the market.\n\n"
            "| USD | WATCH | ALERT | CRITICAL | EXTREME | first ADL |\n|---|---:|---:|---:|---:|---:|"
        )
        for crash in october(known, file):
            levels = (crash.watch, crash.alert, crash.critical, crash.extreme)
            told = " | ".join("-" if level is None else f"{level:.2f}" for level in levels)
            yield f"| {crash.name} | {told} | {crash.first_adl:.1f} |"
    yield (
        "\nAn instrument told in another unit from its middle on (contracts taken for coins) is noticed by the median "
        f"of {RECENT} messages against the {BEFORE} before.\n\n"
        "| recording | factor | instruments | suspected as recorded | of the rest noticed | messages until then |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for file in files:
        for run in unit_runs(read_recording([file]).events):
            left = run.instruments - run.suspected
            yield (
                f"| {file.stem} | {run.factor:g} | {run.instruments} | {run.suspected} | {run.noticed} of {left} | "
                f"{run.after:.0f} |"
            )


def _delay(row: Row) -> float:
    return row.delay if row.delay is not None else float("inf")


def _robustness(recording: Recording, made: Study) -> Iterator[str]:
    name = f"{recording.name.removesuffix('.parquet')}, {_name(made.model.target)}"
    yield f"\n## Faults of the feed: {name}\n\n| fault | onset AUC | change |\n|---|---:|---:|"
    for run in runs(recording, made.model.target, made):
        yield f"| {run.name} | {run.auc:.3f} | {run.change:+.3f} |"
    yield "\n| shock | probability before | at its end | ten minutes later | heat |\n|---|---:|---:|---:|---:|"
    for shock in shocks(made):
        yield f"| {shock.name} | {shock.before:.4f} | {shock.peak:.4f} | {shock.after:.4f} | {shock.heat:.1f} |"


def _attempts(recording: Recording, made: Study) -> Iterator[str]:
    name = f"{recording.name.removesuffix('.parquet')}, {_name(made.model.target)}"
    yield (
        f"\n## Tried: {name}\n\nLog score on blocks of the fit half left out decides; the rest is at onset, "
        "later half.\n\n| inputs | how many | left out | AUC | AP | skill |\n|---|---:|---:|---:|---:|---:|"
    )
    for found in attempts(recording, made):
        left_out = f"{found.left_out:.5f}" if found.left_out > 0 else "-"
        figures = f"{left_out} | {found.auc:.3f} | {found.ap:.3f} | {found.skill:.3f}"
        yield f"| {found.name} | {found.inputs or '-'} | {figures} |"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BreakwaterError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
