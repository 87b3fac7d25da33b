"""The drawing process of ``Dashboard``: views come on standard input, each after its length, until it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.live import Live

from schemas.view import PipelineView
from sinks.dashboard.screen import render
from sinks.dashboard.terminal import HEADER


def views(stream: BinaryIO) -> Iterator[PipelineView]:
    """The newest view of what has arrived, whenever something has."""
    decode = msgspec.msgpack.Decoder(PipelineView).decode
    waiting = bytearray()
    while chunk := os.read(stream.fileno(), 1 << 20):
        waiting += chunk
        newest = b""
        while len(waiting) >= HEADER:
            end = HEADER + int.from_bytes(waiting[:HEADER], "big")
            if len(waiting) < end:
                break
            newest = bytes(waiting[HEADER:end])
            del waiting[:end]
        if newest:
            yield decode(newest)


def main() -> None:
    """Draw until the input ends."""
    with suppress(OSError):
        os.nice(10)
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for view in views(sys.stdin.buffer):
            live.update(render(view, console.width, console.height), refresh=True)


if __name__ == "__main__":
    main()
