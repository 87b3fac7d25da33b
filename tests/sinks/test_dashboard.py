"""The terminal view fits, tells by words, marks floors, and never holds the pipeline up."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from schemas.cascades import LEVELS, WINDOWS, CascadeUpdate, Level, Signal
from schemas.records import VENUES, Coverage, FeedState
from schemas.view import AssetView, FeedView, PaperView, PipelineView, SignalView, WindowView
from sinks.dashboard import Dashboard, figures, render, screenshot, summary
from sinks.dashboard.screen import shares
from sinks.dashboard.tables import venues, windows
from sinks.dashboard.terminal import line

NOON = 1_790_000_000_123_000_000
SECOND = 1_000_000_000


def asset(name: str, level: Level, scale: float = 1.0, *, floor: bool = True) -> AssetView:
    windows = [WindowView(int(scale * 3 * n), scale * 1.7e6 * n, scale * 34_000.0 * n) for n, _ in enumerate(WINDOWS)]
    return AssetView(name, level, 0.2 * LEVELS.index(level) + 0.11, windows, floor)


def feed(venue: str, state: FeedState, coverage: Coverage = "complete", **changed: object) -> FeedView:
    made = FeedView(venue, venue.title(), "market", coverage, state, "", 1200, 34, 0, 0, 0.21, 12.0)
    return msgspec.structs.replace(made, **changed)


def cascade(name: str, *, floor: bool = True, closed: bool = False) -> CascadeUpdate:
    return CascadeUpdate(
        cascade_id=f"{name}-1", asset=name, state="close" if closed else "update", time=NOON + 14 * SECOND,
        opened=NOON + SECOND, started=NOON, closed=NOON + 14 * SECOND if closed else None, side="long",
        level="CRITICAL", peak_level="EXTREME", score=0.81, peak_score=0.93, events=214, usd=38.1e6, long_usd=36e6,
        short_usd=2.1e6, adl_events=0, adl_usd=0.0, venues=["bybit", "binance_usdm", "okx"],
        entry_lags=[0.0, 0.4, 1.2], floor=floor,
    )  # fmt: skip


def signal(name: str, level: Level, *, floor: bool = True) -> SignalView:
    made = Signal(
        signal_id="s", asset=name, level=level, previous="WATCH", score=0.81,
        components={"velocity": 0.9, "acceleration": 0.4, "volume": 1.0, "cross_venue": 0.5, "funding": None,
                    "open_interest": 0.0},
        weights={"velocity": 0.3, "acceleration": 0.2, "volume": 0.2, "cross_venue": 0.2, "funding": 0.0,
                 "open_interest": 0.1},
        context={"funding": 0.0001},
        boosted=True, side="long", events_per_second=61.5, usd_per_second=6.2e6, acceleration=31.0, window="2s",
        cascade_id=None, event_time=NOON, receive_time=NOON, event_id="e", floor=floor, rules="1",
    )  # fmt: skip
    return SignalView(made, 0.21)


def busy(*, simulated: bool = True, floor: bool = True) -> PipelineView:
    feeds = [feed(venue, "subscribed", "sampled" if n % 2 else "complete") for n, venue in enumerate(VENUES)]
    feeds[3] = feed("okx", "gap", "sampled", reason="socket closed 1006, 1.2 s missed", reconnects=3, dropped=7)
    feeds[5] = feed("bitget", "quiet", frame_age=0.4, event_age=None)
    feeds[9] = feed("bitmex", "silent", "partial", reason="no forced close for 20 times its usual gap")
    names = ["BTC", "ETH", "SOL", "XRP", "DOGE", "1INCH"]
    return PipelineView(
        simulated=simulated, elapsed=754.0, events=12_345, events_per_second=61.54, long_usd_minute=38.1e6,
        short_usd_minute=2.1e6, adl_events=12, market=asset("*", "CRITICAL", 3.0, floor=floor),
        assets=[asset(n, LEVELS[i % 5], 1 / (i + 1), floor=floor) for i, n in enumerate(names)],
        feeds=feeds, signals=[signal(n, LEVELS[i], floor=floor) for i, n in enumerate(["*", *names[:4]])],
        cascades=[cascade("BTC", floor=floor), cascade("ETH", floor=floor, closed=True)], cascades_total=2,
        signals_total=14, dead_letters=1, latency_p50_ms=0.21, latency_p99_ms=0.93, files=9,
    )  # fmt: skip


def drawn(view: PipelineView, width: int, height: int, **options: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, **options)  # type: ignore[arg-type]  # options vary
    console.print(render(view, width, height))
    return out.getvalue()


SIZES = [(80, 24), (100, 30), (120, 40), (180, 50), (220, 60)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_part_is_there_by_word(width: int, height: int) -> None:
    """Level, state, coverage, side and the simulation are words; colour only repeats them."""
    text = drawn(busy(), width, height)
    for word in ["SIMULATED DATA", "MARKET", "BTC", "CRITICAL", "WATCH", "gap", "silent", "sampled ≥", "OPEN BTC",
                 "long", "bybit › binance_usdm", "0.21 ms", "61.5 events/s"]:  # fmt: skip
        assert word in text, f"{word!r} at {width}x{height}"


@given(st.integers(20, 240), st.integers(3, 70), st.booleans())
def test_a_view_never_leaves_its_terminal(width: int, height: int, many: bool) -> None:
    view = busy()
    if many:
        feeds = [feed(f"venue{n}", "subscribed") for n in range(200)]
        view = msgspec.structs.replace(view, feeds=feeds, signals=view.signals * 30, assets=view.assets * 20)
    lines = drawn(view, width, height).rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(cell_len(row.rstrip()) for row in lines) <= width


@given(st.floats(0, 9e14), st.integers(1, 99_999_999), st.integers(60, 240))
def test_no_figure_of_a_window_is_cut(usd: float, count: int, width: int) -> None:
    """What stands in the longest window is readable in full or the window is not shown."""
    windows = [WindowView(count, usd, usd) for _ in WINDOWS]
    view = busy()
    market = msgspec.structs.replace(view.market, windows=windows)
    text = drawn(msgspec.structs.replace(view, market=market, assets=[]), width, 24)
    assert f"{figures.usd(usd, floor=True)}/{figures.usd(usd)}" in text
    assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", text)


def test_floors_are_marked_and_only_floors() -> None:
    assert "long ≥$38M" in drawn(busy(floor=True), 120, 40)
    exact = busy(floor=False)
    exact = msgspec.structs.replace(exact, feeds=[feed("bybit", "subscribed", "complete")])
    assert "≥" not in drawn(exact, 120, 40)


def _drawn(assets: list[AssetView], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(windows(assets, width))
    return out.getvalue()


def test_what_is_faster_than_usual_and_how_likely_more_is_stand_beside_the_score() -> None:
    hot = msgspec.structs.replace(asset("BTC", "ALERT"), heat=3.24, probability=0.123)
    calm = msgspec.structs.replace(asset("ETH", "NONE"), heat=1.04)
    wide = _drawn([hot, calm], 160)
    assert "ALERT .51 ×3.2 12 %" in wide
    assert wide.count("×") == wide.count(" %") == 1
    assert "score .51 ×3.2 12 %" in _drawn([hot, calm], 90)
    assert (figures.heat(41.4), figures.heat(2e6), figures.chance(0.004)) == ("×41", "×999", "0 %")


def test_live_is_not_simulated() -> None:
    text = drawn(busy(simulated=False), 80, 24)
    assert "LIVE" in text
    assert "SIMULATED" not in text


def test_the_simulation_is_reversed_even_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes colours away and nothing else."""
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(busy(), 80, 24, force_terminal=True, color_system="truecolor")
    codes = {code for run in re.findall(r"\x1b\[([\d;]*)m", text) for code in run.split(";")}
    assert re.search(r"\x1b\[(1;)?7m SIMULATED DATA", text)
    assert not codes & {str(n) for n in [*range(30, 50), *range(90, 108)]}


