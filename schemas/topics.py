"""The topics workers meet in: what each holds, its key, how long it is kept, and its JSON Schema.

Every name ends in the version of its records. Within a version fields are only added; a reader ignores those it does
not know. A change of meaning is a new topic beside the old one. One key always lies in one partition.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from schemas.cascades import CascadeUpdate, Signal, WindowMetrics
from schemas.measures import Measures
from schemas.orders import ExecutionReport, OrderIntent
from schemas.records import AccountEvent, DeadLetter, FeedStatus, Funding, Liquidation, MarkPrice, OpenInterest, Trade

PARTITIONS = 12
"""How many workers can share a topic at most; raising it later moves keys to other partitions."""
HOUR, DAY = 3600, 86_400
FOREVER = -1
JSON, BYTES = "application/json", "application/octet-stream"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic."""

    name: str
    """Without the prefix; the version comes last."""
    holds: str
    """In a few words."""
    records: tuple[type[Struct], ...]
    """What a value may be, told apart by ``kind``. None: the value is a native frame."""
    key: tuple[str, ...]
    """The fields whose values, joined by ``/``, are the key."""
    retention: int
    """Seconds a message is kept; ``FOREVER`` where only compaction removes it."""
    compacted: bool = False
    """Whether only the last message of each key is sure to be kept, for as long as ``retention`` says."""
    partitions: int = PARTITIONS

    @property
    def version(self) -> str:
        """``v1``."""
        return self.name.rpartition(".")[2]

    @property
    def content_type(self) -> str:
        """Of the value."""
        return JSON if self.records else BYTES

    @property
    def config(self) -> Mapping[str, str]:
        """The broker's own settings of this topic."""
        policy = "compact" if self.compacted else "delete"
        if self.compacted and self.retention != FOREVER:
            policy = "compact,delete"
        kept = self.retention if self.retention == FOREVER else self.retention * 1000
        return {"cleanup.policy": policy, "retention.ms": str(kept), "compression.type": "producer"}


RAW = Topic("raw.v1", "native frames as received", (), ("venue",), DAY)
LIQUIDATIONS = Topic("liquidations.v1", "forced closes", (Liquidation,), ("asset",), 7 * DAY)
MARKET = Topic(
    "market.v1",
    "open interest, funding, mark prices, trades",
    (OpenInterest, Funding, MarkPrice, Trade),
    ("asset",),
    DAY,
)
ACCOUNT = Topic("account.v1", "the desk's own fills and forced events", (AccountEvent,), ("asset",), 30 * DAY)
WINDOWS = Topic("windows.v1", "the six trailing windows", (WindowMetrics,), ("asset",), DAY)
MEASURES = Topic("measures.v1", "what is known beyond the windows, each second", (Measures,), ("asset",), DAY)
CASCADES = Topic(
    "cascades.v1", "cascades opening, changing, closing", (CascadeUpdate,), ("cascade_id",), 30 * DAY, True
)
SIGNALS = Topic("signals.v1", "changes of level", (Signal,), ("asset",), 30 * DAY)
EXECUTIONS = Topic(
    "executions.v1",
    "what the executor decided, and what came of it",
    (OrderIntent, ExecutionReport),
    ("asset",),
    30 * DAY,
)
FEEDS = Topic(
    "feeds.v1", "what each connection is doing, and the holes", (FeedStatus,), ("venue", "feed"), 7 * DAY, True
)  # fmt: skip
DEAD_LETTERS = Topic("deadletters.v1", "what could not be understood", (DeadLetter,), ("venue",), 30 * DAY)

TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        topic.name: topic
        for topic in (
            RAW,
            LIQUIDATIONS,
            MARKET,
            ACCOUNT,
            WINDOWS,
            MEASURES,
            CASCADES,
            SIGNALS,
            EXECUTIONS,
            FEEDS,
            DEAD_LETTERS,
        )
    }
)
"""Every topic by its name."""

TOPIC_OF: Mapping[type[Struct], Topic] = MappingProxyType(
    {record: topic for topic in TOPICS.values() for record in topic.records}
)

