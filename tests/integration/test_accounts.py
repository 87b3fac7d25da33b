"""``breakwater executor run`` on accounts at venues of this machine: live, only looking, and killed in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.simulator.trading import SimulatedVenue
from schemas.clock import system_clock
from schemas.pairs import Leg, Pair
from sinks.executor.journal import EVERY, Journal
from tests.conftest import ROOT
from tests.connectors.venues.benches import ACCOUNT, API_KEY, KEY, STARK, USER, VAULT, VENUES, engine

HELD = Decimal(1)
SETTINGS = {
    "aster": {"USER": USER},
    "hyperliquid": {"USER": USER},
    "extended": {"VAULT": str(VAULT)},
    "lighter": {"INDEX": "77", "SIGNER": "tests.connectors.venues.benches:fake_signer"},
}
SECRETS = {
    "ASTER_KEY": KEY.get_secret_value(),
    "HYPERLIQUID_KEY": KEY.get_secret_value(),
    "EXTENDED_API_KEY": API_KEY.get_secret_value(),
    "EXTENDED_STARK_KEY": STARK.get_secret_value(),
    "LIGHTER_KEY_4": "lighter-key-4",
    "LIGHTER_KEY_5": "lighter-key-5",
}
QUESTIONS = {
    "aster": ("GET /", "POST /fapi/v3/listenKey", "PUT /fapi/v3/listenKey"),
    "hyperliquid": ("POST /info",),
    "extended": ("GET /",),
    "lighter": ("GET /",),
}
"""How every request begins that changes nothing."""
PAIRS = [("aster", "hyperliquid"), ("lighter", "extended"), ("hyperliquid", "lighter"), ("extended", "aster")]
"""Who loses its leg, and who is left."""


class Desk:
    """Two venues where a desk holds a pair, and the command that watches over it."""

    def __init__(self, home: Path, mode: str, names: tuple[str, str]) -> None:
        self.home, self.mode, self.names = home, mode, names
        self.venues: dict[str, SimulatedVenue] = {}
        self.faces: dict[str, Any] = {}

    def environment(self) -> dict[str, str]:
        found = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT),
            "BREAKWATER_EXECUTOR__MODE": self.mode, "BREAKWATER_EXECUTOR__SECRETS": str(self.home / "secrets"),
            "BREAKWATER_EXECUTOR__LIMITS__ORDER_USD": "10000", "BREAKWATER_EXECUTOR__LIMITS__TOTAL_USD": "10000",
            "BREAKWATER_LOG__LEVEL": "debug",
        }  # fmt: skip
        for name, face in self.faces.items():
            told = {"ENABLED": "true", "GATEWAY": face.endpoints.rest, **SETTINGS[name]}
            found |= {f"BREAKWATER_EXECUTOR__ACCOUNTS__{name.upper()}__{k}": v for k, v in told.items()}
        return found

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        with Journal(self.home / "data" / "executor" / f"journal-{self.mode}.sqlite") as journal:
            yield journal

    def held(self, name: str) -> Decimal:
        return self.venues[name].ledger.wallets[ACCOUNT].quantity(VENUES[name][0])

    def states(self) -> list[str]:
        with self.journal() as journal:
            return [intent.state for intent in journal.intents(EVERY)]

    def details(self) -> list[str]:
        with self.journal() as journal:
            return [intent.detail for intent in journal.intents(EVERY)]

    def alarms(self) -> set[str]:
        with self.journal() as journal:
            return {what for _, what, _, _ in journal.alarms()}

    def liquidate(self, quantity: str) -> None:
        self.venues[self.names[0]].liquidate(ACCOUNT, VENUES[self.names[0]][0], Decimal(quantity))

    def orders(self) -> list[str]:
        """Every request that is no question, as the venues saw it."""
        return [
            f"{name}: {method} {path}"
            for name, face in self.faces.items()
            for method, path, _ in face.seen
            if not f"{method} {path}".startswith(QUESTIONS[name])
        ]

    def leaks(self) -> list[str]:
        """Where a secret is written down: nowhere but in its own file, though the log tells everything it can."""
        written = [p for p in self.home.rglob("*") if p.is_file() and p.parent.name != "secrets"]
        assert {p.suffix for p in written} >= {"", ".sqlite", ".json"}
        hidden = [value.removeprefix("0x").encode() for value in SECRETS.values()]
        return [str(p) for p in written if any(value in p.read_bytes() for value in hidden)]

    @asynccontextmanager
    async def process(self, *words: str, ready: bool = True) -> AsyncIterator[asyncio.subprocess.Process]:
        """The command, once its private streams are heard."""
        with (self.home / "log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flows.cli", "executor", "run", *words,
                cwd=self.home, env=self.environment(), stderr=log,
            )  # fmt: skip
        try:
            if ready:
                await self._ready(child)
            yield child
        finally:
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
            await child.wait()

    async def told(self, *words: str, **said: str) -> tuple[int, str]:
        """What another command says."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flows.cli", *words,
            cwd=self.home, env=self.environment() | said, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await child.communicate()
        return child.returncode or 0, output.decode()

    async def _ready(self, child: asyncio.subprocess.Process) -> None:
        before = {name: self._listeners(name) for name in self.names}
        async with asyncio.timeout(30):
            while any(self._listeners(name) <= before[name] for name in self.names):
                assert child.returncode is None, (self.home / "log").read_text()
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)

    def _listeners(self, name: str) -> int:
        return len(self.venues[name].accounts.streams[ACCOUNT]._listeners)

    async def until(self, found: Any, seconds: float = 20.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not found():  # noqa: ASYNC110 - any condition at all
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail((self.home / "log").read_text())


@asynccontextmanager
async def desk(home: Path, mode: str, names: tuple[str, str], *, paired: bool = True) -> AsyncIterator[Desk]:
    """Long at the first, short at the second, everything set up for the command.

    :arg paired: whether the executor was told of it.
    """
    made = Desk(home, mode, names)
    (home / "secrets").mkdir()
    for name, value in SECRETS.items():
        (home / "secrets" / name).write_text(value)
        (home / "secrets" / name).chmod(0o600)
    legs = []
    for name, sign in zip(names, (1, -1), strict=True):
        symbol, make, _ = VENUES[name]
        made.venues[name] = engine(name, symbol, ())
        made.faces[name], _ = make(made.venues[name])
        made.venues[name].grant(ACCOUNT, symbol, HELD * sign)
        legs.append(Leg(venue=name, instrument=symbol, quantity=HELD * sign, entry_price=Decimal(3000)))
    with made.journal() if paired else nullcontext() as journal:
        opened = system_clock() - 60 * 10**9
        if journal is not None:
            journal.add_pair(Pair(pair="p", asset="ETH", legs=(legs[0], legs[1]), opened=opened))
    async with made.faces[names[0]], made.faces[names[1]]:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_live_the_other_leg_follows_and_the_account_event_is_kept(tmp_path: Path, names: tuple[str, str]) -> None:
    async def story() -> None:
        async with desk(tmp_path, "live", names) as d:
            async with d.process("--live"):
                d.liquidate("0.4")
                await d.until(lambda: d.states() == ["done"])
            assert d.held(names[1]) == Decimal("-0.6")
            assert d.held(names[0]) == Decimal("0.6")
            assert d.orders()
            with d.journal() as journal:
                (intent,) = journal.intents(EVERY)
                assert (intent.state, intent.order.intent) == ("done", "emergency_close")
                assert intent.order.reason.endswith(names[0].upper())
                told = [event for _, event in journal.events() if event.event == "liquidation"]
                assert {(e.venue, e.asset, e.position) for e in told} == {(names[0], "ETH", "long")}
            assert d.leaks() == []

    asyncio.run(story())


@pytest.mark.slow
@pytest.mark.parametrize("names", PAIRS[:2], ids="-".join)
def test_shadow_everything_is_seen_and_decided_and_no_order_leaves(tmp_path: Path, names: tuple[str, str]) -> None:
    async def story() -> None:
        async with desk(tmp_path, "shadow", names) as d:
            async with d.process():
                d.liquidate("0.4")
                await d.until(lambda: any("would have sent" in detail for detail in d.details()))
                # Longer than the executor waits before it looks again and asks the gate again.
                await asyncio.sleep(1.5)
            assert d.orders() == []
            assert d.held(names[1]) == -HELD
            (detail,) = d.details()
            symbol = VENUES[names[1]][0]
            assert f"would have sent: buy 0.4 {symbol} on {names[1]} at 30" in detail
            assert detail.endswith("ioc, reduce-only")
            assert d.states() == ["waiting"], "the book is not safe: nobody has closed it"
            with d.journal() as journal:
                reports = [r for r in journal.reports() if r.what == "withheld"]
                assert [(r.venue, r.side, r.quantity, r.reduce_only) for r in reports] == [
                    (names[1], "buy", Decimal("0.4"), True)
                ]
                assert not journal.unsettled()
            assert "would have sent" in (d.home / "log").read_text()
            assert d.leaks() == []

    asyncio.run(story())


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.008, 0.03])
def test_killed_in_between_and_started_again_it_comes_to_the_same_end(tmp_path: Path, after: float) -> None:
    names = ("aster", "hyperliquid")

    async def story() -> None:
        async with desk(tmp_path, "live", names) as d:
            async with d.process("--live") as first:
                d.liquidate("0.4")
                await asyncio.sleep(after)
                os.kill(first.pid, signal.SIGKILL)
                await first.wait()
            async with d.process("--live"):
                await d.until(lambda: d.states() == ["done"])
            assert (d.held(names[0]), d.held(names[1])) == (Decimal("0.6"), Decimal("-0.6"))
            with d.journal() as journal:
                attempts = journal.attempts([intent.order.intent_id for intent in journal.intents(EVERY)])
                assert sum(attempt.filled for attempt in attempts) == Decimal("0.4")

    asyncio.run(story())


