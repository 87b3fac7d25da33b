"""The four tables of the view. Each row is one line, so that a table's height is known before it is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.cascades import WINDOWS, CascadeUpdate
from schemas.clock import SECOND
from schemas.records import COVERAGES
from schemas.view import AssetView, FeedView, SignalView, WindowView
from sinks.dashboard import figures

Justify = Literal["left", "right"]
WIDE = 116
"""From this width on a window fits into one line."""


def _table(columns: Sequence[tuple[str, Justify]], rest: str | None = None) -> Table:
    """A table without lines; the column ``rest`` takes, and is cut to, what the others leave."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=rest is not None)
    for title, justify in columns:
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis")
    if rest is not None:
        table.add_column(rest, no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def asset_lines(width: int) -> int:
    """Lines one asset takes in ``windows``."""
    return 1 if width >= WIDE else 2


def windows(assets: Sequence[AssetView], width: int) -> Table:
    """Per asset and window: how many forced closes, and the USD of longs and shorts closed.

    Where not all windows fit, the shortest give way: a figure cut in two would be another figure.
    """
    lines = asset_lines(width)
    names = [_name(asset, lines) for asset in assets]
    cells = {
        title: [window_text(asset.windows[index], floor=asset.floor, lines=lines) for asset in assets]
        for index, title in enumerate(WINDOWS)
    }
    needed = {title: max([len(title), *map(_width, column)]) + 1 for title, column in cells.items()}
    room = width - sum(max([6, *(_width(pair[side]) for pair in names)]) + 1 for side in (0, 1))
    while len(cells) > 1 and sum(needed[title] for title in cells) > room:
        del cells[next(iter(cells))]
    table = _table([("asset", "left"), ("level", "left"), *((title, "right") for title in cells)])
    for row, (name, level) in enumerate(names):
        table.add_row(name, level, *(column[row] for column in cells.values()))
    return table


def _width(text: Text) -> int:
    return max(line.cell_len for line in text.split())


def _name(asset: AssetView, lines: int) -> tuple[Text, Text]:
    name = Text(figures.asset(asset.asset), "bold")
    level = figures.level(asset.level)
    known = [figures.share(asset.score), figures.heat(asset.heat), figures.chance(asset.probability)]
    told = " ".join(filter(None, known))
    if lines == 1:
        return name, level.append(f" {told}")
    return name.append("\nl/s $", "dim not bold"), level.append(f"\nscore {told}", "dim")


def window_text(window: WindowView, *, floor: bool, lines: int = 1) -> Text:
    """``12 ≥1.2M/34k``: events, USD of longs and of shorts closed; on one line or two."""
    between = " " if lines == 1 else "\n"
    if not window.count:
        return Text("·" + between.strip(" "), "dim")
    sides = f"{figures.usd(window.long_usd, floor=floor)}/{figures.usd(window.short_usd)}"
    return Text.assemble((f"{window.count:,}{between}", "bold"), sides)


def venues(feeds: Sequence[FeedView]) -> list[FeedView]:
    """One row per venue: the state that needs most attention, the sums over its feeds, the youngest ages."""
    grouped: dict[str, list[FeedView]] = {}
    for feed in feeds:
        grouped.setdefault(feed.venue, []).append(feed)
    rows = [_venue(group) for group in grouped.values()]
    return sorted(rows, key=lambda row: (figures.ATTENTION.index(row.state), -row.events))


def _venue(feeds: Sequence[FeedView]) -> FeedView:
    worst = min(feeds, key=lambda feed: figures.ATTENTION.index(feed.state))
    return FeedView(
        venue=worst.venue,
        title=worst.title,
        feed=worst.feed,
        coverage=max((feed.coverage for feed in feeds), key=COVERAGES.index),
        state=worst.state,
        reason=worst.reason,
        frames=sum(feed.frames for feed in feeds),
        events=max(feed.events for feed in feeds),
        reconnects=sum(feed.reconnects for feed in feeds),
        dropped=sum(feed.dropped for feed in feeds),
        frame_age=min((feed.frame_age for feed in feeds if feed.frame_age is not None), default=None),
        event_age=min((feed.event_age for feed in feeds if feed.event_age is not None), default=None),
    )


def feeds(rows: Sequence[FeedView], lines: int, width: int) -> RenderableType:
    """The rows of ``venues``; those that do not fit are counted by state in the last line."""
    reasons = width >= 104
    titles: list[tuple[str, Justify]] = [
        ("feed", "left"), ("state", "left"), ("coverage", "left"), ("events", "right"), ("frame", "right"),
        ("event", "right"), ("again", "right"), ("lost", "right"),
    ]  # fmt: skip
    table = _table(titles, "" if reasons else None)
    fit = rows if len(rows) <= lines else rows[: max(0, lines - 1)]
    for row in fit:
        cells: list[Text | str] = [
            row.title, figures.state(row.state), figures.coverage(row.coverage), f"{row.events:,}",
            figures.age(row.frame_age), figures.age(row.event_age), f"{row.reconnects:,}", f"{row.dropped:,}",
        ]  # fmt: skip
        table.add_row(*cells, *([Text(row.reason, "dim")] if reasons else []))
    if len(fit) == len(rows):
        return table
    rest = Counter(row.state for row in rows[len(fit) :])
    told = ", ".join(f"{count} {name}" for name, count in rest.items())
    more = Text(f"and {len(rows) - len(fit)} more: {told}", "dim", no_wrap=True, overflow="ellipsis")
    return Group(table, more)


def cascades(updates: Sequence[CascadeUpdate], width: int) -> Table:
    """Open ones first, with the venues in order of entry."""
    table = _table(
        [("cascade", "left"), ("side", "left"), ("peak", "left"), ("USD", "right"), ("events", "right"),
         ("lasts", "right")],
        "venues in order of entry",
    )  # fmt: skip
    for update in updates:
        running = update.state != "close"
        name = Text.assemble(
            ("OPEN " if running else "over ", "bold" if running else "dim"), (figures.asset(update.asset), "bold")
        )
        peak = figures.level(update.peak_level).append(f" {figures.share(update.peak_score)}")
        lasted = ((update.closed or update.time) - update.started) / SECOND
        table.add_row(
            name,
            figures.side(update.side),
            peak,
            figures.dollars(update.usd, floor=update.floor),
            f"{update.events:,}",
            figures.age(lasted),
            _entries(update) if width >= WIDE else " › ".join(update.venues),
        )
    return table


def _entries(update: CascadeUpdate) -> str:
    lags = [*update.entry_lags, *[0.0] * len(update.venues)]
    told = [f"{venue} +{lag:.1f}s" if lag else venue for venue, lag in zip(update.venues, lags, strict=False)]
    return " › ".join(told)


def signals(rows: Sequence[SignalView], width: int) -> Table:
    """Newest first, with the time from the deciding frame on our socket to the sink."""
    titles: list[tuple[str, Justify]] = [
        ("signal UTC", "left"), ("asset", "left"), ("level", "left"), ("was", "left"), ("score", "right"),
        ("events/s", "right"), ("USD/s", "right"), ("side", "left"), ("latency", "right"),
    ]  # fmt: skip
    wide = width >= 104
    table = _table(titles, "because" if wide else None)
    for row in rows:
        signal = row.signal
        cells: list[Text | str] = [
            figures.time_of_day(signal.event_time),
            Text(figures.asset(signal.asset), "bold"),
            figures.level(signal.level),
            Text(signal.previous, "dim"),
            figures.share(signal.score) + ("↑" if signal.boosted else ""),
            f"{signal.events_per_second:,.1f}",
            figures.usd(signal.usd_per_second, floor=signal.floor),
            figures.side(signal.side),
            figures.milliseconds(row.latency_ms),
        ]
        table.add_row(*cells, *([Text(_because(row), "dim")] if wide else []))
    return table


def _because(row: SignalView) -> str:
    told = {name: value for name, value in row.signal.components.items() if value}
    strongest = sorted(told, key=lambda name: -(told[name] or 0.0) * row.signal.weights.get(name, 0.0))
    return ", ".join(f"{name.replace('_', ' ')} {figures.share(told[name] or 0.0)}" for name in strongest[:3])
