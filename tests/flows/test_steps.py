"""The small steps of every flow: names made common, known events taken out, what is kept, what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import input as flow_input
from bytewax.operators import output as flow_output
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchanges import exchange
from connectors.reader import FeedFigures
from connectors.source import ReplaySource
from flows import assembly
from flows.domain.detector import Detections, Detector
from flows.domain.duplicates import Seen
from flows.domain.rules import Rules
from flows.figures import Figures
from flows.keeping import Archive
from flows.settings import HistorySettings, Settings, VenueSettings
from flows.stages import Outcome, execute
from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.cascades import WINDOWS
from schemas.clock import MILLISECOND, SECOND
from schemas.errors import UsageError
from schemas.records import DeadLetter, FeedStatus, Liquidation, MarketRecord, MarkPrice, Trade
from sinks.callback import CallbackSink
from tests.flows.domain.conftest import T0, Event, batch, columns

STATUS = FeedStatus("bybit", "x", "gap", "lost", T0, T0, T0 + 1)
TRADE = Trade("1", "bybit", "X", "BTC", "buy", 1.0, 1.0, 1.0, T0, T0, backfill=False)
MARK = MarkPrice("bybit", "X", "BTC", 1.0, None, T0, T0)
LETTER = DeadLetter("bybit", "x", "no", b"?", T0)

ids = st.integers(1, 12)


@st.composite
def batches(draw: st.DrawFn, numbers: st.SearchStrategy[int] = ids) -> Batch:
    """Forced closes of few ids on several assets, other records at any place between them."""
    known = draw(st.lists(numbers, max_size=12))
    events = [Event(time=i, asset=draw(st.sampled_from(["BTC", "ETH", "SOL"])), id=n) for i, n in enumerate(known)]
    names = Names()
    for name in draw(st.permutations(["BTC", "ETH", "SOL", "XRP"])):
        names.code(name)
    made = batch(events, names)
    places = sorted(draw(st.lists(st.integers(0, len(events)), max_size=4)))
    others: list[tuple[int, MarketRecord | Tick]] = [
        (before, FeedStatus("bybit", str(i), "quiet", "", T0)) for i, before in enumerate(places)
    ]
    return Batch(made.liquidations, made.instruments, names, others, len(events))


def told(made: Batch) -> list[MarketRecord]:
    return list(made.records())


@given(batches(), st.permutations(["SOL", "DOGE", "BTC", "ETH"]))
def test_relabelling_changes_the_codes_and_nothing_told(made: Batch, order: list[str]) -> None:
    """The batch it came from stays as it was, and the way back leads home."""
    common = Names()
    for name in order:
        common.code(name)
    before = made.liquidations.asset.copy()
    relabelled = made.relabelled(common)
    assert told(relabelled) == told(made)
    assert relabelled.assets is common
    assert relabelled.frames == made.frames
    assert (made.liquidations.asset == before).all()
    assert [common[i] for i in range(4)] == order, "names already given keep their codes"
    assert told(relabelled.relabelled(made.assets)) == told(made)
    assert relabelled.relabelled(common) is relabelled


def without_known(records: Sequence[MarketRecord], known: set[str]) -> list[MarketRecord]:
    """The model: each id the first time only, everything else in its place."""
    kept = []
    for record in records:
        if isinstance(record, Liquidation):
            if record.event_id in known:
                continue
            known.add(record.event_id)
        kept.append(record)
    return kept


@given(st.lists(batches(), max_size=6))
def test_each_event_passes_once_and_everything_keeps_its_place(arriving: list[Batch]) -> None:
    seen, known = Seen(), set[str]()
    for made in arriving:
        expected = without_known(told(made), known)
        length = len(made.liquidations)
        dropped = seen.drop(made)
        assert told(made) == expected
        assert dropped == length - len(made.liquidations)
        passed = len(made.liquidations)
        assert seen.drop(made) == passed, "the second time nothing passes"
        assert told(made) == [record for record in expected if not isinstance(record, Liquidation)]


@given(st.lists(ids, max_size=60), st.integers(1, 60), st.sampled_from([4, 8]))
def test_the_last_events_are_remembered_however_they_are_cut(known: list[int], size: int, room: int) -> None:
    """Of the last ``room`` new ids none passes again; older ones may; batches decide nothing."""
    names = Names()
    parts = [[Event(time=0, id=n) for n in known[i : i + size]] for i in range(0, len(known), size)]
    seen, whole = Seen(room), Seen(room)
    passed: list[int] = []
    for part in parts:
        made = batch(part, names)
        seen.drop(made)
        passed += made.liquidations.event_id.tolist()
    together = batch([Event(time=0, id=n) for n in known], names)
    whole.drop(together)
    assert passed == together.liquidations.event_id.tolist()
    for place, number in enumerate(passed):
        assert number not in passed[max(0, place - room) : place]
    assert set(passed) == set(known)


# what is kept


@dataclass
class Kept:
    batches: list[Batch] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)

    def append(self, batch: Batch) -> None:
        self.batches.append(batch)

    def add(self, record: Any) -> None:
        self.records.append(record)

    def extend(self, rows: Any) -> None:
        self.records += rows.records()


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (HistorySettings(), [STATUS, LETTER]),
        (HistorySettings(trades=True), [STATUS, TRADE, LETTER]),
        (HistorySettings(mark_prices=True), [STATUS, MARK, LETTER]),
        (HistorySettings(trades=True, mark_prices=True), [STATUS, TRADE, MARK, LETTER]),
    ],
)
def test_the_archive_keeps_what_the_settings_say(settings: HistorySettings, kept: list[MarketRecord]) -> None:
    """In its place between the forced closes; the batch itself is not touched, and ticks are never kept."""
    names = Names()
    made = batch([Event(0), Event(1)], names)
    made.others = [(0, STATUS), (1, TRADE), (1, Tick(T0)), (1, MARK), (2, LETTER)]
    place = Kept()
    Archive(place, settings).take(Outcome(made, Detections([])))
    (archived,) = place.batches
    assert [record for record in told(archived) if not isinstance(record, Liquidation)] == kept
    assert archived.others == [(before, record) for before, record in made.others if record in kept]
    assert len(archived.liquidations) == 2
    assert len(made.others) == 5


def test_the_archive_keeps_results_and_nothing_of_nothing() -> None:
    """Signals and cascades one by one, windows as they are; a batch of ticks alone makes no hand-over."""
    rules = Rules()
    names = Names()
    detector = Detector(rules, names)
    burst = batch([Event(time=i * 10) for i in range(120)], names)
    found = detector.process(burst)
    place = Kept()
    archive = Archive(place, HistorySettings())
    archive.take(Outcome(burst, found))
    later = detector.finish(T0 + 3600 * SECOND)
    archive.take(Outcome(Batch(LiquidationColumns.empty(), (), names, [(0, Tick(T0))]), later))
    assert [len(b.liquidations) for b in place.batches] == [120]
    windows = [w for told in (found, later) for rows in told.windows for w in rows.records()]
    assert [r for r in place.records if r in windows] == windows
    results = [*found.records, *later.records]
    assert [r for r in place.records if r in results] == results
    assert len(place.records) == len(windows) + len(results)
    assert {type(r).__name__ for r in results} == {"Signal", "CascadeUpdate"}


# what is counted


def test_the_view_of_a_short_story() -> None:
    """Two liquidations and one ADL on two assets, a dead letter and a gap; each figure worked out by hand."""
    names = Names()
    detector = Detector(Rules(), names)
    now = T0 + 1000 * MILLISECOND
    feeds = [FeedFigures("bybit", "liquidations", "subscribed", "", 3, 1, 0, T0 + 700 * MILLISECOND)]
    figures = Figures(detector, [exchange("bybit")], lambda: now, simulated=True, feeds=lambda: feeds, files=lambda: 4)
    made = batch(
        [
            Event(0, usd=1000.0, receive=40),
            Event(100, usd=500.0, asset="ETH", venue="okx", position="short", coverage="sampled", receive=300),
            Event(200, usd=300.0, venue="dydx_v4", cause="adl", receive=400),
        ],
        names,
    )
    made.others = [(1, STATUS), (3, LETTER)]
    made.frames = 5
    figures.take(Outcome(made, detector.process(made), duplicates=2))
    view = figures.view()
    assert (view.events, view.adl_events, view.dead_letters, view.files, view.simulated) == (2, 1, 1, 4, True)
    assert (figures.frames, figures.duplicates, figures.gaps, figures.late) == (5, 2, 1, 0)
    assert figures.by_venue == {"bybit": 1, "okx": 1, "dydx_v4": 1}
    assert view.events_per_second == 1.0, "two within the last two seconds"
    assert (view.long_usd_minute, view.short_usd_minute) == (1000.0, 500.0)
    assert [(a.asset, a.floor) for a in view.assets] == [("BTC", False), ("ETH", True)]
    for place, _ in enumerate(WINDOWS):
        bitcoin = view.assets[0].windows[place]
        within = list(WINDOWS.values())[place] > 200 * MILLISECOND
        assert (bitcoin.count, bitcoin.long_usd, bitcoin.short_usd) == ((1, 1000.0, 0.0) if within else (0, 0.0, 0.0))
    assert (view.market.windows[-1].count, view.market.floor, view.market.level) == (2, True, "NONE")
    assert (view.latency_p50_ms, figures.latency(0.0), figures.latency(1.0)) == (700.0, 600.0, 960.0)
    (feed,) = view.feeds
    assert (feed.title, feed.coverage, feed.frames, feed.events, feed.reconnects) == ("Bybit", "complete", 3, 1, 1)
    assert feed.frame_age == pytest.approx(0.3)
    assert feed.event_age == pytest.approx(0.96)
    assert (view.signals, view.cascades, view.elapsed) == ([], [], 0.0)


def test_a_cascade_is_counted_once_and_moves_from_open_to_closed() -> None:
    """Newest signal first; one the passing of time decided has no latency."""
    names = Names()
    detector = Detector(Rules(), names)
    clock = [T0]
    figures = Figures(detector, [], lambda: clock[0])
    burst = batch([Event(time=i * 10) for i in range(120)], names)
    clock[0] = T0 + 2 * SECOND
    figures.take(Outcome(burst, detector.process(burst)))
    opened = figures.view()
    assert opened.cascades_total == len(opened.cascades) == 2, "of the asset, and of the market"
    assert {c.asset for c in opened.cascades} == {"BTC", "*"}
    assert {c.state for c in opened.cascades} <= {"open", "update"}
    assert opened.signals_total == len(opened.signals) > 0
    assert all(s.latency_ms is not None and s.latency_ms > 0 for s in opened.signals)
    assert [s.signal.event_time for s in opened.signals] == sorted(
        (s.signal.event_time for s in opened.signals), reverse=True
    )
    figures.take(
        Outcome(Batch(LiquidationColumns.empty(), (), names), detector.finish(T0 + 3600 * SECOND))
    )  # fmt: skip
    closed = figures.view()
    assert [c.state for c in closed.cascades] == ["close", "close"]
    assert closed.cascades_total == 2
    assert closed.signals[0].signal.level == "NONE"
    assert closed.signals[0].latency_ms is None
    assert closed.market.level == "NONE"


def test_backfilled_events_count_and_have_no_latency() -> None:
    names = Names()
    figures = Figures(Detector(Rules(), names), [exchange("bybit")], lambda: T0 + SECOND)
    old = columns([Event(0)], names)
    old.backfill[:] = True
    figures.take(Outcome(Batch(old, ["X"], names), Detections([])))
    assert (figures.events, figures.by_venue["bybit"], figures.latency(0.5)) == (1, 1, None)


# how it is run


def flow_of(pieces: Any, take: Any) -> Dataflow:
    flow = Dataflow("test")
    flow_output("out", flow_input("in", flow, ReplaySource(pieces)), CallbackSink(take))
    return flow


def test_what_a_flow_raises_on_purpose_comes_out_as_it_was() -> None:
    """From a source as from a sink; what nobody foresaw stays the engine's error, its cause beside it."""

    def refuse(_: Any) -> None:
        raise UsageError("no")

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    def broken() -> Any:
        yield []
        raise UsageError("not this file")

    with pytest.raises(UsageError, match=r"^no$"):
        execute(flow_of(iter([[]]), refuse))
    with pytest.raises(UsageError, match=r"^not this file$"):
        execute(flow_of(broken(), lambda _: None))
    with pytest.raises(KeyboardInterrupt):
        execute(flow_of(iter([[]]), interrupt))
    with pytest.raises(RuntimeError) as unforeseen:
        execute(flow_of(iter([[]]), lambda _: 1 / 0))
    assert isinstance(unforeseen.value.__cause__, ZeroDivisionError)


def test_a_gateway_stands_for_the_hosts_of_one_venue() -> None:
    """Sockets by ws where it is http and by wss where it is https; the later of two counts."""
    gateways = ("bybit=http://a:1/x", "okx=https://desk.example", "bybit=http://127.0.0.1:9/bybit")
    settings = Settings(venues=VenueSettings(gateways=gateways))
    reached = {venue: assembly.endpoints(settings, exchange(venue)) for venue in ("bybit", "okx", "gate")}
    assert (reached["bybit"].websocket, reached["bybit"].rest) == (
        "ws://127.0.0.1:9/bybit", "http://127.0.0.1:9/bybit",
    )  # fmt: skip
    assert (reached["okx"].websocket, reached["okx"].rest) == ("wss://desk.example", "https://desk.example")
    assert reached["gate"] == exchange("gate").production


@pytest.mark.parametrize(
    "text", ["bybit", "bybit=", "bybit=ws://x", "bybit=http://x/", "bybit=http://a b", "=http://x"]
)
def test_what_is_no_gateway_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no gateway|no venue ''"):
        VenueSettings(gateways=(text,))