def test_a_venue_shows_the_state_that_needs_attention_and_its_sums() -> None:
    told = venues(
        [
            feed("okx", "subscribed", events=5, frames=10, frame_age=3.0),
            feed("okx", "refused", "sampled", feed="poll", reason="no", events=5, frames=1, frame_age=0.5, dropped=4),
            feed("bybit", "subscribed", event_age=None),
        ]
    )
    assert [(row.venue, row.state, row.events, row.frames, row.frame_age, row.dropped) for row in told] == [
        ("okx", "refused", 5, 11, 0.5, 4),
        ("bybit", "subscribed", 34, 1200, 0.21, 0),
    ]
    assert told[0].coverage == "sampled"
    assert told[1].event_age is None


def test_feeds_that_do_not_fit_are_counted() -> None:
    text = drawn(busy(), 80, 24)
    assert "and 15 more: 15 subscribed" in text
    assert text.index("gap") < text.index("silent") < text.index("quiet")


def test_an_empty_pipeline_says_so() -> None:
    empty = msgspec.structs.replace(
        busy(), feeds=[], signals=[], cascades=[], assets=[], latency_p50_ms=None, latency_p99_ms=None
    )
    text = drawn(empty, 80, 24)
    for told in ["no feed yet", "no cascade so far", "no signal so far", "event→signal –"]:
        assert told in text


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 2)), min_size=1, max_size=4),
)
def test_lines_are_handed_out_whole(free: int, sections: list[tuple[int, int]]) -> None:
    """Never more than there is, never more than wanted, and nothing left while somebody could take it."""
    wanted, steps = [want for want, _ in sections], [step for _, step in sections]
    handed = shares(free, wanted, steps)
    assert sum(handed) <= free
    left = free - sum(handed)
    for got, want, step in zip(handed, wanted, steps, strict=True):
        assert got <= want
        assert got % step == 0
        assert got + step > want or step > left


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (812.4, "812"), (999.6, "1.0k"), (1234, "1.2k"), (99_960, "100k"), (34e6, "34M"), (9.97e6, "10M"),
     (999.7e6, "1.0B"), (2.5e12, "2.5T")],
)  # fmt: skip
def test_usd_in_four_characters(value: float, told: str) -> None:
    assert figures.usd(value) == told
    assert figures.usd(value, floor=True) == f"≥{told}"


