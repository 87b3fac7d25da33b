"""Frames, contracts and the history as records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from flows.commands.options import DataDir, Venue, say, settings_of, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader

    from schemas.instruments import Instrument

app = typer.Typer()


@app.command()
def normalise(
    venue: Venue,
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="Native frames, one per line, or a recording.")] = Path(
        "-"
    ),
    instruments: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The contracts to know, as `instruments` prints them.")
    ] = None,
) -> int:
    """Native frames in, one JSON record per line out, as they come."""
    from flows import logs
    from flows.pipe import normalise as convert

    logs.configure()
    source = cast("BufferedReader", sys.stdin.buffer) if str(file) == "-" else file
    convert(venue, source, sys.stdout.buffer, lambda text: say(f"note: {text}"), instruments)
    return 0


@app.command()
def instruments(
    ctx: typer.Context,
    venue: Venue,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE|-]", help="The venue's own metadata answer to read instead.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the venue now.")] = False,
) -> int:
    """Print the common contracts of a venue as JSON lines, the way --instruments reads them."""
    from flows import instruments as of

    if ask and file:
        raise typer.BadParameter("--ask or a file, not both")
    if ask:
        from flows import logs
        from schemas.clock import system_clock

        logs.configure(level="error")
        proxy = settings_of(ctx).venues.proxy
        found: Sequence[Instrument] = of.asked(venue, system_clock, proxy.get_secret_value() if proxy else None)
    else:
        found = of.listed(venue, _read(file)) if file else of.snapshot(venue)
    sys.stdout.buffer.write(of.as_lines(found))
    return 0


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None


@app.command()
def sql(
    ctx: typer.Context,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="None: a prompt, or standard input.")] = None,
    form: Annotated[Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="How.")] = "table",
    data_dir: DataDir = None,
) -> int:
    """Ask the history in DuckDB SQL; it may be written at the same moment."""
    if form == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is not for terminals: add > FILE.parquet")
    from sinks.prompt import prompt
    from sinks.query import query as ask

    kept = settings_of(ctx, data_dir=data_dir).data_dir
    if query is None and sys.stdin.isatty():
        prompt(kept, sys.stdout.buffer)
    else:
        ask(kept, sys.stdin.read() if query is None else query, form, sys.stdout.buffer)
    return 0


@app.command()
def explain(
    ctx: typer.Context,
    cascade_id: Annotated[str, typer.Argument(metavar="CASCADE_ID", help="As in the history, or its beginning.")],
    data_dir: DataDir = None,
) -> int:
    """Tell why there was a cascade, number by number: its life, what raised its level, who took part."""
    from flows.explain import explain as told

    write(told(settings_of(ctx, data_dir=data_dir).data_dir, cascade_id))
    return 0
