"""Every measure against a count of every event, written out; batch invariance, conservation, order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.domain.constants import MICRO
from flows.domain.decays import CAP, cleared, heat, take
from flows.domain.detector import Detector
from flows.domain.measures import UnderCount
from flows.domain.rules import Rules
from flows.domain.state import allocate
from schemas.batches import Batch, LiquidationColumns
from schemas.cascades import MARKET
from schemas.clock import MILLISECOND, MINUTE, SECOND
from schemas.measures import SCALES, Measures
from schemas.records import VENUES, Funding, OpenInterest
from schemas.tables import columns_table, records, table
from tests.flows.domain.conftest import T0, Event, assets, batch, histories
from tests.flows.domain.test_detector import LAX, scored

FACTOR = UnderCount(sampled=2.5, partial=1.5)
NAMES = ("BTC", "ETH", "SOL")
DAY = 86400.0


def measured(events: list[Event], size: int = 10_000) -> list[Measures]:
    """Everything told of these arrivals."""
    names = assets()
    detector = Detector(LAX, names, measures=FACTOR)
    found: list[Measures] = []
    for start in range(0, len(events), size):
        told = detector.process(batch(events[start : start + size], names, 1 + start))
        found += [m for rows in told.measures for m in rows.records()]
    told = detector.finish(T0 + (max(e.receive or e.time for e in events) + 60_000) * MILLISECOND)
    return found + [m for rows in told.measures for m in rows.records()]


def when(e: Event) -> int:
    """Nanoseconds."""
    return T0 + min(e.time, e.time if e.receive is None else e.receive) * MILLISECOND


def within(events: list[Event], start: int, end: int) -> list[Event]:
    """Those of ``(start, end]``."""
    return [e for e in events if start < when(e) <= end]


def usd(events: list[Event]) -> float:
    return sum(e.usd for e in events)


class Near(float):
    """Equal to what differs by rounding only."""

    slack: float

    def __new__(cls, value: float, slack: float = 1e-7, relative: float = 1e-6) -> Near:
        made = super().__new__(cls, value)
        made.slack = slack + relative * abs(value)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and abs(other - float(self)) <= self.slack

    __hash__ = None  # type: ignore[assignment] # near is no equivalence


close = Near


@dataclass
class Oracle:
    """Knows every liquidation, and follows bursts as they are told; all the slow way."""

    known: list[Event] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    onsets: dict[str, dict[str, int]] = field(default_factory=dict)
    """When bursts going on began, by asset and venue (``*`` for all)."""
    leads: dict[str, list[tuple[int, str, str, float]]] = field(default_factory=dict)
    ignitions: list[tuple[int, str, str, float]] = field(default_factory=list)

    def of(self, asset: str) -> list[Event]:
        return [e for e in self.known if asset in (MARKET, e.asset)]

    def check(self, m: Measures) -> None:
        mine = self.of(m.asset)
        self._minute(m, mine)
        self._pace(m, mine)
        self._bursts(m, mine)
        self._leads(m)
        self._contagion(m)
        self._memory(m, mine)
        self._rolling(m, mine)
        self._levels(m, mine)

    def _minute(self, m: Measures, mine: list[Event]) -> None:
        last = within(mine, m.time - MINUTE, m.time)
        floor = {c: usd([e for e in last if e.coverage == c]) for c in ("complete", "sampled", "partial")}
        assert m.events == len(last)
        assert m.complete_usd == close(floor["complete"])
        assert m.floor_usd == close(floor["sampled"] + floor["partial"])
        assert m.estimate_usd == close(floor["complete"] + 2.5 * floor["sampled"] + 1.5 * floor["partial"])
        ranked = sorted((e.usd for e in last), reverse=True)
        whales = [e for e in last if e.usd >= 100_000]
        assert m.whale_events == len(whales)
        counts = [sum(e.venue == v for e in last) for v in VENUES]
        worth = [usd([e for e in last if e.venue == v]) for v in VENUES]
        if last:
            assert m.largest_share == close(ranked[0] / sum(ranked))
            assert m.top5_share == close(sum(ranked[:5]) / sum(ranked))
            assert m.whale_share == close(usd(whales) / sum(ranked))
            assert m.effective_venues == close(len(last) ** 2 / sum(n * n for n in counts))
            assert m.venue_concentration == close(sum((w / sum(worth)) ** 2 for w in worth))
        else:
            assert (m.largest_share, m.top5_share, m.whale_share) == (None, None, None)
            assert (m.effective_venues, m.venue_concentration) == (None, None)

    def _pace(self, m: Measures, mine: list[Event]) -> None:
        def motion(of: Callable[[list[Event]], float], chosen: list[Event]) -> tuple[float, float, float]:
            v = [of(within(chosen, m.time - (k + 1) * 10 * SECOND, m.time - k * 10 * SECOND)) / 10 for k in range(3)]
            return close(v[0]), close((v[0] - v[1]) / 10), close((v[0] - 2 * v[1] + v[2]) / 100)

        assert (m.events_per_second, m.acceleration, m.jerk) == motion(len, mine)
        assert (m.usd_per_second, m.usd_acceleration, m.usd_jerk) == motion(usd, mine)
        longs, shorts = ([e for e in mine if e.position == side] for side in ("long", "short"))
        assert (m.long_events_per_second, m.long_acceleration, m.long_jerk) == motion(len, longs)
        assert (m.short_events_per_second, m.short_acceleration, m.short_jerk) == motion(len, shorts)
        assert (m.long_usd_per_second, m.long_usd_acceleration) == motion(usd, longs)[:2]
        assert (m.short_usd_per_second, m.short_usd_acceleration) == motion(usd, shorts)[:2]
        present = {e.venue for e in within(mine, m.time - 30 * SECOND, m.time)}
        assert set(m.venue_events_per_second) == set(m.venue_usd_acceleration) == present
        for venue in present:
            own = [e for e in mine if e.venue == venue]
            count, worth = motion(len, own), motion(usd, own)
            assert (m.venue_events_per_second[venue], m.venue_acceleration[venue], m.venue_jerk[venue]) == count
            assert (m.venue_usd_per_second[venue], m.venue_usd_acceleration[venue]) == worth[:2]
        ten = within(mine, m.time - 10 * SECOND, m.time)
        floor = {c: usd([e for e in ten if e.coverage == c]) / 10 for c in ("complete", "sampled", "partial")}
        assert m.floor_usd_per_second == close(floor["sampled"] + floor["partial"])
        assert m.estimate_usd_per_second == close(floor["complete"] + 2.5 * floor["sampled"] + 1.5 * floor["partial"])

    def _bursts(self, m: Measures, mine: list[Event]) -> None:
        lasting = self.onsets.get(m.asset, {}) if m.time - self.told.get(m.asset, 0) <= MINUTE else {}
        now: dict[str, int] = {}
        for venue in ["*", *VENUES]:
            own = [e for e in mine if venue in ("*", e.venue)]
            began = burst(own, m.time, 5 if venue == "*" else 3)
            if began is not None:
                now[venue] = lasting.get(venue, began)
        new = now.keys() - lasting.keys()
        self._follow(m, now, new)
        self.onsets[m.asset], self.told[m.asset] = now, m.time
        assert m.burst_started == now.get("*")
        order = sorted((began, VENUES.index(v)) for v, began in now.items() if v != "*")
        assert m.venue_lags == {VENUES[v]: close((began - order[0][0]) / SECOND) for began, v in order}
        assert list(m.venue_lags) == [VENUES[v] for _, v in order]
        assert m.leading_venue == (VENUES[order[0][1]] if order else None)

    def _follow(self, m: Measures, now: dict[str, int], new: set[str]) -> None:
        pairs = self.leads.setdefault(m.asset, [])
        for a in now.keys() - {"*"}:
            for b in now.keys() - {"*", a}:
                if new & {a, b} and 0 < now[b] - now[a] <= MINUTE:
                    pairs.append((m.time, a, b, (now[b] - now[a]) / SECOND))
        if "*" in new and m.asset != MARKET:
            for other in set(NAMES) - {m.asset}:
                began = self.onsets.get(other, {}).get("*")
                if began is not None and 0 < abs(began - now["*"]) <= MINUTE:
                    first, second = (other, m.asset) if began < now["*"] else (m.asset, other)
                    self.ignitions.append((m.time, first, second, abs(began - now["*"]) / SECOND))

    def _leads(self, m: Measures) -> None:
        expected = decayed(self.leads[m.asset], m.time)
        told = zip(m.lead_venues, m.lag_venues, m.lead_bursts, m.lead_seconds, strict=True)
        assert_strongest(list(told), expected)

    def _contagion(self, m: Measures) -> None:
        mine = [i for i in self.ignitions if m.asset in (MARKET, i[2])]
        told = zip(m.igniters, m.ignited, m.ignitions, m.ignition_seconds, strict=True)
        assert_strongest(list(told), decayed(mine, m.time))
        if m.asset != MARKET:
            assert (m.wave, m.active_assets, m.breadth_burst) == ([], None, None)
            return
        begun = [(o["*"], NAMES.index(a)) for a in NAMES if "*" in (o := self.onsets.get(a, {}))]
        wave = sorted(b for b in begun if b[0] > m.time - MINUTE)
        assert m.wave == [NAMES[a] for _, a in wave]
        assert m.wave_lags == [close((b - wave[0][0]) / SECOND) for b, _ in wave]
        active = [a for a in NAMES if within(self.of(a), m.time - MINUTE, m.time)]
        assert m.active_assets == len(active)
        bursting = [a for a in active if "*" in self.onsets.get(a, {}) and self.told[a] > m.time - MINUTE]
        assert m.breadth_burst == (len(bursting) / len(active) if active else None)

    def _memory(self, m: Measures, mine: list[Event]) -> None:
        for k, scale in enumerate((1, 3, 10, 60, 300, 1800)):
            name = SCALES[k]

            def total(chosen: list[Event], worth: Callable[[Event], float]) -> float:
                return close(sum(worth(e) * math.exp(-(m.time - when(e)) / SECOND / scale) for e in chosen))  # noqa: B023

            sides = {s: [e for e in mine if e.position == s] for s in ("long", "short")}
            cover = {c: [e for e in mine if e.coverage == c] for c in ("complete", "sampled", "partial")}
            weight = {"complete": 1.0, "sampled": 2.5, "partial": 1.5}
            assert m.decayed_long_events[name] == total(sides["long"], lambda _: 1.0)
            assert m.decayed_short_events[name] == total(sides["short"], lambda _: 1.0)
            assert m.decayed_long_usd[name] == total(sides["long"], capped)
            assert m.decayed_short_usd[name] == total(sides["short"], capped)
            assert m.decayed_floor_usd[name] == total(cover["sampled"] + cover["partial"], capped)
            expected = sum(total(cover[c], capped) * w for c, w in weight.items())
            assert m.decayed_estimate_usd[name] == Near(expected, 1e-6)
        own = cleared(1)[0]
        for e in mine:
            take(own, when(e), round(e.usd * MICRO), int(e.position == "short"), VENUES.index(e.venue))
        assert m.heat == heat(own, m.time)

    def _rolling(self, m: Measures, mine: list[Event]) -> None:
        begun = min((when(e) // MINUTE for e in self.known), default=m.time // MINUTE)
        minute = m.time // MINUTE
        for told, length in ((m.rolling_15m, 15), (m.rolling_1h, 60), (m.rolling_4h, 240)):
            inside = [e for e in mine if minute - length <= when(e) // MINUTE < minute]
            before = [e for e in mine if minute - 2 * length <= when(e) // MINUTE < minute - length]
            sampled = usd([e for e in inside if e.coverage == "sampled"])
            partial = usd([e for e in inside if e.coverage == "partial"])
            minutes = list(range(max(minute - length, begun), minute))
            per = [[e for e in inside if when(e) // MINUTE == n] for n in minutes]
            judged = minute - 2 * length >= begun
            expected = {
                "minutes": len(minutes),
                "count": len(inside),
                "long_count": sum(e.position == "long" for e in inside),
                "short_count": sum(e.position == "short" for e in inside),
                "usd": usd(inside),
                "long_usd": usd([e for e in inside if e.position == "long"]),
                "short_usd": usd([e for e in inside if e.position == "short"]),
                "complete_usd": usd(inside) - sampled - partial,
                "floor_usd": sampled + partial,
                "estimate_usd": usd(inside) + 1.5 * sampled + 0.5 * partial,
                "mean_usd": usd(inside) / len(inside) if inside else None,
                "largest_usd": max((e.usd for e in inside), default=0),
                "count_std": float(np.std([len(p) for p in per])) if minutes else None,
                "usd_std": float(np.std([usd(p) for p in per])) if minutes else None,
                "count_change": len(inside) / len(before) - 1 if judged and before else None,
                "usd_change": usd(inside) / usd(before) - 1 if judged and before else None,
            }
            assert told == {k: v if v is None else Near(v, 1e-5) for k, v in expected.items()}

    def _levels(self, m: Measures, mine: list[Event]) -> None:
        priced = [e for e in mine if e.price > 0] if m.asset != MARKET else []
        if not priced:
            assert (m.price, m.level_prices) == (None, [])
            return
        newest = max(when(e) for e in priced)
        assert m.price == [e.price for e in priced if when(e) == newest][-1]
        worth: dict[int, list[float]] = {}
        for e in priced:
            left = e.usd * math.exp(-(m.time - when(e)) / SECOND / (4 * 3600))
            sums = worth.setdefault(math.floor(math.log(e.price) * 1000), [0.0, 0.0])
            sums[0] += left
            sums[1] += left * (e.position == "long")
        whole = sum(w for w, _ in worth.values())
        ranked = [level for level in sorted(worth.items(), key=lambda item: -item[1][0]) if level[1][0] >= 0.01][:5]
        assert m.level_usd == [close(w) for _, (w, _) in ranked]
        assert m.level_prices == [close(math.exp((level + 0.5) / 1000)) for level, _ in ranked]
        assert m.level_shares == [close(w / whole) for _, (w, _) in ranked]
        assert m.level_long_shares == [close(longs / w) for _, (w, longs) in ranked]
        assert m.level_distances == [close(price / m.price - 1) for price in m.level_prices]


def capped(e: Event) -> float:
    return min(e.usd, CAP / MICRO)


def burst(own: list[Event], time: int, least: int) -> int | None:
    """The first event of the first second of the last minute from which on ten seconds hold enough."""
    earlier = len(within(own, time - 5 * MINUTE, time - MINUTE))
    need = max(least, math.ceil(3 * earlier * 10 / 240))
    for second in range(60, 0, -1):
        start = time - second * SECOND
        opening = within(own, start, start + SECOND)
        if opening and len(within(own, start, min(start + 10 * SECOND, time))) >= need:
            return min(when(e) for e in opening)
    return None


def decayed(pairs: list[tuple[int, str, str, float]], time: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Decayed count and mean lag by pair."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for noted, a, b, lag in pairs:
        left = math.exp(-(time - noted) / SECOND / DAY)
        count, total = found.get((a, b), (0.0, 0.0))
        found[a, b] = (count + left, total + left * lag)
    return {pair: (count, total / count) for pair, (count, total) in found.items()}


def assert_strongest(told: list[tuple[str, str, float, float]], expected: dict[tuple[str, str], Any]) -> None:
    """The eight highest counts, whichever of equal ones; each with its own lag."""
    counts = [count for _, _, count, _ in told]
    assert counts == [Near(c, relative=1e-4) for c in sorted((c for c, _ in expected.values()), reverse=True)[:8]]
    for a, b, count, lag in told:
        assert expected[a, b] == (Near(count, relative=1e-4), Near(lag, relative=1e-4))


@settings(deadline=None, max_examples=8)
@given(histories(60))
def test_every_measure_told_is_what_counting_says(events: list[Event]) -> None:
    """Late events, equal times, ADL, three coverages, events without a price: one by one, each row as it is told."""
    names = assets()
    detector = Detector(LAX, names, measures=FACTOR)
    oracle = Oracle()
    kept = {id(e) for e in scored(events)}
    for n, event in enumerate(events):
        for rows in detector.process(batch([event], names, n + 1)).measures:
            for m in rows.records():
                oracle.check(m)
        if id(event) in kept and event.cause != "adl":
            oracle.known.append(event)
    for rows in detector.finish(T0 + (max(e.receive or 0 for e in events) + 60_000) * MILLISECOND).measures:
        for m in rows.records():
            oracle.check(m)


def same(one: Any, other: Any) -> bool:
    """Equal but for rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return Near(one, 1e-6) == other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(deadline=None, max_examples=15)