IDENTITY: Mapping[type[Struct], tuple[str, ...]] = MappingProxyType(
    {
        Liquidation: ("event_id",),
        OpenInterest: ("venue", "instrument", "event_time"),
        Funding: ("venue", "instrument", "event_time", "settled"),
        MarkPrice: ("venue", "instrument", "event_time"),
        Trade: ("venue", "instrument", "trade_id"),
        AccountEvent: ("event_id",),
        WindowMetrics: ("asset", "window", "time"),
        Measures: ("asset", "time"),
        CascadeUpdate: ("cascade_id", "state", "time"),
        Signal: ("signal_id",),
        OrderIntent: ("intent_id",),
        ExecutionReport: ("sequence",),
        FeedStatus: ("venue", "feed", "state", "event_time"),
    }
)
"""The fields that, joined by ``/``, are the ``event-id``: equal for the same thing told twice. A dead letter's is the
hash of what was refused."""

TIME_FIELDS = ("event_time", "time", "created", "receive_time")
"""The first of these a record has becomes the timestamp of its message."""

UNTOLD: Mapping[type[Struct], tuple[str, ...]] = {Liquidation: ("price", "quantity")}
"""Numbers that are NaN in the record where nobody told them, and ``null`` on the wire."""


def topic(name: str, prefix: str = "") -> Topic | None:
    """The topic of this name, with or without the prefix in front; ``signals`` will do for ``signals.v1``."""
    bare = name.removeprefix(f"{prefix}.") if prefix else name
    return TOPICS.get(bare) or next((known for known in TOPICS.values() if known.name.rpartition(".")[0] == bare), None)


def kind_of(record: type[Struct]) -> str:
    """The ``kind`` a record carries in JSON."""
    return str(record.__struct_config__.tag)


def schema_name(record: type[Struct]) -> str:
    """``liquidation.v1``: what the header ``schema`` of its messages says."""
    return f"{kind_of(record)}.{TOPIC_OF[record].version}"


@cache
def wire_type(record: type[Struct]) -> type[Struct]:
    """The record as it stands on the wire: what nobody told may be ``null``."""
    untold = UNTOLD.get(record)
    if untold is None:
        return record
    hints = get_type_hints(record)
    fields: list[tuple[str, Any]] = [
        (name, hints[name] | None if name in untold else hints[name]) for name in record.__struct_fields__
    ]
    return msgspec.defstruct(record.__name__, fields, tag_field="kind", tag=kind_of(record), frozen=True, gc=False)


def json_schema(of: Topic, prefix: str = "breakwater") -> dict[str, Any]:
    """The JSON Schema of a topic's values, with the meaning of each field; of native frames it says only that."""
    head = {"$schema": DIALECT, "$id": f"{prefix}.{of.name}" if prefix else of.name, "title": of.name}
    if not of.records:
        return head | {"description": f"{of.holds}: the bytes a venue sent, most of them JSON of its own"}
    (one, *_), components = msgspec.json.schema_components([_union(of)], ref_template="#/$defs/{name}")
    for record in of.records:
        told = components[record.__name__]
        told["description"] = " ".join(inspect.getdoc(record).replace("``", "").split())  # type: ignore[union-attr] # every record has a docstring
        for name, meaning in meanings(record).items():
            told["properties"][name]["description"] = meaning
    return head | {"description": of.holds} | one | {"$defs": components}


def _union(of: Topic) -> Any:
    kinds: Any = wire_type(of.records[0])
    for record in of.records[1:]:
        kinds |= wire_type(record)
    return kinds


@cache
def meanings(record: type[Struct]) -> Mapping[str, str]:
    """Field -> the sentence standing under it in the source; fields that need none are left out."""
    tree = ast.parse(inspect.getsource(record)).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class is one
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            found[field.target.id] = " ".join(text.replace("``", "").split())
    return MappingProxyType(found)


def fields_of(record: type[Struct]) -> dict[str, tuple[str, str]]:
    """Field -> its JSON type and its meaning, in the order of the record."""
    (_,), components = msgspec.json.schema_components([wire_type(record)], ref_template="{name}")
    properties: dict[str, dict[str, Any]] = components[record.__name__]["properties"]
    told = meanings(record)
    return {name: (_type(properties[name]), told.get(name, "")) for name in record.__struct_fields__}


def _type(said: Mapping[str, Any]) -> str:
    if "anyOf" in said:
        return " or ".join(_type(choice) for choice in said["anyOf"])
    if "enum" in said:
        return " ".join("null" if value is None else str(value) for value in said["enum"])
    if said.get("type") == "array":
        return f"array of {_type(said['items'])}"
    if said.get("type") == "object":
        return f"object of {_type(said['additionalProperties'])}"
    return str(said.get("contentEncoding", said["type"]))
