"""The tables of the subscriber's page: topics, and every field of every record, made from the records' own words."""

from __future__ import annotations

from schemas.topics import DAY, FOREVER, HOUR, TOPICS, Topic, fields_of, kind_of


def topic_table() -> str:
    """One row per topic."""
    head = "| topic | holds | `kind` | key | partitions | kept |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(_row(topic) for topic in TOPICS.values())])


def _row(topic: Topic) -> str:
    kinds = ", ".join(f"`{kind_of(record)}`" for record in topic.records) or "native bytes"
    key = "/".join(f"`{field}`" for field in topic.key)
    return f"| `{topic.name}` | {topic.holds} | {kinds} | {key} | {topic.partitions} | {_kept(topic)} |"


def _kept(topic: Topic) -> str:
    days, hours = divmod(topic.retention, DAY)
    kept = f"{days} d" if not hours else f"{topic.retention // HOUR} h"
    if not topic.compacted:
        return kept
    last = "the last of each key"
    return last if topic.retention == FOREVER else f"{last}, {kept} at most"


def field_tables() -> str:
    """Every field of every record, by topic."""
    parts = []
    for topic in TOPICS.values():
        for record in topic.records:
            rows = [
                f"| `{name}` | {type_} | {meaning.replace('|', '/')} |"
                for name, (type_, meaning) in fields_of(record).items()
            ]
            head = f"#### {kind_of(record)}, in {topic.name}\n\n| field | type | meaning |\n|---|---|---|"
            parts.append("\n".join([head, *rows]))
    return "\n\n".join(parts)