@given(histories())
def test_the_same_arrivals_give_the_same_measures_however_they_are_cut(events: list[Event]) -> None:
    """Batch invariance, to the last bit: one by one, by seven, all at once."""
    whole = measured(events)
    assert measured(events, size=1) == whole
    assert measured(events, size=7) == whole


@settings(deadline=None, max_examples=15)
@given(histories(80), st.randoms(use_true_random=False))
def test_which_of_two_assets_is_heard_of_first_at_one_instant_does_not_matter(events: list[Event], random: Any) -> None:
    events = [replace(e, id=n + 1) for n, e in enumerate(events)]
    shuffled: list[Event] = []
    for _, group in groupby(events, lambda e: (e.time, e.receive)):
        own = [[e for e in members if e.asset == asset] for members in [list(group)] for asset in NAMES]
        random.shuffle(own)
        shuffled += [e for part in own for e in part]
    one, other = measured(events), measured(shuffled)
    assert [(m.asset, m.time) for m in one] == [(m.asset, m.time) for m in other]
    for m, n in zip(one, other, strict=True):
        assert all(same(getattr(m, name), getattr(n, name)) for name in m.__struct_fields__)


@settings(deadline=None, max_examples=15)
@given(histories(80))
def test_asking_counts_like_telling_and_changes_nothing(events: list[Event]) -> None:
    """Between two tellings, at the newest time known; assets, sides and venues add up to the market."""
    names = assets()
    detector = Detector(LAX, names, measures=FACTOR)
    detector.process(batch(events, names))
    before = detector.state.slot.tobytes(), detector.state.event[:10_000].tobytes()
    asked = {asset: detector.measure(asset) for asset in (*NAMES, MARKET)}
    assert before == (detector.state.slot.tobytes(), detector.state.event[:10_000].tobytes())
    known = [e for e in scored(events) if e.cause != "adl"]
    for asset, m in asked.items():
        assert m is not None
        oracle = Oracle(known=known)
        oracle._minute(m, oracle.of(asset))
        oracle._pace(m, oracle.of(asset))
        oracle._memory(m, oracle.of(asset))
        oracle._rolling(m, oracle.of(asset))
        oracle._levels(m, oracle.of(asset))
        assert m.events_per_second == Near(m.long_events_per_second + m.short_events_per_second)
        assert m.events_per_second == Near(sum(m.venue_events_per_second.values()))
        assert m.usd_per_second == Near(sum(m.venue_usd_per_second.values()), 1e-5)
    market, parts = asked[MARKET], [m for asset, m in asked.items() if asset != MARKET and m is not None]
    assert market is not None
    for name in ("events", "complete_usd", "floor_usd", "estimate_usd", "whale_events", "events_per_second", "jerk"):
        assert getattr(market, name) == Near(sum(getattr(m, name) for m in parts), 1e-4)
    for name in ("count", "long_usd", "short_usd", "floor_usd", "estimate_usd"):
        assert market.rolling_4h[name] == Near(sum(m.rolling_4h[name] or 0.0 for m in parts), 1e-4)


