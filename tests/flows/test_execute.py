"""From what is told to an intent in the journal, and from the journal to reports."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource, run_main
from msgspec.structs import replace

from flows.domain.detection import Detector
from flows.noticing import Noticing
from flows.outbox import CountedReports, OutboxSource
from schemas.batches import Batch, Names
from schemas.bus import Bus
from schemas.cascades import COMPONENTS, Signal
from schemas.clock import SECOND
from schemas.codec import CloseDecoder, encode
from schemas.orders import Account, Known, OrderIntent
from schemas.pairs import Hint, Leg, Pair
from schemas.records import AccountEvent, FeedStatus, Funding, Liquidation, MarkPrice, OpenInterest
from sinks.executor.journal import Journal
from sinks.executor.sink import JournalSink
from tests.flows.test_metrics import value

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


def test_a_live_mark_near_the_liquidation_price_makes_the_pair_smaller_and_an_old_account_says_nothing(
    tmp_path: Path,
) -> None:
    mark = MarkPrice("aster", "BTCUSDT", "BTC", 42_000.0, None, NOW, NOW)
    path = journal(tmp_path)
    (intent,) = noticing(path).notice(mark)
    assert (intent.intent, intent.path, intent.created) == ("reduce_pair", "margin", NOW)
    later = Noticing(Bus("127.0.0.1:1"), path, Detector({}), lambda: NOW + 31 * SECOND)
    assert later.notice(mark) == []
    with Journal(path) as kept:
        kept.insert_intent(replace(intent, intent_id="e", intent="emergency_close", cause="e"))
    assert noticing(path).notice(mark) == [], "an emergency is worked already"


def test_what_passes_by_is_counted(tmp_path: Path) -> None:
    path = journal(tmp_path)
    with Journal(path, lambda: NOW + 3 * SECOND) as kept:
        kept.insert_intent(noticing(path).notice(NOTICE)[0])
        intent = kept.intents()[0].order
        kept.set_control("REDUCE_ONLY", "test")
        kept.set_intent(intent.intent_id, "done", "")
    source = OutboxSource(path, CountedReports(), lambda: True).build_part("", "journal", None)
    detected = value("breakwater_executor_detect_seconds_sum", path="private_notice") or 0.0
    flat = value("breakwater_executor_flat_seconds_sum") or 0.0
    source.next_batch()
    source.close()
    assert value("breakwater_executor_state") == 1.0
    assert value("breakwater_executor_detect_seconds_sum", path="private_notice") == detected + 1.0
    assert value("breakwater_executor_flat_seconds_sum") == flat + 3.0
    assert value("breakwater_executor_intents", state="done") == 1.0
    assert value("breakwater_executor_intents", state="waiting") == 0.0


def test_hints_stand_in_the_journal_beside_the_intents(tmp_path: Path) -> None:
    path = journal(tmp_path)
    hint = Hint(venue="aster", what="alert", source="signal", until=1 << 62, reason="CASCADE_ALERT")
    flow = Dataflow("execute")
    told = op.input("told", flow, TestingSource([hint, hint, noticing(path).notice(NOTICE)[0]]))
    op.output("journal", told, JournalSink(path))
    run_main(flow)
    with Journal(path) as kept:
        assert kept.hints(NOW) == [hint]
        assert [i.order.reason for i in kept.intents()] == ["LIQUIDATION_ASTER"]


CLOSE = Liquidation(
    event_id="00000000000000aa", venue="aster", instrument="BTCUSDT", asset="BTC", position="long",
    cause="liquidation", price=59_000.0, price_kind="fill", quantity=2.0, notional_usd=118_000.0, event_time=NOW,
    receive_time=NOW, coverage="complete", backfill=False, time_source="venue",
)  # fmt: skip


def batch(*closes: Liquidation) -> Batch:
    instruments, assets = Names(), Names()
    columns, faults = CloseDecoder(instruments, assets).columns([encode(close).value for close in closes])
    assert not faults
    return Batch(columns, instruments, assets)  # type: ignore[arg-type] # looked up by code, as a list is


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (CLOSE, {"alert"}),
        (replace(CLOSE, quantity=0.5), {"urgent"}),
        (replace(CLOSE, position="short"), set()),
        (replace(CLOSE, venue="bybit"), set()),
        (replace(CLOSE, asset="ETH"), set()),
        (replace(CLOSE, backfill=True), set()),
        (replace(CLOSE, receive_time=NOW - 31 * SECOND), set()),
    ],
)
def test_public_closes_where_a_leg_is_become_hints(tmp_path: Path, told: Liquidation, kinds: set[str]) -> None:
    detector = Detector({})
    Noticing(Bus("127.0.0.1:1"), journal(tmp_path), detector, lambda: NOW).closes(batch(*[told] * 300))
    assert {(hint.venue, hint.what) for hint in detector.hints.news()} == {("aster", kind) for kind in kinds}


def test_open_interest_funding_and_feeds_become_hints_and_no_intent(tmp_path: Path) -> None:
    detector = Detector({})
    made = Noticing(Bus("127.0.0.1:1"), journal(tmp_path), detector, lambda: NOW)
    told = [
        OpenInterest("lighter", "1", "BTC", 100.0, None, NOW, NOW),
        OpenInterest("lighter", "1", "BTC", 90.0, None, NOW, NOW),
        Funding("aster", "BTCUSDT", "BTC", 0.002, 8.0, 0.0, None, NOW, NOW),
        FeedStatus("hyperliquid", "public", "unreachable", "", NOW),
    ]
    assert [intent for record in told for intent in made.notice(record)] == []
    assert {(hint.venue, hint.what) for hint in detector.hints.news()} == {
        ("lighter", "alert"), ("aster", "alert"), ("hyperliquid", "closed"), ("hyperliquid", "urgent"),
    }  # fmt: skip


def test_the_next_process_takes_back_what_the_last_one_said(tmp_path: Path) -> None:
    path = journal(tmp_path)
    with Journal(path, lambda: NOW) as kept:
        source = "feed public"
        kept.keep_hint(
            Hint(venue="aster", what="closed", source=source, until=NOW + 600 * SECOND, reason="feed public is silent")
        )
        detector = Detector({})
        made = Noticing(Bus("127.0.0.1:1"), path, detector, lambda: NOW)
        made.notice(FeedStatus("aster", "public", "subscribed", "", NOW))
        (hint,) = detector.hints.news()
        assert kept.keep_hint(hint)
        assert kept.hints(NOW) == []
