"""The bus: topics, schemas, what stands in them, and dead letters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson, say, settings_of, write

if TYPE_CHECKING:
    from flows.dead_letters import Found
    from flows.settings import Settings
    from schemas.bus import Bus

app = typer.Typer()
topics_app = typer.Typer(no_args_is_help=True, help="The topics on the bus.")
schemas_app = typer.Typer(no_args_is_help=True, help="What messages look like.")
dlq_app = typer.Typer(no_args_is_help=True, help="Messages and frames that could not be understood.")
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")
app.add_typer(dlq_app, name="dlq")

Since = Annotated[str, typer.Option("--from", metavar="-5m|TIME|beginning|end", help="From when on.")]
OfVenue = Annotated[str | None, typer.Option("--venue", metavar="V|bus", help="Only of this venue; bus: of messages.")]
Places = Annotated[list[str] | None, typer.Argument(metavar="[PLACE...]", help="As `dlq list` prints them.")]


def _bus(ctx: typer.Context) -> tuple[Settings, Bus]:
    from flows import logs
    from flows.bus import bus_of

    settings = settings_of(ctx)
    logs.configure(settings.log.format, "warning")
    return settings, bus_of(settings.kafka)


@topics_app.command("create")
def topics_create(ctx: typer.Context) -> int:
    """Make the topics that are missing; those that are there stay as they are."""
    from connectors.kafka.topics import create
    from schemas.topics import TOPICS

    settings, bus = _bus(ctx)
    made = create(bus, list(TOPICS.values()), settings.kafka.replication)
    for topic in TOPICS.values():
        write(f"{bus.name(topic)}  {'made' if bus.name(topic) in made else 'was there'}")
    return 0


@topics_app.command("list")
def topics_list(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Every topic: what it holds, its key, whether it is there and as it should be. Exit code 1 where one is not."""
    from connectors.kafka.topics import states
    from schemas.topics import TOPICS

    _, bus = _bus(ctx)
    found = states(bus, list(TOPICS.values()))
    rows = [
        {
            "topic": state.name, "holds": topic.holds, "key": "/".join(topic.key), "exists": state.exists,
            "partitions": state.partitions, "differs": list(state.differs),
        }
        for topic, state in zip(TOPICS.values(), found, strict=True)
    ]  # fmt: skip
    if as_json:
        write(json.dumps(rows, indent=2))
    for row in () if as_json else rows:
        state = "missing" if not row["exists"] else "; ".join(row["differs"]) or "fine"  # type: ignore[arg-type] # a list of texts
        write(f"{row['topic']:<28} {row['key']:<12} {row['partitions']:>3}  {state:<8} {row['holds']}")
    return 0 if all(row["exists"] for row in rows) else 1


@topics_app.command("describe")
def topics_describe(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """One topic: its settings on the brokers, and every field of its records with its meaning."""
    from connectors.kafka.topics import states
    from flows.tail import known_topic
    from schemas.topics import fields_of, kind_of

    _, bus = _bus(ctx)
    of = known_topic(topic, bus.prefix)
    (state,) = states(bus, [of])
    told: dict[str, Any] = {
        "topic": state.name, "holds": of.holds, "key": "/".join(of.key), "exists": state.exists,
        "partitions": state.partitions, "replication": state.replication, "config": state.config,
        "differs": list(state.differs), "records": {kind_of(r): fields_of(r) for r in of.records},
    }  # fmt: skip
    if as_json:
        write(json.dumps(told, indent=2))
        return 0
    for name in ("topic", "holds", "key", "exists", "partitions", "replication", "config", "differs"):
        write(f"{name:<12} {told[name]}")
    for kind, fields in told["records"].items():
        write(f"\n{kind}")
        for field, (type_, meaning) in fields.items():
            write(f"  {field:<18} {type_:<14} {meaning}")
    return 0


@schemas_app.command("export")
def schemas_export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("schemas.d"),
    registry: Annotated[
        str | None, typer.Option(metavar="URL", help="Register them in this schema registry instead.")
    ] = None,
) -> int:
    """Write the JSON Schema of every topic, or register them."""
    from flows.registry import export, register

    _, bus = _bus(ctx)
    if registry is not None:
        for subject, number in register(bus, registry).items():
            write(f"{subject}  {number}")
        return 0
    for file in export(bus, directory):
        write(str(file))
    return 0


@app.command()
def tail(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Such as signals.", show_default=False)],
    since: Since = "-5m",
    filters: Annotated[
        list[str] | None, typer.Option("--filter", metavar="NAME=VALUE", help="A field or header; repeat for more.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes. Until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> int:
    """What a topic says, in the order of time."""
    import sys

    from flows.tail import known_topic, looked, start_of, wanted_of
    from schemas.clock import system_clock

    _, bus = _bus(ctx)
    of, wanted, start = known_topic(topic, bus.prefix), wanted_of(filters or ()), start_of(since, system_clock)
    for seen in looked(bus, (of,), start, system_clock, follow=follow):
        if seen.says(wanted):
            write(json.dumps(seen.as_json(), ensure_ascii=False) if as_json else seen.as_text())
            if follow:
                sys.stdout.flush()
    return 0


def _letters(bus: Bus, since: str, venue: str | None, places: list[str] | None) -> list[Found]:
    from flows.dead_letters import found, only
    from flows.tail import start_of
    from schemas.clock import system_clock

    return only(found(bus, start_of(since, system_clock), system_clock, venue), places or ())


@dlq_app.command("list")
def dlq_list(ctx: typer.Context, since: Since = "beginning", venue: OfVenue = None, as_json: AsJson = False) -> int:
    """Every dead letter: where it stands, when, whose, why."""
    from flows.tail import written

    _, bus = _bus(ctx)
    letters = _letters(bus, since, venue, None)
    for one in letters:
        told = {"place": one.place, "time": written(one.time), "venue": one.letter.venue, "feed": one.letter.feed,
                "reason": one.letter.reason}  # fmt: skip
        write(json.dumps(told) if as_json else "  ".join(told.values()))
    say(f"{len(letters)} dead letters")
    return 0


@dlq_app.command("show")
def dlq_show(ctx: typer.Context, places: Places = None, since: Since = "beginning") -> int:
    """Dead letters with their bytes, as JSON."""
    from flows.dead_letters import shown

    _, bus = _bus(ctx)
    for one in _letters(bus, since, None, places):
        write(shown(one).decode())
    return 0


@dlq_app.command("redrive")
def dlq_redrive(
    ctx: typer.Context,
    places: Places = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one, where no place is said.")] = False,
    venue: OfVenue = None,
    since: Since = "beginning",
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> int:
    """Send dead letters again: frames into raw.v1, messages into their topic. Exit code 1 where one stays."""
    from flows.dead_letters import redrive

    if bool(places) == everything:
        raise typer.BadParameter("say which: places as `dlq list` prints them, or --all")
    settings, bus = _bus(ctx)
    kept = 0
    for done in redrive(bus, _letters(bus, since, venue, places), settings.kafka.deadline, dry=dry):
        write(f"{done.place}  {done.outcome}  {done.detail}")
        kept += done.outcome == "kept"
    return 1 if kept else 0
