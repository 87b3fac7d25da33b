"""Files driven through the pipeline as if live: what is in them is in the history, and nothing else is."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from connectors.exchange import Frame
from connectors.recording import METADATA, FrameWriter, read_frames
from flows.replay import replay
from flows.settings import HistorySettings, Settings
from schemas.clock import MILLISECOND, SECOND
from schemas.errors import RecordingError, UsageError
from tests.conftest import SHARED
from tests.integration.processes import breakwater, ended, one_object, rows, started, until

NOW = 1_790_000_000 * SECOND
EVERYTHING = Settings(history=HistorySettings(trades=True, mark_prices=True))
Shared = Callable[[str], Path]


def play(*files: Path, into: Path, speed: float | None = None, venue: str | None = None) -> list[str]:
    """Replay in this process; what was said about the files."""
    with capture_logs() as said:
        assert replay(EVERYTHING, files, speed=speed, data_dir=into, as_json=True, venue=venue) == 0
    return [line["note"] for line in said if "note" in line]


def force_order(symbol: str, quantity: str, time: int, price: str = "50000") -> bytes:
    order = {
        "s": symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": quantity, "p": price, "ap": price, "X": "FILLED",
        "l": quantity, "z": quantity, "T": time // MILLISECOND,
    }  # fmt: skip
    return json.dumps({"e": "forceOrder", "E": time // MILLISECOND, "o": order}).encode()


def recorded(path: Path, frames: Iterable[Frame]) -> Path:
    writer = FrameWriter(path, lambda: NOW)
    writer.write(frames)
    writer.close()
    return path


def binance(payload: bytes, received: int, feed: str = "market") -> Frame:
    return Frame("binance_usdm", feed, payload, received)


def every_second(count: int) -> Iterator[Frame]:
    """A forced close per second, each of another quantity."""
    for number in range(count):
        time = NOW + number * SECOND
        yield binance(force_order("BTCUSDT", str(number + 1), time), time + 20 * MILLISECOND)


# other people's recordings

EVENT_FILES = [
    "binance_all_2024-08", "binance_all_2025-01", "binance_all_2025-06", "binance_all_2025-12-01",
    "binance_all_2025-12", "binance_btcusdt_2024-12", "binance_buckets_2023-01", "binance_small_samples",
    "multi_venue_ethusdt_2026-04-03", "pacifica_2026-03_04", "whale_alerts_2025-09",
]  # fmt: skip
CLOSED = {"sell": "long", "buy": "short", "long": "long", "short": "short"}


@pytest.mark.parametrize("name", EVENT_FILES)
def test_every_row_of_a_recorded_file_is_one_forced_close(shared: Shared, tmp_path: Path, name: str) -> None:
    """With its own time, position and USD, and the price and quantity it has; what was filled in is said."""
    file = shared(f"history/{name}.parquet")
    table = pq.read_table(file)
    if "dup_suspect" in table.column_names:
        table = table.filter(pa.compute.invert(table["dup_suspect"]))
    source = table.to_pylist()
    (note,) = play(file, into=tmp_path)
    found = rows(
        tmp_path,
        "SELECT epoch_ms(event_time), position, notional_usd, instrument, asset, price, quantity, coverage, cause "
        "FROM liquidations",
    )
    expected = [(row["ts_ms"], CLOSED[row["side"].lower()], row["usd"]) for row in source]
    assert Counter(row[:3] for row in found) == Counter(expected)
    symbols: dict[Any, set[str]] = {}
    for row, key in zip(source, expected, strict=True):
        symbols.setdefault(key, set()).add(row["symbol"].replace("USDT", "", 1))
    for *key, instrument, asset, price, quantity, coverage, cause in found:
        assert instrument.replace("USDT", "", 1) in symbols[tuple(key)]
        assert asset in instrument
        assert (coverage in {"sampled", "partial"}, cause) == (True, "liquidation")
        if price is not None:
            assert price * quantity == pytest.approx(key[2], rel=0.02), "USD is price by quantity, as the source rounds"
    assert note.startswith(f"{name}.parquet: {len(source)} forced closes, 0 other records\n")
    assert "receive time is " in note
    assert "sums are floors" in note
    assert ("untold (NULL)" in note) == any(row[5] is None for row in found)
    assert ("USDT put back" in note) == any(row["symbol"] not in {f[3] for f in found} for row in source)


def test_context_files_are_context_and_no_events(shared: Shared, tmp_path: Path) -> None:
    """Funding, open interest, market state and large trades, all in one call."""
    names = [
        "funding_btc_eth_sol_2025-12_2026-03", "multi_venue_ethusdt_2026-04-03_state",
        "binance_large_trades_2025-01-26", "oct10_2025_hyperliquid_adl_waves",
    ]  # fmt: skip
    funding, state, trades, waves = (shared(f"history/{name}.parquet") for name in names)
    notes = play(funding, state, trades, waves, into=tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM liquidations") == [(0,)]
    paid = pq.read_table(funding)
    assert rows(tmp_path, "SELECT count(*), sum(rate) FROM funding WHERE settled") == [
        (paid.num_rows, pytest.approx(sum(paid["rate"].to_pylist()), rel=1e-9))
    ]
    marks = {(r["venue"], r["mark_price"], r["oi_value_usd"]) for r in pq.read_table(state).to_pylist()}
    kept = "SELECT m.venue, m.price, o.notional_usd FROM mark_prices m JOIN open_interest o USING (venue, instrument)"
    assert {(venue.removesuffix("_usdm"), *rest) for venue, *rest in rows(tmp_path, kept)} == {
        (venue.removesuffix("_usdm"), *rest) for venue, *rest in marks
    }
    large = pq.read_table(trades).to_pylist()
    sides = Counter("sell" if row["buyer_is_maker"] else "buy" for row in large)
    assert dict(rows(tmp_path, "SELECT taker, count(*) FROM trades GROUP BY taker")) == dict(sides)
    assert [note.splitlines()[0].partition(": ")[2] for note in notes] == [
        f"0 forced closes, {paid.num_rows} other records", "0 forced closes, 9 other records",
        f"0 forced closes, {len(large)} other records", "0 forced closes, 0 other records",
    ]  # fmt: skip


def test_open_interest_of_months_is_kept_row_by_row(shared: Shared, tmp_path: Path) -> None:
    """... and is known five minutes after its time."""
    file = shared("history/oi_5m_btc_eth_sol_2025-12_2026-03.parquet")
    play(file, into=tmp_path)
    table = pq.read_table(file)
    query = "SELECT count(*), sum(notional_usd), min(receive_time - event_time), max(receive_time - event_time) "
    ((count, usd, least, most),) = rows(tmp_path, query + "FROM open_interest")
    assert (count, usd) == (table.num_rows, pytest.approx(sum(table["oi_usd"].to_pylist()), rel=1e-9))
    assert least.total_seconds() == most.total_seconds() == 300


def test_the_crash_of_october_2025_opens_a_cascade_within_its_first_seconds(shared: Shared, tmp_path: Path) -> None:
    """As many liquidations and ADL as the file counts, apart; the sides are said to be assumed."""
    file = shared("history/oct10_2025_hyperliquid_counts_1s.parquet")
    (note,) = play(file, into=tmp_path)
    table = pq.read_table(file)
    counts = {"liquidation": sum(table["liquidations"].to_pylist()), "adl": sum(table["adls"].to_pylist())}
    assert dict(rows(tmp_path, "SELECT cause, count(*) FROM liquidations GROUP BY cause")) == counts
    assert "sides are not in the file" in note
    market = "SELECT epoch_ms(opened), peak_level, adl_events FROM cascades WHERE asset = '*' ORDER BY opened"
    (first, *_, last) = rows(tmp_path, market)
    busy = [row["bucket_start_ms"] for row in table.to_pylist() if row["liquidations"] > 40]
    assert busy[0] <= first[0] <= busy[0] + 1000, "20 a second over two seconds is ALERT: within the first such second"
    assert (first[1], last[1]) == ("CRITICAL", "EXTREME")
    assert last[2] == counts["adl"], "ADL is told beside, not as liquidations"


def test_adl_per_second_keeps_the_usd_of_every_coin(shared: Shared, tmp_path: Path) -> None:
    file = shared("history/oct10_2025_hyperliquid_adl_1s.parquet")
    play(file, into=tmp_path)
    expected: Counter[str] = Counter()
    for row in pq.read_table(file).to_pylist():
        expected.update(json.loads(row["adldByAsset"]))
    found = dict(
        rows(tmp_path, "SELECT instrument, sum(notional_usd) FROM liquidations WHERE cause = 'adl' GROUP BY ALL")
    )
    assert found == pytest.approx(dict(expected), rel=1e-9)


LIQUIDATIONS = {
    "binance/force_order.jsonl": lambda f: [
        (o["s"], {"SELL": "long", "BUY": "short"}[o["S"]], float(o["ap"]), float(o["z"]), o["T"])
        for o in [f.get("data", f)["o"]]
    ],
    "aster/force_order.jsonl": lambda f: [
        (o["s"], {"SELL": "long", "BUY": "short"}[o["S"]], float(o["ap"]), float(o["z"]), o["T"])
        for o in [f.get("data", f)["o"]]
    ],
    "bybit/all_liquidation.jsonl": lambda f: [
        (c["s"], {"Buy": "long", "Sell": "short"}[c["S"]], float(c["p"]), float(c["v"]), c["T"]) for c in f["data"]
    ],
    "okx/liquidation_orders.jsonl": lambda f: [
        (row["instId"], d["posSide"], float(d["bkPx"]), None, int(d["ts"])) for row in f["data"] for d in row["details"]
    ],
    "htx/liquidation_orders.jsonl": lambda f: [
        (d["contract_code"], {"sell": "long", "buy": "short"}[d["direction"]], float(d["price"]), None, d["created_at"])
        for d in f["data"]
    ],
}  # fmt: skip
"""What a person reads in a recorded frame: symbol, position closed, price, coins (where the venue counts coins), ms."""


@pytest.mark.parametrize("name", LIQUIDATIONS)
def test_recorded_frames_are_stored_as_a_person_reads_them(shared: Shared, tmp_path: Path, name: str) -> None:
    """Each close once, or its frame is a dead letter because its contract is not known; nothing else."""
    file = shared(f"captures/{name}")
    play(file, into=tmp_path)
    query = "SELECT instrument, position, price, quantity, epoch_ms(event_time) FROM liquidations"
    found = {row[:3]: row[3:] for row in rows(tmp_path, query)}
    unknown = {reason.split("'")[1] for (reason,) in rows(tmp_path, "SELECT reason FROM dead_letters")}
    frames = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    expected = {close[:3]: close[3:] for frame in frames for close in LIQUIDATIONS[name](frame)}
    known = {close: rest for close, rest in expected.items() if close[0] not in unknown}
    assert set(found) == set(known)
    for close, (coins, time) in known.items():
        assert coins is None or found[close][0] == pytest.approx(coins, rel=1e-12)
        assert time is None or found[close][1] == time


def captures() -> list[Path]:
    return sorted((SHARED / "captures").glob("*/*.jsonl"))


def test_no_recorded_frame_of_any_venue_stops_a_replay(shared: Shared, tmp_path: Path) -> None:
    """All captures in one call: every line is a frame that was read."""
    shared("captures")
    with capture_logs():
        assert replay(EVERYTHING, captures(), speed=None, data_dir=tmp_path, as_json=True, venue=None) == 0
    venues = {venue for (venue,) in rows(tmp_path, "SELECT DISTINCT venue FROM liquidations")}
    assert {"binance_usdm", "bybit", "okx", "gate", "htx", "bitmex", "lighter", "aster"} <= venues


# the command


def test_what_cannot_be_played_is_told_in_one_line_before_anything_is(tmp_path: Path) -> None:
    """Usage is 2 and a broken file 1, though a sound file comes first; no history is begun."""
    sound = recorded(tmp_path / "sound.frames.zst", every_second(2))
    files = {
        "nobody.jsonl": force_order("BTCUSDT", "1", NOW),
        "broken.parquet": b"PAR1 is how it begins",
        "broken.frames.zst": sound.read_bytes()[:4] + b"\xff" * 40,
        "results/signals/x.txt": b"",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = {
        "nobody.jsonl": (2, "error: nobody.jsonl does not tell whose frames it holds: add --venue"),
        "broken.parquet": (1, "error: cannot read broken.parquet: "),
        "broken.frames.zst": (1, "error: broken.frames.zst cannot be read: "),
        "results/signals": (2, "error: results/signals holds signals, which a replay makes itself"),
        "nowhere.frames.zst": (2, "nowhere.frames.zst"),
    }
    runs = {name: started("replay", sound, name, "--data-dir", "kept", "--json", cwd=tmp_path) for name in expected}
    for name, (code, complaint) in expected.items():
        done = ended(runs[name])
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "kept").exists()


def test_venue_names_whose_frames_a_bare_file_holds(tmp_path: Path) -> None:
    """Event times stand in for the receive times nobody told."""
    file = tmp_path / "nobody.jsonl"
    file.write_bytes(force_order("BTCUSDT", "1.5", NOW) + b"\n" + force_order("ETHUSDT", "2", NOW + SECOND, "2500"))
    done = breakwater(
        "replay", file, "--venue", "binance_usdm", "--data-dir", "kept", "--json", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["by_venue"] == {"binance_usdm": 2}
    query = (
        "SELECT instrument, position, quantity, notional_usd, event_time = receive_time FROM liquidations ORDER BY 1"
    )
    assert rows(tmp_path / "kept", query) == [
        ("BTCUSDT", "long", 1.5, 75_000.0, True), ("ETHUSDT", "long", 2.0, 5_000.0, True),
    ]  # fmt: skip


def test_a_file_damaged_inside_is_played_up_to_the_damage(tmp_path: Path) -> None:
    """What came before is kept, and the place is named."""
    file = tmp_path / "torn.frames.zst"
    recorded(file, every_second(3))
    plain = tmp_path / "plain.jsonl"
    lines = [b'{"breakwater_recording":1,"what":""}']
    for frame in read_frames(file):
        told = {"venue": frame.venue, "feed": frame.feed, "receive_time": frame.receive_time}
        lines.append(json.dumps({**told, "frame": frame.payload.decode()}).encode())
    plain.write_bytes(b"\n".join([*lines[:3], b'{"torn', lines[3]]))
    with pytest.raises(RecordingError, match=r"plain.jsonl, line 4: "):
        replay(EVERYTHING, [plain], speed=None, data_dir=tmp_path / "kept", as_json=True, venue=None)
    assert rows(tmp_path / "kept", "SELECT count(*) FROM liquidations") == [(2,)]
    with pytest.raises(RecordingError):
        replay(EVERYTHING, [file, plain], speed=1e9, data_dir=tmp_path / "both", as_json=True, venue=None)
    assert rows(tmp_path / "both", "SELECT count(*), sum(quantity) FROM liquidations") == [(3, 6.0)]


def test_ctrl_c_ends_a_replay_in_order(tmp_path: Path) -> None:
    """130, what was played is kept and told; an hour until the next frame does not hold it up."""
    frames = [*every_second(2), binance(force_order("BTCUSDT", "9", NOW), NOW + 3600 * SECOND)]
    file = recorded(tmp_path / "long.frames.zst", frames)
    arguments = ("replay", file, "--speed", "10", "--data-dir", "kept", "--json")
    process = started(*arguments, cwd=tmp_path, BREAKWATER_HISTORY__FLUSH_ROWS="1")
    until(lambda: len(list(tmp_path.glob("kept/history/liquidations/dt=*/part-*"))) == 2, 30, process)
    process.send_signal(signal.SIGINT)
    done = ended(process, within=5)
    assert done.returncode == 130, done.stderr
    assert one_object(done.stdout)["events"] == 2
    assert "Traceback" not in done.stderr
    assert rows(tmp_path / "kept", "SELECT quantity FROM liquidations ORDER BY 1") == [(1.0,), (2.0,)]


# pace


def test_speed_is_times_as_fast_as_it_happened(tmp_path: Path) -> None:
    """A minute at a hundred times takes 0.6 seconds, frames and stored context alike; max does not wait."""
    file = recorded(tmp_path / "minute.frames.zst", every_second(61))
    play(file, into=tmp_path / "warm")
    began = monotonic()
    play(file, into=tmp_path / "paced", speed=100.0)
    paced = monotonic() - began
    assert 0.6 <= paced < 10.0
    began = monotonic()
    play(tmp_path / "paced", into=tmp_path / "again", speed=100.0)
    assert 0.6 <= monotonic() - began < 10.0
    began = monotonic()
    play(file, into=tmp_path / "max")
    assert monotonic() - began < paced
    kept = "SELECT * FROM liquidations ORDER BY event_id"
    assert rows(tmp_path / "paced", kept) == rows(tmp_path / "max", kept) == rows(tmp_path / "again", kept)


# dead letters

NEW = {
    "symbol": "NEWUSDT", "baseAsset": "NEW", "quoteAsset": "USDT", "marginAsset": "USDT", "contractType": "PERPETUAL",
    "status": "TRADING", "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}],
}  # fmt: skip


def test_dead_letters_are_driven_again_once_their_instrument_is_known(tmp_path: Path) -> None:
    """The close of an unlisted contract is a dead letter; with the venue's listing before it, it is there, once."""
    kept, received = tmp_path / "kept", NOW + 20 * MILLISECOND
    close = binance(force_order("NEWUSDT", "3", NOW, "7"), received)
    first = recorded(tmp_path / "first.frames.zst", [close, *every_second(1)])
    listing = binance(json.dumps({"timezone": "UTC", "symbols": [NEW]}).encode(), received, METADATA)
    listed = recorded(tmp_path / "listed.frames.zst", [listing])
    play(first, into=kept)
    ((venue, reason, raw),) = rows(kept, "SELECT venue, reason, raw FROM dead_letters")
    assert (venue, raw) == ("binance_usdm", close.payload)
    assert reason.startswith("instrument 'NEWUSDT' is not known on binance_usdm")
    assert rows(kept, "SELECT instrument FROM liquidations") == [("BTCUSDT",)]
    letters = kept / "history" / "dead_letters"
    (file,) = letters.glob("dt=*/part-*.parquet")
    for again in (letters, file.parent, file):
        play(listed, again, into=kept)
        query = "SELECT instrument, quantity, notional_usd, epoch_ns(receive_time - event_time) FROM liquidations"
        found = rows(kept, f"{query} ORDER BY instrument DESC")
        assert found == [("NEWUSDT", 3.0, 21.0, 20 * MILLISECOND), ("BTCUSDT", 1.0, 50_000.0, 20 * MILLISECOND)]
    assert rows(kept, "SELECT count(*) FROM dead_letters") == [(1,)], "history is not rewritten"


