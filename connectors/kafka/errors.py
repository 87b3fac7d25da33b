"""Which of Kafka's errors are waited out, and what the others mean to whoever runs a worker."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import BusError, OffsetLost, TopicMissing

log = structlog.get_logger(__name__)

WAY_OUT = "To begin anew, say `--from beginning` (what is kept, told again) or `--from end` (what comes from now on)."

_LOST = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - how the client spells it
GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001 - same
_FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - same
}


def lost(name: str, offset: int, low: int, high: int) -> OffsetLost:
    """The offset of a partition is not in the range the brokers keep."""
    why = "retention removed it" if offset < low else "the topic was cut short or made anew"
    return OffsetLost(f"{name}: offset {offset} is not kept, there are {low} to {high}: {why}. {WAY_OUT}")


def missing(name: str) -> TopicMissing:
    """No broker knows the topic."""
    return TopicMissing(f"there is no topic {name}: `breakwater topics create` makes those that are missing")


def gone(what: str) -> TopicMissing:
    """A topic was deleted while it was read."""
    return TopicMissing(f"{what}: deleted while it was read. `breakwater topics create` makes it again. {WAY_OUT}")


def raised(error: KafkaError, name: str, offset: int, kept: Callable[[], tuple[int, int]]) -> None:
    """Raise what an error of a partition means; return where the client mends it by itself.

    :arg kept: asks for the range of offsets there is.
    """
    code = error.code()
    if code in _LOST:
        try:
            low, high = kept()
        except KafkaException:
            raise OffsetLost(f"{name}: offset {offset} is not kept ({error.str()}). {WAY_OUT}") from None
        raise lost(name, offset, low, high)
    if code in GONE:
        raise TopicMissing(
            f"{name} was deleted while it was read. `breakwater topics create` makes it again. {WAY_OUT}"
        )
    if code in _FORBIDDEN:
        raise BusError(f"{name}: the brokers refuse: {error.str()}; see the security settings of [kafka]")
    if error.fatal():
        raise BusError(f"{name}: {error.str()}")
    log.warning("the bus said", topic=name, error=error.str())
