"""One screen of the pipeline, for any size of terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.cascades import WINDOWS
from schemas.view import PipelineView
from sinks.dashboard import figures, tables

_TABLES = 78
"""Below this width, or six lines, there are no tables."""
_ROOMY = 34
"""From this height on sections have frames."""
_FEEDS_BESIDE = 150
"""From this width on the feeds stand beside the rest."""


def render(view: PipelineView, width: int, height: int) -> RenderableType:
    """The view in at most ``height`` lines of ``width`` columns; what does not fit is counted or left out."""
    head: list[RenderableType] = [banner(view, width), *headline(view, width)]
    free = height - len(head)
    if width < _TABLES or free < 6:
        return Group(*[*head, *_list(view)][: max(1, height)])
    if width >= _FEEDS_BESIDE and height >= _ROOMY:
        left = width * 11 // 20
        columns = Table.grid(padding=0)
        columns.add_column(width=left)
        columns.add_column(width=width - left)
        columns.add_row(Group(*_sections(view, left, free, ("windows", "cascades", "signals"), framed=True)),
                        Group(*_sections(view, width - left, free, ("feeds",), framed=True)))  # fmt: skip
        return Group(*head, columns)
    order = ("windows", "feeds", "cascades", "signals")
    return Group(*head, *_sections(view, width, free, order, framed=height >= _ROOMY))


def banner(view: PipelineView, width: int) -> Text:
    """SIMULATED DATA or LIVE over the whole width, reversed where simulated, with the time since the start."""
    if view.simulated:
        told, note, style = " SIMULATED DATA", " · simulated venues, invented market, no orders", "bold reverse yellow"
    else:
        told, note, style = " LIVE", " · public feeds, no orders", "bold green"
    right = f" breakwater {figures.elapsed(view.elapsed)} "
    told += note if len(told + note + right) <= width else ""
    return _line(f"{told:<{max(0, width - len(right))}}{right}"[:width], style)


def headline(view: PipelineView, width: int) -> list[RenderableType]:
    """Two lines: the flow of forced closes, and what was made of it."""
    floor = view.market.floor
    first = [
        Text(f"{view.events_per_second:,.1f} events/s", "bold"),
        Text(f"USD/min long {figures.dollars(view.long_usd_minute, floor=floor)}", "bold"),
        Text(f"short {figures.dollars(view.short_usd_minute, floor=floor)}", "bold"),
        Text(f"{view.events:,} events"),
        Text(f"{view.adl_events:,} ADL apart"),
    ]
    second = [
        Text(f"cascades {view.cascades_total:,}"),
        Text(f"signals {view.signals_total:,}"),
        Text(f"event→signal {figures.milliseconds(view.latency_p50_ms)}"),
        Text(f"p99 {figures.milliseconds(view.latency_p99_ms)}"),
        Text(f"dead letters {view.dead_letters:,}", "yellow" if view.dead_letters else ""),
        Text(f"files {view.files:,}"),
    ]
    return [_fitting(first, width), _fitting(second, width)]


def _fitting(parts: Sequence[Text], width: int) -> Text:
    """The first parts, as many as fit whole."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        between = "  " if line else " "
        if line and line.cell_len + len(between) + part.cell_len > width:
            break
        line.append(between).append_text(part)
    return line


def _list(view: PipelineView) -> list[RenderableType]:
    """For terminals too small for tables: open cascades, then a line per asset with its 10 s window."""
    lines = [
        Text.assemble(
            ("OPEN ", "bold"), (figures.asset(cascade.asset), "bold"), f" {figures.side(cascade.side)} ",
            figures.dollars(cascade.usd, floor=cascade.floor), " ", figures.level(cascade.peak_level),
        )
        for cascade in view.cascades
        if cascade.state != "close"
    ]  # fmt: skip
    ten = list(WINDOWS).index("10s")
    for asset in [view.market, *view.assets]:
        window = tables.window_text(asset.windows[ten], floor=asset.floor)
        lines.append(
            Text.assemble((f"{figures.asset(asset.asset)} ", "bold"), figures.level(asset.level), "  10s: ", window)
        )
    return [_one(line) for line in lines]


def shares(free: int, wanted: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Hand out ``free`` lines: each section in turn gets one more step until it has what it wanted or nothing is left.

    The sum never exceeds ``free``; no section gets more than it wanted.
    """
    given = [0] * len(wanted)
    progress = True
    while progress:
        progress = False
        for index, (want, step) in enumerate(zip(wanted, steps, strict=True)):
            if given[index] + step <= want and step <= free:
                given[index] += step
                free -= step
                progress = True
    return given


def _sections(view: PipelineView, width: int, free: int, names: Sequence[str], *, framed: bool) -> list[RenderableType]:
    inner = width - 4 if framed else width
    frame = 3 if framed else 1
    venues = tables.venues(view.feeds)
    assets = [view.market, *view.assets]
    step = tables.asset_lines(inner)
    wanted = {
        "windows": len(assets) * step,
        "feeds": max(1, len(venues)),
        "cascades": max(1, len(view.cascades)),
        "signals": max(1, len(view.signals)),
    }
    drawn: dict[str, Callable[[int], RenderableType]] = {
        "windows": lambda lines: tables.windows(assets[: lines // step], inner),
        "feeds": lambda lines: tables.feeds(venues, lines, inner) if venues else _empty("no feed yet"),
        "cascades": lambda lines: (
            tables.cascades(view.cascades[:lines], inner) if view.cascades else _empty("no cascade so far")
        ),
        "signals": lambda lines: (
            tables.signals(view.signals[:lines], inner) if view.signals else _empty("no signal so far")
        ),
    }
    titles = {
        "windows": "forced closes: how many, USD of longs/shorts closed",
        "feeds": "feeds",
        "cascades": "cascades",
        "signals": "signals, newest first",
    }
    steps = [step if name == "windows" else 1 for name in names]
    # Every section has a header, a frame where there is room, and at least one row; the last ones give way.
    while len(names) > 1 and sum(steps[: len(names)]) + frame * len(names) > free:
        names = names[:-1]
    lines = shares(free - frame * len(names), [wanted[name] for name in names], steps[: len(names)])
    made: list[RenderableType] = []
    for name, count in zip(names, lines, strict=True):
        table = drawn[name](count)
        made.append(Panel(table, title=titles[name], title_align="left", border_style="dim") if framed else table)
    return made


def _empty(told: str) -> Text:
    return _line(told, "dim")


def _line(told: str, style: str = "") -> Text:
    return _one(Text(told, style))


def _one(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
