"""What the brokers know of topics: partitions and identities, asked once while a flow is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.kafka.errors import missing
from schemas.bus import Bus
from schemas.errors import BusError, BusUnreachable
from schemas.topics import Topic

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds a start waits for brokers and leaders."""
ASKED = 5.0
"""Seconds one question may take."""
_PAUSE = 0.1
_SOON = {
    KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT,  # noqa: SLF001 - how the client spells them
}  # fmt: skip
_REFUSALS = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED}  # noqa: SLF001 - same


class Asking(AdminClient):
    """A client for questions, that remembers why it is refused: an answer that is missing does not say."""

    def __init__(self, bus: Bus) -> None:
        self._refusal = ""
        ours: dict[str, Any] = {"error_cb": self._note}
        super().__init__(bus.client({"log_level": 2}) | ours)

    def refused(self) -> str:
        """Why; empty where nobody said so."""
        self.poll(0)
        return self._refusal

    def _note(self, error: KafkaError) -> None:
        if error.code() in _REFUSALS:
            self._refusal = error.str()


def waited(what: str, ask: Callable[[], T], patience: float | None = None, client: Asking | None = None) -> T:
    """The answer, asked for again while brokers or leaders are away.

    :arg client: whoever asks; what it is refused for is not waited out.
    :raises BusUnreachable: nobody answered in time.
    :raises BusError: no.
    """
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return ask()
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() not in _SOON:
                raise BusError(f"{what}: {error.str()}") from None
            if client is not None and (refusal := client.refused()):
                raise BusError(
                    f"the brokers do not let us in: {refusal}; see security, username and options of [kafka]"
                ) from None
            if time.monotonic() > until:
                raise BusUnreachable(
                    f"no answer from the bus ({what}: {error.str()}): is [kafka] bootstrap right, and a broker "
                    "running? `make kafka` starts one on this machine"
                ) from None
        time.sleep(_PAUSE)


def admin(bus: Bus) -> Asking:
    """A client for questions."""
    return Asking(bus)


def partition_names(bus: Bus, topics: Sequence[Topic]) -> list[str]:
    """Every partition as ``topic/00003``.

    :raises TopicMissing, BusUnreachable: they cannot be read.
    """
    client, names = admin(bus), []
    for topic in topics:
        full = bus.name(topic)
        # A client that is asked for a topic it does not know makes none: the brokers must not either.
        known = waited(full, partial(client.list_topics, full, timeout=ASKED), client=client).topics[full]
        if known.error is not None:
            if known.error.code() in _SOON:
                raise BusUnreachable(f"{full} has no leader: {known.error.str()}")
            raise missing(full)
        names += [f"{full}/{number:05d}" for number in sorted(known.partitions)]
    return names


def topic_ids(bus: Bus, topics: Sequence[Topic]) -> dict[str, str]:
    """Topic -> the identity it got when it was made; left out where brokers do not tell."""
    client = admin(bus)  # answers come while it is there
    asked = client.describe_topics(TopicCollection([bus.name(topic) for topic in topics]), request_timeout=ASKED)
    found = {}
    for name, answer in asked.items():
        try:
            found[name] = str(answer.result().topic_id)
        except KafkaException:
            continue
    return found
