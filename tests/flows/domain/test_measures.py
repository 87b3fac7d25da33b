"""Every measure against a count of every event, written out; batch invariance, conservation, order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings

from flows.domain.constants import MICRO
from flows.domain.decays import CAP, cleared, heat, take
from flows.domain.detector import Detector
from flows.domain.measures import UnderCount
from schemas.cascades import MARKET
from schemas.clock import MILLISECOND, MINUTE, SECOND
from schemas.measures import SCALES, Measures
from schemas.records import VENUES
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
        ranked = sorted(worth.items(), key=lambda item: -item[1][0])[:5]
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
