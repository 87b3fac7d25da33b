"""A partition's share of the thinking: the log alone decides what is told, not its pace, its cuts, or a crash."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.domain.detector import Detector
from flows.domain.measures import UnderCount
from flows.domain.packing import packed, unpacked
from flows.domain.rules import Rules
from flows.domain.shard import CONTEXT_DELAY, REORDER, Shard
from flows.domain.state import ASSETS, EVERYTHING, THE_MARKET, allocate
from schemas.batches import Batch, LiquidationColumns, Names
from schemas.cascades import MARKET, CascadeUpdate
from schemas.clock import MILLISECOND, SECOND
from schemas.records import CAUSES, COVERAGES, POSITIONS, TIME_SOURCES, VENUES, Funding
from tests.flows.domain.conftest import T0, Event, assets, batch, histories
from tests.flows.domain.test_detector import LAX

START = 1_790_000_000 * SECOND
SLACK = 5 * SECOND
FAR = START + 3600 * SECOND
RULES = Rules()


def closes(rows: list[tuple[int, int, float, int]], names: Names) -> Batch:
    """Events of (receive time after START in ms, asset number, USD, id)."""
    n = len(rows)
    received = np.array([START + r[0] * MILLISECOND for r in rows], np.int64)
    columns = LiquidationColumns(
        event_id=np.array([r[3] for r in rows], np.uint64),
        venue=np.array([r[3] % len(VENUES) for r in rows], np.int8),
        instrument=np.zeros(n, np.int32),
        asset=np.array([names.code(f"A{r[1]}") for r in rows], np.int32),
        position=np.full(n, POSITIONS.index("long"), np.int8),
        cause=np.full(n, CAUSES.index("liquidation"), np.int8),
        price=np.ones(n),
        price_kind=np.zeros(n, np.int8),
        quantity=np.array([r[2] for r in rows]),
        notional_usd=np.array([r[2] for r in rows]),
        event_time=received - 20 * MILLISECOND,
        receive_time=received,
        coverage=np.full(n, COVERAGES.index("complete"), np.int8),
        backfill=np.zeros(n, np.bool_),
        time_source=np.full(n, TIME_SOURCES.index("venue"), np.int8),
    )
    return Batch(columns, (), names)


def funding(at: int, rate: float, asset: int = 0) -> Funding:
    time = START + at * MILLISECOND
    return Funding("bybit", "A0USDT", f"A{asset}", rate, 8.0, rate * 1095, None, time, time)


def told(found: Any) -> list[Any]:
    detections = found.detections
    return [*detections.records, *(w for rows in detections.windows for w in rows.records())]


def burst(seed: int, count: int = 400, every: float = 12.0) -> list[tuple[int, int, float, int]]:
    """A wave that opens and closes cascades of three assets."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(every, count)).astype(int)
    times[count // 2 :] += 15_000
    return [(int(t), int(random.integers(3)), float(random.integers(1, 300_000)), 1 + i) for i, t in enumerate(times)]


def played(
    rows: list[tuple[int, int, float, int]], cuts: list[int], name: str = "0", crashes: tuple[int, ...] = ()
) -> list[Any]:
    """Everything told of the rows cut there; the shard is written down and made anew before each crash."""
    shard, out = Shard(name, RULES, SLACK), []
    edges = [0, *sorted(cuts), len(rows)]
    context = [funding(t, t / 1e7) for t in range(0, 20_000, 700)]
    for number, (start, end) in enumerate(pairwise(edges)):
        if number in crashes:
            shard = Shard(name, RULES, SLACK, shard.snapshot())
        until = START + rows[end - 1][0] * MILLISECOND if end else 0
        shard.context([c for c in context if c.receive_time <= until])
        context = [c for c in context if c.receive_time > until]
        out += told(shard.closes(closes(rows[start:end], Names())))
    out += told(shard.tick(FAR))
    return out


def ordered(records: list[Any]) -> list[Any]:
    """Records and windows apart, each in its order: how they interleave is a matter of batches."""
    return [r for r in records if not hasattr(r, "window") or hasattr(r, "signal_id")] + [
        r for r in records if hasattr(r, "window") and not hasattr(r, "signal_id")
    ]


@pytest.mark.parametrize("name", ["0", MARKET])
@settings(max_examples=12)
@given(data=st.data())
def test_cuts_and_crashes_change_nothing(name: str, data: st.DataObject) -> None:
    rows = burst(data.draw(st.integers(0, 5)))
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=8))
    crashes = data.draw(st.lists(st.integers(0, 8), max_size=4))
    whole = ordered(played(rows, [], name))
    assert any(isinstance(record, CascadeUpdate) and record.state == "close" for record in whole)
    assert ordered(played(rows, cuts, name, tuple(crashes))) == whole


