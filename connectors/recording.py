"""Recordings: what the sockets and polls brought, frame by frame, so that it can be driven again.

A recording is zstd-compressed JSON lines. The first line says what it is; every other is one frame::

    {"breakwater_recording":1,"what":"…"}
    {"venue":"bybit","feed":"liquidations","receive_time":1791565602120000000,"frame":"{\\"topic\\":…}"}

``frame`` is the text of the frame, or ``{"base64":"…"}`` for bytes that are not UTF-8. Instrument metadata is recorded
as ordinary lines of feed ``metadata``. Files of raw frames alone (one per line) are read by the same function.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import structlog
import zstandard
from msgspec import Struct

from connectors.exchange import Frame
from connectors.zstd_tail import mend, tail_of
from schemas.clock import SECOND, Clock
from schemas.errors import RecordingError
from schemas.records import VENUES

FORMAT = 1
METADATA = "metadata"
"""Feed name of instrument metadata bodies."""

_WHAT = "raw frames of public market data feeds: venue, feed, receive_time (ns UTC), frame (text, or base64 of bytes)"
_BEGINNING = b'{"breakwater_recording":'
_PLAIN = {".jsonl", ".ndjson", ".json", ".txt", ".log"}
_COMPRESSED = {".zst", ".gz"}
_FOLDERS = {"x10": "extended"} | {venue: venue for venue in VENUES}

log = structlog.get_logger(__name__)


class _Binary(Struct):
    base64: bytes


class _Line(Struct):
    venue: str
    feed: str
    receive_time: int
    frame: str | _Binary


class _Header(Struct):
    breakwater_recording: int
    what: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode
_decode_header = msgspec.json.Decoder(_Header).decode


class FrameWriter:
    """Appends frames to one recording.

    Whole lines reach the operating system at least each ``every`` seconds, so a killed process loses at most that. A
    recording whose writer was killed is mended when it is opened again.

    :raises RecordingError: the file cannot be written, or is there and no recording.
    """

    def __init__(self, path: Path, clock: Clock, every: float = 1.0, level: int = 3) -> None:
        self.path = path
        self.frames = 0
        self._clock = clock
        self._every = round(every * SECOND)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = path.exists() and _mended(path)
            self._file = path.open("ab")
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from error
        self._zstd = zstandard.ZstdCompressor(level=level).stream_writer(self._file, closefd=False)
        self._flushed = clock()
        self._pending = True
        # The line break ends the line the dead writer may have left unfinished.
        self._zstd.write((b"\n" if torn else b"") + _encode(_Header(FORMAT, _WHAT)) + b"\n")
        self._flush(self._flushed)

    def write(self, frames: Iterable[Frame]) -> None:
        """Append frames. Call it regularly even with none, so that what waits is flushed."""
        lines = [_line(frame) for frame in frames]
        if lines:
            self._zstd.write(b"".join(lines))
            self.frames += len(lines)
            self._pending = True
        now = self._clock()
        if self._pending and not 0 <= now - self._flushed < self._every:
            self._flush(now)

    def close(self) -> None:
        """Finish the file."""
        if not self._file.closed:
            self._zstd.close()  # type: ignore[no-untyped-call]  # zstandard's stub leaves it untyped
            self._file.close()

    def _flush(self, now: int) -> None:
        self._zstd.flush(zstandard.FLUSH_BLOCK)
        self._file.flush()
        self._flushed, self._pending = now, False


def _mended(path: Path) -> bool:
    """Mend what is there; whether it was torn. Anything else than a recording is left as it is."""
    if path.stat().st_size and not (_is_zstd(path) and is_recording(path)):
        raise RecordingError(f"{path} is there and no recording: give another name")
    return mend(path)


def is_recording(path: Path) -> bool:
    """Whether a file is a recording, of which each frame tells its venue; so is one torn before its first line.

    :raises RecordingError: the file cannot be read.
    """
    return _begins_recording(next(_lines(path), b"") if path.stat().st_size else b"")


def _begins_recording(first: bytes) -> bool:
    return first.startswith(_BEGINNING) or (len(first) > 1 and _BEGINNING.startswith(first)) or not first


def _line(frame: Frame) -> bytes:
    try:
        content: str | _Binary = frame.payload.decode()
    except UnicodeDecodeError:
        content = _Binary(frame.payload)
    return _encode(_Line(frame.venue, frame.feed, frame.receive_time, content)) + b"\n"


def read_frames(path: Path, venue: str | None = None) -> Iterator[Frame]:
    """The frames of a recording, or of a file with one raw frame per line (``.jsonl .json .txt``, also ``.zst .gz``).

    What a killed writer left torn at the end is skipped and logged. Raw frames get receive time 0 and the file's name
    as feed.

    :arg venue: recordings: only frames of this venue. Raw files: whose frames they are; where not told, ``venue_of``.
    :raises RecordingError: the file cannot be read, a line inside is damaged, or nobody tells the venue.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is no file")
    lines = _lines(path)
    first = next(lines, b"")
    everything = chain([first] if first else [], lines)
    if _begins_recording(first):
        yield from _recorded(path, everything, venue)
        return
    venue = venue or venue_of(path)
    if venue is None:
        raise RecordingError(f"{path} holds raw frames and nothing tells of which venue: say it")
    feed = path.name.partition(".")[0]
    if _plain_suffix(path) == ".json" and not _is_json(first):
        # A document spread over lines, as people save it.
        everything = chain([b"\n".join(everything)])
    for line in everything:
        yield Frame(venue, feed, line, 0)


