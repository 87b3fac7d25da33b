"""The protocol: nothing leaks, runs repeat, probabilities are honest on a known law and on what was recorded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.domain.decays import FEATURES, N_FEATURES, cleared, take
from flows.domain.decays import features as read_features
from flows.domain.model import MARKET_FEATURES, CascadeModel, decoded, encoded
from flows.study import command, features
from flows.study.attempts import attempts, breadth, inputs
from flows.study.baselines import Forecast, baselines, cusum, fit_hawkes, last_minute, published
from flows.study.evaluate import OURS, Study, evaluate, forecasts_of, study, thinned
from flows.study.events import Events, read_recording
from flows.study.fit import fit_model
from flows.study.labels import Labels, Sums, label
from flows.study.report import page
from flows.study.robustness import half_lost, late_and_doubled, runs, shocks, skewed
from flows.study.scoreboard import sections
from schemas.cascades import MARKET
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.errors import UsageError
from tests.flows.study.conftest import T0, cascading, made, recording

Shared = Callable[[str], Path]
ROOT = Path(__file__).parents[3]


def test_features_see_what_was_visible_strictly_before() -> None:
    """An event seen at the very time of a decision is not known to it; the table is the detector's own, replayed."""
    events = cascading(hours=8)
    grid = T0 + np.arange(0, 8 * 3600, 5) * SECOND
    grid[7] = events.time[40]
    grid.sort()
    table = features.table(events, grid)
    for i in (0, 100, int(np.searchsorted(grid, events.time[40])), 3000):
        me, out = cleared(1)[0], np.zeros(N_FEATURES)
        for k in np.flatnonzero(events.visible < grid[i]):
            take(me, events.time[k], events.usd[k], events.side[k], events.venue[k])
        read_features(me, grid[i], out)
        assert table[i].tolist() == out.tolist()


def shuffled_after(events: Events, cut: int) -> Events:
    """The same events until ``cut``; later ones at other times, with other USD."""
    rng = np.random.default_rng(9)
    later = np.flatnonzero(events.time >= cut)
    time, usd = events.time.copy(), events.usd.copy()
    time[later] = rng.integers(cut, int(events.time.max()) + 1, len(later))
    # Many at once right after: whoever looks ahead, if only by seconds, sees them.
    time[later[:200]] = cut + rng.integers(0, 2 * SECOND, 200)
    usd[later] = rng.permutation(usd[later]) * 7
    return replace(events, time=time, visible=time, usd=usd).in_order()


def test_what_comes_later_changes_nothing_before() -> None:
    """Neither labels nor fits of the earlier half, nor any forecast up to a time in the later half."""
    events = cascading()
    labels = label(events, threshold=400_000.0)
    rows = (labels.split + len(labels.time)) // 2
    cut = int(labels.time[rows - 1]) + SECOND // 2
    other = shuffled_after(events, cut)
    # The same decision times: where the recorder ran is not what is asked here.
    again = replace(labels, reached=label_at(other, labels.time), crossings=labels.crossings)
    model, same = (fit_model(recording(e), MARKET, b) for e, b in ((events, labels), (other, again)))
    assert encoded(model) == encoded(same)

    def forecasts(e: Events, b: Labels) -> list[Forecast]:
        return [*forecasts_of(model, recording(e), b), *baselines(e, b)]

    for one, two in zip(forecasts(events, labels), forecasts(other, again), strict=True):
        np.testing.assert_array_equal(one.probability[:rows], two.probability[:rows], err_msg=one.name)
        np.testing.assert_array_equal(one.score[:rows], two.score[:rows], err_msg=one.name)
    for (name, before), (_, after) in zip(
        inputs(recording(events), study_of(events, labels, model)),
        inputs(recording(other), study_of(other, again, model)),
        strict=True,
    ):
        np.testing.assert_array_equal(before[:rows], after[:rows], err_msg=name)


def study_of(events: Events, labels: Labels, model: CascadeModel) -> Study:
    return Study(recording(events), events, labels, model, [])


def label_at(events: Events, grid: np.ndarray) -> np.ndarray:
    return Sums(events).between(grid, grid + MINUTE) >= 400_000


def test_the_same_data_give_the_same_evaluation_to_the_last_digit() -> None:
    one, two = (command.as_json(evaluate(recording(cascading(hours=24)), MARKET)) for _ in range(2))
    assert one == two


