"""The laws of windows, levels and cascades, against a brute-force oracle and by example."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from flows.domain.constants import MICRO
from flows.domain.decays import cleared, take
from flows.domain.detector import Detector
from flows.domain.rules import LevelRule, Rules
from schemas.batches import Batch, LiquidationColumns, Tick
from schemas.cascades import MARKET, WINDOWS, CascadeUpdate, Signal, WindowMetrics
from schemas.clock import MILLISECOND, SECOND
from schemas.records import VENUES, Funding, OpenInterest
from schemas.tables import columns_table, records, table
from tests.flows.domain.conftest import T0, Event, assets, batch, columns, histories

LAX = Rules(levels=(LevelRule(0.02, 1.0), LevelRule(0.05, 2.0), LevelRule(0.2, 4.0, 0.5), LevelRule(0.4, 8.0)))
"""Levels that a handful of events reaches."""


def run(events: list[Event], rules: Rules = LAX, size: int = 10_000) -> tuple[list[object], list[WindowMetrics], int]:
    """Everything told, the windows told, and how many were too late."""
    names = assets()
    detector = Detector(rules, names)
    records: list[object] = []
    windows: list[WindowMetrics] = []
    late = 0
    for start in range(0, len(events), size):
        found = detector.process(batch(events[start : start + size], names, 1 + start))
        records += found.records
        windows += [w for rows in found.windows for w in rows.records()]
        late += found.late
    found = detector.finish(T0 + (max((e.receive or e.time for e in events), default=0) + 60_000) * MILLISECOND)
    return records + list(found.records), windows + [w for rows in found.windows for w in rows.records()], late


@settings(deadline=None, max_examples=15)
@given(histories())
def test_windows_are_stored_as_their_records_would_be(events: list[Event]) -> None:
    names = assets()
    detector = Detector(LAX, names)
    for rows in detector.process(batch(events, names)).windows + detector.finish(T0 + 3600 * SECOND).windows:
        told = rows.records()
        assert len(rows) == len(told)
        assert columns_table("windows", rows.columns()).equals(table("windows", told))
        assert records(columns_table("windows", rows.columns()), "windows") == told


def scored(events: list[Event], rules: Rules = LAX) -> list[Event]:
    """Those not later than the allowed lateness, judged one by one as they arrive: ticks and events move the clock."""
    clock, cell, kept = -(1 << 60), -1, []
    for event in events:
        received = event.receive if event.receive is not None else event.time
        if (T0 + received * MILLISECOND) // (100 * MILLISECOND) > cell:
            cell = (T0 + received * MILLISECOND) // (100 * MILLISECOND)
            clock = max(clock, cell * 100 * MILLISECOND - rules.delay)
        time = T0 + min(event.time, received) * MILLISECOND
        if time >= clock - rules.lateness:
            kept.append(event)
            clock = max(clock, time)
    return kept


@settings(deadline=None, max_examples=40)
@given(histories())
def test_the_same_arrivals_give_the_same_records_however_they_are_cut(events: list[Event]) -> None:
    """Batch invariance: one by one, by seven, all at once."""
    whole = run(events)
    assert run(events, size=1) == whole
    assert run(events, size=7) == whole


@settings(deadline=None, max_examples=60)
@given(histories())
def test_told_windows_equal_a_brute_force_count(events: list[Event]) -> None:
    """Every window told at time t holds exactly the events known by then of (t - length, t]."""
    names = assets()
    detector = Detector(LAX, names)
    known: list[Event] = []
    kept = {id(e) for e in scored(events)}
    for n, event in enumerate(events):
        found = detector.process(batch([event], names, n + 1))
        for rows in found.windows:
            for window in rows.records():
                _check(window, known)
        if id(event) in kept:
            known.append(event)
    for rows in detector.finish(T0 + 10**9 * MILLISECOND).windows:
        for window in rows.records():
            _check(window, known)


def _check(window: WindowMetrics, known: list[Event]) -> None:
    length = WINDOWS[window.window]
    of_asset = [e for e in known if window.asset in (MARKET, e.asset)]

    def within(start: int, end: int) -> list[Event]:
        return [e for e in of_asset if start < T0 + min(e.time, e.receive or e.time) * MILLISECOND <= end]

    inside = within(window.time - length, window.time)
    closed = [e for e in inside if e.cause != "adl"]
    longs = [e for e in closed if e.position == "long"]
    adl = [e for e in inside if e.cause == "adl"]
    earlier = [e for e in within(window.time - 2 * length, window.time - length) if e.cause != "adl"]
    assert window.count == len(closed)
    assert window.long_count == len(longs)
    assert window.usd == sum(e.usd for e in closed)
    assert window.long_usd == sum(e.usd for e in longs)
    assert window.short_usd == sum(e.usd for e in closed if e.position == "short")
    assert window.adl_count == len(adl)
    assert window.adl_usd == sum(e.usd for e in adl)
    assert window.floor_usd == sum(e.usd for e in closed if e.coverage != "complete")
    assert window.venues == {v: c for v in {e.venue for e in closed} if (c := sum(e.venue == v for e in closed))}
    seconds = length / SECOND
    assert window.acceleration == pytest.approx((len(closed) - len(earlier)) / seconds**2)


@settings(deadline=None, max_examples=60)
@given(histories())
def test_signals_read_the_window_at_their_own_time(events: list[Event]) -> None:
    """The rate of a signal is that of the two-second window at the deciding event's time, late events included."""
    records, _, late = run(events, size=13)
    kept = scored(events)
    assert late == len(events) - len(kept)
    order = {n + 1: e for n, e in enumerate(events)}
    for signal in (r for r in records if isinstance(r, Signal) and r.event_id):
        number = int(signal.event_id, 16)
        decider = order[number]
        known = [e for n, e in order.items() if n <= number and e in kept and e.cause != "adl"]
        span = 2000
        end = min(decider.time, decider.receive or decider.time)
        inside = [
            e
            for e in known
            if end - span < min(e.time, e.receive or e.time) <= end and signal.asset in (MARKET, e.asset)
        ]
        assert signal.events_per_second == pytest.approx(len(inside) / 2)
        assert signal.usd_per_second == pytest.approx(sum(e.usd for e in inside) / 2)