def venue_of(path: Path) -> str | None:
    """The venue by the name of the folder a file lies in, else of the file; nothing where neither is one."""
    stem = path.name.partition(".")[0]
    for name in (path.parent.name, stem):
        if name == "binance":
            return "binance_coinm" if "coinm" in stem or "dapi" in stem else "binance_usdm"
        if name in _FOLDERS:
            return _FOLDERS[name]
    return None


def _recorded(path: Path, lines: Iterable[bytes], venue: str | None) -> Iterator[Frame]:
    torn: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        try:
            told = _decode_header(line) if line.startswith(_BEGINNING) else _decode(line)
        except msgspec.MsgspecError as error:
            if torn is None:
                torn = number, str(error)
                continue
            raise RecordingError(f"{path}, line {torn[0]}: {torn[1]}") from None
        if isinstance(told, _Header):
            _check_format(path, told)
            if torn:
                log.warning("recording was interrupted, one line is lost", path=str(path), line=torn[0])
            torn = None
            continue
        if torn:
            raise RecordingError(f"{path}, line {torn[0]}: {torn[1]}")
        if venue is None or told.venue == venue:
            payload = told.frame.encode() if isinstance(told.frame, str) else told.frame.base64
            yield Frame(told.venue, told.feed, payload, told.receive_time)
    if torn:
        log.warning("recording ends within a line, which is lost", path=str(path), line=torn[0])
    if _is_zstd(path) and not tail_of(path).finished:
        log.warning("recording was not finished, what is whole was read", path=str(path))


def _check_format(path: Path, header: _Header) -> None:
    told = header.breakwater_recording
    if told != FORMAT:
        raise RecordingError(f"{path} is a recording of format {told}; this version reads format {FORMAT}")


def _lines(path: Path) -> Iterator[bytes]:
    """Non-empty lines without their ends; stops, and says so, where a compressed file is torn."""
    try:
        with _open(path) as file:
            for line in file:
                text = line.rstrip(b"\r\n")
                if text:
                    yield text
    except EOFError:
        log.warning("the compressed file is cut off, what is whole was read", path=str(path))
        return
    except (zstandard.ZstdError, zlib.error, OSError) as error:
        raise RecordingError(f"{path} cannot be read: {error}") from error


def _open(path: Path) -> BinaryIO:
    if _magic(path)[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(path))
    file = path.open("rb")
    if not _is_zstd(path):
        return file
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=True)
    return io.BufferedReader(reader, 1 << 20)


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _is_zstd(path: Path) -> bool:
    return _magic(path) == zstandard.FRAME_HEADER


def _plain_suffix(path: Path) -> str:
    suffixes = [s for s in path.suffixes if s not in _COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True
