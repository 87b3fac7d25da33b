"""What commands share: their options, the settings they read, and where they write."""

from __future__ import annotations

import math
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.records import RECORDED_ONLY, VENUES

if TYPE_CHECKING:
    from flows.configuration import Configuration
    from flows.paper_pair import Terms
    from flows.settings import Settings


def say(text: str) -> None:
    """Tell the person: stderr."""
    sys.stderr.write(f"{text}\n")


def write(text: str) -> None:
    """A result: stdout."""
    sys.stdout.write(f"{text}\n")


def venue_name(name: str) -> str:
    """A venue somebody can listen to."""
    if name not in VENUES or name in RECORDED_ONLY:
        from flows.settings import LISTENED, nearest

        hint = nearest(name, LISTENED) or f"; there are {', '.join(LISTENED)}"
        raise typer.BadParameter(f"no venue {name!r}{hint}")
    return name


def terms_of(text: str) -> Terms:
    """``SOL=aster/hyperliquid:20000:6``: a pair to hold on paper."""
    from flows.paper_pair import Terms

    asset, _, rest = text.partition("=")
    venues, *figures = rest.split(":")
    long, _, short = venues.partition("/")
    try:
        exact = [Decimal(figure) for figure in figures]
    except InvalidOperation:
        exact = [Decimal(0)]
    if not (long and short and long != short) or len(exact) > 2 or not all(n.is_finite() and n > 0 for n in exact):
        raise typer.BadParameter(f"{text!r} is no pair: write SOL=aster/hyperliquid:20000:6", param_hint="--paper")
    return Terms(asset_name(asset), venue_name(long), venue_name(short), *exact)


def asset_name(name: str) -> str:
    """A base asset the venues list."""
    from connectors.instruments import snapshots
    from flows.settings import nearest
    from schemas.instruments import canonical

    asset, known = canonical(name)[0], {canonical(i.asset)[0] for i in snapshots()}
    asset = asset if asset in known else asset.upper()
    if known and asset not in known:
        hint = nearest(asset, sorted(known))
        raise typer.BadParameter(f"no common asset {name!r}{hint} (a newer one: list it under [venues] assets)")
    return asset


def speed_of(text: str) -> float:
    """``max`` or a positive number."""
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise typer.BadParameter(f"{text!r} is neither max nor a positive number (1 is as it happened)")
    return speed


Duration = Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop after this long.")]
DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where history is kept.")]
Venues = Annotated[list[str] | None, typer.Option(parser=venue_name, metavar="V", help="A venue; repeat for more.")]
Assets = Annotated[
    list[str] | None, typer.Option(parser=asset_name, metavar="A", help="A base asset; repeat for more.")
]
Headless = Annotated[bool, typer.Option("--headless", help="No terminal view.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
Venue = Annotated[str, typer.Argument(parser=venue_name, metavar="VENUE", show_default=False)]


def configuration(ctx: typer.Context, **options: object) -> Configuration:
    """The settings with what the command line said on top, ``venues_enabled`` for ``venues.enabled``."""
    from flows.configuration import load

    said = {name.replace("_", ".", 1) if name != "data_dir" else name: value for name, value in options.items()}
    return load(ctx.obj, {name: str(v) if isinstance(v, Path) else v for name, v in said.items() if v})


def settings_of(ctx: typer.Context, **options: object) -> Settings:
    """The settings alone."""
    return configuration(ctx, **options).settings


def log(settings: Settings, data_dir: Path, *, view: bool) -> None:
    """Set logging up; while the terminal view has the screen, lines go to a file beside the history."""
    from flows import logs

    stream = None
    if view and sys.stdout.isatty():
        data_dir.mkdir(parents=True, exist_ok=True)
        stream = (data_dir / "breakwater.log").open("a", encoding="utf-8", buffering=1)
    logs.configure(settings.log.format, settings.log.level, stream)
