"""The end of a dataflow that decides: intents and hints go into the journal, nowhere near a network."""

from __future__ import annotations

from pathlib import Path

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from schemas.orders import OrderIntent
from schemas.pairs import Hint
from sinks.executor.journal import Journal


class _Partition(StatelessSinkPartition[OrderIntent | Hint]):
    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)

    def write_batch(self, items: list[OrderIntent | Hint]) -> None:
        with self._journal.together():
            for item in items:
                if isinstance(item, Hint):
                    self._journal.keep_hint(item)
                else:
                    self._journal.insert_intent(item)

    def close(self) -> None:
        self._journal.close()


class JournalSink(DynamicSink[OrderIntent | Hint]):
    """Inserts each intent unless it is there, keeps each hint. Redelivery after a crash changes nothing.

    A batch is durable when the sink returns. Any number of workers may write, beside the executor.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:  # noqa: ARG002 - the engine's signature
        """One per worker."""
        return _Partition(self._path)
