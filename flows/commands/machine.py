"""This machine: settings, checks, versions."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import AsJson, DataDir, configuration, say, settings_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.configuration import Setting
    from flows.doctor import Finding
    from flows.settings import Settings

app = typer.Typer()
config_app = typer.Typer(no_args_is_help=True, help="What is set, and where it was set.")
app.add_typer(config_app, name="config")


@config_app.command("show")
def config_show(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Every setting, its value and where that came from; secrets masked."""
    import json

    from flows.configuration import masked

    found = configuration(ctx)
    values = {**found.values, **_secrets(found.settings)}
    if as_json:
        write(json.dumps({name: {"value": s.value, "origin": s.origin} for name, s in values.items()}, indent=2))
        return 0
    wide = max(map(len, values))
    for name, setting in values.items():
        write(f"{name:<{wide}}  {masked(setting.value)}  ({setting.origin})")
    return 0


def _secrets(settings: Settings) -> dict[str, Setting]:
    """Those of the accounts in use: where each comes from, and stars for what it is."""
    from flows.accounts import secret_origins
    from flows.configuration import Setting

    origins = secret_origins(settings.executor)
    return {
        name: Setting(None if origin.startswith("missing") else "**********", origin)
        for name, origin in origins.items()
    }


@config_app.command("check")
def config_check(ctx: typer.Context) -> int:
    """Say whether the settings can be used; exit code 2 where not."""
    found = configuration(ctx)
    if any(found.settings.executor.accounts.enabled()):
        from flows.accounts import accounts

        accounts(found.settings.executor)
    changed = sum(setting.origin != "default" for setting in found.values.values())
    write(f"fine: {found.file or 'no file'}, {changed} of {len(found.values)} settings changed")
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
        say(f"wrote {file}")
    return 0


@app.command()
def doctor(ctx: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> int:
    """Check this machine, and by reading the accounts in use; each line is OK, WARN or FAIL and says the fix."""
    import msgspec

    from flows.doctor import examine
    from schemas.clock import system_clock

    settings = settings_of(ctx, data_dir=data_dir)
    findings = []
    for finding in chain(examine(settings.data_dir, system_clock), _accounts(settings)):
        findings.append(finding)
        if not as_json:
            fix = f"\n      → {finding.fix}" if finding.fix else ""
            write(f"{finding.verdict:<4}  {finding.subject}: {finding.found}{fix}")
    if as_json:
        write(msgspec.json.encode(findings).decode())
    return int(any(finding.verdict == "FAIL" for finding in findings))


def _accounts(settings: Settings) -> Iterator[Finding]:
    """What is found of the accounts in use; without any, what reads them need not even import."""
    if any(settings.executor.accounts.enabled()):
        from flows.account_checks import examine_accounts
        from schemas.clock import system_clock

        yield from examine_accounts(settings, system_clock)


@app.command()
def version(as_json: AsJson = False) -> int:
    """Versions of Breakwater and of what decides its results."""
    import json
    import platform
    from importlib.metadata import version as of

    versions = {"breakwater": of("breakwater"), "python": platform.python_version()}
    versions |= {name: of(name) for name in ("bytewax", "duckdb", "pyarrow", "numpy", "numba", "msgspec", "websockets")}
    write(json.dumps(versions) if as_json else "\n".join(f"{name} {spelled}" for name, spelled in versions.items()))
    return 0