@pytest.mark.slow
def test_a_pair_added_while_it_runs_is_compared_with_the_accounts_and_then_protected(tmp_path: Path) -> None:
    """Nobody had said which contracts there would be: they are asked for without stopping what runs."""
    names = ("lighter", "hyperliquid")

    async def story() -> None:
        async with desk(tmp_path, "live", names, paired=False) as d, d.process("--live", ready=False):
            add = ("executor", "pair", "add", "p", "ETH", "lighter:ETH:{}@3000", "hyperliquid:ETH:-{}@3000")
            code, output = await d.told(*(word.format(2) for word in add), NO_COLOR="1", COLUMNS="200")
            assert (code, "lighter holds 1 ETH, not 2" in output) == (2, True), output
            code, output = await d.told(*(word.format(1) for word in add))
            assert code == 0, output
            await d.until(lambda: all(d._listeners(name) for name in names))
            await asyncio.sleep(0.5)
            d.liquidate("0.4")
            await d.until(lambda: d.states() == ["done"])
            assert (d.held(names[0]), d.held(names[1])) == (Decimal("0.6"), Decimal("-0.6"))

    asyncio.run(story())


@pytest.mark.slow
def test_doctor_reads_the_accounts_and_changes_nothing(tmp_path: Path) -> None:
    def of(output: str, venue: str) -> list[tuple[str, str]]:
        findings = json.loads(output[output.index("[{") :])
        return [(f["verdict"], f["found"]) for f in findings if f["subject"] == f"account {venue}"]

    async def story() -> None:
        async with desk(tmp_path, "shadow", ("aster", "hyperliquid")) as d:
            _, output = await d.told("doctor", "--json")
            assert of(output, "aster") == [
                ("OK", "its clock and this one agree"),
                ("OK", "the key is accepted; equity 10,000.00 USD, holds ETHUSDT 1"),
                ("OK", "one-way mode"),
                ("WARN", "not told: whether the key may trade, the key may not withdraw"),
            ]
            assert of(output, "hyperliquid")[-1] == ("OK", "one-way mode, the key may trade, the key may not withdraw")
            other = "0x" + "18" * 32
            code, output = await d.told("doctor", "--json", ASTER_KEY=other, HYPERLIQUID_KEY=other)
            assert code == 1
            verdict, found = of(output, "aster")[1]
            assert (verdict, "Signature for this request is not valid" in found) == ("FAIL", True)
            assert ("FAIL", "the key may not trade on it") in of(output, "hyperliquid")
            assert d.orders() == []

    asyncio.run(story())


