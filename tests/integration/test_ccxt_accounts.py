"""``breakwater executor run`` on accounts at venues ccxt signs for: a close, written down or carried out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.clock import system_clock
from schemas.pairs import Leg, Pair
from sinks.executor.journal import EVERY, Intent, Journal
from tests.conftest import ROOT
from tests.connectors.venues.ccxt_loopback import KEY, PASSPHRASE, SECRET, State, loopback
from tests.connectors.venues.test_ccxt_markets import LISTED, VOICES

HELD = {"okx": ("0.5", "50"), "gate": ("-0.5", "-5000")}
"""Base units of each leg, and how many contracts the venue calls that."""


class Desk:
    def __init__(self, home: Path, mode: str, states: dict[str, State], bases: dict[str, str]) -> None:
        self.home, self.mode, self.states, self.bases = home, mode, states, bases

    def environment(self) -> dict[str, str]:
        found = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT),
            "BREAKWATER_EXECUTOR__MODE": self.mode, "BREAKWATER_EXECUTOR__CLOSE_MODE": "market_only",
            "BREAKWATER_EXECUTOR__LIMITS__ORDER_USD": "1", "BREAKWATER_EXECUTOR__LIMITS__TOTAL_USD": "1",
        }  # fmt: skip
        for venue, base in self.bases.items():
            account = f"BREAKWATER_EXECUTOR__ACCOUNTS__{venue.upper()}"
            found |= {f"{account}__ENABLED": "true", f"{account}__GATEWAY": base}
            secrets = {"KEY": KEY, "SECRET": SECRET, "PASSPHRASE": PASSPHRASE}
            found |= {f"{venue.upper()}_API_{what}": value for what, value in secrets.items()}
        return found

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "flows.cli", "executor", *words]

    def intents(self) -> list[Intent]:
        with Journal(self.home / "data" / "executor" / f"journal-{self.mode}.sqlite") as journal:
            return journal.intents(EVERY)

    def follow(self) -> None:
        """Positions at the venues are what their filled orders leave."""
        for state in self.states.values():
            if any(order.state == "filled" for order in [*state.orders.values()]):
                state.position = "0"


@contextmanager
def desk(home: Path, mode: str) -> Iterator[Desk]:
    """Long at one, short at the other."""
    with loopback(VOICES["okx"]) as (okx, one), loopback(VOICES["gate"]) as (gate, two):
        states = {"okx": one, "gate": two}
        legs = []
        for venue, state in states.items():
            name, pages = LISTED[venue]
            state.pages |= pages
            state.position = HELD[venue][1]
            legs.append(Leg(venue=venue, instrument=name, quantity=Decimal(HELD[venue][0])))
        with Journal(home / "data" / "executor" / f"journal-{mode}.sqlite") as journal:
            journal.add_pair(Pair(pair="p", asset="BTC", legs=(legs[0], legs[1]), opened=system_clock()))
        yield Desk(home, mode, states, {"okx": okx, "gate": gate})


def closed(d: Desk, *words: str, enough: str) -> Intent:
    """The intent of a close somebody asks for, once the running executor has come as far as that."""
    with (d.home / "log").open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - our own program
            d.command("run", *words), cwd=d.home, env=d.environment(), stderr=log
        )
    try:
        said = subprocess.run(  # noqa: S603 - our own program
            d.command("close", "p"), cwd=d.home, env=d.environment(), capture_output=True, text=True, check=True
        )
        assert said.stderr.strip() == "handed in"
        for _ in range(400):
            d.follow()
            (intent,) = d.intents()
            if enough in f"{intent.state} {intent.detail}":
                return intent
            assert child.poll() is None, (d.home / "log").read_text()
            time.sleep(0.05)
        pytest.fail(f"{intent}\n{(d.home / 'log').read_text()}")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(10)


@pytest.mark.slow
def test_shadow_a_close_is_written_down_and_nothing_arrives(tmp_path: Path) -> None:
    with desk(tmp_path, "shadow") as d:
        intent = closed(d, enough="would have sent")
        assert intent.state == "waiting"
        assert "0.5" in intent.detail
        assert {venue: state.orders for venue, state in d.states.items()} == {"okx": {}, "gate": {}}
        for state in d.states.values():
            assert {request.method for request in state.seen} == {"GET"}


@pytest.mark.slow
def test_live_both_legs_are_closed(tmp_path: Path) -> None:
    """In contracts, reduce-only, whatever the caps on new risk are."""
    with desk(tmp_path, "live") as d:
        assert closed(d, "--live", enough="done").order.reason == "MANUAL"
        placed = {venue: [*state.orders.values()] for venue, state in d.states.items()}
        assert [(o.side, o.quantity, o.reduce_only, o.state) for o in placed["okx"]] == [("sell", "50", True, "filled")]
        assert [(o.quantity, o.reduce_only, o.state) for o in placed["gate"]] == [("5000", True, "filled")]
        # These venues have no sockets here: what would be a stream is polled.
        assert not [why for state in d.states.values() for why in state.refused if "websocket" not in why]