@settings(deadline=None, max_examples=15)
@given(histories(60))
def test_columns_are_stored_as_their_records_would_be(events: list[Event]) -> None:
    names = assets()
    detector = Detector(LAX, names, measures=FACTOR)
    for rows in detector.process(batch(events, names)).measures:
        stored = columns_table("measures", rows.columns())
        assert stored.equals(table("measures", rows.records()))
        assert records(stored) == rows.records()


def test_nothing_is_measured_where_nobody_asked_for_it() -> None:
    names = assets()
    detector = Detector(LAX, names)
    found = detector.process(batch([Event(0), Event(3000)], names))
    assert (len(found.windows), found.measures, detector.measure("BTC")) == (1, [], None)
    untouched = allocate(1).slot[0]["measured"]
    assert detector.state.slot[1]["measured"]["rolling"] == untouched["rolling"]
    assert detector.state.slot[1]["measured"]["bursts"] == untouched["bursts"]


def test_what_was_never_heard_of_has_no_measures() -> None:
    detector = Detector(LAX, assets(), measures=FACTOR)
    assert (detector.measure("BTC"), detector.measure(MARKET)) == (None, None)
    detector.process(batch([Event(0)], detector.assets))
    assert detector.measure("NIX") is None
    assert (m := detector.measure("BTC")) is not None
    assert m.events == 1


