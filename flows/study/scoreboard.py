"""The public scoreboard: every recording long enough, our model and every baseline, failures told too.

``make scoreboard`` writes ``SCOREBOARD.md`` beside this file. The same data give the same page: it carries their hashes
and no clock.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.study.attempts import attempts
from flows.study.evaluate import OURS, Evaluation, Row, Study, judged, study
from flows.study.events import SILENCE, Recording, read_recording
from flows.study.robustness import runs, shocks
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
    page.write_text("\n".join(sections(files)) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {page}\n")
    return 0


def sections(files: list[Path]) -> Iterator[str]:
    """The page, part by part."""
    yield _INTRODUCTION
    yield _SILENCES
    refused: list[str] = []
    studied: list[tuple[Recording, Study, Evaluation]] = []
    tables: list[str] = []
    for file in files:
        read = read_recording([file])
        sys.stderr.write(f"{file.name}\n")
        for target, threshold, horizon, silence in _questions(read):
            recording = replace(read, silence=silence)
            try:
                made = study(recording, target, threshold=threshold, horizon=horizon)
            except UsageError as error:
                refused.append(f"| {file.stem} | {_name(target)} | {horizon // SECOND} s | {error} |")
                continue
            evaluation = judged(made, automatic=threshold is None)
            studied.append((recording, made, evaluation))
            tables.append("\n".join(_table(evaluation)))
    yield from _summary([evaluation for _, _, evaluation in studied])
    yield from _targets([evaluation for _, _, evaluation in studied])
    yield "\n## Every table\n"
    yield from tables
    yield "\n## Not studied\n\n| recording | target | horizon | why |\n|---|---|---|---|"
    yield from refused
    minutes = [
        (recording, made)
        for recording, made, evaluation in studied
        if evaluation.horizon * SECOND == MINUTE
        and evaluation.threshold_rule != "given"
        and evaluation.test_hours >= _HOURS
        and evaluation.silence == max(kept.silence for of, _, kept in studied if of.name == recording.name)
    ]
    for recording, made in minutes:
        yield from _robustness(recording, made)
    for recording, made in minutes:
        yield from _attempts(recording, made)


def _questions(recording: Recording) -> Iterator[tuple[str, float | None, int, int]]:
    """Target, threshold, horizon and longest silence of each table of a recording."""
    yield from ((*question, recording.silence) for question in _asked(recording))
    if recording.silence != SILENCE:
        yield MARKET, None, MINUTE, SILENCE


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
        figures = f"{found.left_out:.5f} | {found.auc:.3f} | {found.ap:.3f} | {found.skill:.3f}"
        yield f"| {found.name} | {found.inputs or '-'} | {figures} |"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BreakwaterError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
