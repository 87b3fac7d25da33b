"""From what is told to an intent in the journal, and from the journal to reports."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource, run_main
from msgspec.structs import replace

from flows.domain.detection import Detector
from flows.noticing import Noticing
from schemas.bus import Bus
from schemas.cascades import COMPONENTS, Signal
from schemas.clock import SECOND
from schemas.orders import Account, Known, OrderIntent
from schemas.pairs import Leg, Pair
from schemas.records import AccountEvent
from sinks.executor.journal import Journal
from sinks.executor.sink import JournalSink

NOW = 1_000 * SECOND
PAIR = Pair(
    pair="p", asset="BTC", opened=1,
    legs=(
        Leg(venue="aster", instrument="BTCUSDT", quantity=Decimal("0.5")),
        Leg(venue="lighter", instrument="1", quantity=Decimal("-0.5")),
    ),
)  # fmt: skip
NOTICE = AccountEvent(
    event_id="e1", venue="aster", instrument="BTCUSDT", asset="BTC", event="liquidation", position="long",
    order_side="sell", price=60_000.0, quantity=0.5, notional_usd=30_000.0, state="flat", remaining=0.0, order_id="",
    client_id="", detail="autoclose", event_time=NOW - SECOND, receive_time=NOW,
)  # fmt: skip
CRITICAL = Signal(
    signal_id="s1", asset="BTC", level="CRITICAL", previous="ALERT", score=0.8, components=dict.fromkeys(COMPONENTS),
    weights={}, context={}, boosted=False, side="long", events_per_second=60.0, usd_per_second=1e6, acceleration=30.0,
    window="2s", cascade_id=None, event_time=NOW - SECOND, receive_time=NOW, event_id="x", floor=True, rules="r",
)  # fmt: skip


def account(liquidation_price: int) -> Account:
    held = Known(
        instrument="BTCUSDT", quantity=Decimal("0.5"), mark_price=Decimal(60_000),
        liquidation_price=Decimal(liquidation_price),
    )  # fmt: skip
    return Account(venue="aster", positions={"BTCUSDT": held}, equity=None, free_margin=None, time=NOW)


def journal(path: Path, liquidation_price: int = 40_000) -> Path:
    with Journal(path / "j") as made:
        made.add_pair(PAIR)
        made.keep_account(account(liquidation_price))
    return path / "j"


def noticing(path: Path) -> Noticing:
    return Noticing(Bus("127.0.0.1:1"), path, Detector({}), lambda: NOW)


def test_a_notice_of_a_liquidation_becomes_an_emergency(tmp_path: Path) -> None:
    (intent,) = noticing(journal(tmp_path)).notice(NOTICE)
    assert (intent.intent, intent.pair, intent.reason, intent.path) == (
        "emergency_close", "p", "LIQUIDATION_ASTER", "private_notice"
    )  # fmt: skip
    assert (intent.cause, intent.created, intent.detected, intent.expires) == ("e1", NOW - SECOND, NOW, None)


def test_a_cascade_reduces_the_pair_whose_leg_is_near_and_only_that(tmp_path: Path) -> None:
    near = noticing(journal(tmp_path, 55_000)).notice(CRITICAL)
    assert [(i.intent, i.reason, i.path) for i in near] == [("reduce_pair", "CASCADE_CRITICAL", "signal")]
    (tmp_path / "far").mkdir()
    far = noticing(journal(tmp_path / "far", 40_000))
    assert far.notice(CRITICAL) == []
    assert far.notice(replace(CRITICAL, asset="ETH")) == []
    assert far.notice(replace(CRITICAL, side="short")) == []


def test_what_the_flow_decides_is_in_the_journal_once_however_often_it_runs(tmp_path: Path) -> None:
    path = journal(tmp_path)
    for _ in range(2):
        made = noticing(path)
        flow = Dataflow("execute")
        records = op.input("told", flow, TestingSource([NOTICE, NOTICE]))
        op.output("journal", op.flat_map("notice", records, made.notice), JournalSink(path))
        run_main(flow)
    with Journal(path) as kept:
        assert [i.order.reason for i in kept.intents()] == ["LIQUIDATION_ASTER"]


def test_intents_of_two_processes_meet_in_one_journal(tmp_path: Path) -> None:
    path = journal(tmp_path)
    intent: OrderIntent = noticing(path).notice(NOTICE)[0]
    with Journal(path) as one, Journal(path) as two:
        assert one.insert_intent(intent)
        assert not two.insert_intent(intent)
