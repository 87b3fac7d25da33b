"""Recovery stores: whatever is killed when, the state a worker resumes with belongs to the place it reads on from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.recovery import drop_unfinished, first_begun, make, writer_of
from schemas.errors import UsageError

Act = Literal["message", "nothing", "message killed", "killed"]
"""What an epoch brings; killed at its end, when the sink would have waited for the brokers, or before it has begun."""


class _Numbers(StatefulSourcePartition[tuple[str, int], int]):
    """1, 2, 3 … by the acts."""

    def __init__(self, acts: Sequence[Act], last: int, deaths: list[bool]) -> None:
        self._acts, self._last, self._deaths = list(acts), last, deaths

    def next_batch(self) -> list[tuple[str, int]]:
        if not self._acts:
            raise StopIteration
        act = self._acts.pop(0)
        if act == "killed":
            raise _Killed
        self._deaths.append(act == "message killed")
        if act == "nothing":
            return []
        self._last += 1
        return [("key", self._last)]

    def snapshot(self) -> int:
        return self._last


class _Source(FixedPartitionedSource[tuple[str, int], int]):
    def __init__(self, acts: Sequence[Act], deaths: list[bool]) -> None:
        self._acts, self._deaths = acts, deaths

    def list_parts(self) -> list[str]:
        return ["numbers"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Numbers:
        return _Numbers(self._acts, resume_state or 0, self._deaths)


class _Known(StatefulBatchLogic[int, list[int], list[int]]):
    """Tells all it knows each time."""

    def __init__(self, resume: list[int] | None) -> None:
        self._known = resume or []

    def on_batch(self, values: list[int]) -> tuple[list[list[int]], bool]:
        self._known = self._known + values
        return [self._known], False

    def snapshot(self) -> list[int]:
        return self._known


class _Settling(StatefulSinkPartition[list[int], None]):
    """Dies at the end of an epoch, when it would have waited for the brokers."""

    def __init__(self, told: list[list[int]], deaths: list[bool]) -> None:
        self._told, self._deaths = told, deaths

    def write_batch(self, values: list[list[int]]) -> None:
        self._told += values

    def snapshot(self) -> None:
        if self._deaths and self._deaths[-1]:
            raise _Killed


class _Sink(FixedPartitionedSink[list[int], None]):
    def __init__(self, told: list[list[int]], deaths: list[bool]) -> None:
        self._made = (told, deaths)

    def list_parts(self) -> list[str]:
        return ["settling"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Settling:
        return _Settling(*self._made)


class _Killed(Exception):
    """Stands for kill -9: nothing of the engine runs after it."""


def execution(store: Path, acts: Sequence[Act]) -> list[list[int]]:
    """One life of a worker, an epoch for each act; what it told."""
    told: list[list[int]] = []
    deaths: list[bool] = []
    flow = Dataflow("flow")
    known = op.stateful_batch("known", op.input("numbers", flow, _Source(acts, deaths)), _Known)
    op.output("told", known, _Sink(told, deaths))
    with suppress(_Killed, BytewaxRuntimeError):
        cli_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(store))
    return told


def states(store: Path) -> list[tuple[str, int]]:
    """Which step's states of which epochs a store holds."""
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as database:
        return database.execute("SELECT step_id, snap_epoch FROM snaps ORDER BY 1, 2").fetchall()


FIRST: tuple[Act, ...] = ("message", "message killed")
THEN: tuple[Act, ...] = ("nothing", "nothing", "killed")


def test_what_an_unfinished_epoch_left_would_count_later_and_is_forgotten(tmp_path: Path) -> None:
    """The first half says why ``drop_unfinished`` exists: should it fail, the engine has been mended."""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for store in (broken, whole):
        make(store)
        assert execution(store, FIRST) == [[1], [1, 2]]
        assert ("flow.known", 2) in states(store)
    assert execution(broken, THEN) == []
    assert execution(broken, ["message"]) == [[1, 2, 2]]

    assert drop_unfinished(whole) == 2
    assert states(whole) == [("flow.known", 1), ("flow.numbers", 1), ("flow.told", 1)]
    assert execution(whole, THEN) == []
    assert drop_unfinished(whole) == 0
    assert execution(whole, ["message"]) == [[1, 2]]


acts = st.lists(st.sampled_from(["message", "nothing", "message killed", "killed"]), min_size=1, max_size=4)


@settings(max_examples=25)
@given(lives=st.lists(acts, min_size=1, max_size=4))
def test_whatever_is_killed_when_each_number_is_known_once(lives: list[list[Act]]) -> None:
    with TemporaryDirectory() as directory:
        store = Path(directory)
        make(store)
        for life in [*lives, ["message"]]:
            drop_unfinished(store)
            told = execution(store, life)
            for known in told:
                assert known == list(range(1, len(known) + 1))
        assert told


def test_a_store_is_made_once_and_names_the_writer_of_its_archive(tmp_path: Path) -> None:
    make(tmp_path / "archive")
    execution(tmp_path / "archive", ["message"])
    kept, first = states(tmp_path / "archive"), writer_of(tmp_path / "archive")
    make(tmp_path / "archive")
    assert (states(tmp_path / "archive"), writer_of(tmp_path / "archive")) == (kept, first)
    make(tmp_path / "another")
    assert writer_of(tmp_path / "another") != first
    assert sorted(path.name for path in (tmp_path / "another").iterdir()) == [
        "layout", "part-0.sqlite3", "writer",
    ]  # fmt: skip


def test_a_store_of_another_version_is_refused_and_one_the_engine_made_is_not(tmp_path: Path) -> None:
    """Nothing of it would be found under its names, and a worker would think it had forgotten the last minutes."""
    ours, made = tmp_path / "ours", tmp_path / "made"
    make(ours)
    make(ours)
    (ours / "layout").unlink()
    for refused in (make, drop_unfinished):
        with pytest.raises(UsageError, match=r"ours is a recovery store of layout 1, this version keeps 2: move it"):
            refused(ours)
    made.mkdir()
    init_db_dir(made, 1)
    make(made)
    assert drop_unfinished(made) == 0


def test_a_store_of_several_parts_is_judged_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 3)
    assert drop_unfinished(tmp_path) == 0
    execution(tmp_path, FIRST)
    assert drop_unfinished(tmp_path) == 2
    assert execution(tmp_path, ["message"]) == [[1, 2]]
    (tmp_path / "part-1.sqlite3").unlink()
    with pytest.raises(
        UsageError, match=r"holds 2 of the 3 parts of a recovery store: all hosts must see one directory"
    ):
        drop_unfinished(tmp_path)


def test_without_a_store_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert drop_unfinished(tmp_path / "nothing") == 0
    assert writer_of(tmp_path / "nothing") == "archive"


def test_a_store_knows_when_a_worker_first_began_with_it(tmp_path: Path) -> None:
    make(tmp_path / "execute")
    assert first_begun(tmp_path / "execute", 17) is None
    assert first_begun(tmp_path / "execute", 18) == 17
    assert first_begun(tmp_path / "nothing", 17) is None
