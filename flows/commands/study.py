"""How good the probability is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.commands.options import AsJson, say, write

if TYPE_CHECKING:
    from flows.settings import Settings

app = typer.Typer()


Data = Annotated[
    list[Path], typer.Argument(metavar="DATA...", exists=True, show_default=False, help="History or Parquet extracts.")
]
Target = Annotated[str, typer.Option(metavar="market|ASSET", help="Whose liquidations.")]
Threshold = Annotated[str, typer.Option(metavar="USD|auto", help="auto: a high percentile of the earlier half.")]
Horizon = Annotated[str, typer.Option(metavar="60s", help="How far ahead.")]


def _target(name: str) -> str:
    from schemas.cascades import MARKET

    return MARKET if name in {"market", MARKET} else name.upper()


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The model, e.g. model.json.")],
    target: Target = "market",
    threshold_usd: Threshold = "auto",
    horizon: Horizon = "60s",
) -> int:
    """Fit P(liquidated USD reach a threshold soon) on recorded history and write the model."""
    from flows.study import command

    model = command.fit(
        data, out, target=_target(target), threshold=command.threshold_of(threshold_usd),
        horizon=command.horizon_of(horizon),
    )  # fmt: skip
    period = f"{model.fit_from} .. {model.fit_to}"
    say(f"wrote {out}: {model.threshold_usd:,.0f} USD, {model.fit_episodes} crossings, {period}")
    return 0


@app.command()
def evaluate(
    data: Data,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge this one; else one is fitted.")] = None,
    target: Target = "market",
    threshold_usd: Threshold = "auto",
    horizon: Horizon = "60s",
    thin: Annotated[bool, typer.Option("--thin", help="As if each symbol told one event a second.")] = False,
    as_json: AsJson = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="A page with pictures besides.")] = None,
) -> int:
    """Fit on the earlier half of recorded history, judge on the later, with every baseline beside."""
    from flows.study import command

    write(
        command.evaluate(
            data, target=_target(target), threshold=command.threshold_of(threshold_usd),
            horizon=command.horizon_of(horizon), model=model, thin=thin, report=report, json=as_json,
        )
    )  # fmt: skip
    return 0


@app.command()
def backtest(
    ctx: typer.Context,
    data: Data,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=V,V", help="A setting and its values; repeat. Together: a=1,2;b=3,4."),
    ] = None,
    level: Annotated[
        Literal["WATCH", "ALERT", "CRITICAL", "EXTREME"], typer.Option(help="What is an alarm.")
    ] = "ALERT",
    target: Target = "market",
    threshold_usd: Threshold = "auto",
    horizon: Horizon = "60s",
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Settings played at once.")] = 2,
    as_json: AsJson = False,
) -> int:
    """Play recorded history through the detector once per setting: what its alarms would have caught."""
    from flows.configuration import load
    from flows.study import command

    def settings(chosen: dict[str, str]) -> Settings:
        return load(ctx.obj, chosen).settings

    write(
        command.backtest(
            data, settings, grid=grid or [], level=level, target=_target(target),
            threshold=command.threshold_of(threshold_usd), horizon=command.horizon_of(horizon), jobs=jobs, json=as_json,
        )
    )  # fmt: skip
    return 0
