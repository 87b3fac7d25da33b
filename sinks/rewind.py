"""A sink whose parts can go back to their last snapshot: with a source that can, each item counts exactly once.

The engine hands a part its last snapshot when it is made; what the part wrote after it, the part takes back itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition


class Rewindable(Protocol):
    """One part."""

    def take(self, items: list[Any]) -> None:
        """Take these in."""

    def snapshot(self) -> Any:
        """Make durable what was taken; where to go back to, small and picklable."""


class _Part(StatefulSinkPartition[Any, Any]):
    def __init__(self, part: Rewindable) -> None:
        self._part = part

    def write_batch(self, values: list[Any]) -> None:
        self._part.take(values)

    def snapshot(self) -> Any:
        return self._part.snapshot()


class RewindSink(FixedPartitionedSink[Any, Any]):
    """Takes ``(part, item)``.

    :arg parts: their names, the same for any number of workers.
    :arg make: makes a part by its name, gone back to the snapshot; ``None`` is the beginning.
    """

    def __init__(self, parts: Sequence[str], make: Callable[[str, Any], Rewindable]) -> None:
        self._parts, self._make = list(parts), make

    def list_parts(self) -> list[str]:
        """All of them: every worker could make each."""
        return self._parts

    def part_fn(self, item_key: str) -> int:
        """The key of an item is the name of its part."""
        return self._parts.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:  # noqa: ARG002 - the engine's signature
        """One part."""
        return _Part(self._make(for_part, resume_state))
