"""The pipeline: on simulated venues, on real ones, recorded, replayed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import (
    AsJson,
    Assets,
    DataDir,
    Duration,
    Headless,
    Venues,
    log,
    settings_of,
    speed_of,
    terms_of,
    venue_name,
)

app = typer.Typer()


@app.command()
def demo(
    ctx: typer.Context,
    duration: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long.")] = 60,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed, the same market.")] = None,
    headless: Headless = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> int:
    """The whole pipeline on simulated venues of this machine, a pair on paper beside. Places no orders, asks nobody."""
    from flows.live import run_demo

    settings = settings_of(ctx, data_dir=data_dir)
    # Simulated history never lies beside recorded history, unless told to.
    kept = data_dir or settings.data_dir / "demo"
    shown = not headless and not as_json
    log(settings, kept, view=shown)
    return run_demo(settings, duration=duration, seed=seed, headless=not shown, as_json=as_json, data_dir=kept)


@app.command()
def run(
    ctx: typer.Context,
    venue: Venues = None,
    asset: Assets = None,
    headless: Headless = False,
    duration: Duration = None,
    data_dir: DataDir = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="ASSET=LONG/SHORT[:USD[:LEVERAGE]]",
            help="Hold a pair on paper at the venues' marks, e.g. SOL=aster/hyperliquid:20000:6.",
        ),
    ] = None,
) -> int:  # fmt: skip
    """Listen to the venues, score cascades, keep history. Until Ctrl-C."""
    from flows.live import run_live

    held = terms_of(paper) if paper is not None else None
    settings = settings_of(ctx, venues_enabled=venue, venues_assets=asset, data_dir=data_dir)
    log(settings, settings.data_dir, view=not headless)
    return run_live(settings, duration=duration, headless=headless, data_dir=settings.data_dir, paper=held)


@app.command()
def record(
    ctx: typer.Context,
    venue: Annotated[list[str], typer.Option(parser=venue_name, metavar="V", help="A venue; repeat for more.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The recording, e.g. today.frames.zst.")],
    duration: Duration = None,
    asset: Assets = None,
) -> int:
    """Keep what venues send, byte by byte, for replay. Until Ctrl-C."""
    from flows.record import record as keep

    settings = settings_of(ctx, venues_enabled=venue, venues_assets=asset)
    log(settings, settings.data_dir, view=False)
    return keep(settings, out=out, duration=duration)


@app.command()
def replay(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, show_default=False)],
    speed: Annotated[
        float, typer.Option(parser=speed_of, metavar="N|max", show_default="max", help="Times as fast as it happened.")
    ] = math.inf,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    venue: Annotated[
        str | None, typer.Option(parser=venue_name, metavar="V", help="Whose frames a file without names holds.")
    ] = None,
) -> int:
    """Run recordings, files of native frames, history or dead letters through the pipeline, as if live."""
    from flows.replay import replay as play

    settings = settings_of(ctx, data_dir=data_dir)
    log(settings, settings.data_dir, view=False)
    return play(
        settings, files, speed=None if speed == math.inf else speed, data_dir=data_dir, as_json=as_json, venue=venue
    )
