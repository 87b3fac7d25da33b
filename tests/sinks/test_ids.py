"""What a writer has taken lately: the same after any restart, whatever was written past the snapshot."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import HistoryError
from sinks.ids import IdLog, Ids


def ids(*numbers: int) -> Ids:
    """As they are taken."""
    return np.array(numbers, np.uint64)


def files(data_dir: Path) -> list[str]:
    """Their names."""
    return sorted(path.name for path in (data_dir / "history" / "_ids").iterdir())


def test_a_restarted_writer_knows_the_full_file_and_the_one_begun(tmp_path: Path) -> None:
    written = IdLog(tmp_path, "w", 3)
    written.append(ids(1, 2, 3, 4))
    written.append(ids(2**64 - 1))
    assert written.snapshot() == 5
    assert files(tmp_path) == ["w-000000.ids", "w-000001.ids"]
    assert (tmp_path / "history" / "_ids" / "w-000001.ids").read_bytes() == b"\4" + bytes(7) + b"\xff" * 8
    old, young = IdLog(tmp_path, "w", 3).rewind(5)
    assert (old.tolist(), young.tolist()) == ([1, 2, 3], [4, 2**64 - 1])


def test_what_no_snapshot_needs_is_removed_and_what_the_one_before_needs_is_not(tmp_path: Path) -> None:
    written = IdLog(tmp_path, "w", 2)
    for first in range(0, 12, 4):
        written.append(ids(*range(first, first + 4)))
        assert written.snapshot() == first + 4
    assert files(tmp_path) == [f"w-00000{n}.ids" for n in (3, 4, 5)]
    old, young = IdLog(tmp_path, "w", 2).rewind(8)
    assert (old.tolist(), young.tolist()) == ([6, 7], [])


def test_a_lost_file_is_said_and_does_not_stop_anybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, young = IdLog(tmp_path, "w", 4).rewind(6)
    assert (old.tolist(), young.tolist()) == ([], [])
    assert "ids written lately are not known any more" in capsys.readouterr().out


def test_a_disk_that_refuses_is_named_and_nothing_is_forgotten(tmp_path: Path) -> None:
    written = IdLog(tmp_path, "w", 4)
    (tmp_path / "history" / "_ids" / "w-000000.ids").mkdir()
    written.append(ids(1, 2))
    with pytest.raises(HistoryError, match=r"cannot write history to .*w-000000\.ids"):
        written.snapshot()
    (tmp_path / "history" / "_ids" / "w-000000.ids").rmdir()
    assert written.snapshot() == 2
    assert IdLog(tmp_path, "w", 4).rewind(2)[1].tolist() == [1, 2]


lives = st.lists(st.tuples(st.lists(st.integers(0, 12), max_size=5), st.booleans()), max_size=6)


@given(st.lists(lives, max_size=5), st.integers(1, 5))
def test_after_any_crash_the_last_ids_are_those_of_the_snapshot(
    told: list[list[tuple[list[int], bool]]], size: int
) -> None:
    """Each life takes some ids and makes some snapshots; what came after the last one was never there."""
    with TemporaryDirectory() as directory:
        settled, number = list[int](), 0
        for life in told:
            log = IdLog(Path(directory), "w", size)
            old, young = log.rewind(len(settled))
            full = len(settled) // size * size
            assert young.tolist() == settled[full:]
            assert old.tolist() == settled[max(0, full - size) : full]
            taken = list(settled)
            for lengths, keeps in life:
                for length in lengths:
                    fresh = list(range(number, number + length))
                    number += length
                    log.append(ids(*fresh))
                    taken += fresh
                if keeps:
                    assert log.snapshot() == len(taken)
                    settled = list(taken)
