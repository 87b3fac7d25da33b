"""Every benchmark runs, says what it measured against what, and lets no event disappear. Speeds are not asserted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from connectors.catalogue import Catalogue
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from tests.benchmarks import BENCHMARKS, ON_REQUEST, run
from tests.benchmarks.figures import Row, Target, kept, row
from tests.benchmarks.frames import DECODERS, VENUES, corpus
from tests.benchmarks.pipeline import Pipeline
from tests.broker import missing

CONSERVED = {
    "replay": ["in a plain loop: lost of", "inside bytewax: lost of"],
    "history": ["one file, plain loop: lost of", "one file, bytewax: lost of", "a data directory, plain loop: lost of",
                "a data directory, bytewax: lost of"],
    "latency": ["200/s: lost of", "200/s, bare client: lost of"],
    "burst": ["burst: lost of", "bare client: lost of"],
    "memory": ["neither scored, late nor known"],
    "baselines": ["windows in which deques and detector differ", "events the SlidingWindowers lost"],
    "startup": [],
    "probability": [],
    "kafka": ["hop, 1 partition: lost of", "hop, 12 partitions: lost of", "catching up: lost of"],
    "hops": ["12 partitions, 500/s, bare client: lost of"],
    "executor": ["orders beyond one for each of", "syncs of the journal beyond two"],
    "history100m": ["history: lost of", "hours that differ"],
}  # fmt: skip
"""How the rows that say nothing was lost begin."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name", [*BENCHMARKS, *sorted(set(ON_REQUEST) - {"kills", "catchup", "scaling", "quix"})]
)  # kills is a test of its own, catchup and scaling start many processes, quix wants a library
def test_rows_are_well_formed_and_nothing_is_lost(name: str) -> None:
    if name == "hops" and (why := missing()):
        pytest.skip(why)
    if name == "kafka" and missing():
        pytest.skip(missing())
    rows = run(name, quick=True)
    assert len({one.name for one in rows}) == len(rows)
    for one in rows:
        assert math.isfinite(one.value)
        assert one.value >= 0.0
        assert (one.ratio is None) or (math.isfinite(one.ratio) and one.ratio > 0.0 and one.baseline)
        assert (one.verdict in {"met", "not met"}) == bool(one.target)
    for beginning in CONSERVED[name]:
        (told,) = [one for one in rows if one.name.startswith(beginning)]
        assert (told.value, told.verdict) == (0.0, "met"), told


def test_every_frame_of_the_corpus_is_read_whole_and_by_its_typed_decoder() -> None:
    """No dead letter, no control record, no duplicate: the baseline decodes exactly what the pipeline reads."""
    made = corpus(5_000, seed=3)
    pipeline = Pipeline()
    tally = pipeline.run(made.pieces)
    assert (tally.events, tally.dead_letters, tally.duplicates) == (made.events, 0, 0)
    normaliser = Normaliser(exchanges().values(), Catalogue(snapshots()))
    assert normaliser.normalise(made.pieces[0]).others == []
    for piece in made.pieces:
        for frame in piece:
            DECODERS[frame.venue](frame.payload)


def test_the_corpus_is_what_its_seed_says_and_holds_every_venue_in_order_of_receipt() -> None:
    made = corpus(5_000, seed=3)
    assert made == corpus(5_000, seed=3)
    frames = [frame for piece in made.pieces for frame in piece]
    received = [frame.receive_time for frame in frames]
    assert received == sorted(received)
    counts = Counter(frame.venue for frame in frames)
    assert set(counts) == set(VENUES) == set(DECODERS)
    assert counts["binance_usdm"] / 5_000 == pytest.approx(0.25, abs=0.03)


def test_a_target_judges_the_value_or_the_ratio() -> None:
    slow = row("x", 3.0, "ms", Target("≤", 2.0))
    assert (slow.target, slow.verdict) == ("≤ 2 ms", "not met")
    close = row("x", 3.0, "ms", Target("≤", 2.0, "ratio"), baseline="y", ratio=1.5)
    assert (close.target, close.verdict) == ("≤ 2×", "met")
    assert row("x", 3.0, "ms") == Row("x", 3.0, "ms")
    with pytest.raises(ValueError, match="needs a ratio"):
        row("x", 3.0, "ms", Target("≤", 2.0, "ratio"))


@pytest.mark.parametrize(("came_out", "verdict"), [(10, "met"), (9, "not met"), (11, "not met")])
def test_events_that_appear_from_nowhere_are_no_better_than_lost_ones(came_out: int, verdict: str) -> None:
    assert kept("x", 10, came_out).verdict == verdict


def test_the_command_prints_one_json_object_by_benchmark() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "memory", "--quick", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=True)  # noqa: S603 - our own module
    rows = json.loads(done.stdout)["memory"]
    assert rows[1]["name"] == "resident after 60,000 events"
    assert rows[1]["target"] == "≤ 1.05×"


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "reply"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)  # noqa: S603 - our own module
    assert done.returncode == 2
    assert b"no benchmark reply; choose from replay" in done.stderr
