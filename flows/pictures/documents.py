"""Puts made parts into the documents, and says which are no longer current."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from flows import metrics
from flows.configuration import template
from flows.pictures import dataflows
from flows.pictures.subscribing import field_tables, topic_table
from flows.pictures.venues import coverage_table, venue_table

_PART = re.compile(r"(<!-- made: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _settings() -> str:
    return f"```toml\n{template()}```"


def _metrics() -> str:
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"
        for name, kind, labels, meaning in metrics.described()
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    "live": partial(dataflows.mermaid, dataflows.live),
    "replay": partial(dataflows.mermaid, dataflows.replayed),
    "venues": venue_table,
    "coverage": coverage_table,
    "settings": _settings,
    "metrics": _metrics,
    "topics": topic_table,
    "fields": field_tables,
}
"""Name -> what makes the part."""


def documents(root: Path) -> list[Path]:
    """Every document of the project: at the root and in each room."""
    return sorted([*root.glob("*.md"), *root.glob("[a-z]*/README.md")])


def renewed(text: str) -> str:
    """The document with every made part as it would be made now; KeyError where nothing makes a part."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}\n{part[3]}", text)


def names(text: str) -> list[str]:
    """The made parts of a document, in order."""
    return [part["name"] for part in _PART.finditer(text)]