def run_of(start: int, count: int, every: int, **what: Any) -> list[Event]:
    return [Event(start + k * every, **what) for k in range(count)]


def told(events: list[Event], rules: Rules = LAX) -> dict[str, Measures]:
    """The newest measures of each asset."""
    names = assets()
    detector = Detector(rules, names, measures=FACTOR)
    detector.process(batch(sorted(events, key=lambda e: e.time), names))
    return {asset: m for asset in (*NAMES, MARKET) if (m := detector.measure(asset)) is not None}


def test_the_venue_whose_burst_began_first_leads_and_the_lag_of_the_other_is_told() -> None:
    """Bybit from 0.2 s, okx from 2.7 s, gate with too few events to be a burst."""
    events = run_of(200, 8, 700, venue="bybit") + run_of(2700, 5, 900, venue="okx") + run_of(100, 2, 3000, venue="gate")
    m = told([*events, Event(9000, asset="ETH")])["BTC"]
    assert (m.burst_started, m.leading_venue) == (T0 + 100 * MILLISECOND, "bybit")
    assert m.venue_lags == {"bybit": 0.0, "okx": 2.5}
    assert (m.lead_venues, m.lag_venues, m.lead_seconds) == (["bybit"], ["okx"], [2.5])
    assert m.lead_bursts == [Near(1.0, 1e-3)]


