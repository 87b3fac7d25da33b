"""``breakwater normalise``: native frames of one venue in, one JSON record per line out, as they come.

Reads one frame per line (plain, gzip, or standard input) or a recording; writes what each frame turned into, in arrival
order: liquidations, market records, controls and dead letters. Nothing is dropped.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchange
from connectors.instruments import read_instruments, snapshot
from connectors.normaliser import Normaliser
from schemas.errors import RecordingError, UsageError
from schemas.instruments import Instrument
from schemas.records import DeadLetter

_CHUNK = 1 << 16
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_RUN = 512


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
        say("standard input tells no receive time: each record carries its event time instead")
        yield from _lines(venue, "stdin", source)
        return
    try:
        with source.open("rb") as file:
            start = file.peek(4)[:4]
            if start == _ZSTD:
                yield from _recorded(venue, source)
                return
            say(f"{source} tells no receive time: each record carries its event time instead")
            opened = cast("BufferedReader", gzip.GzipFile(fileobj=file)) if start[:2] == _GZIP else file
            yield from _lines(venue, source.name.split(".")[0], opened)
    except (OSError, EOFError) as error:
        raise RecordingError(f"{source}: {getattr(error, 'strerror', None) or error}") from None


def _lines(venue: str, feed: str, file: BufferedReader) -> Iterator[list[Frame]]:
    """The complete lines of each read: what a pipe has said so far is not held back for what it may say later."""
    rest = b""
    while chunk := file.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if run := [Frame(venue, feed, line, 0) for line in lines if line.strip()]:
            yield run
    if rest.strip():
        yield [Frame(venue, feed, rest, 0)]


def _recorded(venue: str, file: Path) -> Iterator[list[Frame]]:
    from connectors.recording import read_frames  # noqa: PLC0415 - zstandard is not needed for plain files

    frames = (frame for frame in read_frames(file) if frame.venue == venue)
    while run := list(islice(frames, _RUN)):
        yield run
