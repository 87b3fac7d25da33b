"""The evaluation as one self-contained page: tables, reliability, ROC and precision-recall, the worst cascade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from flows.study.evaluate import FIXED, OURS, Evaluation, Row, Study
from flows.study.metrics import Ranked
from schemas.clock import MINUTE, SECOND

Floats = NDArray[np.float64]
Points = Sequence[tuple[float, float]]

_WIDE, _HIGH, _EDGE = 420, 300, 46
_COLOURS = ("#0b6e4f", "#c0392b", "#2c6fbb", "#8e6c00", "#7d3c98", "#555555")
_SHOWN = (
    OURS,
    "USD of the last 60 s",
    "EWMA 10 + 60 + 600 s",
    "formula .25/.20/.20/.15, raw",
    "Hawkes, one exponential",
)
_AROUND = 10 * MINUTE
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#1c1c1c}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:3px 9px;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}svg{background:#fafafa;margin:4px}"
    "text{font:11px system-ui,sans-serif}"
    "tr.ours{font-weight:600}p.note{color:#555}"
)


def page(evaluation: Evaluation, made: Study) -> str:
    """The page."""
    e = evaluation
    title = f"{e.target}: at least {e.threshold_usd:,.0f} USD in {e.horizon:g} s"
    floor = " Below the floor of a cascade: ranking is judged here, not cascades." if e.below_floor else ""
    about = (
        f"{e.data} ({e.data_hash}). Fitted on {e.fit_hours:.1f} h from {e.fit_from} ({e.fit_crossings} crossings), "
        f"judged on {e.test_hours:.1f} h from {e.test_from} to {e.test_to} ({e.test_crossings} crossings, "
        f"{e.test_episodes} episodes).{floor}"
    )
    note = (
        "In brackets: the middle 90 % of resamples of whole days, or of six hours where there are fewer than ten days. "
        "Skill: Brier skill against the base rate of the fit half."
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(about)}</p>",
        _scores(e.rows),
        f'<p class="note">{escape(note)}</p>',
        _alarms(e.rows),
        "<h2>Reliability</h2>",
        _reliability(e),
        "<h2>Ranking at onset</h2>",
        *_curves(made),
        "<h2>The worst cascade of the judged half</h2>",
        _timeline(made),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _table(head: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = [
        f"<tr{' class=ours' if ours else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for ours, row in rows
    ]
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


def _scores(rows: list[Row]) -> str:
    def line(row: Row) -> list[str]:
        on, whole = row.onset, row.all_times
        spread = f" ({on.auc.interval[0]:.2f}..{on.auc.interval[1]:.2f})" if on.auc.interval else ""
        return [
            row.name, f"{on.auc.value:.3f}{spread}", f"{on.ap.value:.3f}", f"{on.brier_skill.value:.3f}",
            f"{whole.auc.value:.3f}", f"{whole.ap.value:.3f}", f"{whole.brier_skill.value:.3f}",
            f"{whole.log_score:.4f}", f"{100 * whole.calibration_error:.2f} pp",
        ]  # fmt: skip

    head = ["", "onset AUC", "AP", "skill", "all times AUC", "AP", "skill", "log score", "calibration error"]
    return _table(head, ((row.name == OURS, line(row)) for row in rows))


def _alarms(rows: list[Row]) -> str:
    def line(row: Row, k: int) -> list[str]:
        a = row.alarms[k]
        lead = f"{a.lead:.0f} s" if a.lead is not None else "-"
        return [
            row.name,
            str(a.budget),
            f"{a.a_day:.1f}",
            f"{a.recall:.2f}",
            f"{a.precision:.2f}",
            f"{a.false_a_day:.1f}",
            lead,
        ]

    shown = [row for row in rows if row.name != FIXED]
    head = ["alarms", "budget a day", "raised a day", "recall", "precision", "false a day", "median lead"]
    return _table(head, ((row.name == OURS, line(row, k)) for row in shown for k in range(len(row.alarms))))


def _reliability(e: Evaluation) -> str:
    bins = e.row().all_times.reliability
    low = 1e-4

    def place(p: float) -> float:
        return 1 + np.log10(max(p, low)) / 4

    points = [(place(b.said), place(b.happened)) for b in bins]
    ticks = [(place(10.0**k), f"{10.0**k:g}") for k in range(-4, 1)]
    drawn = [_line([(0, 0), (1, 1)], "#bbbbbb"), _line(points, _COLOURS[0])]
    drawn += [
        f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4" fill="{_COLOURS[0]}"><title>{b.times} times: said '
        f"{b.said:.4f}, happened {b.happened:.4f}</title></circle>"
        for (x, y), b in zip(points, bins, strict=True)
    ]
    return _chart("said (logarithmic)", "happened", drawn, ticks, ticks)


def _curves(made: Study) -> list[str]:
    labels = made.labels
    onset = labels.onset[labels.split :]
    reached = labels.reached[labels.split :][onset]
    roc, precision, names = [_line([(0, 0), (1, 1)], "#bbbbbb")], list[str](), list[str]()
    for forecast in (f for f in made.forecasts if f.name in _SHOWN):
        colour = _COLOURS[len(names)]
        recall, false, precise = Ranked(reached, forecast.score[labels.split :][onset]).curve()
        roc.append(_line(_sparse([(0.0, 0.0), *zip(false.tolist(), recall.tolist(), strict=True)]), colour))
        precision.append(_line(_sparse(list(zip(recall.tolist(), precise.tolist(), strict=True))), colour))
        names.append(f'<span style="color:{colour}">■</span> {escape(forecast.name)}')
    ticks = [(k / 4, f"{k / 4:g}") for k in range(5)]
    return [
        _chart("false alarms", "recall (ROC)", roc, ticks, ticks),
        _chart("recall", "precision", precision, ticks, ticks),
        f"<p>{' &nbsp; '.join(names)}</p>",
    ]


def _timeline(made: Study) -> str:
    """USD per ten seconds and the probability around the largest sum of the judged half."""
    labels, events = made.labels, made.events
    later = labels.time[labels.split :]
    worst = int(later[np.argmax(_following(made))])
    first = worst - _AROUND
    bins = np.arange(first, worst + _AROUND + 1, 10 * SECOND)
    usd = np.histogram(events.time, bins, weights=events.usd / MICRO)[0]
    most = max(float(usd.max()), 1.0)
    bars = [
        f'<rect x="{_x((at - first) / (2 * _AROUND)):.1f}" y="{_y(worth / most):.1f}" width="2.4" '
        f'height="{_y(0) - _y(worth / most):.1f}" fill="#c9c9c9"/>'
        for at, worth in zip(bins[:-1].tolist(), usd.tolist(), strict=True)
        if worth
    ]
    rows = np.flatnonzero((labels.time >= first) & (labels.time <= worst + _AROUND))
    said = made.forecasts[0].probability
    track = [((int(labels.time[i]) - first) / (2 * _AROUND), float(said[i])) for i in rows]
    across = [(k / 4, f"{-10 + 5 * k:+d} min") for k in range(5)]
    up = [(k / 4, f"{k / 4:g}") for k in range(5)]
    chart = _chart("time", "probability", [*bars, _line(track, _COLOURS[0])], across, up)
    start = str(np.datetime64(worst, "ns").astype("datetime64[s]"))
    return f"<p>Zero is {start} UTC. Grey: USD per ten seconds, tallest {most:,.0f}. Line: the probability.</p>{chart}"


def _following(made: Study) -> Floats:
    """USD within the horizon after each time of the judged half."""
    labels, events = made.labels, made.events
    order = np.argsort(events.time, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(events.usd[order] / MICRO)])
    later = labels.time[labels.split :]
    last, start = (np.searchsorted(events.time[order], later + d, side="right") for d in (labels.horizon, 0))
    found: Floats = total[last] - total[start]
    return found


def _x(value: float) -> float:
    return _EDGE + value * (_WIDE - _EDGE - 14)


def _y(value: float) -> float:
    return _HIGH - _EDGE - value * (_HIGH - _EDGE - 14)


def _sparse(points: list[tuple[float, float]], most: int = 400) -> Points:
    """Every so manieth point: more cannot be seen."""
    step = max(len(points) // most, 1)
    return [*points[::step], points[-1]]


def _line(points: Points, colour: str) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _chart(
    across: str, up: str, drawn: list[str], x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]
) -> str:
    frame = f'<path d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}" fill="none" stroke="#333"/>'
    marks = [f'<text x="{_x(at):.1f}" y="{_y(0) + 15}" text-anchor="middle">{text}</text>' for at, text in x]
    marks += [f'<text x="{_x(0) - 5}" y="{_y(at) + 4:.1f}" text-anchor="end">{text}</text>' for at, text in y]
    marks.append(f'<text x="{_x(0.5)}" y="{_HIGH - 10}" text-anchor="middle">{escape(across)}</text>')
    marks.append(
        f'<text x="12" y="{_y(0.5)}" text-anchor="middle" transform="rotate(-90 12 {_y(0.5)})">{escape(up)}</text>'
    )
    return f'<svg width="{_WIDE}" height="{_HIGH}" role="img">{"".join([*drawn, frame, *marks])}</svg>'