def test_times_are_readable() -> None:
    assert [figures.age(a) for a in (None, 0.26, 12.3, 200, 7200, 200_000)] == ["–", "0.3s", "12s", "3m", "2h", "2d"]
    assert [figures.milliseconds(m) for m in (None, 0.214, 12.7, 1234)] == ["–", "0.21 ms", "13 ms", "1.2 s"]
    assert [figures.elapsed(s) for s in (5.9, 754, 3723)] == ["0:05", "12:34", "1:02:03"]
    assert figures.time_of_day(NOON) == "14:13:20.123"
    assert [figures.share(s) for s in (0.0, 0.81, 0.996, 1.0)] == [".00", ".81", "1.0", "1.0"]


def test_without_a_terminal_a_line_every_five_seconds() -> None:
    said = io.StringIO()
    with Dashboard(out=io.StringIO(), lines=said) as dashboard:
        for tenth in range(101):
            dashboard.update(msgspec.structs.replace(busy(), elapsed=tenth / 10))
        assert not dashboard.on_screen
    told = said.getvalue().splitlines()
    assert [row.split()[1] for row in told] == ["0:00", "0:05", "0:10"]
    assert told[0] == line(msgspec.structs.replace(busy(), elapsed=0.0))
    assert told[0].startswith("SIMULATED ")
    assert "market CRITICAL .71" in told[0]


