"""The executor: what it holds, what it does, and the switches a person has."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson, DataDir, Duration, say, settings_of, venue_name, write

if TYPE_CHECKING:
    from schemas.pairs import Leg
    from sinks.executor.journal import Journal

app = typer.Typer()
executor_app = typer.Typer(no_args_is_help=True, help="Two-venue positions under protection.")
pair_app = typer.Typer(no_args_is_help=True, help="The pairs it watches over.")
app.add_typer(executor_app, name="executor")
executor_app.add_typer(pair_app, name="pair")

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the journal.")]
Pair = Annotated[str, typer.Argument(metavar="PAIR", help="Its name.", show_default=False)]
LegText = Annotated[
    str, typer.Argument(metavar="VENUE:INSTRUMENT:QUANTITY[@PRICE]", help="Signed base units.", show_default=False)
]


def _journal(ctx: typer.Context, data_dir: object) -> Journal:
    """That of the mode set; where an executor is at work with another mode, somebody may have meant that one."""
    from flows.desk import journal_path, others_at_work
    from sinks.executor.journal import Journal

    settings = settings_of(ctx, data_dir=data_dir)
    for mode in others_at_work(settings):
        say(f"note: an executor is at work with mode {mode}; this is about mode {settings.executor.mode}")
    return Journal(journal_path(settings))


@executor_app.command()
def run(
    ctx: typer.Context,
    data_dir: DataDir = None,
    duration: Duration = None,
    live: Annotated[
        bool, typer.Option("--live", help="Send orders to real venues, if executor.mode is live too.")
    ] = False,
) -> int:
    """Watch over the pairs and work what has to be done, until Ctrl-C. One process per journal."""
    import asyncio

    from flows.commands.options import log
    from flows.trading import run_executor

    settings = settings_of(ctx, data_dir=data_dir)
    log(settings, settings.data_dir, view=False)
    asyncio.run(run_executor(settings, duration, live=live))
    return 0


@executor_app.command()
def rehearse(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="aster, extended or hyperliquid: long there.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Another one: short there.")],
    env: Annotated[Path, typer.Option(metavar="FILE", help="Where settings and keys are written.")] = Path(
        "rehearsal.env"
    ),
) -> int:
    """Two venues on this machine with a pair to practise on; takes orders from its terminal what is to happen there."""
    import asyncio
    import sys

    from flows.rehearsal import Rehearsal
    from schemas.clock import system_clock

    asyncio.run(Rehearsal(first, second, system_clock).run(env, sys.stdin.readline, say))
    return 0


@executor_app.command()
def status(ctx: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> int:
    """Control state, what is under way, how soon things were noticed, how venues are watched, and every alarm."""
    import msgspec

    from flows.domain.delays import delays
    from schemas.clock import system_clock
    from sinks.executor.journal import EVERY

    with _journal(ctx, data_dir) as journal:
        control, alarms = journal.control(), journal.alarms()
        living = [intent for intent in journal.intents() if intent.root == intent.order.intent_id]
        found: dict[str, Any] = {
            "control": control.state, "reason": control.reason, "since": control.since, "epoch": control.epoch,
            "pairs": len(journal.pairs()), "under_way": len(living), "unsettled_orders": len(journal.unsettled()),
            "noticed": delays(intent.order for intent in journal.intents(EVERY)),
            "hints": journal.hints(system_clock()),
            "alarms": [dict(zip(("case", "what", "detail", "time"), alarm, strict=True)) for alarm in alarms],
        }  # fmt: skip
    if as_json:
        write(msgspec.json.encode(found).decode())
        return 0
    write(f"{found['control']}{f' ({control.reason})' if control.reason else ''}, epoch {control.epoch}")
    write(f"{found['pairs']} pairs, {found['under_way']} cases under way, {found['unsettled_orders']} orders open")
    for delay in found["noticed"]:
        write(f"{delay.count} noticed by {delay.path}, p50 {delay.p50:.1f} ms, p99 {delay.p99:.1f} ms")
    for hint in found["hints"]:
        write(f"{hint.venue} {hint.what} until {_time(hint.until)}: {hint.reason}")
    for _, what, detail, time in alarms:
        write(f"ALARM {_time(time)} {what}: {detail}")
    return 0


@executor_app.command()
def positions(ctx: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> int:
    """The pairs with their legs, closed ones with why and what they made."""
    import msgspec

    with _journal(ctx, data_dir) as journal:
        pairs = journal.pairs(living=False)
    if as_json:
        write(msgspec.json.encode(pairs).decode())
        return 0
    for pair in pairs:
        legs = "  ".join(f"{leg.venue}:{leg.instrument} {leg.quantity:f}" for leg in pair.legs)
        profit = "unknown" if pair.pnl is None else f"{pair.pnl:.2f} USD"
        end = "" if pair.closed is None else f"  closed {_time(pair.closed)} {pair.reason}, profit {profit}"
        write(f"{pair.pair}  {pair.asset}  {legs}{end}")
    return 0


@executor_app.command()
def intents(
    ctx: typer.Context,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="The newest N.")] = 50,
) -> int:
    """What was to be done, why, how it was noticed, and what came of it."""
    import msgspec

    from sinks.executor.journal import EVERY

    with _journal(ctx, data_dir) as journal:
        found = journal.intents(EVERY, last)
    if as_json:
        write(msgspec.json.encode([{"state": i.state, "detail": i.detail, "intent": i.order} for i in found]).decode())
        return 0
    for intent in found:
        order, delay = intent.order, (intent.order.detected - intent.order.created) / 1e6
        write(
            f"{_time(order.detected)}  {order.pair}  {order.intent}  {order.reason}  "
            f"by {order.path} after {delay:.1f} ms  {intent.state}  {intent.detail}"
        )
    return 0


@executor_app.command()
def halt(
    ctx: typer.Context,
    reason: Reason = "by hand",
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Closes go on; only nothing new.")] = False,
    data_dir: DataDir = None,
) -> int:
    """Send nothing but emergencies (see executor.limits.halted_emergencies); stays until `resume`."""
    with _journal(ctx, data_dir) as journal:
        journal.set_control("REDUCE_ONLY" if reduce_only else "HALTED", reason)
        say(journal.control().state)
    return 0


@executor_app.command()
def resume(ctx: typer.Context, reason: Reason = "by hand", data_dir: DataDir = None) -> int:
    """Allow everything again."""
    with _journal(ctx, data_dir) as journal:
        journal.set_control("ACTIVE", reason)
        say("ACTIVE")
    return 0


@executor_app.command()
def close(ctx: typer.Context, pair: Pair, reason: Reason = "MANUAL", data_dir: DataDir = None) -> int:
    """Have both legs of a pair closed by the running executor."""
    from flows.desk import close_intent
    from schemas.clock import system_clock

    with _journal(ctx, data_dir) as journal:
        found = journal.pair(pair)
        if found is None or found.closed is not None:
            names = ", ".join(p.pair for p in journal.pairs()) or "none"
            raise typer.BadParameter(f"no living pair {pair!r}; there are: {names}")
        new = journal.insert_intent(close_intent(found, reason, system_clock()))
        say("handed in" if new else "already under way")
    return 0


@pair_app.command("add")
def pair_add(
    ctx: typer.Context,
    pair: Pair,
    asset: str,
    first: LegText,
    second: LegText,
    data_dir: DataDir = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not compare it with the accounts (modes shadow and live).")
    ] = False,
) -> int:
    """Put a position of two legs under protection; it must be there already."""
    import asyncio

    from schemas import pairs
    from schemas.clock import system_clock

    legs = (_leg(first), _leg(second))
    if legs[0].quantity + legs[1].quantity:
        raise typer.BadParameter("the two quantities do not cancel out: one is positive, the other negative")
    new = pairs.Pair(pair=pair, asset=asset.upper(), legs=legs, opened=system_clock())
    settings = settings_of(ctx, data_dir=data_dir)
    if settings.executor.mode in {"shadow", "live"} and not unchecked:
        from flows.account_checks import holds

        if differs := asyncio.run(holds(settings, new, system_clock)):
            raise typer.BadParameter(f"{differs}; what is not there would be taken for a leg that was liquidated")
    with _journal(ctx, data_dir) as journal:
        journal.add_pair(new)
        say(f"{pair} is under protection while `breakwater executor run` runs")
    return 0


@pair_app.command("list")
def pair_list(ctx: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> int:
    """The living pairs."""
    import msgspec

    with _journal(ctx, data_dir) as journal:
        pairs = journal.pairs()
    write(msgspec.json.encode(pairs).decode() if as_json else "\n".join(p.pair for p in pairs))
    return 0


def _leg(text: str) -> Leg:
    from schemas.pairs import Leg

    venue, _, rest = text.partition(":")
    instrument, _, figures = rest.rpartition(":")
    quantity, _, price = figures.partition("@")
    try:
        amount = Decimal(quantity)
        entry = Decimal(price) if price else None
    except InvalidOperation:
        amount, entry = Decimal(0), None
    if not instrument or not amount or not amount.is_finite():
        raise typer.BadParameter(f"{text!r} is no leg: write aster:BTCUSDT:0.5@60000")
    return Leg(venue=venue_name(venue), instrument=instrument, quantity=amount, entry_price=entry)


def _time(nanoseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds")