def test_an_assets_figures_are_those_of_one_process_and_the_markets_are_left_to_the_market() -> None:
    rows = burst(1)
    names = Names()
    plain = Detector(RULES, names)
    expected = [r for r in plain.process(closes(rows, names)).records if r.asset != MARKET]
    shard = Shard("3", RULES, SLACK)
    found = shard.closes(closes(rows, Names())).detections
    assert found.records == expected
    assert {w.asset for rows in found.windows for w in rows.records()} == {"A0", "A1", "A2"}
    market = Shard(MARKET, RULES, SLACK)
    alone = [*market.closes(closes(rows, Names())).detections.records, *market.tick(FAR).detections.records]
    assert {record.asset for record in alone} == {MARKET}


def test_the_market_is_the_same_however_its_partitions_interleave_within_the_hold() -> None:
    rows = burst(2, 300)
    one = Shard(MARKET, RULES, SLACK)
    expected = [*told(one.closes(closes(rows, Names()))), *told(one.tick(FAR))]
    other, found = Shard(MARKET, RULES, SLACK), []
    for _, group in groupby(rows, lambda row: row[0] * MILLISECOND // (REORDER - 1)):
        together = list(group)
        for asset in (2, 0, 1):
            found += told(other.closes(closes([row for row in together if row[1] == asset], Names())))
    found += told(other.tick(FAR))
    assert ordered(found) == ordered(expected)


def test_a_tick_within_the_slack_moves_nothing_and_one_beyond_it_what_the_next_event_would() -> None:
    rows = burst(3, 200)
    quiet, ticked = Shard("0", RULES, SLACK), Shard("0", RULES, SLACK)
    out: list[Any] = []
    for row in rows:
        out += told(ticked.closes(closes([row], Names())))
        out += told(ticked.tick(START + row[0] * MILLISECOND + SLACK))
    expected = told(quiet.closes(closes(rows, Names())))
    assert ordered(out) == ordered(expected)
    assert ordered([*out, *told(ticked.tick(FAR))]) == ordered([*expected, *told(quiet.tick(FAR))])


def test_context_counts_a_second_after_it_was_received_whenever_it_was_read() -> None:
    rows = [(t, 0, 100_000.0, 1 + t) for t in range(0, 4000, 10)]
    delay = CONTEXT_DELAY // MILLISECOND
    early, late = Shard("0", RULES, SLACK), Shard("0", RULES, SLACK)
    early.context([funding(1000, 0.0009)])
    expected = told(early.closes(closes(rows, Names())))
    before = [row for row in rows if row[0] < 1000 + delay]
    found = told(late.closes(closes(before, Names())))
    late.context([funding(1000, 0.0009)])
    found += told(late.closes(closes(rows[len(before) :], Names())))
    assert ordered(found) == ordered(expected)


def test_doubles_are_taken_out_also_those_of_before_a_crash() -> None:
    rows = burst(4, 100)
    shard = Shard("0", RULES, SLACK)
    shard.closes(closes(rows, Names()))
    again = Shard("0", RULES, SLACK, shard.snapshot())
    assert not again.fresh
    found = again.closes(closes(rows, Names()))
    assert (found.taken, found.duplicates, told(found)) == (100, 100, [])


def test_open_cascades_survive_a_crash_and_are_counted() -> None:
    rows = burst(1)[:150]
    shard = Shard("0", RULES, SLACK)
    shard.closes(closes(rows, Names()))
    assert shard.open_cascades > 0
    again = Shard("0", RULES, SLACK, shard.snapshot())
    assert again.open_cascades == shard.open_cascades
    again.tick(FAR)
    assert again.open_cascades == 0


def test_what_is_written_down_is_small() -> None:
    shard = Shard("0", RULES, SLACK)
    shard.closes(closes(burst(5, 2000, 30.0), Names()))
    assert len(shard.snapshot()) < 400_000


def test_memory_of_another_version_is_refused() -> None:
    state = allocate(1)
    assert unpacked(state, packed(state, 1)).shard == state.shard
    older = state._replace(event=state.event[["time", "usd"]])
    with pytest.raises(ValueError, match="another version"):
        unpacked(state, packed(older, 1))


def everything(events: list[Event], tells: int) -> dict[str, list[Any]]:
    """What is told, by asset, in the order of its kind."""
    names = assets()
    detector = Detector(LAX, names, measures=UnderCount(2.5, 1.5), tells=tells)
    found: dict[str, list[Any]] = {}
    for part in (detector.process(batch(events, names)), detector.finish(T0 + 3600 * SECOND)):
        told = [*part.records]
        told += [record for rows in part.windows for record in rows.records()]
        told += [record for rows in part.measures for record in rows.records()]
        for record in told:
            found.setdefault(record.asset, []).append(repr(record))
    return found


@settings(deadline=None, max_examples=20)
@given(histories())
def test_telling_of_the_assets_and_of_the_market_apart_is_telling_everything(events: list[Event]) -> None:
    """To the last figure; and who tells of one is silent about the other."""
    whole = everything(events, EVERYTHING)
    parts = everything(events, ASSETS), everything(events, THE_MARKET)
    assert not parts[0].keys() & {MARKET}
    assert not parts[1].keys() - {MARKET}
    assert parts[0] | parts[1] == whole
