"""The view on a terminal, drawn by a process of its own; periodic plain lines where there is no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import BinaryIO, Self, TextIO

import msgspec

from schemas.view import PipelineView
from sinks.dashboard import figures

_encode = msgspec.msgpack.Encoder().encode
HEADER = 4
"""Bytes of the length in front of each view on the way to the drawing process."""
_DRAW_EVERY = 0.19
_SAY_EVERY = 5.0
_RESTORE = "\x1b[?1049l\x1b[?25h"
"""Leave the alternate screen, show the cursor."""


class Dashboard:
    """Shows each view given to ``update``, five a second at most.

    Drawing takes milliseconds of Python, which in this process would delay the pipeline by as much; a low-priority
    child does it, and a view it has no time for is skipped. Use as a context manager: leaving restores the terminal.

    :arg out: drawn on where it is a terminal.
    :arg lines: told a line now and then where ``out`` is none.
    """

    def __init__(self, out: TextIO | None = None, lines: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lines = lines or sys.stderr
        self._child: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._drawn = self._said = float("-inf")

    @property
    def on_screen(self) -> bool:
        """Whether the terminal is drawn on now."""
        return self._child is not None

    def __enter__(self) -> Self:
        if self._out.isatty() and os.environ.get("TERM") != "dumb":
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sinks.dashboard"],
                stdin=subprocess.PIPE,
                stdout=self._out.fileno(),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C is the pipeline's business; the end of input ends the drawing
            )
            os.set_blocking(_pipe(self._child).fileno(), False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def update(self, view: PipelineView) -> None:
        """Show the view, if it is time to. Takes well under a millisecond and never waits."""
        if self._child is None:
            self._say(view)
        elif view.elapsed - self._drawn >= _DRAW_EVERY:
            self._drawn = view.elapsed
            self._send(self._child, view)

    def _send(self, child: subprocess.Popen[bytes], view: PipelineView) -> None:
        if not self._pending:
            body = _encode(view)
            self._pending = len(body).to_bytes(HEADER, "big") + body
        try:
            written = os.write(_pipe(child).fileno(), self._pending)
            self._pending = self._pending[written:]
        except BlockingIOError:
            pass
        except OSError:
            # The drawing process is gone; the pipeline is what matters.
            self._leave()

    def _leave(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        _pipe(child).close()
        try:
            clean = child.wait(timeout=3) == 0
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            clean = False
        if not clean:
            self._out.write(_RESTORE)
            self._out.flush()

    def _say(self, view: PipelineView) -> None:
        if view.elapsed - self._said < _SAY_EVERY:
            return
        self._said = view.elapsed
        self._lines.write(line(view) + "\n")
        self._lines.flush()


def _pipe(child: subprocess.Popen[bytes]) -> BinaryIO:
    assert child.stdin is not None  # noqa: S101 - it was made with a pipe
    return child.stdin  # type: ignore[return-value]  # Popen says IO[bytes]


def line(view: PipelineView) -> str:
    """The view as one line."""
    market, floor = view.market, view.market.floor
    healthy = sum(feed.state in {"subscribed", "quiet"} for feed in view.feeds)
    busiest = (
        f"  {view.assets[0].asset} {view.assets[0].level} {figures.share(view.assets[0].score)}" if view.assets else ""
    )
    return (
        f"{'SIMULATED ' if view.simulated else ''}{figures.elapsed(view.elapsed)}"
        f"  {view.events:,} events {view.events_per_second:,.1f}/s"
        f"  long {figures.dollars(view.long_usd_minute, floor=floor)}/min"
        f" short {figures.dollars(view.short_usd_minute, floor=floor)}/min"
        f"  market {market.level} {figures.share(market.score)}{busiest}"
        f"  cascades {view.cascades_total} signals {view.signals_total}"
        f"  feeds {healthy}/{len(view.feeds)}"
    )
