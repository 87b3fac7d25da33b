"""What ``breakwater fit``, ``evaluate`` and ``backtest`` do, apart from reading their arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.assembly import rules
from flows.domain.model import LONGEST, CascadeModel, decoded, encoded
from flows.settings import Settings
from flows.study.backtest import Variant, combinations
from flows.study.backtest import as_json as found_as_json
from flows.study.backtest import as_text as found_as_text
from flows.study.backtest import backtest as run_backtest
from flows.study.evaluate import as_json, as_text, judged, study
from flows.study.events import read_recording
from flows.study.fit import fit_model
from flows.study.labels import label
from flows.study.report import page
from schemas.cascades import Level
from schemas.clock import SECOND, seconds
from schemas.errors import SettingsError, UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def horizon_of(text: str) -> int:
    """``10s``, ``5m`` or a number of seconds in nanoseconds.

    :raises UsageError: where it is none, or longer than a model can look ahead.
    """
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    try:
        found = seconds(float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0))
    except (ValueError, OverflowError):
        found = 0
    if not SECOND <= found <= LONGEST:
        raise UsageError(f"horizon {text!r}: give 1s to {LONGEST // SECOND}s, such as 10s, 60s or 5m")
    return found


def threshold_of(text: str) -> float | None:
    """USD, or nothing for ``auto``.

    :raises UsageError: where it is neither.
    """
    if text == "auto":
        return None
    try:
        found = float(text.replace("_", "").replace(",", ""))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError(f"threshold {text!r}: give USD or auto")
    return found


def fit(paths: list[Path], out: Path, *, target: str, threshold: float | None, horizon: int) -> CascadeModel:
    """Fit on all of the data and write the model.

    :raises UsageError: where the data are too short or too calm, or the file cannot be written.
    """
    recording = read_recording(paths)
    labels = label(recording.of(target), horizon, threshold, recording.recorded)
    model = fit_model(recording, target, labels, whole=True)
    try:
        out.write_bytes(encoded(model))
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    return model


def backtest(
    paths: list[Path],
    settings: Callable[[dict[str, str]], Settings],
    *,
    grid: list[str],
    target: str,
    level: Level,
    threshold: float | None,
    horizon: int,
    jobs: int,
    json: bool = False,
) -> str:
    """Play the data through the detector once per setting of the grid and say what its alarms would have caught.

    :arg settings: the settings in force with these on top, by dotted name.
    :raises UsageError: where the data are too short for a threshold of their own, or no setting of the grid can be.
    """
    recording = read_recording(paths)
    if threshold is None:
        threshold = label(recording.of(target), horizon, None, recording.recorded).threshold
    variants, refused = [], list[str]()
    for chosen in combinations(grid):
        name = " ".join(f"{key}={value}" for key, value in chosen.items()) or "as set"
        try:
            variants.append(Variant(name, rules(settings(chosen))))
        except SettingsError as error:
            refused.append(f"{name}: {error}")
    if not variants:
        raise UsageError(f"no setting of the grid can be: {refused[0]}")
    found = run_backtest(
        paths, recording, variants, target=target, level=level, threshold=threshold, horizon=horizon,
        jobs=min(jobs, len(variants)),
    )  # fmt: skip
    told = found_as_json(found) if json else found_as_text(found)
    return told if json or not refused else "\n".join([told, "", *(f"left out: {why}" for why in refused)])


def evaluate(
    paths: list[Path],
    *,
    target: str,
    threshold: float | None,
    horizon: int,
    model: Path | None = None,
    thin: bool = False,
    report: Path | None = None,
    json: bool = False,
) -> str:
    """Run the protocol and say what came of it; a page besides, where asked for.

    :raises UsageError: where the data are too short or too calm, or a file is not what it should be.
    """
    try:
        given = decoded(model.read_bytes()) if model else None
    except OSError as error:
        raise UsageError(f"cannot read {model}: {error.strerror}") from error
    recording = read_recording(paths)
    made = study(recording, target, horizon=horizon, threshold=threshold, model=given, thin=thin)
    evaluation = judged(made, automatic=threshold is None and given is None, thin=thin)
    if report:
        try:
            report.write_text(page(evaluation, made), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {report}: {error.strerror}") from error
    return as_json(evaluation) if json else as_text(evaluation)
