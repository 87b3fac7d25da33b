"""The command line: reads arguments and settings, calls, and turns what happens into an exit code.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 failure, 2 usage or settings, 3 an optional
package is missing, 130 interrupted. A reader that leaves early (``| head``) is no failure.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from typer.core import TyperGroup

from schemas.errors import BreakwaterError
from schemas.records import RECORDED_ONLY, VENUES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader

    from flows.configuration import Configuration
    from flows.settings import Settings
    from schemas.instruments import Instrument


class Commands(TyperGroup):
    """Turns the ways a command can end into exit codes, in one place."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except BreakwaterError as error:
            _say(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        raise typer.Exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="breakwater",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Forced closes of every perpetual-futures venue: normalised, windowed, scored as cascades, kept queryable.",
    epilog="Start with: breakwater demo",
)
config_app = typer.Typer(no_args_is_help=True, help="What is set, and where it was set.")
app.add_typer(config_app, name="config")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _venue(name: str) -> str:
    if name not in VENUES or name in RECORDED_ONLY:
        from flows.settings import LISTENED, nearest

        hint = nearest(name, LISTENED) or f"; there are {', '.join(LISTENED)}"
        raise typer.BadParameter(f"no venue {name!r}{hint}")
    return name


def _asset(name: str) -> str:
    from connectors.instruments import snapshots
    from flows.settings import nearest
    from schemas.instruments import canonical

    asset, known = canonical(name)[0], {canonical(i.asset)[0] for i in snapshots()}
    asset = asset if asset in known else asset.upper()
    if known and asset not in known:
        hint = nearest(asset, sorted(known))
        raise typer.BadParameter(f"no common asset {name!r}{hint} (a newer one: list it under [venues] assets)")
    return asset


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise typer.BadParameter(f"{text!r} is neither max nor a positive number (1 is as it happened)")
    return speed


Duration = Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop after this long.")]
DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where history is kept.")]
Venues = Annotated[list[str] | None, typer.Option(parser=_venue, metavar="V", help="A venue; repeat for more.")]
Assets = Annotated[list[str] | None, typer.Option(parser=_asset, metavar="A", help="A base asset; repeat for more.")]
Headless = Annotated[bool, typer.Option("--headless", help="No terminal view.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
Venue = Annotated[str, typer.Argument(parser=_venue, metavar="VENUE", show_default=False)]


@app.callback()
def _common(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, instead of breakwater.toml.")] = None,
) -> None:
    ctx.obj = config


def _configuration(ctx: typer.Context, **options: object) -> Configuration:
    """The settings with what the command line said on top, ``venues_enabled`` for ``venues.enabled``."""
    from flows.configuration import load

    said = {name.replace("_", ".", 1) if name != "data_dir" else name: value for name, value in options.items()}
    return load(ctx.obj, {name: str(v) if isinstance(v, Path) else v for name, v in said.items() if v})


def _settings(ctx: typer.Context, **options: object) -> Settings:
    return _configuration(ctx, **options).settings


def _log(settings: Settings, data_dir: Path, *, view: bool) -> None:
    """Set logging up; while the terminal view has the screen, lines go to a file beside the history."""
    from flows import logs

    stream = None
    if view and sys.stdout.isatty():
        data_dir.mkdir(parents=True, exist_ok=True)
        stream = (data_dir / "breakwater.log").open("a", encoding="utf-8", buffering=1)
    logs.configure(settings.log.format, settings.log.level, stream)


@app.command()
def demo(
    ctx: typer.Context,
    duration: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long.")] = 60,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed, the same market.")] = None,
    headless: Headless = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> int:
    """The whole pipeline on simulated venues of this machine. Places no orders, asks nobody."""
    from flows.live import run_demo

    settings = _settings(ctx, data_dir=data_dir)
    # Simulated history never lies beside recorded history, unless told to.
    kept = data_dir or settings.data_dir / "demo"
    shown = not headless and not as_json
    _log(settings, kept, view=shown)
    return run_demo(settings, duration=duration, seed=seed, headless=not shown, as_json=as_json, data_dir=kept)


@app.command()
def run(
    ctx: typer.Context,
    venue: Venues = None,
    asset: Assets = None,
    headless: Headless = False,
    duration: Duration = None,
    data_dir: DataDir = None,
) -> int:
    """Listen to the venues, score cascades, keep history. Until Ctrl-C."""
    from flows.live import run_live

    settings = _settings(ctx, venues_enabled=venue, venues_assets=asset, data_dir=data_dir)
    _log(settings, settings.data_dir, view=not headless)
    return run_live(settings, duration=duration, headless=headless, data_dir=settings.data_dir)


@app.command()
def record(
    ctx: typer.Context,
    venue: Annotated[list[str], typer.Option(parser=_venue, metavar="V", help="A venue; repeat for more.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The recording, e.g. today.frames.zst.")],
    duration: Duration = None,
    asset: Assets = None,
) -> int:
    """Keep what venues send, byte by byte, for replay. Until Ctrl-C."""
    from flows.record import record as keep

    settings = _settings(ctx, venues_enabled=venue, venues_assets=asset)
    _log(settings, settings.data_dir, view=False)
    return keep(settings, out=out, duration=duration)


@app.command()
def replay(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, show_default=False)],
    speed: Annotated[
        float, typer.Option(parser=_speed, metavar="N|max", show_default="max", help="Times as fast as it happened.")
    ] = math.inf,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    venue: Annotated[
        str | None, typer.Option(parser=_venue, metavar="V", help="Whose frames a file without names holds.")
    ] = None,
) -> int:
    """Run recordings, files of native frames, history or dead letters through the pipeline, as if live."""
    from flows.replay import replay as play

    settings = _settings(ctx, data_dir=data_dir)
    _log(settings, settings.data_dir, view=False)
    return play(
        settings, files, speed=None if speed == math.inf else speed, data_dir=data_dir, as_json=as_json, venue=venue
    )


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
    _say(f"wrote {out}: {model.threshold_usd:,.0f} USD, {model.fit_episodes} crossings, {period}")
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

    _write(
        command.evaluate(
            data, target=_target(target), threshold=command.threshold_of(threshold_usd),
            horizon=command.horizon_of(horizon), model=model, thin=thin, report=report, json=as_json,
        )
    )  # fmt: skip
    return 0


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
    from flows.normalise import normalise as convert

    logs.configure()
    source = cast("BufferedReader", sys.stdin.buffer) if str(file) == "-" else file
    convert(venue, source, sys.stdout.buffer, lambda text: _say(f"note: {text}"), instruments)
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
        proxy = _settings(ctx).venues.proxy
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

    kept = _settings(ctx, data_dir=data_dir).data_dir
    if query is None and sys.stdin.isatty():
        prompt(kept, sys.stdout.buffer)
    else:
        ask(kept, sys.stdin.read() if query is None else query, form, sys.stdout.buffer)
    return 0


