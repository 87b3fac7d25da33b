"""``breakwater normalise``: native frames of one venue in, one JSON record per line out, as they come.

Reads one frame per line (a file, gzip, a pipe, standard input) or a recording; writes what each frame turned into, in
arrival order: liquidations, market records, controls and dead letters. Nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchange
from connectors.instruments import read_instruments, snapshot
from connectors.normaliser import Normaliser
from connectors.recording import read_frames
from schemas.errors import UsageError
from schemas.instruments import Instrument
from schemas.records import DeadLetter

_CHUNK = 1 << 16
_RUN = 512
_NO_TIMES = "{} tells no receive time: each record carries its event time instead"


def normalise(
    venue: str,
    source: Path | BufferedReader,
    out: BinaryIO,
    say: Callable[[str], None],
    instruments: Path | None = None,
) -> int:
    """Write the records of every frame of ``source`` to ``out``, flushing after each read.

    :arg venue: whose frames these are; of a recording the other venues' frames are left out.
    :arg say: told, once, what a reader should know about the result.
    :arg instruments: JSON lines of the contracts to know, instead of the built-in snapshot.
    Returns the number of frames. Raises UsageError and RecordingError.
    """
    normaliser = Normaliser([exchange(venue)], Catalogue(known_instruments(venue, instruments)))
    encode = msgspec.json.Encoder().encode_lines
    frames = letters = 0
    for run in _runs(venue, source, say):
        batch = normaliser.normalise(run)
        out.write(encode(list(batch.records())))
        out.flush()
        frames += batch.frames
        letters += sum(isinstance(record, DeadLetter) for _, record in batch.others)
    if letters:
        say(f"{letters} of {frames} frames hold a dead letter; each says its reason")
    return frames


def known_instruments(venue: str, file: Path | None) -> Iterable[Instrument]:
    """The contracts of ``file``, else the built-in snapshot."""
    if file is None:
        return snapshot(venue)
    try:
        return read_instruments(venue, file.read_bytes().splitlines(), str(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _runs(venue: str, source: Path | BufferedReader, say: Callable[[str], None]) -> Iterator[list[Frame]]:
    if isinstance(source, BufferedReader):
        say(_NO_TIMES.format("standard input"))
        yield from _lines(venue, source)
    elif source.is_file():
        yield from _frames(venue, source, say)
    elif source.exists() and not source.is_dir():
        say(_NO_TIMES.format(source))
        with source.open("rb") as pipe:
            yield from _lines(venue, pipe)
    else:
        raise UsageError(f"{source}: there is no such file")


def _lines(venue: str, file: BufferedReader) -> Iterator[list[Frame]]:
    """The complete lines of each read: what a pipe has said so far is not held back for what it may say later."""
    rest = b""
    while chunk := file.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if run := [Frame(venue, "stdin", line, 0) for line in lines if line.strip()]:
            yield run
    if rest.strip():
        yield [Frame(venue, "stdin", rest, 0)]


def _frames(venue: str, file: Path, say: Callable[[str], None]) -> Iterator[list[Frame]]:
    frames = read_frames(file, venue)
    timed = True
    while run := list(islice(frames, _RUN)):
        if timed and not run[0].receive_time:
            say(_NO_TIMES.format(file))
            timed = False
        yield run