@settings(deadline=None, max_examples=60)
@given(histories())
def test_every_cascade_opens_once_and_closes_once_with_what_it_held(events: list[Event]) -> None:
    """Conservation: a closed cascade's USD by side and ADL add up, and nothing decreases on the way."""
    records, _, _ = run(events)
    by_id: dict[str, list[CascadeUpdate]] = {}
    for record in records:
        if isinstance(record, CascadeUpdate):
            by_id.setdefault(record.cascade_id, []).append(record)
    for updates in by_id.values():
        told = [u.state for u in updates]
        assert [told[0], told[-1]] == ["open", "close"]
        assert told.count("peak") == 1
        assert set(told[1:-1]) <= {"update", "peak"}
        assert [u.usd for u in updates] == sorted(u.usd for u in updates)
        last = updates[-1]
        assert last.usd == pytest.approx(last.long_usd + last.short_usd)
        assert last.closed == last.time >= last.opened >= last.started
        assert last.entry_lags == sorted(last.entry_lags)
        assert last.entry_lags[0] == 0.0
        total = sum(e.usd for e in scored(events) if last.asset in (MARKET, e.asset) and e.cause != "adl")
        assert last.usd <= total + 1e-6


@settings(deadline=None, max_examples=40)
@given(histories())
def test_an_event_of_another_asset_changes_nothing_of_mine(events: list[Event]) -> None:
    """What happens to other assets, in whatever order, leaves each asset's own signals as they are."""
    kept = {id(e) for e in scored(events)}
    events = [e for e in events if id(e) in kept]
    mine = [e for e in events if e.asset == "BTC"]
    full = run(events)[0]
    names = assets()
    ids = {id(e): n + 1 for n, e in enumerate(events)}
    detector = Detector(LAX, names)
    records = []
    for event in mine:
        records += detector.process(Batch(columns([event], names, ids[id(event)]), ["X"], names)).records
    of_btc = [r for r in full if isinstance(r, Signal) and r.asset == "BTC" and r.event_id]
    assert [r for r in records if isinstance(r, Signal) and r.asset == "BTC" and r.event_id] == of_btc