def test_probabilities_are_calibrated_on_a_process_of_known_law() -> None:
    """On a self-exciting process our probability is honest within a point and beats every baseline's log score."""
    found = evaluate(recording(cascading(seed=4, hours=100.0)), MARKET)
    ours = found.row()
    assert ours.all_times.calibration_error < 0.01
    assert ours.all_times.worst_decile < 0.03
    assert ours.all_times.brier_skill.value > 0.1
    rivals = [row for row in found.rows if not row.name.startswith(OURS)]
    assert all(ours.all_times.log_score <= row.all_times.log_score * 1.005 for row in rivals)


def test_nothing_is_to_be_known_of_a_process_without_memory() -> None:
    """Poisson arrivals of independent sizes: no forecast has skill, and ours does not pretend to."""
    found = evaluate(recording(cascading(seed=5, hours=60.0, mu=0.05, n=0.0)), MARKET)
    ours = found.row()
    assert abs(ours.onset.brier_skill.value) < 0.01
    assert ours.onset.auc.value < 0.6
    assert ours.all_times.calibration_error < 0.005


def test_hawkes_is_found_again() -> None:
    mu, n, beta = fit_hawkes(np.sort(cascading(seed=6, hours=200.0, mu=0.02, n=0.6, beta=0.1).time))
    assert mu == pytest.approx(0.02, rel=0.2)
    assert n == pytest.approx(0.6, abs=0.06)
    assert beta == pytest.approx(0.1, rel=0.35)


def test_the_published_formula_by_hand() -> None:
    """60 events of 1 M USD in a minute after 12 in the one before, one venue: .25/50 + .2 x .8/60/20 + .2/50 + .15."""
    events = made([*np.linspace(1, 59, 12), *np.linspace(61, 119, 60)], 1e6)
    labels = label(cascading(), threshold=400_000.0)
    found = published(events, replace(labels, time=np.array([T0 + 120 * SECOND])))
    assert found[0] == pytest.approx(0.25 / 50 + 0.20 * (48 / 3600) / 20 + 0.20 * 1e6 / 50e6 + 0.15)


def test_simple_baselines_by_hand() -> None:
    events = made([10, 65, 70], [1.0, 2.0, 4.0])
    labels = replace(label(cascading(), threshold=400_000.0), time=T0 + np.array([70, 71, 130]) * SECOND, split=2)
    assert last_minute(events, labels).tolist() == [3.0, 6.0, 4.0]
    assert (cusum(events, labels) >= 0).all()


