"""How a worker is run: the line that is printed does what the command does, and what cannot be is refused."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from flows.cluster import Plan, built
from schemas.errors import UsageError


def test_the_printed_line_is_the_engines_own_with_recovery_and_what_was_said(tmp_path: Path) -> None:
    plan = Plan("cascades", tmp_path / "r", snapshot=5, bounded=True, environment={"BREAKWATER_DATA_DIR": "a b"})
    assert shlex.split(plan.line()) == [
        "BREAKWATER_DATA_DIR=a b", "python", "-m", "bytewax.run",
        f'flows.cascades:build(bounded=True, recovery="{tmp_path}/r")', "-r", str(tmp_path / "r"), "-s", "5", "-b", "0",
    ]  # fmt: skip
    cluster = Plan("cascades", tmp_path, process_id=1, addresses=("a:1", "b:2"))
    assert cluster.arguments()[-4:] == ["-i", "1", "-a", "a:1;b:2"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": "dance"}, "there are capture, normalise, cascades, archive, execute"),
        ({"name": "capture", "processes": 2}, "give each its own by --venue"),
        ({"addresses": ("a:1",)}, "told by -i"),
        ({"addresses": ("a:1",), "process_id": 1}, "counted from 0"),
        ({"addresses": ("a:1", "b:1"), "process_id": 0, "processes": 2}, "one process each"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        Plan(**{"name": "cascades", "recovery": tmp_path, **options})  # type: ignore[arg-type] # whatever a test says


def test_a_worker_that_is_not_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flows.execute", None)
    with pytest.raises(UsageError, match="no worker 'execute' in this installation"):
        built(Plan("execute", tmp_path))