def test_dead_letters_still_unreadable_are_the_same_dead_letters(tmp_path: Path) -> None:
    """A directory may be named dead_letters and hold something else."""
    kept = tmp_path / "dead_letters"
    play(recorded(tmp_path / "x.frames.zst", [binance(b"not json", NOW), *every_second(1)]), into=kept)
    before = rows(kept, "SELECT * FROM dead_letters")
    play(kept / "history" / "dead_letters", into=kept)
    assert rows(kept, "SELECT * FROM dead_letters") == before
    assert len(before) == 1
    (liquidations,) = kept.glob("history/liquidations/dt=*/part-*.parquet")
    play(liquidations, into=tmp_path / "copy")
    assert rows(tmp_path / "copy", "SELECT * FROM liquidations") == rows(kept, "SELECT * FROM liquidations")


def test_results_are_not_played(tmp_path: Path) -> None:
    play(recorded(tmp_path / "x.frames.zst", every_second(1)), into=tmp_path)
    (windows,) = tmp_path.glob("history/windows/dt=*/part-*.parquet")
    for given in (windows, windows.parent, windows.parents[1]):
        with pytest.raises(UsageError, match="holds windows, which a replay makes itself: give the liquidations"):
            replay(EVERYTHING, [given], speed=None, data_dir=tmp_path, as_json=True, venue=None)


def test_the_same_replay_twice_gives_byte_identical_results(tmp_path: Path) -> None:
    """Every row of signals, cascades and windows, written down the same, wherever the batches were cut."""
    file = recorded(tmp_path / "one.frames.zst", crowded(400))
    for name in ("first", "second"):
        play(file, into=tmp_path / name)
    for dataset in ("signals", "cascades", "windows", "liquidations"):
        first, second = (written(tmp_path / name, dataset) for name in ("first", "second"))
        assert first == second
        assert first, dataset


def crowded(count: int) -> Iterator[Frame]:
    """Enough in a few seconds to be a cascade."""
    for number in range(count):
        time = NOW + number * 20 * MILLISECOND
        yield binance(force_order("BTCUSDT", f"{1 + number / 1000:.3f}", time), time)


def written(data_dir: Path, dataset: str) -> list[bytes]:
    files = sorted((data_dir / "history" / dataset).rglob("*.parquet"))
    return [json.dumps(pq.read_table(file).to_pylist(), default=str, sort_keys=True).encode() for file in files]
