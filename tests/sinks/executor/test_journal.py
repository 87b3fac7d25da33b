"""The journal on a real disk: whole or nothing, one owner, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.errors import JournalError, JournalLocked, Superseded
from schemas.orders import Fill, Order, OrderIntent, SignedRequest
from schemas.pairs import Hint, Leg, Pair
from sinks.executor.attempts import Attempt
from sinks.executor.journal import Journal
from sinks.executor.sink import JournalSink


def clock() -> int:
    return 7


def pair(name: str = "p", instrument: str = "BTCUSDT") -> Pair:
    legs = (
        Leg(venue="aster", instrument=instrument, quantity=Decimal("0.5")),
        Leg(venue="lighter", instrument=instrument, quantity=Decimal("-0.5")),
    )
    return Pair(pair=name, asset="BTC", legs=legs, opened=1)


def intent(intent_id: str = "i", cause: str = "c") -> OrderIntent:
    return OrderIntent(
        intent_id=intent_id, intent="emergency_close", pair="p", asset="BTC", cause=cause, reason="LIQUIDATION_ASTER",
        policy="1", created=1, expires=None, detected=2, path="private_notice",
    )  # fmt: skip


def attempt(client_id: str = "a") -> Attempt:
    order = Order(
        venue="lighter", instrument="BTCUSDT", side="buy", quantity=Decimal("0.5"), price=Decimal("60000.1"),
        time_in_force="ioc", reduce_only=True, client_id=client_id,
    )  # fmt: skip
    request = SignedRequest(
        venue="lighter", instrument="BTCUSDT", client_id=client_id, method="POST", path="/order",
        body=b"\x00signed\xff", nonce=3, valid_until=99,
    )  # fmt: skip
    return Attempt(
        intent_id="i", ordinal=0, order=order, request=request, baseline=Decimal("-0.5"), epoch=1, prepared=5, gone=99
    )


HINT = Hint(venue="aster", what="alert", source="signal", until=20, reason="CASCADE_ALERT")


def fill(trade_id: str = "t") -> Fill:
    return Fill(
        trade_id=trade_id, venue="lighter", instrument="BTCUSDT", order_id="o", client_id="a", side="buy",
        price=Decimal(60_000), quantity=Decimal("0.2"), fee=Decimal("0.1"), maker=False, cause="order", time=6,
    )  # fmt: skip


def test_what_was_written_is_there_for_the_next_process_bytes_included(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.claim()
        journal.add_pair(pair())
        journal.insert_intent(intent())
        journal.prepare(attempt(), "BTC", "p", "why")
    with Journal(tmp_path / "j", clock) as journal:
        assert journal.pairs() == [pair()]
        assert [(i.order, i.state) for i in journal.intents()] == [(intent(), "working")]
        assert journal.unsettled() == [attempt()]


def test_one_process_at_a_time_may_send(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as first, Journal(tmp_path / "j", clock) as second:
        first.claim()
        with pytest.raises(JournalLocked, match="another executor is at work"):
            second.claim()
        second.insert_intent(intent())
        assert [i.order.intent_id for i in first.intents()] == ["i"]
        with pytest.raises(JournalError, match="not claimed"):
            second.prepare(attempt(), "BTC", "p", "")


def test_whoever_was_overtaken_writes_nothing_more(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as first, Journal(tmp_path / "j", clock) as second:
        first.claim()
        first.insert_intent(intent())
        # The lock of a machine that went away, given to another.
        (tmp_path / "j.lock").unlink()
        assert second.claim() == 2
        with pytest.raises(Superseded, match="epoch 2 has begun, this executor is of epoch 1"):
            first.prepare(attempt(), "BTC", "p", "")
        assert second.unsettled() == []


def test_the_same_cause_is_one_intent_whatever_it_is_called(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        assert journal.insert_intent(intent("i", "notice"))
        assert not journal.insert_intent(intent("i", "notice"))
        assert not journal.insert_intent(intent("i", "fill")), "another source of the same case"
        assert not journal.insert_intent(intent("other", "fill")), "a cause that was taken in"
        journal.set_intent("i", "done", "")
        assert not journal.insert_intent(intent("i", "notice")), "told again after the case"
        assert journal.insert_intent(intent("i", "news")), "something new after the case is looked into"
        assert [i.order.intent_id for i in journal.intents()] == ["i-news"]


def test_a_contract_belongs_to_one_living_pair(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.add_pair(pair())
        with pytest.raises(JournalError, match="BTCUSDT at aster already belongs to pair 'p'"):
            journal.add_pair(pair("q"))
        journal.finish([], replace(pair(), closed=9, reason="MANUAL"))
        journal.add_pair(pair("q"))
        assert [p.pair for p in journal.pairs()] == ["q"]
        assert [p.pair for p in journal.pairs(living=False)] == ["p", "q"]


def test_a_fill_counts_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        assert journal.add_fills([fill("1"), fill("1"), fill("2")]) == [fill("1"), fill("2")]
        assert journal.add_fills([fill("2")]) == []


def test_a_client_id_cannot_be_used_twice(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.claim()
        journal.insert_intent(intent())
        journal.prepare(attempt(), "BTC", "p", "")
        with pytest.raises(JournalError, match="UNIQUE"):
            journal.prepare(attempt(), "BTC", "p", "")


class Torn(Exception):
    """The machine stopped in the middle of a writing."""


WRITINGS: dict[str, Callable[[Journal], object]] = {
    "pair": lambda j: j.add_pair(pair("q", "ETHUSDT")),
    "intent": lambda j: j.insert_intent(intent("i2", "c2")),
    "prepare": lambda j: j.prepare(attempt("b"), "BTC", "p", ""),
    "update": lambda j: j.update(replace(attempt(), state="filled", filled=Decimal("0.5")), "BTC", "p"),
    "fills": lambda j: j.add_fills([fill("1"), fill("2")]),
    "control": lambda j: j.set_control("HALTED", "test"),
    "finish": lambda j: j.finish([("i", "done", "")], replace(pair(), closed=9)),
    "alarm": lambda j: j.raise_alarm("i", "not_flat", ""),
    "hint": lambda j: j.keep_hint(HINT),
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_writing_cut_off_before_its_end_leaves_nothing(
    tmp_path: Path, writing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(journal: Journal) -> list[object]:
        tables = ("control", "pair", "leg", "intent", "venue_event", "attempt", "fill", "decision", "alarm", "hint")
        rows = [journal._db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608 - names above
        return [*rows, journal.reports()]

    with Journal(tmp_path / "j", clock) as journal:
        journal.claim()
        journal.add_pair(pair())
        journal.insert_intent(intent())
        journal.prepare(attempt(), "BTC", "p", "")
        before = everything(journal)

        def torn(_: Journal) -> None:
            raise Torn

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_commit", torn)
            with pytest.raises(Torn):
                WRITINGS[writing](journal)
        assert everything(journal) == before
        WRITINGS[writing](journal)
        assert everything(journal) != before
    with Journal(tmp_path / "j", clock) as journal:
        assert [r.sequence for r in journal.reports()] == list(range(1, len(journal.reports()) + 1))


def commits(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One more for each sync from now on."""
    found: list[int] = []
    commit = Journal._commit

    def counted(self: Journal) -> None:
        commit(self)
        found.append(len(found))

    monkeypatch.setattr(Journal, "_commit", counted)
    return found