def test_the_asset_whose_burst_began_first_ignites_the_others() -> None:
    """SOL from 1 s, BTC from 5 s; ETH has no burst. A wave of two in a market of three."""
    events = run_of(1000, 20, 500, asset="SOL") + run_of(5000, 20, 400, asset="BTC") + run_of(5000, 3, 900, asset="ETH")
    found = told(events)
    market = found[MARKET]
    assert (market.wave, market.wave_lags) == (["SOL", "BTC"], [0.0, 4.0])
    assert (market.igniters, market.ignited, market.ignition_seconds) == (["SOL"], ["BTC"], [4.0])
    assert (found["BTC"].igniters, found["SOL"].igniters, found["ETH"].igniters) == (["SOL"], [], [])
    assert (market.active_assets, market.breadth_burst) == (3, Near(2 / 3))
    assert market.breadth_watch == 1.0
    assert market.breadth_cascade is not None
    assert 0.0 < market.breadth_cascade <= 1.0


def test_a_steady_rate_is_no_burst_and_three_times_it_is() -> None:
    """One event a second for six minutes, then four a second."""
    calm = run_of(0, 360, 1000)
    assert told(calm)["BTC"].burst_started is None
    stormy = told(calm + run_of(360_000, 60, 250))["BTC"]
    assert stormy.burst_started is not None
    assert T0 + 351 * SECOND <= stormy.burst_started <= T0 + 360 * SECOND


