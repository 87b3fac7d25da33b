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
from schemas.topics import LIQUIDATIONS, TOPICS, Topic, schema_name


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
        """The forced closes of a run, in its order, and what was none."""
        name = self._bus.name(run.topic)
        good = [message for message in run.messages if _is_of(LIQUIDATIONS, message)]
        columns, faults = self._closes.columns([message.value() for message in good])
        letters = [_letter(name, good[index], reason) for index, reason in faults]
        if len(good) < len(run.messages):
            letters += [
                _letter(name, message, f"schema {schema_of(message).decode(errors='replace')}: of a newer version")
                for message in run.messages
                if not _is_of(LIQUIDATIONS, message)
            ]
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


def _is_of(topic: Topic, message: Message) -> bool:
    """Whether a message is of the version this reader knows; one that does not say is taken to be."""
    schema = schema_of(message)
    return not schema or schema.rpartition(b".")[2] == topic.version.encode()


def _letter(topic: str, message: Message, reason: str) -> DeadLetter:
    sent = max(message.timestamp()[1], 0) * MILLISECOND
    return letter(topic, message.partition() or 0, message.offset() or 0, message.value(), reason, sent)
