"""The six windows by other means, on the same events: the engine's own windows, and deques in plain Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from bytewax.testing import TestingSource

from flows.domain.detector import Detector
from flows.domain.rules import Rules
from schemas.batches import Batch, Names
from schemas.cascades import LEVELS, MARKET, WINDOWS, Level
from schemas.records import CAUSES
from sinks.callback import CallbackSink
from tests.benchmarks.events import BEGAN, batches, names
from tests.benchmarks.figures import Row, Target, cost, middle, row, spread

_ASSETS = 300
_RATE = 200.0
"""Events per second: the fill of the longest window and the one before it is passed long before the end."""
_LENGTHS = tuple(WINDOWS.values())
_SIGNAL = list(WINDOWS).index("2s")
_ADL = CAUSES.index("adl")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(NamedTuple):
    """A forced close as one object."""

    asset: int
    time: int
    usd: float
    short: bool
    adl: bool
    venue: int


def baselines(*, quick: bool) -> list[Row]:
    """Events per second of each, and how many times faster the detector is."""
    count, few = (4_000, 300) if quick else (200_000, 4_000)
    assets = names(_ASSETS)
    made = [_punctual(b) for b in batches(count, assets, _RATE, size=10_000)]
    rounds = 1 if quick else 3
    whole = [_detector(made, assets) for _ in range(rounds)]
    ours = middle(whole)
    single = _detector([_part(made[0], k, k + 1) for k in range(few)], assets)
    events = [event for batch in made for event in _events(batch)]
    deques, agree = _deques(events, made, assets)
    engine, counted = _engine(events[:few])
    return [
        row("detector, batches of 10,000", ours / 1e3, "k events/s", spread=spread([w / 1e3 for w in whole], 0)),
        row("detector, one by one", single / 1e3, "k events/s"),
        row("deques in plain Python", deques / 1e3, "k events/s", Target("≥", 1, "ratio"),
            baseline="times slower than batches", ratio=ours / deques),
        row("six SlidingWindowers of bytewax", engine / 1e3, "k events/s", Target("≥", 1, "ratio"),
            baseline="times slower than batches", ratio=ours / engine),
        row(f"windows in which deques and detector differ, of {_ASSETS * len(_LENGTHS)}", agree, "windows",
            Target("≤", 0)),
        row("events the SlidingWindowers lost, each being in ten windows of a length",
            few * 10 * len(_LENGTHS) - counted, "counts", Target("≤", 0)),
    ]  # fmt: skip


def _punctual(batch: Batch) -> Batch:
    """In order of event time: neither peer can take a late event in."""
    batch.liquidations.event_time = batch.liquidations.receive_time.copy()
    return batch


def _part(batch: Batch, start: int, end: int) -> Batch:
    return Batch(batch.liquidations.take(slice(start, end)), batch.instruments, batch.assets)


def _events(batch: Batch) -> Iterator[Event]:
    c = batch.liquidations
    columns = (c.asset, c.event_time, c.notional_usd, c.position == 1, c.cause == _ADL, c.venue)
    return map(Event._make, zip(*(column.tolist() for column in columns), strict=True))


def _detector(made: Sequence[Batch], assets: Names) -> float:
    detector = Detector(Rules(), assets)
    detector.warm_up()

    def work() -> None:
        for batch in made:
            detector.process(batch)

    return sum(len(b.liquidations) for b in made) / cost(work).wall


class _Window:
    """Trailing, with running sums."""

    __slots__ = ("adl", "count", "events", "length", "long_usd", "short_usd", "venues")

    def __init__(self, length: int) -> None:
        self.length = length
        self.events: deque[Event] = deque()
        self.count = self.adl = 0
        self.long_usd = self.short_usd = 0.0
        self.venues: dict[int, int] = {}

    def add(self, event: Event, sign: int = 1) -> None:
        if event.adl:
            self.adl += sign
            return
        self.count += sign
        self.venues[event.venue] = self.venues.get(event.venue, 0) + sign
        if event.short:
            self.short_usd += sign * event.usd
        else:
            self.long_usd += sign * event.usd

    def move(self, now: int) -> None:
        edge = now - self.length
        while self.events and self.events[0].time <= edge:
            self.add(self.events.popleft(), -1)


class DequeDetector:
    """Six windows per asset and for the market, the score's four parts that need no context, levels."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.windows: dict[int, list[_Window]] = {}
        self._doubled: dict[int, _Window] = {}
        self.levels: dict[int, Level] = {}
        self.changes = 0

    def take(self, event: Event) -> None:
        """One event, for its asset and for the market."""
        for slot in (event.asset, -1):
            windows = self.windows.get(slot)
            if windows is None:
                windows = self.windows[slot] = [_Window(length) for length in _LENGTHS]
                self._doubled[slot] = _Window(2 * self._rules.span)
            double = self._doubled[slot]
            for window in (*windows, double):
                window.events.append(event)
                window.add(event)
                window.move(event.time)
            level = self._level(windows[_SIGNAL], double)
            if level != self.levels.get(slot, "NONE"):
                self.levels[slot] = level
                self.changes += 1

    def _level(self, window: _Window, double: _Window) -> Level:
        rules, seconds = self._rules, self._rules.span / 1e9
        velocity = window.count / seconds
        acceleration = (2 * window.count - double.count) / seconds**2
        volume = (window.long_usd + window.short_usd) / seconds
        squares = sum(n * n for n in window.venues.values())
        venues = window.count**2 / squares if squares else 0.0
        parts = (
            min(1.0, velocity / rules.velocity_full),
            min(1.0, max(0.0, acceleration) / rules.acceleration_full),
            min(1.0, volume / rules.volume_full),
            min(1.0, max(0.0, venues - 1.0) / (rules.venues_full - 1.0)),
        )
        weights = rules.weights[:4]
        score = sum(w * p for w, p in zip(weights, parts, strict=True)) / sum(weights)
        if acceleration > rules.boost_acceleration:
            score = min(1.0, score * rules.boost)
        reached: Level = "NONE"
        for name, rule in zip(LEVELS[1:], rules.levels, strict=True):
            if score > rule.score or (velocity > rule.rate and acceleration >= rule.acceleration):
                reached = name
        return reached