def test_thinning_keeps_the_largest_of_a_symbol_and_second() -> None:
    events = made([0.1, 0.5, 0.9, 1.2, 0.6], [1.0, 9.0, 3.0, 2.0, 5.0], asset=np.array([0, 0, 0, 0, 1], np.int32))
    assert sorted((thinned(events.in_order()).usd // 10**6).tolist()) == [2, 5, 9]


def test_faults_are_what_they_say() -> None:
    events = cascading(hours=10)
    doubled = late_and_doubled(events, np.random.default_rng(1))
    assert 1.02 < len(doubled) / len(events) < 1.08
    assert ((doubled.visible - doubled.time) < 3 * SECOND).all()
    assert (np.diff(doubled.visible) >= 0).all()
    assert set((skewed(events).visible - events.time).tolist()) == {1_500_000_000}
    cut = T0 + 5 * HOUR
    lost = half_lost(events, cut)
    assert (lost.time < cut).sum() == (events.time < cut).sum()
    assert 0.3 < (lost.time >= cut).sum() / (events.time >= cut).sum() < 0.7


def test_a_flood_and_a_burst_after_silence_give_probabilities() -> None:
    short = recording(cascading(hours=24))
    made_study = study(short, MARKET)
    flood, burst = shocks(made_study)
    assert flood.before < 0.5 < flood.peak <= 1.0
    assert flood.heat > 100
    assert burst.before < burst.peak
    assert burst.after < burst.peak
    names = [run.name for run in runs(short, MARKET, made_study)]
    assert len(names) == 6


def test_breadth_counts_assets_seen_in_the_minute_before() -> None:
    events = made([0, 10, 20, 65], asset=np.array([0, 1, 0, 1], np.int32))
    found = np.expm1(breadth(events, T0 + np.array([5, 15, 61, 66, 130]) * SECOND))
    assert np.rint(found).tolist() == [1, 2, 2, 2, 0]


def test_a_model_for_something_else_is_refused() -> None:
    model = study(recording(cascading()), MARKET).model
    with pytest.raises(UsageError, match="the model is for"):
        evaluate(recording(cascading()), "BTC", model=model)
    with pytest.raises(UsageError, match="threshold"):
        evaluate(recording(cascading()), MARKET, model=model, threshold=1.0)
    with pytest.raises(UsageError, match="holds no DOGE"):
        evaluate(recording(cascading()), "DOGE")


def test_a_page_stands_on_its_own() -> None:
    events = recording(cascading())
    text = page(evaluate(events, MARKET), study(events, MARKET))
    assert text.count("<svg") == text.count("</svg>") == 4
    assert "http" not in text
    assert "nan" not in text.replace("<td>nan</td>", "")


# The recordings.


def test_the_2023_recording_reaches_what_it_was_seen_to_reach(shared: Shared) -> None:
    """Most of what the protocol asks for, with a margin for other machines; what is missed is asserted as missed.

    All-times AUC .93 and skill .25 are not reached (.908 and .141 were seen), nor quite .04 above the formula (.039).
    """
    begun = time.process_time()
    found = evaluate(read_recording([shared("history/binance_buckets_2023-01.parquet")]), MARKET)
    assert time.process_time() - begun < 60
    ours, last = found.row(), found.row("USD of the last 60 s")
    assert found.fit_hours == pytest.approx(81.7, abs=0.1)
    assert ours.onset.auc.value > 0.87
    assert ours.onset.auc.value > last.onset.auc.value + 0.09
    assert ours.onset.auc.value > found.row("formula .25/.20/.20/.15, isotonic").onset.auc.value + 0.03
    assert ours.onset.ap.value > 1.4 * last.onset.ap.value
    assert ours.onset.brier_skill.value > 0.045
    assert 0.90 < ours.all_times.auc.value < 0.93
    assert 0.13 < ours.all_times.brier_skill.value < 0.25
    assert ours.all_times.calibration_error < 0.006
    assert ours.all_times.worst_decile < 0.03
    twenty = ours.alarms[1]
    assert twenty.recall > 0.70
    assert twenty.precision > 0.35
    assert twenty.lead is not None
    assert twenty.lead > 40
    assert ours.delay is not None
    assert ours.delay <= 6.0
    rivals = [row for row in found.rows if not row.name.startswith(OURS)]
    assert all(ours.onset.brier_skill.value > row.onset.brier_skill.value - 0.002 for row in rivals)
    assert all(ours.all_times.brier_skill.value > row.all_times.brier_skill.value for row in rivals)


@pytest.mark.parametrize("asset", ["BTC", "ETH"])
def test_single_assets_of_2023_reach_what_is_asked(shared: Shared, asset: str) -> None:
    """Onset AUC .80 and skill .04, called good: with the features of the market, not by its own alone (.78, .02)."""
    found = evaluate(read_recording([shared("history/binance_buckets_2023-01.parquet")]), asset)
    assert any(name.startswith("market_") for name in found.model.features)
    assert found.row().onset.auc.value > 0.81
    assert found.row().onset.brier_skill.value > 0.04
    assert found.row().onset.auc.value > found.row("formula .25/.20/.20/.15, isotonic").onset.auc.value + 0.1


def test_every_recording_is_evaluated_or_refused_with_its_reason(shared: Shared) -> None:
    studied, refused = set(), {}
    for file in sorted(shared("history").glob("*.parquet")):
        try:
            label(read_recording([file]).of(MARKET))
            studied.add(file.stem)
        except UsageError as error:
            refused[file.stem] = str(error)
    assert studied == {"binance_buckets_2023-01", "pacifica_2026-03_04"}
    assert all(reason.startswith(("too short: ", "too few: ")) for reason in refused.values())
    assert len(refused) == 16


# The commands.


def history(tmp_path: Path) -> Path:
    """A small Parquet extract of the made-up market."""
    events = cascading(hours=30)
    rows = len(events)
    table = pa.table(
        {
            "venue": ["binance"] * rows,
            "symbol": ["BTCUSDT" if a == 0 else "ETHUSDT" for a in events.asset],
            "ts_ms": events.time // 10**6,
            "side": ["SELL" if s == 0 else "BUY" for s in events.side],
            "price": np.full(rows, 100.0),
            "qty": events.usd / 1e8,
            "usd": events.usd / 1e6,
            "ts_kind": ["exchange_trade_time"] * rows,
        }
    )
    pq.write_table(table, tmp_path / "made.parquet")
    return tmp_path / "made.parquet"


def test_fit_then_evaluate_that_model(tmp_path: Path) -> None:
    file, out, report = history(tmp_path), tmp_path / "model.json", tmp_path / "out.html"
    model = command.fit([file], out, target="BTC", threshold=None, horizon=MINUTE)
    assert decoded(out.read_bytes()) == model
    assert set(model.features) <= {*FEATURES, *MARKET_FEATURES}
    assert model.data_hash == read_recording([file]).digest
    told = command.evaluate([file], target="BTC", threshold=None, horizon=MINUTE, model=out, report=report, json=True)
    found = json.loads(told)
    assert (found["target"], found["threshold_usd"], found["threshold_rule"]) == ("BTC", model.threshold_usd, "given")
    assert len(found["rows"]) == 10
    assert report.read_text().startswith("<!doctype html>")
    assert "Breakwater" in command.evaluate([file], target=MARKET, threshold=None, horizon=MINUTE, thin=True)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5m", 300), ("10", 10), ("2500ms", 2.5)])
def test_horizons(text: str, seconds: float) -> None:
    assert command.horizon_of(text) == seconds * SECOND


@pytest.mark.parametrize("text", ["", "soon", "0s", "-5s", "1h", "inf", "nan"])
def test_horizons_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="horizon"):
        command.horizon_of(text)


def test_thresholds() -> None:
    assert command.threshold_of("auto") is None
    assert command.threshold_of("1_000_000") == 1e6
    for text in ("", "0", "-1", "lots", "nan", "inf"):
        with pytest.raises(UsageError, match="threshold"):
            command.threshold_of(text)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command_line = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command_line, capture_output=True, text=True, check=False, cwd=ROOT, timeout=100)  # noqa: S603 - our own command


