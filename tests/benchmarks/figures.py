"""What a benchmark tells: one row per figure, beside its baseline of the same run, its target and the verdict."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table


class Target(NamedTuple):
    """A bound, on the value or on the ratio to the baseline."""

    bound: Literal["≤", "≥"]
    limit: float
    of: Literal["value", "ratio"] = "value"

    def met(self, figure: float) -> bool:
        """Whether ``figure`` keeps the bound."""
        return figure <= self.limit if self.bound == "≤" else figure >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str
    baseline: str = ""
    """What ``ratio`` is against, measured in the same run."""
    ratio: float | None = None
    """Value over baseline, in the sense the name says."""
    spread: str = ""
    """Smallest to largest over the rounds, of the judged figure."""
    target: str = ""
    verdict: Literal["met", "not met", ""] = ""


def row(
    name: str,
    value: float,
    unit: str,
    target: Target | None = None,
    *,
    baseline: str = "",
    ratio: float | None = None,
    spread: str = "",
) -> Row:
    """A row, judged where it has a target."""
    if target is None:
        return Row(name, value, unit, baseline, ratio, spread)
    judged = value if target.of == "value" else ratio
    if judged is None:
        raise ValueError(f"{name}: a target on the ratio needs a ratio")
    unit_of = f" {unit}" if target.of == "value" else "×"
    text = f"{target.bound} {target.limit:g}{unit_of}"
    return Row(name, value, unit, baseline, ratio, spread, text, "met" if target.met(judged) else "not met")


def kept(name: str, put_in: int, came_out: int) -> Row:
    """Conservation: by how many what came out differs from what was put in."""
    return row(f"{name}: lost of {put_in:,}", abs(put_in - came_out), "events", Target("≤", 0))


class Cost(NamedTuple):
    """What a piece of work took, in seconds."""

    cpu: float
    wall: float


def cost(work: Callable[[], object]) -> Cost:
    """Run ``work`` once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``1.95–2.10``."""
    return f"{min(values):.{digits}f}–{max(values):.{digits}f}" if len(values) > 1 else ""


def show(found: dict[str, list[Row]]) -> None:
    """Print the table."""
    table = Table(title="Breakwater, measured", title_justify="left")
    for name in ("benchmark", "figure"):
        table.add_column(name)
    for name in ("value", "ratio", "rounds"):
        table.add_column(name, justify="right")
    for name in ("against", "target", "verdict"):
        table.add_column(name)
    for benchmark, rows in found.items():
        for place, one in enumerate(rows):
            ratio = f"{one.ratio:.2f}×" if one.ratio is not None else ""
            colour = {"met": "green", "not met": "red", "": ""}[one.verdict]
            verdict = f"[{colour}]{one.verdict}[/{colour}]" if colour else ""
            first = benchmark if place == 0 else ""
            table.add_row(
                first, one.name, f"{one.value:,.4g} {one.unit}", ratio, one.spread, one.baseline, one.target, verdict
            )
        table.add_section()
    Console(width=None if Console().is_terminal else 170).print(table)
