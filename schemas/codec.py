"""Records as messages and back: JSON by msgspec, a native frame as it is.

Headers: ``content-type``, ``schema`` (``liquidation.v1``) and ``event-id``; a native frame carries ``venue``, ``feed``
and ``receive-time`` instead of an id. The timestamp of a message is the event time in milliseconds; who
sends it dates nothing ahead of now. A value that cannot be read raises ``Unreadable``, which its reader turns into a
dead letter: one bad message costs itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, astuple
from numpy.typing import NDArray

from schemas.batches import LIQUIDATION_COLUMNS, Batch, LiquidationColumns, Names
from schemas.clock import MILLISECOND
from schemas.errors import Unreadable
from schemas.records import (
    CAUSES,
    COVERAGES,
    POSITIONS,
    PRICE_KINDS,
    TIME_SOURCES,
    VENUES,
    DeadLetter,
    Liquidation,
)
from schemas.topics import (
    IDENTITY,
    LIQUIDATIONS,
    RAW,
    TIME_FIELDS,
    TOPIC_OF,
    UNTOLD,
    Topic,
    schema_name,
    wire_type,
)

Headers = Sequence[tuple[str, bytes]]
LETTER_LIMIT = 64 * 1024
"""Bytes of a refused message a dead letter keeps."""

_encode = msgspec.json.Encoder().encode


class Outgoing(NamedTuple):
    """One message to be sent."""

    topic: str
    """Without the prefix."""
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int
    """Milliseconds since 1970 UTC."""


def encode(record: Struct) -> Outgoing:
    """A record as a message of its topic; KeyError for a kind that has none."""
    of = _outlet(type(record))
    identity = of.identity(record).encode()
    return Outgoing(
        of.topic, of.key(record).encode(), _encode(record), [*of.headers, ("event-id", identity)], of.timestamp(record)
    )


def encode_closes(batch: Batch) -> Iterator[Outgoing]:
    """The forced closes of a batch as messages, in order; the rest of the batch is for ``encode``."""
    headers, columns = _outlet(Liquidation).headers, batch.liquidations
    names = [f"{event:016x}" for event in columns.event_id.tolist()]
    values = [_spelled(name, getattr(columns, name).tolist(), batch) for name in list(LIQUIDATION_COLUMNS)[1:]]
    for row in zip(names, *values, strict=True):
        told = Liquidation(*row)
        yield Outgoing(
            LIQUIDATIONS.name, told.asset.encode(), _encode(told), [*headers, ("event-id", told.event_id.encode())],
            told.event_time // MILLISECOND,
        )  # fmt: skip


def encode_frame(venue: str, feed: str, payload: bytes, receive_time: int, what: str = "frame") -> Outgoing:
    """A native frame as it is.

    :arg what: ``frame``, or the marker that stands in its place among them.
    """
    headers = [
        ("content-type", RAW.content_type.encode()), ("schema", b"%s.v1" % what.encode()), ("venue", venue.encode()),
        ("feed", feed.encode()), ("receive-time", b"%d" % receive_time),
    ]  # fmt: skip
    return Outgoing(RAW.name, venue.encode(), payload, headers, receive_time // MILLISECOND)


class RawFrame(NamedTuple):
    """A native frame read back."""

    venue: str
    feed: str
    payload: bytes
    receive_time: int
    what: str
    """As given to ``encode_frame``."""


def decode_frame(value: bytes, headers: Headers | None) -> RawFrame:
    """The inverse of ``encode_frame``.

    :raises Unreadable: a header is missing or says what cannot be.
    """
    told = dict(headers or ())
    what, _, version = told.get("schema", b"frame.v1").decode(errors="replace").rpartition(".")
    if version != RAW.version:
        raise Unreadable(f"a frame of version {version}: this reader knows {RAW.version}")
    try:
        venue, feed = told["venue"].decode(), told["feed"].decode()
        received = int(told["receive-time"])
    except KeyError as missing:
        raise Unreadable(f"a native frame without the header {missing}") from None
    except ValueError as wrong:
        raise Unreadable(f"headers of a native frame: {wrong}") from None
    if venue not in VENUES:
        raise Unreadable(f"no venue {venue!r}: the frame was written by a newer version")
    if not 0 <= received < 2**63:
        raise Unreadable(f"receive-time {received} is no time")
    return RawFrame(venue, feed, value, received, what)


def decode(topic: Topic, value: bytes | None, headers: Headers | None = None) -> Any:
    """A value of a topic of records.

    :raises Unreadable: it is no JSON, of an unknown kind or version, or lacks what its kind has.
    """
    if value is None:
        raise Unreadable("no value")
    check_version(topic, headers)
    try:
        return _told(_decoder(topic)(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"no record of {topic.name}: {error}") from None


def check_version(topic: Topic, headers: Headers | None) -> None:
    """:raises Unreadable: the header ``schema`` names a version this topic does not have."""
    for name, content in headers or ():
        if name == "schema" and not content.endswith(topic.version.encode()):
            told = content.decode(errors="replace")
            raise Unreadable(f"schema {told} in {topic.name}: it was written by a newer version")


def letter(topic: str, partition: int, offset: int, value: bytes | None, reason: str, receive_time: int) -> DeadLetter:
    """The dead letter of a message nobody could read; ``feed`` says where it stands.

    :arg topic: with its prefix.
    """
    return DeadLetter("bus", f"{topic}/{partition}/{offset}", reason, (value or b"")[:LETTER_LIMIT], receive_time)


class _Outlet(NamedTuple):
    topic: str
    key: Callable[[Any], str]
    identity: Callable[[Any], str]
    headers: tuple[tuple[str, bytes], ...]
    timestamp: Callable[[Any], int]


@cache
def _outlet(record: type[Struct]) -> _Outlet:
    topic = TOPIC_OF[record]
    time = attrgetter(next(name for name in TIME_FIELDS if name in record.__struct_fields__))
    headers = (("content-type", topic.content_type.encode()), ("schema", schema_name(record).encode()))
    identity = _joined(IDENTITY[record]) if record in IDENTITY else _hashed
    return _Outlet(topic.name, _joined(topic.key), identity, headers, lambda told: max(time(told) // MILLISECOND, 0))


def _joined(fields: tuple[str, ...]) -> Callable[[Any], str]:
    if len(fields) == 1:
        only = attrgetter(fields[0])
        return lambda record: str(only(record))
    several = attrgetter(*fields)
    return lambda record: "/".join(map(str, several(record)))


def _hashed(record: Any) -> str:
    return blake2b(_encode(record), digest_size=8).hexdigest()


@cache
def _decoder(topic: Topic) -> Callable[[bytes], Any]:
    kinds: Any = wire_type(topic.records[0])
    for record in topic.records[1:]:
        kinds |= wire_type(record)
    return msgspec.json.Decoder(kinds).decode


def _told(record: Any) -> Any:
    """The record itself, where the wire has ``null`` for numbers nobody told."""
    if type(record) is not wire_type(Liquidation):
        return record
    values = asdict(record)
    return Liquidation(**{**values, **{name: _number(values[name]) for name in UNTOLD[Liquidation]}})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


_CODED: dict[str, tuple[str, ...]] = {
    "venue": VENUES, "position": POSITIONS, "cause": CAUSES, "price_kind": PRICE_KINDS, "coverage": COVERAGES,
    "time_source": TIME_SOURCES,
}  # fmt: skip
_CODES: dict[str, dict[str, int]] = {
    column: {name: code for code, name in enumerate(names)} for column, names in _CODED.items()
}


def _spelled(column: str, values: list[Any], batch: Batch) -> list[Any]:
    names: Any = batch.instruments if column == "instrument" else batch.assets if column == "asset" else None
    names = _CODED.get(column, names)
    return values if names is None else [names[code] for code in values]


_CHUNK = 512
"""Values decoded at a time: what becomes of them stays in the processor's cache, which halves the time."""


