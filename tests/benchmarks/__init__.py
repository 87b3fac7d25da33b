"""Measured speed: each benchmark is a module with a function of its name that returns rows of figures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.figures import Row

BENCHMARKS = (
    "replay",
    "history",
    "latency",
    "burst",
    "memory",
    "probability",
    "baselines",
    "startup",
    "kafka",
    "executor",
)

ON_REQUEST = ("history100m", "hops", "catchup", "scaling", "kills", "quix")
"""Run where named only: they take many minutes, gigabytes, or a broker."""


def run(name: str, *, quick: bool) -> list[Row]:
    """The rows of one benchmark."""
    rows: list[Row] = getattr(import_module(f"{__name__}.{name}"), name)(quick=quick)
    return rows