def test_largest_events_and_whales_by_hand() -> None:
    m = told([Event(k, usd=usd) for k, usd in enumerate([600_000, 100_000, 99_999, 1, 100_000, 100_000, 100_000])])[
        "BTC"
    ]
    assert (m.whale_events, m.whale_share) == (5, Near(1_000_000 / 1_100_000))
    assert (m.largest_share, m.top5_share) == (Near(600_000 / 1_100_000), Near(1_000_000 / 1_100_000))


def test_a_capped_feed_is_a_floor_and_an_estimate_beside_a_complete_one() -> None:
    """Never summed silently: 1000 in full, 400 sampled, 200 partial."""
    m = told([
        Event(0, usd=1000), Event(1, usd=400, coverage="sampled"), Event(2, usd=200, coverage="partial"),
    ])["BTC"]  # fmt: skip
    assert (m.complete_usd, m.floor_usd, m.estimate_usd) == (1000, 600, 1000 + 2.5 * 400 + 1.5 * 200)
    assert (m.usd_per_second, m.floor_usd_per_second, m.estimate_usd_per_second) == (160, 60, Near(230))


def test_a_quarter_of_an_hour_is_compared_with_the_one_before() -> None:
    """Ten events of 100 USD, then thirty of 200: three times the events, six times the USD."""
    first = run_of(0, 10, 80_000, usd=100)
    second = run_of(15 * 60_000, 30, 29_000, usd=200)
    m = told([*first, *second, Event(30 * 60_000 + 500)])["BTC"]
    figures = m.rolling_15m
    assert (figures["count"], figures["usd"], figures["largest_usd"], figures["mean_usd"]) == (30, 6000, 200, 200)
    assert (figures["count_change"], figures["usd_change"]) == (2.0, 5.0)
    assert (m.rolling_1h["count"], m.rolling_1h["minutes"], m.rolling_1h["count_change"]) == (40, 30, None)


