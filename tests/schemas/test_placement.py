"""What has a key of a partition is worked on where the partition is read: asked of the engine itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import cluster_main

from schemas.bus import Bus
from schemas.placement import PLACES, key_at, keys_of, place_of
from sinks.kafka import KafkaSink

NAMES = [f"liquidations.v1/{number}" for number in range(12)]


def test_keys_are_at_the_places_of_their_partitions_in_the_order_of_names() -> None:
    keys = keys_of(range(12))
    assert sorted(keys) == list(range(12))
    assert [place_of(keys[int(name)]) % PLACES for name in sorted(map(str, range(12)))] == list(range(12))
    assert all(key.partition("~")[0] == str(number) for number, key in keys.items())
    assert keys == keys_of(reversed(range(12)))
    assert key_at(61, "x") == key_at(1, "x")


class _Names(FixedPartitionedSource[Any, None]):
    def list_parts(self) -> list[str]:
        return NAMES

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> StatefulSourcePartition[Any, None]:
        return _Name(int(for_part.rpartition("/")[2]))


class _Name(StatefulSourcePartition[Any, None]):
    def __init__(self, number: int) -> None:
        self._told: list[Any] = [(keys_of(range(12))[number], (number, threading.get_ident()))]

    def next_batch(self) -> Sequence[Any]:
        if not self._told:
            raise StopIteration
        return [self._told.pop()]

    def snapshot(self) -> None:
        return None


class _Logic(StatefulBatchLogic[Any, Any, None]):
    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        return [(*value, threading.get_ident()) for value in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        return None


class _Seen(FixedPartitionedSink[Any, None]):
    """Lanes as those of the sink for Kafka."""

    def __init__(self, into: list[Any]) -> None:
        self._into, self._sink = into, KafkaSink(Bus("127.0.0.1:1"))

    def list_parts(self) -> list[str]:
        return self._sink.list_parts()

    def part_fn(self, item_key: str) -> int:
        return self._sink.part_fn(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> StatefulSinkPartition[Any, None]:
        return _Lane(self._into)


class _Lane(StatefulSinkPartition[Any, None]):
    def __init__(self, into: list[Any]) -> None:
        self._into = into

    def write_batch(self, values: list[Any]) -> None:
        self._into += [(*value, threading.get_ident()) for value in values]

    def snapshot(self) -> None:
        return None


@pytest.mark.parametrize("workers", [2, 3, 4, 6])
def test_reading_thinking_and_sending_happen_on_one_worker_and_the_work_is_even(workers: int) -> None:
    seen: list[tuple[int, int, int, int]] = []
    flow = Dataflow("where")
    thought = op.stateful_batch("think", op.input("read", flow, _Names()), lambda _: _Logic())
    op.output("send", thought, _Seen(seen))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert sorted(number for number, *_ in seen) == list(range(12))
    assert all(read == think == send for _, read, think, send in seen)
    shares = [sum(at == worker for _, at, *_ in seen) for worker in {at for _, at, *_ in seen}]
    assert shares == [12 // workers] * workers
