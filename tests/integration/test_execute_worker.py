"""The worker between the topics and the journal, over a real broker, killed: one intent for each cause, and every
report in the topic and in Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import sleep

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from schemas.bus import Bus
from schemas.cascades import COMPONENTS, MARKET, Signal
from schemas.clock import system_clock
from schemas.codec import encode
from schemas.orders import Account, ExecutionReport, Known
from schemas.pairs import Leg, Pair
from schemas.records import AccountEvent, FeedStatus, Liquidation
from schemas.topics import EXECUTIONS
from sinks.executor.journal import EVERY, Journal
from sinks.kafka import Outbox
from tests.broker import Broker
from tests.integration.processes import rows, until
from tests.integration.workers import Workers, values, workers

MARK = Decimal(60_000)


def pair(name: str, asset: str) -> Pair:
    legs = (
        Leg(venue="aster", instrument=f"{asset}USDT", quantity=Decimal("0.5")),
        Leg(venue="hyperliquid", instrument=asset, quantity=Decimal("-0.5")),
    )
    return Pair(pair=name, asset=asset, legs=legs, opened=1)


def account() -> Account:
    """Both longs lie ten percent above where they are liquidated."""
    positions = {
        f"{asset}USDT": Known(
            instrument=f"{asset}USDT", quantity=Decimal("0.5"), mark_price=MARK, liquidation_price=MARK * 9 / 10
        )
        for asset in ("BTC", "ETH")
    }
    return Account(venue="aster", positions=positions, equity=None, free_margin=None, time=system_clock())


def notice() -> AccountEvent:
    now = system_clock()
    return AccountEvent(
        event_id="notice", venue="aster", instrument="BTCUSDT", asset="BTC", event="liquidation", position="long",
        order_side="sell", price=60_000.0, quantity=0.5, notional_usd=30_000.0, state="flat", remaining=0.0,
        order_id="", client_id="", detail="autoclose", event_time=now, receive_time=now,
    )  # fmt: skip


def signal() -> Signal:
    now = system_clock()
    return Signal(
        signal_id="signal", asset="ETH", level="CRITICAL", previous="ALERT", score=0.8,
        components=dict.fromkeys(COMPONENTS), weights={}, context={}, boosted=False, side="long",
        events_per_second=60.0, usd_per_second=1e6, acceleration=30.0, window="2s", cascade_id=None, event_time=now,
        receive_time=now, event_id="x", floor=True, rules="r",
    )  # fmt: skip


def close() -> Liquidation:
    now = system_clock()
    return Liquidation(
        event_id="00000000000000aa", venue="aster", instrument="ETHUSDT", asset="ETH", position="long",
        cause="liquidation", price=59_000.0, price_kind="fill", quantity=0.5, notional_usd=29_500.0, event_time=now,
        receive_time=now, coverage="complete", backfill=False, time_source="venue",
    )  # fmt: skip


def tell(bus: Bus, *records: Struct) -> None:
    outbox = Outbox(bus)
    outbox.send(map(encode, records))
    outbox.settle()


class Desk:
    """The journal as another process writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Journal(path) as journal:
            for name, asset in (("bitcoin", "BTC"), ("ether", "ETH")):
                journal.add_pair(pair(name, asset))
            journal.keep_account(account())

    def do(self, times: int) -> None:
        """So many reports more."""
        with Journal(self.path) as journal:
            for number in range(times):
                journal.set_control("ACTIVE", f"{number} of {times}")

    def hear(self, *names: str) -> None:
        """What a private stream of the executor told, about nothing that is held."""
        with Journal(self.path) as journal:
            for name in names:
                assert journal.keep_event(replace(notice(), event_id=name, instrument="SOLUSDT", asset="SOL"))

    def ask(self, question: Callable[[Journal], object]) -> object:
        with Journal(self.path) as journal:
            return question(journal)


def intents(journal: Journal) -> list[tuple[str, str, str, str]]:
    return sorted((i.order.pair, i.order.intent, i.order.reason, i.order.path) for i in journal.intents(EVERY))


@pytest.mark.slow
def test_each_cause_is_one_intent_and_each_report_arrives_once_though_the_worker_is_killed(
    broker: Broker, tmp_path: Path
) -> None:
    bus = broker.bus_with()
    desk = Desk(tmp_path / "data" / "executor" / "journal.sqlite")
    with workers(bus, tmp_path) as pipeline:
        tell(bus, FeedStatus("hyperliquid", "closes", "silent", "", system_clock()))
        pipeline.start("execute")
        pipeline.await_begun("execute")
        pipeline.kill("execute")  # before its first snapshot: what comes now is told to nobody
        causes = (notice(), signal())
        tell(bus, *causes)
        begin(pipeline)
        until(lambda: len(desk.ask(Journal.intents)) == 2, 20)  # type: ignore[arg-type] # a list
        tell(bus, *causes, close())
        until(lambda: len(desk.ask(lambda j: j.hints(system_clock()))) >= 3, 20)  # type: ignore[arg-type] # likewise
        desk.do(2500)
        desk.hear("heard before")
        pipeline.kill("execute")
        desk.hear("heard between")
        tell(bus, *causes)
        begin(pipeline)
        tell(bus, *causes)
        desk.do(50)
        desk.hear("heard after")
        assert pipeline.stop("execute") == 0
        pipeline.finish("archive")
    with Journal(desk.path) as journal:
        assert intents(journal) == [
            ("bitcoin", "emergency_close", "LIQUIDATION_ASTER", "private_notice"),
            ("ether", "reduce_pair", "CASCADE_CRITICAL", "signal"),
        ]
        assert {(h.venue, h.what) for h in journal.hints(system_clock())} >= {("hyperliquid", "closed")}
        written = journal.reports(limit=1_000_000)
    assert_all_arrived(bus, written)
    assert_all_are_kept(tmp_path / "data", written)
    heard = rows(tmp_path / "data", "SELECT event_id FROM account_events WHERE asset = 'SOL' ORDER BY event_id")
    assert heard == [("heard after",), ("heard before",), ("heard between",)]


def begin(pipeline: Workers) -> None:
    pipeline.start("execute")
    pipeline.await_begun("execute")
    sleep(1.5)  # until a snapshot says where it reads on


def assert_all_arrived(bus: Bus, written: list[ExecutionReport]) -> None:
    """Each report in the topic, in the journal's words, first told in its order."""
    told: dict[int, ExecutionReport] = {}
    decode = msgspec.json.Decoder(ExecutionReport).decode
    for report in map(decode, values(bus, EXECUTIONS)):
        assert told.setdefault(report.sequence, report) == report
    assert [told[sequence] for sequence in sorted(told)] == written
    of_one_key = [sequence for sequence, report in told.items() if report.asset == MARKET]
    assert len(of_one_key) > 2000
    assert of_one_key == sorted(of_one_key)


def assert_all_are_kept(data_dir: Path, written: list[ExecutionReport]) -> None:
    """Parquet holds each once, whatever its views do about doubles."""
    files = f"read_parquet('{data_dir}/history/executions/dt=*/part-*.parquet')"
    stored = rows(data_dir, f"SELECT sequence, what, asset, detail FROM {files}")  # noqa: S608 - our own files
    expected = [(r.sequence, r.what, r.asset, r.detail) for r in written]
    assert Counter(stored) == Counter(expected)
