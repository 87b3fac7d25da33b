"""What the executor refuses to begin with, each by name and with what to do; nothing of it reaches a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from connectors.venues import signing
from flows.cli import app
from schemas.clock import system_clock
from schemas.instruments import Instrument
from schemas.pairs import Leg, Pair
from sinks.executor.journal import Journal

Run = Callable[..., tuple[int, str]]
USER = "0x" + "aa" * 20
CAPS = {"LIMITS__ORDER_USD": "1000", "LIMITS__TOTAL_USD": "1000"}
ASTER = {
    "ACCOUNTS__ASTER__ENABLED": "true",
    "ACCOUNTS__ASTER__USER": USER,
    "ACCOUNTS__ASTER__GATEWAY": "http://127.0.0.1:9",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def invoke(*words: str, **said: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in said.items():
                patch.setenv(name if name == "ASTER_KEY" else f"BREAKWATER_EXECUTOR__{name}", value)
            done = CliRunner().invoke(app, [*words])
        return done.exit_code, " ".join(done.output.replace("│", " ").split())

    return invoke


def held(mode: str, *venues: str) -> None:
    """A pair in the journal of a mode."""
    with Journal(Path("data/executor") / f"journal-{mode}.sqlite") as journal:
        legs = [Leg(venue=v, instrument=f"{v}-{n}", quantity=Decimal(1 - 2 * n)) for n, v in enumerate(venues)]
        journal.add_pair(Pair(pair="p", asset="ETH", legs=(legs[0], legs[1]), opened=system_clock()))


@pytest.mark.parametrize(
    ("words", "said", "told"),
    [
        (("--live",), {"MODE": "shadow"}, '--live, but executor.mode is shadow: set executor.mode = "live"'),
        (("--live",), {}, "--live, but executor.mode is paper"),
        ((), {"MODE": "live", **CAPS, **ASTER}, "executor.mode is live: say --live as well to send orders"),
        (("--live",), {"MODE": "live", **ASTER}, "executor.limits.order_usd and executor.limits.total_usd 0"),
        (("--live",), {"MODE": "live", "LIMITS__ORDER_USD": "5", **ASTER}, "with executor.limits.total_usd 0"),
        ((), {"MODE": "shadow"}, "executor.mode is shadow and no account is in use"),
        ((), {"MODE": "shadow", **ASTER, "ACCOUNTS__ASTER__USER": ""}, "accounts.aster is enabled without user"),
        ((), {"MODE": "shadow", "ACCOUNTS__ASTRE__ENABLED": "true"}, "did you mean 'BREAKWATER_EXECUTOR__ACC"),
        ((), {"MODE": "shadow", "ACCOUNTS__ASTER__USER": "0x12"}, "'0x12' is no account: write 0x and 40 hex digits"),
        ((), {"MODE": "shadow", "ACCOUNTS__ASTER__GATEWAY": "http://10.0.0.1:80"}, "keys over the network"),
        (
            (), {"MODE": "shadow", "ACCOUNTS__LIGHTER__ENABLED": "true", "ACCOUNTS__LIGHTER__INDEX": "7"},
            "executor.accounts.lighter is enabled without signer",
        ),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_refused(run: Run, words: tuple[str, ...], said: dict[str, str], told: str) -> None:
    code, output = run("executor", "run", *words, **said)
    assert (code, told in output) == (2, True), output


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        ("deribit", "pair p has a leg at deribit, where nobody here can trade: there are aster, lighter, extended"),
        ("okx", "no account is in use: set executor.accounts.okx.enabled = true"),
    ],
)
def test_a_pair_at_a_venue_without_an_account_is_refused(run: Run, venue: str, told: str) -> None:
    held("shadow", "aster", venue)
    code, output = run("executor", "run", MODE="shadow", **ASTER)
    assert (code, told in output) == (2, True), output
    code, output = run("executor", "pair", "add", "q", "ETH", "aster:Y:1", f"{venue}:Y:-1", MODE="shadow", **ASTER)
    assert (code, venue in output) == (2, True), output


def kept(tmp_path: Path) -> None:
    """A listing, as the last run left it: the venue need not be asked."""
    folder = tmp_path / "data" / "executor" / "contracts-shadow"
    folder.mkdir(parents=True)
    names = ("aster-0", "aster-1")
    listed = [Instrument("aster", name, "ETH", 1.0, "base") for name in names]
    (folder / "aster.json").write_bytes(msgspec.json.encode(listed))


def test_a_secret_that_is_missing_open_or_none_is_told_by_name_and_never_shown(run: Run, tmp_path: Path) -> None:
    held("shadow", "aster", "aster")
    kept(tmp_path)
    said = {"MODE": "shadow", **ASTER}
    code, output = run("executor", "run", **said)
    assert (code, "account at aster: no secret ASTER_KEY: set the environment variable" in output) == (
        2,
        True,
    )
    place = tmp_path / "secrets"
    place.mkdir()
    (place / "ASTER_KEY").write_text("hush")
    (place / "ASTER_KEY").chmod(0o644)
    code, output = run("executor", "run", **said, SECRETS=str(place))
    assert (code, f"may be read by others: chmod 600 {place}" in output) == (2, True), output
    (place / "ASTER_KEY").chmod(0o600)
    code, output = run("executor", "run", **said, SECRETS=str(place))
    assert (code, "account at aster: the key is no private key" in output, "hush" in output) == (2, True, False)
    listed = json.loads(run("config", "show", "--json", **said, SECRETS=str(place))[1])
    assert listed["ASTER_KEY"] == {"value": "**********", "origin": str(place / "ASTER_KEY")}
    told = run("config", "show", **said, ASTER_KEY="hush")[1]
    assert 'ASTER_KEY "**********" (env)' in told
    assert "hush" not in told
    assert "ASTER_KEY null (missing: no secret ASTER_KEY" in run("config", "show", **said)[1]


def test_a_missing_extra_says_the_install_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held("shadow", "aster", "aster")
    kept(tmp_path)
    monkeypatch.setattr(signing, "HAVE_ETH", False)
    code, output = run("executor", "run", MODE="shadow", **ASTER, ASTER_KEY="0x" + "17" * 32)
    assert (code, "pip install 'breakwater[live]'" in output) == (3, True), output


def test_paper_shadow_and_live_each_have_a_journal(run: Run) -> None:
    """What happened on paper did not happen to an account."""
    legs = ("aster:BTCUSDT:0.5@60000", "lighter:BTC:-0.5@60010")
    assert run("executor", "pair", "add", "p", "BTC", *legs)[0] == 0
    for mode in ("shadow", "live"):
        words = ("executor", "pair", "add", mode, "BTC", *legs, "--unchecked")
        assert run(*words, MODE=mode)[0] == 0
        assert run("executor", "pair", "list", MODE=mode)[1] == mode
    assert run("executor", "pair", "list")[1] == "p"
    assert sorted(p.name for p in Path("data/executor").glob("*.sqlite")) == [
        "journal-live.sqlite", "journal-shadow.sqlite", "journal.sqlite"
    ]  # fmt: skip


def test_a_close_on_paper_goes_on_where_the_executor_was_started_anew(run: Run) -> None:
    """Its waiting orders ended with the paper venues of the first process; the second asks nobody about them."""
    assert run("executor", "pair", "add", "p", "BTC", "aster:BTCUSDT:0.5@60000", "lighter:BTC:-0.5@60010")[0] == 0
    assert run("executor", "close", "p")[0] == 0
    assert run("executor", "run", "--duration", "1", FALLBACK="1h", REPRICE="1h")[0] == 0
    with Journal(Path("data/executor/journal.sqlite")) as journal:
        assert {attempt.state for attempt in journal.unsettled()} == {"acked"}
    assert run("executor", "run", "--duration", "4", CLOSE_MODE="market_only")[0] == 0
    with Journal(Path("data/executor/journal.sqlite")) as journal:
        (pair,) = journal.pairs(living=False)
        assert (pair.reason, pair.closed is not None, [leg.quantity for leg in pair.legs]) == ("MANUAL", True, [0, 0])
        assert journal.unsettled() == []


def test_who_speaks_of_another_journal_than_that_at_work_is_told(run: Run) -> None:
    """Somebody whose shell does not know the mode of the service would halt the wrong executor."""
    held("live", "aster", "hyperliquid")
    with Journal(Path("data/executor/journal-live.sqlite")) as journal:
        assert "note" not in run("executor", "status")[1]
        journal.claim()
        told = "note: an executor is at work with mode live; this is about mode paper"
        assert told in run("executor", "halt")[1]
        assert run("executor", "status", MODE="live")[1].startswith("ACTIVE, epoch 1")
        assert journal.control().state == "ACTIVE"


def test_config_check_looks_at_accounts_too(run: Run) -> None:
    assert run("config", "check", **ASTER)[0] == 0
    code, output = run("config", "check", **{**ASTER, "ACCOUNTS__ASTER__USER": ""})
    assert (code, "executor.accounts.aster is enabled without user" in output) == (2, True)