def burst(count: int, over_ms: int, start: int = 0, **fields: object) -> list[Event]:
    """``count`` equal events evenly over ``over_ms``."""
    return [Event(time=start + n * over_ms // count, **fields) for n in range(count)]  # type: ignore[arg-type]


def levels(records: list[object], asset: str = "BTC") -> list[str]:
    return [r.level for r in records if isinstance(r, Signal) and r.asset == asset]


def test_levels_follow_the_rates_on_the_two_second_window() -> None:
    """More than 10/s is WATCH, 20/s ALERT, 50/s with more than 20/s² CRITICAL, 100/s EXTREME."""
    assert levels(run(burst(21, 100), Rules())[0]) == ["WATCH", "NONE"]
    rising = levels(run(burst(300, 900), Rules())[0])
    assert rising[:4] == ["WATCH", "ALERT", "CRITICAL", "EXTREME"]
    assert rising[-1] == "NONE"


def test_twenty_events_in_two_seconds_are_no_level() -> None:
    """Exactly 10/s does not exceed 10/s."""
    assert levels(run(burst(20, 1900), Rules())[0]) == []


def test_a_level_does_not_flicker_between_packets_six_seconds_apart() -> None:
    """Packets every six to seven seconds, as before the first ADL of 10 October 2025, are one cascade."""
    packets = [e for n in range(8) for e in burst(60, 400, start=n * 6500)]
    records, _, _ = run(packets, Rules())
    cascades = [r for r in records if isinstance(r, CascadeUpdate) and r.asset == "BTC"]
    assert [c.state for c in cascades if c.state != "update"] == ["open", "peak", "close"]
    assert cascades[-1].events == 480
    assert cascades[-1].usd == 480_000.0
    assert "NONE" not in levels(records)[:-1]


def test_a_cascade_closes_ten_seconds_after_the_last_watch_at_its_due_time() -> None:
    """Whenever the tick that closes it arrives, the close carries the time it was due."""
    names = assets()
    detector = Detector(Rules(), names)
    detector.process(batch(burst(60, 590), names))
    found = detector.process(Batch(LiquidationColumns.empty(), [], names, [(0, Tick(T0 + 3600 * SECOND))]))
    closes = [r for r in found.records if isinstance(r, CascadeUpdate) and r.asset == "BTC" and r.state == "close"]
    last_reached = max(r.time for r in found.records if isinstance(r, CascadeUpdate)) - 10 * SECOND
    assert [c.closed for c in closes] == [last_reached + 10 * SECOND]
    assert closes[0].closed == T0 + (60 - 1) * 590 // 60 * MILLISECOND + 10 * SECOND


def test_a_missing_context_is_shown_and_its_weight_is_spread() -> None:
    """Weights of the four known parts sum to one; the two unknown parts are None."""
    signal = next(r for r in run(burst(21, 100), Rules())[0] if isinstance(r, Signal))
    assert signal.components["funding"] is None
    assert signal.components["open_interest"] is None
    assert signal.weights == pytest.approx(
        {"velocity": 0.25 / 0.8, "acceleration": 0.20 / 0.8, "volume": 0.20 / 0.8, "cross_venue": 0.15 / 0.8}
    )


def test_all_six_parts_are_added() -> None:
    """With open interest falling 5 % and funding at 0.1 % per 8 h both parts are 1 and raise the score."""
    names = assets()
    detector = Detector(Rules(), names)
    earlier = T0 - 70 * SECOND
    context = [
        (0, OpenInterest("bybit", "BTCUSDT", "BTC", 100.0, None, earlier, earlier)),
        (0, OpenInterest("bybit", "BTCUSDT", "BTC", 95.0, None, T0, T0)),
        (0, Funding("bybit", "BTCUSDT", "BTC", 0.001, 8.0, 1.095, None, T0, T0)),
    ]
    found = detector.process(Batch(columns(burst(21, 100), names), ["X"], names, context))
    signal = next(r for r in found.records if isinstance(r, Signal) and r.asset == "BTC")
    assert signal.context["open_interest_1m"] == pytest.approx(-0.05)
    assert signal.components["open_interest"] == pytest.approx(1.0)
    assert signal.components["funding"] == pytest.approx(1.0)
    assert sum(signal.weights.values()) == pytest.approx(1.0)
    expected = sum(signal.weights[name] * (part or 0.0) for name, part in signal.components.items())
    assert signal.score == pytest.approx(expected)


def test_adl_is_counted_apart_and_raises_no_level() -> None:
    """A wave of deleveraging is no liquidation."""
    records, windows, _ = run(burst(500, 1000, cause="adl"), Rules())
    assert [r for r in records if isinstance(r, Signal)] == []
    minute = max((w for w in windows if w.asset == "BTC" and w.window == "60s"), key=lambda w: w.time)
    assert (minute.count, minute.adl_count, minute.adl_usd) == (0, 500, 500_000.0)


def test_a_sampled_venue_makes_the_signal_a_floor() -> None:
    """What a capped feed contributed marks the figure as at least."""
    sampled = run(burst(30, 100, coverage="sampled"), Rules())[0]
    complete = run(burst(30, 100), Rules())[0]
    assert next(r for r in sampled if isinstance(r, Signal)).floor is True
    assert next(r for r in complete if isinstance(r, Signal)).floor is False


def test_venues_are_listed_in_order_of_entry_with_lags() -> None:
    """The origin comes first, also when its message arrives second."""
    events = [
        Event(300, venue="okx", receive=310),
        Event(0, venue="bybit", receive=320),
        *burst(60, 500, start=400, venue="gate"),
    ]
    close = [r for r in run(events, Rules())[0] if isinstance(r, CascadeUpdate) and r.asset == "BTC"][-1]
    assert close.venues == ["bybit", "okx", "gate"]
    assert close.entry_lags == pytest.approx([0.0, 0.3, 0.4])


def test_a_burst_of_22558_events_in_one_instant_loses_nothing() -> None:
    """The largest second of 10 October 2025, all with the same time."""
    names = assets()
    detector = Detector(Rules(), names)
    events = [Event(0, usd=8.25, position="long" if n % 3 else "short") for n in range(22_558)]
    found = detector.process(batch(events, names))
    rest = detector.finish(T0 + 60 * SECOND)
    close = [r for r in rest.records if isinstance(r, CascadeUpdate) and r.asset == "BTC" and r.state == "close"]
    assert found.scored == 22_558
    assert [(c.events, c.usd) for c in close] == [(22_558, 22_558 * 8.25)]


def test_an_event_stamped_ahead_of_its_receipt_is_read_at_its_receipt() -> None:
    """A venue clock some seconds fast must not make everybody else late."""
    records, _, late = run([Event(9000, receive=0), *burst(30, 100, receive=None)], Rules())
    assert late == 0
    assert levels(records)[0] == "WATCH"


@settings(deadline=None, max_examples=30)
@given(histories())
def test_the_decayed_sums_of_a_slot_are_those_of_its_liquidations(events: list[Event]) -> None:
    """Every scored event but ADL is taken once by its asset and once by the market, in the order of arrival."""
    names = assets()
    detector = Detector(LAX, names)
    detector.process(batch(events, names))
    taken = [e for e in scored(events) if e.cause != "adl"]
    for slot, asset in enumerate([MARKET, *names]):
        expected = cleared(1)[0]
        for e in taken:
            if asset in (MARKET, e.asset):
                time = T0 + min(e.time, e.receive or e.time) * MILLISECOND
                take(expected, time, round(e.usd * MICRO), int(e.position == "short"), VENUES.index(e.venue))
        assert detector.state.slot[slot]["decays"] == expected
