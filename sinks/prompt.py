"""The SQL prompt: questions typed one after the other, over the history as it grows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import BreakwaterError
from sinks.duckdb import asked, connect
from sinks.query import ask, view_names
from sinks.views import EXAMPLES

HELP = """SQL over the history, ended by ; or an empty line; e.g.
  {examples}
.views  what can be asked   .schema NAME  its columns   .quit  (or Ctrl-D)"""


def prompt(data_dir: Path, out: BinaryIO, read: Callable[[str], str] = input) -> None:
    """Read questions until the end of input or ``.quit``, and answer each on ``out``.

    :arg read: gives the next line for a prompt; raises EOFError at the end.
    :raises HistoryError: where there is no history; what a question does wrong is only told.
    """
    connect(data_dir).close()
    _say(out, HELP.format(examples="\n  ".join(EXAMPLES)))
    with _remembered(data_dir):
        while (line := _question(read)) is not None:
            if line.strip() in {".quit", ".exit"}:
                return
            _respond(data_dir, line.strip(), out)


def _question(read: Callable[[str], str]) -> str | None:
    """Lines up to a semicolon or an empty one; nothing at the end of input."""
    text = ""
    while True:
        try:
            line = read("...> " if text else "sql> ")
        except EOFError:
            return text or None
        except KeyboardInterrupt:
            return ""
        text += line + "\n"
        if text.startswith(".") or not line.strip() or line.rstrip().endswith(";"):
            return text


def _respond(data_dir: Path, line: str, out: BinaryIO) -> None:
    command, _, name = line.partition(" ")
    try:
        if command == ".views":
            _say(out, "\n".join(asked(data_dir, view_names)))
        elif command == ".schema":
            quoted = name.strip(" ;").replace('"', '""')
            ask(data_dir, f'DESCRIBE "{quoted}"', "table", out)
        elif command.startswith("."):
            _say(out, HELP.format(examples="\n  ".join(EXAMPLES)))
        elif line:
            ask(data_dir, line, "table", out)
    except BreakwaterError as error:
        _say(out, str(error))
    except KeyboardInterrupt:
        _say(out, "interrupted")


def _say(out: BinaryIO, text: str) -> None:
    out.write(text.encode() + b"\n")
    out.flush()


class _remembered:  # noqa: N801 - reads as a verb at its one use
    """Keeps what was typed for the next time, where the terminal can."""

    def __init__(self, data_dir: Path) -> None:
        self._file = str(Path(data_dir) / ".sql_history")

    def __enter__(self) -> None:
        with suppress(ImportError, OSError):
            import readline  # noqa: PLC0415 - absent on some systems

            readline.read_history_file(self._file)

    def __exit__(self, *_: object) -> None:
        with suppress(ImportError, OSError):
            import readline  # noqa: PLC0415 - absent on some systems

            readline.write_history_file(self._file)
