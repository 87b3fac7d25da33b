"""Making topics and asking what there is, for whoever sets a cluster up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stub forgets to export three of them
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.kafka.metadata import ASKED, admin, waited
from schemas.bus import Bus
from schemas.errors import BusError
from schemas.topics import Topic

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic of ours as the brokers have it."""

    name: str
    """With its prefix."""
    exists: bool
    partitions: int = 0
    replication: int = 0
    config: dict[str, str] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    """What is otherwise than ``schemas.topics`` says, in words."""


def create(bus: Bus, topics: Sequence[Topic], replication: int = 1) -> list[str]:
    """Make the topics that are missing and leave the others as they are; the names of those made.

    :raises BusError: the brokers refuse, or do not answer.
    """
    client = admin(bus)
    wanted = [
        NewTopic(bus.name(t), num_partitions=t.partitions, replication_factor=replication, config=dict(t.config))
        for t in topics
    ]
    there = waited("topics", lambda: client.list_topics(timeout=ASKED), client=client).topics
    absent = [new for new in wanted if new.topic not in there]
    made = []
    for name, answer in (client.create_topics(absent) if absent else {}).items():
        try:
            answer.result(_TIMEOUT)
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BusError(f"{name} cannot be made: {error.args[0].str()}") from None
    return made


def states(bus: Bus, topics: Sequence[Topic]) -> list[TopicState]:
    """Each topic as the brokers have it.

    :raises BusError: they do not answer.
    """
    client = admin(bus)
    there = waited("topics", lambda: client.list_topics(timeout=ASKED), client=client).topics
    found = []
    for topic in topics:
        name = bus.name(topic)
        known = there.get(name)
        if known is None or known.error is not None:
            found.append(TopicState(name, exists=False))
            continue
        replicas = len(known.partitions[0].replicas) if known.partitions else 0
        config = _config(client, name, topic)
        found.append(
            TopicState(
                name, True, len(known.partitions), replicas, config, _differences(topic, len(known.partitions), config)
            )
        )
    return found


def _config(client: AdminClient, name: str, topic: Topic) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        told = client.describe_configs([resource])[resource].result(_TIMEOUT)
    except KafkaException as error:
        raise BusError(f"{name}: {error.args[0].str()}") from None
    return {key: str(told[key].value) for key in topic.config if key in told}


def _differences(topic: Topic, partitions: int, config: dict[str, str]) -> tuple[str, ...]:
    found = [f"{partitions} partitions, not {topic.partitions}"] if partitions != topic.partitions else []
    for key, value in topic.config.items():
        # The order of policies means nothing.
        if sorted(config.get(key, "").split(",")) != sorted(value.split(",")):
            found.append(f"{key} is {config.get(key)}, not {value}")
    return tuple(found)