@config_app.command("show")
def config_show(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Every setting, its value and where that came from; secrets masked."""
    import json

    from flows.configuration import masked

    values = _configuration(ctx).values
    if as_json:
        _write(json.dumps({name: {"value": s.value, "origin": s.origin} for name, s in values.items()}, indent=2))
        return 0
    wide = max(map(len, values))
    for name, setting in values.items():
        _write(f"{name:<{wide}}  {masked(setting.value)}  ({setting.origin})")
    return 0


@config_app.command("check")
def config_check(ctx: typer.Context) -> int:
    """Say whether the settings can be used; exit code 2 where not."""
    configuration = _configuration(ctx)
    changed = sum(setting.origin != "default" for setting in configuration.values.values())
    _write(f"fine: {configuration.file or 'no file'}, {changed} of {len(configuration.values)} settings changed")
    return 0


@config_app.command("init")
def config_init(
    file: Annotated[Path, typer.Argument(metavar="[FILE|-]")] = Path("breakwater.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> int:
    """Write a file that explains every setting, all at their defaults."""
    from flows.configuration import template, write_template

    if str(file) == "-":
        sys.stdout.write(template())
    else:
        write_template(file, force=force)
        _say(f"wrote {file}")
    return 0


@app.command()
def doctor(ctx: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> int:
    """Check this machine; each line is OK, WARN or FAIL and says the fix."""
    import msgspec

    from flows.doctor import examine
    from schemas.clock import system_clock

    kept = _settings(ctx, data_dir=data_dir).data_dir
    findings = []
    for finding in examine(kept, system_clock):
        findings.append(finding)
        if not as_json:
            fix = f"\n      → {finding.fix}" if finding.fix else ""
            _write(f"{finding.verdict:<4}  {finding.subject}: {finding.found}{fix}")
    if as_json:
        _write(msgspec.json.encode(findings).decode())
    return int(any(finding.verdict == "FAIL" for finding in findings))


@app.command()
def version(as_json: AsJson = False) -> int:
    """Versions of Breakwater and of what decides its results."""
    import json
    import platform
    from importlib.metadata import version as of

    versions = {"breakwater": of("breakwater"), "python": platform.python_version()}
    versions |= {name: of(name) for name in ("bytewax", "duckdb", "pyarrow", "numpy", "numba", "msgspec", "websockets")}
    _write(json.dumps(versions) if as_json else "\n".join(f"{name} {spelled}" for name, spelled in versions.items()))
    return 0


def main() -> None:
    """The ``breakwater`` command. Being terminated is as orderly as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a glyph gets a question mark, never a traceback.
            stream.reconfigure(errors="replace")
    app(prog_name="breakwater")


if __name__ == "__main__":
    main()
