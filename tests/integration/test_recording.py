"""What was live can be driven again: recorded frames give the same forced closes, signals and cascades, every time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace as with_other
from pathlib import Path
from typing import Any

import pytest

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from connectors.reader import Reader
from connectors.recording import FrameWriter, read_frames
from connectors.simulator import SimulatorProcess
from connectors.source import ReplaySource
from connectors.spool import Item
from connectors.venue_feeds import VenueFeeds
from flows import assembly, replay
from flows.domain.detector import Detector
from flows.live import assemble, run
from flows.record import record
from flows.settings import Settings, VenueSettings
from flows.stages import Outcome, execute
from schemas.batches import Batch
from schemas.clock import SECOND, system_clock
from schemas.errors import RecordingError
from tests.integration.processes import (
    assert_is_the_truth,
    breakwater,
    ended,
    one_object,
    rows,
    started,
    truth,
    until,
)

SEED, DURATION, SPEED = 5, 16.0, 4.0
SIMULATOR = ("--seed", str(SEED), "--duration", str(DURATION), "--speed", str(SPEED), "--silent", "okx", "--lead")
DECIDED = {
    "signals": "SELECT * FROM signals ORDER BY event_time, signal_id",
    "cascades": "SELECT * FROM cascade_updates ORDER BY time, cascade_id, events, state",
    "liquidations": "SELECT * FROM liquidations ORDER BY event_id",
}


def decided(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a run decided, in an order of its own."""
    return {name: rows(data_dir, query) for name, query in DECIDED.items()}


def played(file: Path, data_dir: Path) -> None:
    """Replay in this process."""
    done = replay.replay(Settings(), [file], speed=None, data_dir=data_dir, as_json=True, venue=None)
    assert done == 0


def test_a_recording_replayed_is_what_the_venues_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every venue recorded by its gateway; ``replay`` twice into one directory adds nothing the second time."""
    file, kept = tmp_path / "taken.frames.zst", tmp_path / "kept"
    venues = sorted(exchanges())
    with SimulatorProcess(*SIMULATOR, "3.0") as simulator:
        gateways = tuple(f"{venue}={simulator.endpoints[venue].rest}" for venue in venues)
        settings = Settings(venues=VenueSettings(enabled=tuple(venues), gateways=gateways))
        over = (simulator.began - system_clock()) / SECOND + DURATION / SPEED + 1
        assert record(settings, out=file, duration=over) == 0
    told = capsys.readouterr()
    assert told.out == ""
    recorded = list(read_frames(file))
    assert f"{len(recorded)} frames in {file}" in told.err
    assert {frame.venue for frame in recorded} == set(venues)
    done = breakwater("replay", file, "--data-dir", kept, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = one_object(done.stdout)
    assert report["frames"] == len(recorded)
    assert report["dead_letters"] == report["duplicates"] == 0
    assert_is_the_truth(kept, truth(SEED, DURATION))
    before = decided(kept)
    assert len(before["signals"]) == report["signals"] > 0
    assert len(before["cascades"]) >= report["cascades"] > 0
    files = len(list(kept.glob("history/liquidations/dt=*/part-*")))
    played(file, kept)
    assert len(list(kept.glob("history/liquidations/dt=*/part-*"))) == 2 * files
    assert decided(kept) == before


class Recorded(Reader):
    """A reader whose frames are recorded on their way to the flow."""

    def __init__(self, reader: Reader, writer: FrameWriter) -> None:
        self._reader, self._writer = reader, writer
        self.start, self.stop = reader.start, reader.stop
        self.feeds, self.forced_closes = reader.feeds, reader.forced_closes

    def drain(self, wait: float, most: int = 10_000) -> list[Item]:
        items = self._reader.drain(wait, most)
        self._writer.write(item for item in items if isinstance(item, Frame))
        return items


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A live run with history over a simulated market, and the recording of the very frames it read."""
    place = tmp_path_factory.mktemp("taken")
    file, live = place / "live.frames.zst", place / "live"
    settings = Settings()
    writer = FrameWriter(file, system_clock)
    with SimulatorProcess(*SIMULATOR, "2.0") as simulator:
        venues = [VenueFeeds(e, simulator.endpoints[e.venue]) for e in assembly.enabled(settings)]
        parts = assemble(settings, venues, live, system_clock, simulated=True)
        recorded = with_other(parts, reader=Recorded(parts.reader, writer))
        over = (simulator.began - system_clock()) / SECOND + DURATION / SPEED + 1
        assert run(recorded, duration=over, headless=True, clock=system_clock) is False
    writer.close()
    return file, live


