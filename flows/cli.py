"""The command line: reads arguments and settings, calls, and turns what happens into an exit code.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 failure, 2 usage or settings, 3 an optional
package is missing, 130 interrupted. A reader that leaves early (``| head``) is no failure.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.commands import bus, executor, history, machine, pipeline, records, study, workers
from flows.commands.options import say
from schemas.errors import BreakwaterError


class Commands(TyperGroup):
    """Turns the ways a command can end into exit codes, in one place."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except BreakwaterError as error:
            say(f"error: {error}")
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


@app.callback()
def _common(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, instead of breakwater.toml.")] = None,
) -> None:
    ctx.obj = config


for commands in (pipeline, workers, bus, executor, study, records, history, machine):
    app.add_typer(commands.app)


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
