"""A sink that hands each item to a function: where records leave the dataflow for a plain object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bytewax.outputs import DynamicSink, StatelessSinkPartition


class _Partition(StatelessSinkPartition[Any]):
    def __init__(self, take: Callable[[Any], None], finish: Callable[[], None]) -> None:
        self._take, self._finish = take, finish

    def write_batch(self, items: list[Any]) -> None:
        for item in items:
            self._take(item)

    def close(self) -> None:
        self._finish()


class CallbackSink(DynamicSink[Any]):
    """Calls ``take`` with each item, in order, and ``finish`` when the flow ends. As often as the flow delivers."""

    def __init__(self, take: Callable[[Any], None], finish: Callable[[], None] = lambda: None) -> None:
        self._made = (take, finish)

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:  # noqa: ARG002 - the engine's signature
        """One per worker."""
        return _Partition(*self._made)
