"""Kills workers at random moments over a stream of forced closes, and judges what they leave behind."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from connectors.exchange import Frame
from schemas.bus import Bus
from schemas.cascades import MARKET
from schemas.topics import CASCADES, DEAD_LETTERS, LIQUIDATIONS, SIGNALS, WINDOWS
from tests.integration.processes import rows
from tests.integration.workers import feed, frames, killed_at_random, normalised, undisturbed, values, workers

CHAIN = ("normalise", "cascades", "archive")


@dataclass(frozen=True)
class Run:
    """One run and what it was fed."""

    told: list[Frame]
    data_dir: Path
    kills: int


def killed_run(
    bus: Bus, directory: Path, *, events: int, kills: int, seed: int, most: float = 2.0, processes: int = 1
) -> Run:
    """Feed, kill, and let the rest be worked off in peace.

    :arg processes: of each worker; of a cluster only the one that started the others is killed.
    """
    told, options = frames(events, seed), ("--workers", str(processes))
    with workers(bus, directory) as pipeline:
        half = len(told) // 2
        feed(bus, told[:half])
        done = killed_at_random(pipeline, CHAIN, kills // 2, seed, most, *options)
        for name in CHAIN:
            pipeline.kill(name)
        feed(bus, told[half:])
        done += killed_at_random(pipeline, CHAIN, kills - kills // 2, seed + 1, most, *options)
        for name in CHAIN:
            pipeline.await_begun(name)
            assert pipeline.stop(name) == 0, pipeline.log(name).read_text()[-3000:]
            pipeline.finish(name)
    return Run(told, directory / "data", len(done))


def assert_nothing_lost_and_nothing_twice(bus: Bus, run: Run) -> None:
    """Everything the guarantees say, against what the frames say and what an undisturbed worker tells."""
    closes, letters = normalised(run.told)
    _assert_topic_of_closes(bus, closes)
    assert set(values(bus, DEAD_LETTERS)) == letters
    _assert_history(run.data_dir, closes, len(letters))
    _assert_told(bus, run.data_dir)


def _assert_topic_of_closes(bus: Bus, closes: dict[str, bytes]) -> None:
    """Each event is there, in the same words however often."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for value in values(bus, LIQUIDATIONS):
        found[json.loads(value)["event_id"]].add(value)
    assert found == {event: {value} for event, value in closes.items()}


def _assert_history(data_dir: Path, closes: dict[str, bytes], letters: int) -> None:
    """Parquet holds each event once, whatever its views do about doubles."""
    files = f"read_parquet('{data_dir}/history/liquidations/dt=*/part-*.parquet')"
    stored = Counter(f"{row[0]:016x}" for row in rows(data_dir, f"SELECT event_id FROM {files}"))  # noqa: S608 - our own files
    assert stored == Counter(dict.fromkeys(closes, 1))
    files = f"read_parquet('{data_dir}/history/dead_letters/dt=*/part-*.parquet')"
    assert rows(data_dir, f"SELECT count(*) FROM {files}") == [(letters,)]  # noqa: S608 - same


def _assert_told(bus: Bus, data_dir: Path) -> None:
    """Signals, cascades and windows are those of an undisturbed run, each id with one content."""
    assets, _ = undisturbed(bus)
    found = [value for topic in (SIGNALS, CASCADES, WINDOWS) for value in values(bus, topic)]
    told = {value for value in found if json.loads(value)["asset"] != MARKET}
    assert told == assets
    signals = {json.loads(value)["signal_id"] for value in values(bus, SIGNALS)}
    files = f"read_parquet('{data_dir}/history/signals/dt=*/part-*.parquet')"
    stored = [row[0] for row in rows(data_dir, f"SELECT signal_id FROM {files}")]  # noqa: S608 - our own files
    assert set(stored) == signals
    assert any(json.loads(value).get("state") == "close" for value in found)
