"""The pipeline as separate workers that meet in topics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Assets, DataDir, Venues, say, settings_of

app = typer.Typer()


@app.command()
def worker(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="capture, normalise, cascades, archive or execute.")],
    bus: Annotated[str, typer.Option(metavar="kafka|HOST:PORT", help="Where the topics are.")] = "kafka",
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes on this host, sharing the work.")] = 1,
    recovery: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What it resumes from; made where it is not there.")
    ] = None,
    snapshot: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Between two snapshots.")] = 10,
    start: Annotated[
        str | None, typer.Option("--from", metavar="beginning|end|15m", help="Whatever was read before.")
    ] = None,
    bounded: Annotated[bool, typer.Option("--bounded", help="End where the topics end now.")] = False,
    process_id: Annotated[
        int | None, typer.Option("-i", "--process-id", min=0, metavar="I", help="Which of the addresses is this.")
    ] = None,
    addresses: Annotated[
        str | None,
        typer.Option("-a", "--addresses", metavar="HOST:PORT;...", help="Of all processes, same everywhere."),
    ] = None,
    health_port: Annotated[int | None, typer.Option(min=0, metavar="PORT", help="Of its health page.")] = None,
    venue: Venues = None,
    asset: Assets = None,
    data_dir: DataDir = None,
) -> int:
    """One worker of the pipeline over Kafka. Until SIGTERM, which lets it finish what it began."""
    from flows.cluster import Plan, run
    from flows.configuration import variable
    from flows.recovery import make

    wanted = {
        "kafka.bootstrap": None if bus == "kafka" else bus,
        "worker.start": start,
        "health.port": None if health_port is None else str(health_port),
        "venues.enabled": ",".join(venue or ()) or None,
        "venues.assets": ",".join(asset or ()) or None,
        "data_dir": str(data_dir) if data_dir else None,
    }
    said = {variable(name): value for name, value in wanted.items() if value is not None}
    os.environ.update(said)
    settings = settings_of(ctx)
    plan = Plan(
        name,
        recovery=(recovery or settings.data_dir / "recovery") / name,
        snapshot=snapshot,
        processes=workers,
        process_id=process_id,
        addresses=tuple(addresses.split(";")) if addresses else (),
        bounded=bounded,
        config=str(ctx.obj) if ctx.obj else None,
        environment=said,
    )
    make(plan.recovery)
    say(plan.line())
    return run(plan)
