"""Messages of a run as records, each fault as a dead letter: what flows that read topics share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from confluent_kafka import Message
from msgspec import Struct

from connectors.kafka import Run
from schemas.batches import Batch, Names
from schemas.bus import Bus
from schemas.clock import MILLISECOND
from schemas.codec import CloseDecoder, Headers, decode, letter
from schemas.errors import Unreadable
from schemas.records import DeadLetter
from schemas.topics import LIQUIDATIONS, TOPICS, schema_name


def schema_of(message: Message) -> bytes:
    """What a message says it is; empty where it says nothing."""
    return next((value for name, value in headers_of(message) if name == "schema"), b"")


def headers_of(message: Message) -> Headers:
    """As a list: the client's annotations allow more than it gives."""
    return cast("Headers", message.headers() or ())


class RunReader:
    """Reads runs of any topic of records. The columns of a process share one coding of names."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._instruments, self._assets = Names(), Names()
        self._closes = CloseDecoder(self._instruments, self._assets)

    def closes(self, run: Run) -> tuple[Batch, list[DeadLetter]]:
        """The forced closes of a run, in its order, and what was none.

        Headers cost as much as decoding, so they are asked only about what cannot be read: within a topic fields are
        only added, and one of a newer version that reads like ours is one of ours.
        """
        name = self._bus.name(run.topic)
        columns, faults = self._closes.columns([message.value() for message in run.messages])
        letters = [_letter(name, run.messages[index], _newer(run.messages[index]) or why) for index, why in faults]
        return Batch(columns, self._instruments, self._assets), letters  # type: ignore[arg-type] # looked up by code, as a list is

    def records(self, run: Run, unused: Collection[bytes] = ()) -> tuple[list[tuple[bytes, Any]], list[DeadLetter]]:
        """The values of a run with their records, in its order, and what was none.

        :arg unused: schemas not worth decoding.
        """
        topic, name = TOPICS[run.topic], self._bus.name(run.topic)
        found: list[tuple[bytes, Any]] = []
        letters: list[DeadLetter] = []
        for message in run.messages:
            headers, value = headers_of(message), message.value()
            if unused and schema_of(message) in unused:
                continue
            try:
                record = decode(topic, value, headers)
            except Unreadable as error:
                letters.append(_letter(name, message, str(error)))
            else:
                found.append((value or b"", record))
        return found, letters


def schemas(*records: type[Struct]) -> frozenset[bytes]:
    """What messages of these records say they are."""
    return frozenset(schema_name(record).encode() for record in records)


def _newer(message: Message) -> str:
    """What is to be said of a message of another version than this reader knows; nothing of one that is of this."""
    schema = schema_of(message)
    if not schema or schema.rpartition(b".")[2] == LIQUIDATIONS.version.encode():
        return ""
    return f"schema {schema.decode(errors='replace')}: of a newer version"


def _letter(topic: str, message: Message, reason: str) -> DeadLetter:
    sent = max(message.timestamp()[1], 0) * MILLISECOND
    return letter(topic, message.partition() or 0, message.offset() or 0, message.value(), reason, sent)
