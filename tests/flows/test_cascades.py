"""One shard as the engine drives it: signals at once, windows and measures behind them, nothing lost by a restart."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import pytest

from flows import assembly
from flows.cascades import Piece, ShardLogic
from flows.settings import Settings
from schemas.batches import Batch, Names
from schemas.clock import MILLISECOND, SECOND
from schemas.codec import CloseDecoder, Outgoing, encode
from schemas.records import Liquidation
from schemas.topics import CASCADES, MEASURES, SIGNALS, WINDOWS

NOON = 1_795_262_400 * SECOND


def closes(numbers: Iterable[int], *, every: int = 10 * MILLISECOND) -> Batch:
    """A wave over eight assets, most of it in the first: enough for a cascade."""
    names, values = (Names(), Names()), list[bytes]()
    for number in numbers:
        time, coin = NOON + number * every, f"A{max(number % 12 - 4, 0)}"
        values.append(
            encode(
                Liquidation(
                    f"{number:016x}", "bybit", f"{coin}USDT", coin, "long", "liquidation", 100.0,
                    "bankruptcy", 400_000.0, 40_000_000.0, time, time + MILLISECOND, "complete", False, "venue",
                )
            ).value
        )  # fmt: skip
    columns, faults = CloseDecoder(*names).columns(values)
    assert not faults
    return Batch(columns, *names)  # type: ignore[arg-type] # looked up by code, as a list is


class Driven:
    """What the engine does: a clock, a shard, notifications while it asks for them."""

    def __init__(self, resume: bytes | None = None) -> None:
        self.now = NOON + 3600 * SECOND
        settings = Settings()
        made = ShardLogic.maker(
            assembly.rules(settings), 5 * SECOND, assembly.under_count(settings), lambda: self.now
        )  # fmt: skip
        self.logic = made(resume)

    def take(self, batch: Batch) -> list[Outgoing]:
        told, done = self.logic.on_batch([Piece("3", batch)])
        assert not done
        return [message for messages in told for message in messages]

    def slice(self) -> list[Outgoing]:
        assert self.logic.notify_at() is not None
        self.now += 2 * MILLISECOND
        told, done = self.logic.on_notify()
        assert not done
        return [message for messages in told for message in messages]

    def rest(self) -> list[Outgoing]:
        found: list[Outgoing] = []
        while self.logic.notify_at() is not None:
            found += self.slice()
        return found


def by_topic(told: Iterable[Outgoing]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for message in told:
        found.setdefault(message.topic, []).append(message.value)
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[bytes]]:
    """Everything, from one batch after the other, each with all that it leaves behind."""
    shard = Driven()
    told = [m for start in range(0, 400, 50) for m in [*shard.take(closes(range(start, start + 50))), *shard.rest()]]
    return by_topic(told)


def test_signals_go_first_and_the_rest_in_slices(undisturbed: dict[str, list[bytes]]) -> None:
    shard, first = Driven(), list[Outgoing]()
    for start in range(0, 400, 50):
        first += shard.take(closes(range(start, start + 50)))
    assert set(by_topic(first)) <= {SIGNALS.name, CASCADES.name}
    slices = [shard.slice() for _ in range(3)]
    assert [len(told) for told in slices] == [24, 24, 24]
    told, _ = shard.logic.on_notify()
    assert told == [], "the turn of another"
    everything = by_topic([*first, *(message for told in slices for message in told), *shard.rest()])
    assert set(everything) == {SIGNALS.name, CASCADES.name, WINDOWS.name, MEASURES.name}
    assert {topic: sorted(values) for topic, values in everything.items()} == {
        topic: sorted(values) for topic, values in undisturbed.items()
    }


def test_what_waits_survives_a_restart(undisturbed: dict[str, list[bytes]]) -> None:
    shard, told = Driven(), list[Outgoing]()
    for start in range(0, 400, 50):
        told += shard.take(closes(range(start, start + 50)))
        told += shard.slice() if shard.logic.notify_at() is not None else []
        shard = Driven(shard.logic.snapshot())
    shard = Driven(shard.logic.snapshot())  # nothing came since the last
    told += shard.rest()
    found = by_topic(told)
    assert {topic: sorted(values) for topic, values in found.items()} == {
        topic: sorted(values) for topic, values in undisturbed.items()
    }


def test_many_at_a_time_and_the_end_of_the_stream_leave_nothing_behind(undisturbed: dict[str, list[bytes]]) -> None:
    shard = Driven()
    told = shard.take(closes(range(300)))
    assert shard.logic.notify_at() is None, "who catches up tells as fast as it reads"
    told += shard.take(closes(range(300, 400)))
    assert shard.logic.notify_at() is not None
    last, done = shard.logic.on_eof()
    assert not done
    told += [message for messages in last for message in messages]
    found = by_topic(told)
    assert found[WINDOWS.name] == undisturbed[WINDOWS.name]
    assert {topic: sorted(values) for topic, values in found.items()} == {
        topic: sorted(values) for topic, values in undisturbed.items()
    }


def test_no_more_waits_than_a_little(undisturbed: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cascades._MOST", 10)
    shard, told = Driven(), list[Outgoing]()
    for start in range(0, 400, 5):
        told += shard.take(closes(range(start, start + 5)))
        assert len(pickle.loads(shard.logic.snapshot())[1]) <= 10  # noqa: S301 - made a line ago
    found = by_topic([*told, *shard.rest()])
    assert found[WINDOWS.name] == undisturbed[WINDOWS.name]
    assert found[MEASURES.name] == undisturbed[MEASURES.name]
