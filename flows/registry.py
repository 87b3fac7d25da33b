"""The JSON Schema of every topic: as files, and in a schema registry that speaks Confluent's REST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx

from schemas.bus import Bus
from schemas.errors import BusError, UsageError
from schemas.topics import TOPICS, json_schema

_JSON = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
_TIMEOUT = 10.0


def schemas(bus: Bus) -> dict[str, dict[str, Any]]:
    """Schema by the topic's full name."""
    return {bus.name(topic): json_schema(topic, bus.prefix) for topic in TOPICS.values()}


def export(bus: Bus, directory: Path) -> list[Path]:
    """Write ``TOPIC.schema.json`` for each topic; the files.

    :raises UsageError: they cannot be written.
    """
    files = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas(bus).items():
            file = directory / f"{name}.schema.json"
            file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            files.append(file)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}") from None
    return files


def register(bus: Bus, url: str) -> dict[str, int]:
    """Register the schema of every topic of records as subject ``TOPIC-value``; the id each has there.

    Registering the same again changes nothing and gives the same id.

    :raises BusError: the registry is not there, or refuses.
    """
    found = {}
    with httpx.Client(base_url=url.rstrip("/"), headers=_JSON, timeout=_TIMEOUT) as client:
        for topic in TOPICS.values():
            if topic.records:
                subject = f"{bus.name(topic)}-value"
                body = {"schemaType": "JSON", "schema": json.dumps(json_schema(topic, bus.prefix))}
                found[subject] = _registered(client, subject, body)
    return found


def _registered(client: httpx.Client, subject: str, body: dict[str, str]) -> int:
    try:
        answer = client.post(f"/subjects/{subject}/versions", json=body)
    except httpx.HTTPError as error:
        raise BusError(f"no answer from the schema registry for {subject}: {error}") from None
    if answer.status_code != httpx.codes.OK:
        raise BusError(f"the schema registry refuses {subject}: {answer.status_code} {answer.text[:300]}")
    return int(answer.json()["id"])
