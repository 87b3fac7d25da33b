"""What is shown at the end, and the picture for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.view import PipelineView
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
    view: PipelineView, files: Sequence[Path], data_dir: Path | None = None, try_next: Mapping[str, str] = TRY_NEXT
) -> RenderableType:
    """A box of what happened, then what to try.

    :arg files: the history files written.
    :arg data_dir: where they are, if anywhere.
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
