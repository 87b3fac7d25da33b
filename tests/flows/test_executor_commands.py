"""The executor's switches, as a person uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from schemas.clock import SECOND
from schemas.orders import OrderIntent
from schemas.pairs import Hint
from sinks.executor.journal import Journal

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def invoke(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["executor", *words])
        return done.exit_code, done.output

    return invoke


def test_a_pair_is_added_shown_closed_and_stopped(run: Run) -> None:
    legs = ("aster:BTCUSDT:0.5@60000", "lighter:1:-0.5@60010")
    assert run("pair", "add", "basis", "btc", *legs)[0] == 0
    code, told = run("pair", "add", "again", "BTC", *legs)
    assert (code, "already belongs to pair 'basis'" in told) == (1, True)
    (pair,) = json.loads(run("positions", "--json")[1])
    assert [leg["quantity"] for leg in pair["legs"]] == ["0.5", "-0.5"]
    assert run("close", "basis", "--reason", "ROTATION")[1].strip() == "handed in"
    assert run("close", "basis")[1].strip() == "already under way"
    (intent,) = json.loads(run("intents", "--json")[1])
    assert (intent["state"], intent["intent"]["reason"]) == ("waiting", "ROTATION")
    assert run("halt", "--reason", "keys")[0] == 0
    status = json.loads(run("status", "--json")[1])
    assert (status["control"], status["reason"], status["under_way"]) == ("HALTED", "keys", 1)
    assert (status["noticed"], status["hints"]) == ([], [])
    assert run("halt", "--reduce-only")[1].strip() == "REDUCE_ONLY"
    assert run("resume")[1].strip() == "ACTIVE"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pair", "add", "p", "BTC", "aster:X:1", "lighter:Y:1"), "do not cancel out"),
        (("pair", "add", "p", "BTC", "aster:X", "lighter:Y:-1"), "is no leg"),
        (("pair", "add", "p", "BTC", "astre:X:1", "lighter:Y:-1"), "no venue 'astre'"),
        (("close", "nothing"), "no living pair 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(run: Run, words: tuple[str, ...], told: str) -> None:
    code, said = run(*words)
    assert code == 2
    assert told in " ".join(said.replace("│", " ").split())


def test_status_says_how_soon_things_were_noticed_and_how_venues_are_watched(run: Run, tmp_path: Path) -> None:
    assert run("status")[0] == 0
    (path,) = tmp_path.rglob("journal.sqlite")
    notice = OrderIntent(
        intent_id="i", intent="emergency_close", pair="p", asset="BTC", cause="c", reason="ADL_ASTER", policy="1",
        created=0, expires=None, detected=2_500_000, path="private_notice",
    )  # fmt: skip
    hint = Hint(venue="aster", what="closed", source="feed closes", until=4_000_000_000 * SECOND, reason="it is silent")
    with Journal(path) as journal:
        journal.insert_intent(notice)
        journal.keep_hint(hint)
    told = run("status")[1]
    assert "1 noticed by private_notice, p50 2.5 ms, p99 2.5 ms" in told
    assert "aster closed until 2096-10-02 07:06:40.000+00:00: it is silent" in told
    status = json.loads(run("status", "--json")[1])
    assert status["noticed"] == [{"path": "private_notice", "count": 1, "p50": 2.5, "p99": 2.5}]
    assert [entry["reason"] for entry in status["hints"]] == ["it is silent"]