@pytest.mark.slow
def test_doctor_reads_the_other_accounts_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path, "shadow", ("lighter", "extended")) as d:
            _, output = await d.told("doctor")
            for line in (
                "OK    account lighter: the key is accepted; equity 10,000.00 USD, holds ETH 1",
                "OK    account extended: the key is accepted; equity 10,000.00 USD, holds ETH-USD -1",
                "OK    account extended: one-way mode, the key may trade",
            ):
                assert line in output, output
            assert d.orders() == []

    asyncio.run(story())


@pytest.mark.slow
def test_a_venue_that_is_away_at_the_start_keeps_nobody_from_watching_the_other(tmp_path: Path) -> None:
    """Its contracts are known from the last time; its silence is an alarm, and closes nothing by itself."""
    names = ("hyperliquid", "aster")

    async def story() -> None:
        async with desk(tmp_path, "live", names) as d:
            async with d.process("--live"):
                pass
            await d.faces["hyperliquid"].stop()
            seen = len(d.faces["aster"].seen)
            async with d.process("--live", ready=False) as child:
                await d.until(lambda: d.alarms() == {"outage"})
                assert child.returncode is None
                assert len(d.faces["aster"].seen) > seen
            assert d.states() == []
            assert d.held("aster") == -HELD

    asyncio.run(story())
