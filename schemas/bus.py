"""Where Kafka is and how to speak to it: what sources and sinks are given, instead of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.topics import Topic

Option = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Bus:
    """One Kafka cluster and the prefix of our topics in it."""

    bootstrap: str
    """``host:port``, several with commas."""
    prefix: str = "breakwater"
    """Stands before every topic, with a dot; empty: nothing does."""
    options: Mapping[str, Option] = field(default_factory=dict, repr=False)
    """Anything librdkafka can be told, security included. May hold secrets: never printed."""

    def name(self, topic: Topic | str) -> str:
        """The topic as the brokers know it."""
        bare = topic if isinstance(topic, str) else topic.name
        return f"{self.prefix}.{bare}" if self.prefix else bare

    def bare(self, name: str) -> str:
        """The inverse of ``name``."""
        return name.removeprefix(f"{self.prefix}.") if self.prefix else name

    def client(self, ours: Mapping[str, Option]) -> dict[str, Option]:
        """A librdkafka configuration: ours, what was set over it, and the address."""
        return {"client.id": "breakwater", **ours, **self.options, "bootstrap.servers": self.bootstrap}