def _deques(events: Sequence[Event], made: Sequence[Batch], assets: Names) -> tuple[float, int]:
    """Events per second, and in how many windows the counts differ from the detector's at the end."""
    peer = DequeDetector(Rules())

    def work() -> None:
        for event in events:
            peer.take(event)

    rate = len(events) / cost(work).wall
    detector = Detector(Rules(), assets)
    for batch in made:
        detector.process(batch)
    differing = 0
    newest = events[-1].time
    for code in (-1, *range(_ASSETS)):
        sums = detector.look(MARKET if code < 0 else assets[code]).sums
        for place, window in enumerate(peer.windows.get(code, ())):
            window.move(newest)
            counted = (int(sums[place][0] + sums[place][1]), int(sums[place][2]))
            differing += counted != (window.count, window.adl)
    return rate, differing


def _engine(events: Sequence[Event]) -> tuple[float, int]:
    """Events per second, and how often an event was counted in all windows together."""
    total = 0

    def take(item: Any) -> None:
        nonlocal total
        total += item[1][1][0]

    clock = win.EventClock(
        lambda event: _EPOCH + timedelta(microseconds=event.time // 1000),
        wait_for_system_duration=timedelta(seconds=1),
        now_getter=lambda: _EPOCH,
        # Without this the engine wakes for every window of the past at each activation.
        to_system_utc=lambda _: None,
    )
    align = _EPOCH + timedelta(microseconds=BEGAN // 1000)
    flow = Dataflow("baseline")
    keyed = op.key_on("asset", op.input("events", flow, TestingSource(list(events), 1000)), lambda e: str(e.asset))
    for name, length in WINDOWS.items():
        span = timedelta(microseconds=length // 1000)
        windower = win.SlidingWindower(length=span, offset=span / 10, align_to=align)
        out = win.fold_window(f"w{name}", keyed, clock, windower, lambda: (0, 0.0), _fold, _merge)
        op.output(f"out{name}", out.down, CallbackSink(take))
    return len(events) / cost(lambda: cli_main(flow)).wall, total


def _fold(sums: tuple[int, float], event: Event) -> tuple[int, float]:
    return sums[0] + 1, sums[1] + event.usd


def _merge(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    return one[0] + other[0], one[1] + other[1]
