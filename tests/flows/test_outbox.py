"""What the journal has to tell leaves in order, and goes on after the last that was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from msgspec import Struct
from msgspec.structs import replace

from flows.outbox import CountedReports, OutboxSource, events
from schemas.codec import encode
from schemas.records import AccountEvent
from sinks.executor.journal import Journal

NOTICE = AccountEvent(
    event_id="e1", venue="aster", instrument="BTCUSDT", asset="BTC", event="liquidation", position="long",
    order_side="sell", price=60_000.0, quantity=0.5, notional_usd=30_000.0, state="flat", remaining=0.0, order_id="",
    client_id="", detail="autoclose", event_time=1, receive_time=2,
)  # fmt: skip


def told(source: OutboxSource) -> list[Any]:
    """Everything the source has, through a dataflow."""
    out: list[Struct] = []
    flow = Dataflow("outbox")
    op.output("out", op.input("in", flow, source), TestingSink(out))
    run_main(flow)
    return out


def test_reports_leave_in_order_and_go_on_after_the_last_one_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as made:
        made.set_control("HALTED", "test")
        made.set_control("ACTIVE", "test")
    source = OutboxSource(path, CountedReports(), lambda: True)
    found = [(r.sequence, r.what, r.detail) for r in told(source)]
    assert found == [(1, "control", "HALTED: test"), (2, "control", "ACTIVE: test")]
    later = source.build_part("", "journal", 1)
    assert [r.sequence for r in later.next_batch()] == [2]
    assert later.snapshot() == 2
    later.close()


def test_what_a_private_stream_told_leaves_once_as_a_message_of_account_v1(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as made:
        assert [made.keep_event(NOTICE), made.keep_event(NOTICE), made.keep_event(replace(NOTICE, event_id="e2"))] == [
            True, False, True,
        ]  # fmt: skip
    found = told(OutboxSource(path, events, lambda: True))
    assert found == [NOTICE, replace(NOTICE, event_id="e2")]
    message = encode(found[0])
    assert (message.topic, message.key, dict(message.headers)["event-id"]) == ("account.v1", b"BTC", b"e1")


def test_an_older_journal_is_given_the_table_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as made:
        made.set_control("HALTED", "before")
        made._db.executescript("DROP TABLE account_event; PRAGMA user_version = 1")
    with Journal(path) as again:
        assert again.control().reason == "before"
        assert again.keep_event(NOTICE)