class CloseDecoder:
    """Values of ``liquidations.v1`` as columns, thousands at a time: about a microsecond each.

    :arg instruments, assets: given codes for the names that occur; the columns carry those.
    """

    def __init__(self, instruments: Names, assets: Names) -> None:
        self.instruments, self.assets = instruments, assets
        self._codes = _CODES | {"instrument": _NewCodes(instruments), "asset": _NewCodes(assets)}
        decoder = msgspec.json.Decoder(wire_type(Liquidation))
        self._lines, self._one = decoder.decode_lines, decoder.decode

    def columns(self, values: Sequence[bytes | None]) -> tuple[LiquidationColumns, list[tuple[int, str]]]:
        """The rows that can be read, in order, and the index and fault of each value that cannot."""
        if len(values) <= _CHUNK:
            return self._chunk(values)
        parts, faults = [], []
        for start in range(0, len(values), _CHUNK):
            columns, wrong = self._chunk(values[start : start + _CHUNK])
            parts.append(columns)
            faults += [(start + index, reason) for index, reason in wrong]
        return LiquidationColumns.concatenate(parts), faults

    def _chunk(self, values: Sequence[bytes | None]) -> tuple[LiquidationColumns, list[tuple[int, str]]]:
        rows = self._together(values)
        if rows is not None:
            return rows, []
        good: list[Any] = []
        faults: list[tuple[int, str]] = []
        for index, value in enumerate(values):
            try:
                good.append(self._checked(value))
            except Unreadable as error:
                faults.append((index, str(error)))
        return self._of(good), faults

    def _together(self, values: Sequence[bytes | None]) -> LiquidationColumns | None:
        """All at once, which is possible where all are sound."""
        try:
            rows = self._lines(b"\n".join(values))  # type: ignore[arg-type] # a missing value is a TypeError, caught
            return self._of(rows) if len(rows) == len(values) else None
        except (msgspec.MsgspecError, TypeError, LookupError, ValueError, OverflowError, RecursionError):
            return None

    def _checked(self, value: bytes | None) -> Any:
        if value is None:
            raise Unreadable("no value")
        try:
            row = self._one(value)
            self._of([row])
        except (msgspec.MsgspecError, LookupError, ValueError, OverflowError, RecursionError) as error:
            raise Unreadable(f"no record of {LIQUIDATIONS.name}: {error}") from None
        return row

    def _of(self, rows: list[Any]) -> LiquidationColumns:
        if not rows:
            return LiquidationColumns.empty()
        told = zip(*map(astuple, rows), strict=True)
        return LiquidationColumns(
            **{name: self._column(name, values) for name, values in zip(LIQUIDATION_COLUMNS, told, strict=True)}
        )

    def _column(self, name: str, values: tuple[Any, ...]) -> NDArray[Any]:
        if name == "event_id":
            return _event_numbers(values)
        codes, dtype = self._codes.get(name), _DTYPES[name]
        if codes is None:
            return np.array(values, dtype)
        return np.fromiter(map(codes.__getitem__, values), dtype, len(values))


class _NewCodes(dict[str, int]):
    """Codes of names, new ones given as they occur; looked up without a call of our own once known."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, name: str) -> int:
        code = self[name] = self._names.code(name)
        return code


_DTYPES = {name: np.dtype(dtype) for name, dtype in LIQUIDATION_COLUMNS.items()}


def _event_numbers(texts: tuple[str, ...]) -> NDArray[np.uint64]:
    # Gaps count as nothing for ``fromhex``, so that the sum is looked at as well.
    numbers = bytes.fromhex("".join(texts)) if set(map(len, texts)) == {16} else b""
    if len(numbers) != 8 * len(texts):
        raise ValueError("an event_id is not 16 hex digits")
    return np.frombuffer(numbers, ">u8").astype(np.uint64)