def test_what_is_written_together_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "j", clock) as journal, Journal(tmp_path / "j", clock) as other:
        synced = commits(journal, monkeypatch)
        with journal.together():
            journal.insert_intent(intent())
            with journal.together():
                assert journal.add_fills([fill("1")]) == [fill("1")]
            journal.observe("lighter", "BTCUSDT", Decimal(0), "liquidation")
            assert (synced, other.reports()) == ([], [])
        assert synced == [0]
        assert [r.what for r in other.reports()] == ["intent", "fill", "position"]
        with journal.together():
            assert journal.add_fills([fill("1")]) == []
        journal.set_control("HALTED", "alone")
        assert other.control().state == "HALTED"


def test_of_what_is_written_together_all_or_nothing_is_there(tmp_path: Path) -> None:
    def torn(journal: Journal) -> None:
        journal.insert_intent(intent())
        raise Torn

    def refused(journal: Journal) -> None:
        journal.insert_intent(intent())
        journal.add_pair(pair())
        journal.add_pair(pair("q"))

    with Journal(tmp_path / "j", clock) as journal:
        for writing, error in ((torn, Torn), (refused, JournalError)):
            with pytest.raises(error), journal.together():
                writing(journal)
        assert (journal.intents(), journal.pairs(), journal.reports()) == ([], [], [])
        assert journal.insert_intent(intent())


def test_a_file_that_is_no_journal_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"this is no database, it is a text that is long enough to be looked at" * 20)
    with pytest.raises(JournalError, match=r"j: file is not a database"):
        Journal(tmp_path / "j", clock)


def test_halting_survives_the_process(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.set_control("HALTED", "by hand")
    with Journal(tmp_path / "j", clock) as journal:
        assert journal.control()[:3] == ("HALTED", "by hand", 7)


def test_a_hint_is_there_for_every_process_until_it_runs_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as one, Journal(tmp_path / "j", clock) as two:
        before = two.version()
        assert one.keep_hint(HINT)
        assert two.version() != before
        assert not one.keep_hint(HINT), "told again"
        assert two.hints(19) == [HINT]
        assert two.hints(20) == []
        assert [(r.what, r.venue, r.detail) for r in two.reports()] == [("hint", "aster", "alert: CASCADE_ALERT")]


def test_what_a_source_says_replaces_what_it_said_and_what_has_run_out_is_forgotten(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.keep_hint(HINT)
        journal.keep_hint(replace(HINT, source="closes", until=9))
        assert journal.keep_hint(replace(HINT, until=7, reason="over")), "taken back"
        assert journal.hints(0) == [replace(HINT, source="closes", until=9)]
        assert not journal.keep_hint(replace(HINT, until=7, reason="over"))
        assert not journal.keep_hint(replace(HINT, source="old", until=7)), "run out before it came"


def test_an_older_journal_is_given_what_it_lacks_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", clock) as journal:
        journal.set_control("HALTED", "by hand")
        journal._db.executescript("DROP TABLE hint; PRAGMA user_version = 1")
    with Journal(tmp_path / "j", clock) as journal:
        assert journal.keep_hint(HINT)
        assert journal.control().state == "HALTED"
        journal._db.execute("PRAGMA user_version = 3")
    with pytest.raises(JournalError, match="has tables of version 3, this program knows 2"):
        Journal(tmp_path / "j", clock)


def test_a_batch_of_the_sink_is_durable_by_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = JournalSink(tmp_path / "j").build("journal", 0, 1)
    hint = replace(HINT, until=1 << 62)
    with Journal(tmp_path / "j", clock) as journal:
        synced = commits(journal, monkeypatch)
        partition.write_batch([intent(), intent(), hint, hint])
        assert synced == [0]
        assert ([i.order for i in journal.intents()], journal.hints(0)) == ([intent()], [hint])
        before = journal.reports()
        partition.write_batch([intent(), hint])
        assert journal.reports() == before
    partition.close()
