"""The history on disk: compacted, retained, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import AsJson, DataDir, asset_name, say, settings_of, write

app = typer.Typer()

From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="First time: 2025-10-10, 2025-10-10T21:15:00Z, -1h.")
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Where to stop, itself not included.")]


@app.command()
def compact(
    ctx: typer.Context,
    before: Annotated[
        str | None, typer.Option(metavar="DAY", help="Only days before this one; they must be over (UTC).")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Remove what was replaced at once, not ten minutes later.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Make one sorted file of the many parts of each day that is over. Readers and writers go on."""
    from datetime import date

    import msgspec

    from schemas.clock import system_clock
    from sinks.compaction import GRACE
    from sinks.compaction import compact as run

    try:
        day = date.fromisoformat(before) if before else None
    except ValueError:
        raise typer.BadParameter(f"{before!r} is no day: write 2025-10-10") from None
    done = run(settings_of(ctx, data_dir=data_dir).data_dir, system_clock(), day, grace=0 if now else GRACE)
    if as_json:
        write(msgspec.json.encode(done).decode())
        return 0
    write(f"{done.days} days sealed: {done.rows:,} rows of {done.replaced:,} parts, {done.doubles:,} doubles left out")
    waiting = (
        f"; {done.waiting:,} wait ten minutes for their readers, the next run removes them" if done.waiting else ""
    )
    write(f"{done.removed:,} replaced parts removed{waiting}")
    return 0


@app.command()
def retain(
    ctx: typer.Context,
    keep: Annotated[str | None, typer.Option(metavar="90d", help="Instead of history.keep.")] = None,
    data_dir: DataDir = None,
) -> int:
    """Remove the days of the history that ended longer ago than is kept."""
    from schemas.clock import system_clock
    from sinks.retention import retain as run

    settings = settings_of(ctx, data_dir=data_dir, history_keep=keep)
    if not settings.history.keep:
        write("every day is kept: set history.keep, or give --keep 90d")
        return 0
    done = run(settings.data_dir, system_clock(), settings.history.keep)
    write(f"{done.days} days before {done.before} removed: {done.files:,} files, {done.megabytes:,.1f} MB")
    return 0


@app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR|FILE", help="A file: one dataset.")],
    since: From = None,
    until: To = None,
    asset: Annotated[
        list[str] | None, typer.Option(parser=asset_name, metavar="A", help="A base asset; repeat for more.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="liquidations if none; repeatable.")] = None,
    form: Annotated[Literal["parquet", "csv", "json"], typer.Option("--format", help="How.")] = "parquet",
    data_dir: DataDir = None,
) -> int:
    """A range of the history as files, with a manifest: rows, columns, SHA-256. Same history, same bytes."""
    from importlib.metadata import version

    from flows.moments import moment
    from schemas.clock import system_clock
    from sinks.export import Wanted
    from sinks.export import export as run

    now = system_clock()
    wanted = Wanted(
        tuple(dict.fromkeys(dataset or ["liquidations"])),
        moment(since, now) if since else None,
        moment(until, now) if until else None,
        tuple(dict.fromkeys(asset or [])),
    )
    files = run(settings_of(ctx, data_dir=data_dir).data_dir, out, wanted, form, version("breakwater"))
    for file in files:
        write(f"{file.sha256}  {file.file}  {file.rows:,} rows")
    say(f"wrote {len(files)} files and their manifest to {out}")
    return 0