def test_price_levels_are_relative_and_forgotten() -> None:
    """Ten basis points wide at any price; what is 51 % away takes the place; after weeks nothing is left."""
    m = told([*run_of(0, 3, 100, price=50_020.0, usd=500), Event(400, price=50_300.0, usd=900)])["BTC"]
    assert m.level_usd == [Near(1500, 1), Near(900, 1)]
    assert m.level_prices[0] == Near(50_020.0, relative=0.0005)
    assert m.level_distances[0] == Near(50_020 / 50_300 - 1, 0.0006)
    far = math.exp(0.0005 + 0.512) * 100
    assert told([Event(0, price=math.exp(0.0005) * 100), Event(1, price=far, usd=7)])["BTC"].level_usd == [
        Near(7, 1e-3)
    ]
    old = told([Event(0, usd=1e9, price=10.0), Event(60 * 86_400_000, usd=3, price=11.0)])["BTC"]
    assert old.level_usd == [Near(3.0)]


def test_open_interest_and_funding_move_at_their_own_pace() -> None:
    """600 BTC fewer in a minute at 100 USD: -1000 USD/s. Funding 1, 3, 8 bp over three hours: +5 bp/h, +3 bp/h²."""
    names = assets("BTC")
    detector = Detector(LAX, names, measures=FACTOR)
    hour = 3600 * SECOND

    def context(record: Any) -> None:
        detector.process(Batch(LiquidationColumns.empty(), (), names, [(0, record)]))

    for k, rate in enumerate((0.0001, 0.0003, 0.0008)):
        at = T0 + k * hour
        context(Funding("bybit", "X", "BTC", rate, 8.0, rate * 1095, None, at, at))
    late = T0 + 2 * hour
    for time, quantity in ((late, 10_000.0), (late + MINUTE, 9_400.0)):
        context(OpenInterest("bybit", "X", "BTC", quantity, None, time, time))
    event = Event((2 * hour + MINUTE) // MILLISECOND, price=100.0)
    detector.process(batch([event], names))
    m, market = detector.measure("BTC"), detector.measure(MARKET)
    assert m is not None
    assert market is not None
    assert m.open_interest_usd_per_second == market.open_interest_usd_per_second == Near(-1000.0)
    assert (m.funding_velocity, m.funding_acceleration) == (Near(0.0005, 1e-12), Near(0.0003, 1e-12))
    detector.process(batch([Event((2 * hour + 10 * MINUTE) // MILLISECOND, price=100.0)], names, 2))
    assert (m := detector.measure("BTC")) is not None
    assert m.open_interest_usd_per_second is None


def test_twenty_thousand_events_of_one_second_are_all_measured() -> None:
    m = told([Event(k // 23, id=k + 1, usd=10.0, asset=NAMES[k % 3]) for k in range(22_558)])[MARKET]
    assert (m.events, m.complete_usd, m.events_per_second) == (22_558, 225_580.0, 2255.8)
