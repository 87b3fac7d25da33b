"""What is shown at the end, and the picture for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.view import PaperView, PipelineView
from sinks.dashboard import figures
from sinks.dashboard.screen import render

TRY_NEXT: Mapping[str, str] = {
    'breakwater sql{kept} "from cascades"': "what was just recorded, in DuckDB SQL",
    "breakwater run": "the live public feeds",
    "breakwater doctor": "whether this machine is fit for it",
    "breakwater config init": "a file that explains every setting",
}
"""Commands and what each shows; ``{kept}`` stands for the option that names where the history is."""


def summary(
    view: PipelineView,
    files: Sequence[Path],
    data_dir: Path | None = None,
    try_next: Mapping[str, str] = TRY_NEXT,
    *,
    paper: PaperView | None = None,
) -> RenderableType:
    """A box of what happened, then what to try.

    :arg files: the history files written.
    :arg data_dir: where they are, if anywhere.
    :arg paper: what became of the paper pair, where there was one.
    """
    floor = any(cascade.floor for cascade in view.cascades) or view.market.floor
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_row("time", figures.elapsed(view.elapsed))
    rows.add_row("forced closes", f"{view.events:,}, and {view.adl_events:,} ADL apart")
    rows.add_row("cascades", f"{view.cascades_total:,}{_largest(view)}")
    rows.add_row("signals", f"{view.signals_total:,}")
    rows.add_row(
        "event→signal",
        f"p50 {figures.milliseconds(view.latency_p50_ms)}, p99 {figures.milliseconds(view.latency_p99_ms)}",
    )
    rows.add_row("dead letters", f"{view.dead_letters:,}")
    rows.add_row("history", f"{len(files):,} files{f' in {data_dir}' if data_dir else ''}" if files else "none written")
    for name, told in _paper(paper) if paper is not None else ():
        rows.add_row(name, told)
    parts: list[RenderableType] = [rows]
    if floor:
        parts.append(Text("≥ marks sums over feeds that do not tell everything: the truth is at least that", "dim"))
    title = "SIMULATED DATA" if view.simulated else "breakwater"
    steps = Table.grid(padding=(0, 2, 0, 2))
    steps.add_column(no_wrap=True, overflow="ignore")
    kept = f" --data-dir {data_dir}" if data_dir and data_dir != Path("data") else ""
    for command, told in try_next.items():
        steps.add_row(Text(command.replace("{kept}", kept), "bold"), told)
    return Group(Panel(Group(*parts), title=title, title_align="left", expand=False), Text("try next"), steps)


def _paper(pair: PaperView) -> Iterator[tuple[str, str]]:
    """The rows about the paper pair."""
    legs = f"{pair.asset} long {pair.long}, short {pair.short}, {figures.dollars(pair.notional_usd)} each"
    if not pair.opened:
        yield "paper pair", f"not opened: {pair.long} and {pair.short} told no {pair.asset} price in time"
        return
    yield "paper pair", f"{legs}, {pair.leverage:g}x"
    yield "  liquidated", _hit(pair)
    yield "  PnL", f"{_signed(pair.pnl_usd)}; doing nothing: {_signed(pair.idle_pnl_usd)}"


def _hit(pair: PaperView) -> str:
    if pair.hit is None:
        return f"no leg in this run{f', closed for {pair.reason}' if pair.reason else ''}"
    side, other = ("long", pair.short) if pair.hit == pair.long else ("short", pair.long)
    flat = f"flat after {figures.milliseconds(pair.flat_ms)}" if pair.flat_ms is not None else "NOT flat"
    return f"the {side} at {pair.hit}, noticed after {figures.milliseconds(pair.detection_ms)}; {other} {flat}"


def _signed(usd: float | None) -> str:
    return figures.NOTHING if usd is None else f"{'-' if usd < 0 else '+'}${abs(usd):,.0f}"


def _largest(view: PipelineView) -> str:
    if not view.cascades:
        return ""
    top = max(view.cascades, key=lambda cascade: cascade.usd)
    told = figures.dollars(top.usd, floor=top.floor)
    return (
        f", largest {figures.asset(top.asset)} {top.side} {told}, peak {top.peak_level} {figures.share(top.peak_score)}"
    )


def screenshot(view: PipelineView, path: Path, width: int = 120, height: int = 40) -> None:
    """Write the view as an SVG picture."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(
            record=True, width=width, height=height, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(render(view, width, height))
    console.save_svg(str(path), title="breakwater")
