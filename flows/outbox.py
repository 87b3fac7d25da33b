"""What the journal has to tell the bus: a source that reads one of its outboxes in order.

Guarantee: at least once, in the journal's order, from the one after the last snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from msgspec import Struct

from flows import metrics
from schemas.clock import SECOND
from schemas.orders import ExecutionReport
from schemas.pairs import CONTROL_STATES
from sinks.executor.journal import Journal

_LOOK = timedelta(milliseconds=50)
"""Between two looks for news."""
_AT_ONCE = 1000

Outbox = Callable[[Journal, int], Sequence[tuple[int, Struct]]]
"""What there is after a number, each with its own."""


def events(journal: Journal, after: int) -> Sequence[tuple[int, Struct]]:
    """What the private streams of the accounts told."""
    return journal.events(after, _AT_ONCE)


class CountedReports:
    """What the executor did, told to Prometheus as it passes by."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, journal: Journal, after: int) -> list[tuple[int, Struct]]:
        """See ``Outbox``."""
        found = journal.reports(after, _AT_ONCE)
        if found or not self._begun:
            self._begun = True
            _tell_figures(journal, found)
        return [(report.sequence, report) for report in found]


def _tell_figures(journal: Journal, reports: Sequence[ExecutionReport]) -> None:
    metrics.executor_state.set(CONTROL_STATES[::-1].index(journal.control().state))
    for state, number in journal.count_intents().items():
        metrics.executor_intents.labels(state).set(number)
    for report in reports:
        if report.what not in {"intent", "done"} or (intent := journal.intent(report.intent_id)) is None:
            continue
        order = intent.order
        if report.what == "intent" and order.path != "manual":
            metrics.executor_detect_seconds.labels(order.path).observe((order.detected - order.created) / SECOND)
        elif report.what == "done" and order.intent == "emergency_close":
            metrics.executor_flat_seconds.observe((report.time - order.detected) / SECOND)


class OutboxSource(FixedPartitionedSource[Struct, int]):
    """One outbox of a journal.

    :arg stopped: whether to end once there is no more.
    """

    def __init__(self, path: Path, outbox: Outbox, stopped: Callable[[], bool]) -> None:
        self._made = (path, outbox, stopped)

    def list_parts(self) -> list[str]:
        """One: the journal has one order."""
        return ["journal"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Partition:  # noqa: ARG002 - the engine's signature
        """Read on after the snapshot."""
        return _Partition(*self._made, resume_state or 0)


class _Partition(StatefulSourcePartition[Struct, int]):
    def __init__(self, path: Path, outbox: Outbox, stopped: Callable[[], bool], last: int) -> None:
        self._journal, self._outbox, self._stopped, self._last = Journal(path), outbox, stopped, last
        self._idle = False

    def next_batch(self) -> list[Struct]:
        found = self._outbox(self._journal, self._last)
        self._idle = not found
        if found:
            self._last = found[-1][0]
        elif self._stopped():
            raise StopIteration
        return [record for _, record in found]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + _LOOK if self._idle else None  # noqa: TID251 - the engine wakes by its own clock

    def snapshot(self) -> int:
        return self._last

    def close(self) -> None:
        self._journal.close()