DRIVER = """
import sys, time, msgspec
sys.path.insert(0, {tests!r})
from test_dashboard import busy
from sinks.dashboard import Dashboard
view, took = busy(), []
with Dashboard() as dashboard:
    assert dashboard.on_screen
    for step in range({steps}):
        started = time.perf_counter()
        dashboard.update(msgspec.structs.replace(view, elapsed=step / 4))
        took.append(time.perf_counter() - started)
        time.sleep(0.04)
    {ending}
print("after", sorted(took)[len(took) // 2])
"""


def on_terminal(steps: int, ending: str = "pass") -> str:
    """Everything a process showing the view writes to a terminal of 100x30."""
    driver, terminal = pty.openpty()
    code = DRIVER.format(steps=steps, tests=str(Path(__file__).parent), ending=ending)
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", code], stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
    )  # fmt: skip
    os.close(terminal)
    told = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if select.select([driver], [], [], 0.1)[0]:
            try:
                told += os.read(driver, 1 << 16)
            except OSError:
                break
    process.wait(5)
    os.close(driver)
    return told.decode()


def test_a_terminal_is_drawn_by_another_process_and_given_back() -> None:
    """Drawing costs the caller little even where a draw takes many milliseconds."""
    told = on_terminal(30)
    shown, after = told.split("\x1b[?1049l")
    assert shown.count("\x1b[?1049h") == 1
    assert "SIMULATED DATA" in shown
    assert "0:07" in shown, "the last views arrived"
    assert float(after.split("after")[-1]) < 0.002, "median seconds of one update"


def test_the_terminal_is_given_back_when_the_drawing_process_dies() -> None:
    told = on_terminal(
        2,
        "import os; os.kill(dashboard._child.pid, 9); dashboard._child.wait(); dashboard._drawn = -1.0;"
        " dashboard.update(view); assert not dashboard.on_screen",
    )
    assert "after" in told.split("\x1b[?1049l")[-1]
    assert "Traceback" not in told


def test_summary_tells_what_happened_and_what_to_try() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(summary(busy(), [Path("a"), Path("b")], Path("data/demo")))
    text = out.getvalue()
    for told in ["SIMULATED DATA", "12,345", "largest BTC long ≥$38M", "p99 0.93 ms", "2 files in data/demo", "≥ marks",
                 "try next", 'breakwater sql --data-dir data/demo "from cascades"']:  # fmt: skip
        assert told in text
    out = io.StringIO()
    Console(file=out, width=100).print(summary(busy(floor=False), []))
    assert "none written" in out.getvalue()


def test_summary_tells_what_became_of_the_paper_pair() -> None:
    def told(**known: Any) -> str:
        pair = PaperView(asset="SOL", long="aster", short="lighter", notional_usd=2e4, leverage=6.0, **known)
        out = io.StringIO()
        Console(file=out, width=120).print(summary(busy(), [], paper=pair))
        return out.getvalue()

    assert "not opened: aster and lighter told no SOL price in time" in told()
    calm = told(opened=True, pnl_usd=-3.2, idle_pnl_usd=-2.8)
    assert "SOL long aster, short lighter, $20k each, 6x" in calm
    assert "no leg in this run" in calm
    assert "-$3; doing nothing: -$3" in calm
    hit = {"opened": True, "hit": "lighter", "detection_ms": 19.1, "pnl_usd": 1365.8, "idle_pnl_usd": -818.4}
    assert "the short at lighter, noticed after 19 ms; aster flat after 60 ms" in told(**hit, flat_ms=59.8)
    assert "+$1,366; doing nothing: -$818" in told(**hit, flat_ms=59.8)
    assert "aster NOT flat" in told(**hit)


def test_the_picture_is_an_svg_of_the_view(tmp_path: Path) -> None:
    file = tmp_path / "view.svg"
    screenshot(busy(), file)
    svg = file.read_text(encoding="utf-8").replace("&#160;", " ")
    assert svg.startswith("<svg")
    assert "SIMULATED DATA" in svg
    assert "bybit › binance_usdm" in svg