def test_the_commands_say_what_they_made_and_exit_with_2_where_they_cannot(tmp_path: Path) -> None:
    file, out = history(tmp_path), tmp_path / "model.json"
    fitted = run("fit", file, "-o", out, "--target", "market", "--threshold-usd", "auto", "--horizon", "60s")
    assert (fitted.returncode, fitted.stdout) == (0, "")
    assert fitted.stderr.startswith(f"wrote {out}: ")
    told = run("evaluate", file, "--model", out, "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["model"] == json.loads(out.read_bytes())
    short = tmp_path / "short.parquet"
    pq.write_table(pq.read_table(file).slice(0, 20), short)
    refused = run("evaluate", short)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: too short: ")


def test_the_scoreboard_tells_tables_and_refusals(tmp_path: Path) -> None:
    file = history(tmp_path)
    short = tmp_path / "short.parquet"
    pq.write_table(pq.read_table(file).slice(0, 20), short)
    text = "\n".join(sections([file, short]))
    assert "## In short" in text
    # The market, both assets, and of a recording this large a given threshold and two other horizons.
    assert text.count("| **Breakwater** |") + len(re.findall(r"\| made \| \S+ \| \d+ s \|", text)) == 6
    assert "| Poisson, 5/s | 432,226 |" in text
    assert "### made, market, " in text
    assert "| short | market | 60 s | too short: " in text


def test_attempts_are_fitted_on_the_earlier_half_and_judged_on_the_later() -> None:
    short = recording(cascading(hours=30))
    found = {attempt.name: attempt for attempt in attempts(short, study(short, MARKET))}
    assert {found[name].inputs for name in found if name.startswith(("recommended", "slow", "**chosen"))} == {7, 16}
    assert found["chosen + ETH (cross-excitation)"].inputs >= 7 + 16
    assert all(0.4 < attempt.auc <= 1 for attempt in found.values())
    assert len({attempt.left_out for attempt in found.values() if attempt.left_out > 0}) > 10


def test_events_have_all_columns_of_one_length() -> None:
    events = cascading(hours=7)
    assert len({len(getattr(events, field.name)) for field in fields(events)}) == 1


def test_an_assets_model_reads_the_market_beside_it() -> None:
    """ETH is closed in bursts that begin in BTC: the market's sums foretell what its own cannot."""
    rng = np.random.default_rng(8)
    bursts = np.sort(rng.uniform(0, 60 * 3600, 150))
    second = np.concatenate([rng.uniform(0, 60 * 3600, 3000), *(b + rng.uniform(0, 20, 30) for b in bursts)])
    follows = np.concatenate([b + rng.uniform(30, 50, 10) for b in bursts])
    asset = np.concatenate([np.zeros(len(second), np.int32), np.ones(len(follows), np.int32)])
    events = made(np.concatenate([second, follows]), 10_000.0, asset=asset).in_order()
    found = evaluate(recording(events), "ETH", threshold=80_000.0)
    assert any(name.startswith("market_") for name in found.model.features)
    assert found.row().onset.auc.value > 0.82
    assert found.row().onset.auc.value > found.row("EWMA 60 s").onset.auc.value + 0.1
    own = found.model.weights()
    assert own.shape == (1 + N_FEATURES,)
    assert found.model.market_weights().any()