def test_replay_decides_what_live_decided(taken: tuple[Path, Path], tmp_path: Path) -> None:
    """Forced closes, signals and cascades are equal to the last bit.

    Only what falls due after the live run had ended is in the replay alone: it lets an hour pass.
    """
    file, live = taken
    played(file, tmp_path)
    ((end,),) = rows(live, "SELECT max(receive_time) FROM liquidations")
    first, again = decided(live), decided(tmp_path)
    assert first["liquidations"] == again["liquidations"]
    assert len(first["liquidations"]) > 500
    for name, time in (("signals", "event_time"), ("cascades", "time")):
        query = DECIDED[name].replace("ORDER", f"WHERE {time} <= TIMESTAMP '{end}' ORDER", 1)
        assert rows(live, query) == rows(tmp_path, query)
        assert len(rows(live, query)) > 5
        assert set(map(str, first[name])) <= set(map(str, again[name])), "live knows nothing the replay does not"


def outcomes(frames: list[Frame], size: int) -> list[Outcome]:
    """What the replay flow makes of frames in pieces of ``size``."""
    catalogue = Catalogue(snapshots())
    detector = Detector(assembly.rules(Settings()), catalogue.assets)
    found: list[Outcome] = []

    def pieces() -> Iterator[list[Frame] | Batch]:
        for start in range(0, len(frames), size):
            yield frames[start : start + size]

    execute(replay.build(ReplaySource(pieces()), Normaliser(exchanges().values(), catalogue), detector, found.append))
    return found


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_size_of_a_batch_decides_nothing(taken: tuple[Path, Path], size: int) -> None:
    """Signals, cascades and windows are the same records in the same order, however the frames are cut."""
    frames = list(read_frames(taken[0]))
    expected, found = outcomes(frames, 500), outcomes(frames, size)
    told = [record for outcome in expected for record in outcome.detections.records]
    assert len(told) > 10
    assert [record for outcome in found for record in outcome.detections.records] == told
    assert windows(found) == windows(expected)


def windows(found: list[Outcome]) -> list[object]:
    return [record for outcome in found for group in outcome.detections.windows for record in group.records()]


def test_an_interrupted_recording_is_whole(tmp_path: Path) -> None:
    """Ctrl-C ends the recording in order, 130; what was asked for is in it and nothing else."""
    file = tmp_path / "taken.frames.zst"
    with SimulatorProcess("--duration", "60", "--lead", "0") as simulator:
        gateways = ",".join(f"{v}={simulator.endpoints[v].rest}" for v in ("bybit", "gate"))
        arguments = ("record", "--venue", "bybit", "--venue", "gate", "--asset", "BTC", "--out", file)
        process = started(*arguments, cwd=tmp_path, BREAKWATER_VENUES__GATEWAYS=gateways)
        until(lambda: file.exists() and any(b"allLiquidation" in f.payload for f in read_frames(file)), 30, process)
        process.send_signal(signal.SIGINT)
        done = ended(process, within=10)
    assert done.returncode == 130, done.stderr
    recorded = list(read_frames(file))
    assert done.stderr.splitlines()[-1] == f"{len(recorded)} frames in {file}"
    assert {frame.venue for frame in recorded} == {"bybit", "gate"}
    pushed = [frame.payload for frame in recorded if b'"topic":"allLiquidation' in frame.payload]
    assert all(b"allLiquidation.BTC" in payload for payload in pushed), "another asset was not asked for"


def test_nothing_but_a_recording_is_recorded_into(tmp_path: Path) -> None:
    """Neither a text nor a recording unpacked by hand is touched; a name that cannot be is told."""
    settings = Settings(venues=VenueSettings(enabled=("bybit",)))
    file = tmp_path / "notes.txt"
    for content in ("mine\n", '{"breakwater_recording":1,"what":""}\n'):
        file.write_text(content)
        with pytest.raises(RecordingError, match=r"notes.txt is there and no recording: give another name$"):
            record(settings, out=file, duration=1)
        assert file.read_text() == content
    with pytest.raises(RecordingError, match=r"notes.txt/below cannot be written: File exists$"):
        record(settings, out=file / "below", duration=1)
