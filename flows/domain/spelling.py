"""Spells out as records what the kernel told in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import isnan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO, NEVER
from flows.domain.decays import SCALES
from flows.domain.model import CascadeModel
from flows.domain.rules import Rules
from flows.domain.state import (
    ADL_N,
    ADL_USD,
    CAPPED_EVENT,
    CONTEXT_FIELDS,
    FLOOR_USD,
    FULL_USD,
    LONG_N,
    LONG_USD,
    SHORT_N,
    SHORT_USD,
    USUAL_RATE,
    USUAL_USD,
)
from flows.domain.telling import CONTEXT, FEATURE, PARTS, RAW, SCALE, Told
from schemas.batches import Batch, Names
from schemas.cascades import COMPONENTS, LEVELS, MARKET, CascadeUpdate, Rule, Side, Signal
from schemas.clock import SECOND
from schemas.records import VENUES

STATES: tuple[Literal["open", "update", "peak", "close"], ...] = ("open", "update", "peak", "close")
"""By the numbers of ``flows.domain.telling``."""
RULES: tuple[Rule, ...] = ("time", "velocity", "score", "probability")
"""By the numbers of ``flows.domain.score``."""
_ENTRANTS_TOLD = 8
_DOMINANT = 2 / 3
_PACE_SECONDS = SCALES[2]


class Spelling:
    """Knows the names and rules the numbers stand for."""

    def __init__(self, rules: Rules, assets: Names) -> None:
        self._rules, self._assets = rules, assets
        self._ids: dict[int, tuple[int, str]] = {}
        """Key and id of the newest cascade of each slot."""

    def signal(self, told: Told, index: int, batch: Batch) -> Signal:
        """Row ``index`` of the signals told; ``batch`` holds the deciding event."""
        rules = self._rules
        slot, time, level, previous, row, open_, key, rule, before, *sums = told.signal[index].tolist()
        figures = told.signal_score[index].tolist()
        asset, seconds, count = asset_of(self._assets, slot), rules.span / SECOND, sums[LONG_N] + sums[SHORT_N]
        parts, raw, scale = _named(figures[PARTS:]), _named(figures[RAW:]), figures[SCALE:FEATURE]
        decided = f"{batch.liquidations.event_id[row]:016x}" if row >= 0 else ""
        boosted = row >= 0 and (raw["acceleration"] or 0.0) > rules.boost_acceleration
        return Signal(
            signal_id=_hash(asset, rules.version, decided or str(time), LEVELS[level]),
            asset=asset,
            level=LEVELS[level],
            previous=LEVELS[previous],
            score=figures[0],
            components=parts,
            weights=_weights(rules, parts),
            context={name: _known(value) for name, value in zip(CONTEXT_FIELDS, figures[CONTEXT:RAW], strict=True)},
            boosted=boosted,
            side=side_of(sums),
            events_per_second=count / seconds,
            usd_per_second=(sums[LONG_USD] + sums[SHORT_USD]) / MICRO / seconds,
            acceleration=(count - before) / seconds**2 if row >= 0 else 0.0,
            window=rules.window,
            cascade_id=self._cascade_id(slot, key) if open_ else None,
            event_time=time,
            receive_time=int(batch.liquidations.receive_time[row]) if row >= 0 else time,
            event_id=decided,
            floor=sums[FLOOR_USD] > 0,
            rules=rules.version,
            decided_by=RULES[rule],
            raw=raw,
            full_scale=_full(rules, scale[FULL_USD]) if row >= 0 else {},
            boost=rules.boost if boosted else 1.0,
            capped_event=_known(scale[CAPPED_EVENT]),
            usual_events_per_second=_known(scale[USUAL_RATE]),
            usual_usd_per_second=_known(scale[USUAL_USD]),
            heat=figures[1],
            **self._outlook(asset, told.signal_chance[index], told.signal_score[index, FEATURE:]),
        )

    def _outlook(self, asset: str, chances: NDArray[np.float64], features: NDArray[np.float64]) -> dict[str, Any]:
        """What the models of an asset say, and why."""
        models = self._rules.models_of(asset)
        deciding = next((model for model in models if model.horizon == self._rules.horizon), None)
        return {
            "probability": _by_horizon(models, chances[:, 0].tolist()),
            "usual_probability": _by_horizon(models, chances[:, 1].tolist()),
            "threshold_usd": _thresholds(models),
            "drivers": deciding.drivers(features) if deciding else {},
            "models": _by_horizon(models, [model.provenance for model in models]),
        }

    def cascade(self, told: Told, index: int) -> CascadeUpdate:
        """Row ``index`` of the cascade updates told."""
        slot, time, state, opened, started, level, peak, key, pace_at, *sums = told.cascade[index].tolist()
        score, best, hot, pace = told.cascade_score[index].tolist()
        asset = asset_of(self._assets, slot)
        models = self._rules.models_of(asset)
        entered = sorted((at, code) for code, at in enumerate(told.cascade_entry[index].tolist()) if at != NEVER)
        entrants = sorted(
            (at, asset_of(self._assets, entrant)) for entrant, at in told.cascade_entrant[index].tolist() if at != NEVER
        )[:_ENTRANTS_TOLD]
        longs, shorts = told.cascade_share[index]
        return CascadeUpdate(
            cascade_id=self._cascade_id(slot, key),
            asset=asset,
            state=STATES[state],
            time=time,
            opened=opened,
            started=started,
            closed=time if STATES[state] == "close" else None,
            side=side_of(sums),
            level=LEVELS[level],
            peak_level=LEVELS[peak],
            score=score,
            peak_score=best,
            events=sums[LONG_N] + sums[SHORT_N],
            usd=(sums[LONG_USD] + sums[SHORT_USD]) / MICRO,
            long_usd=sums[LONG_USD] / MICRO,
            short_usd=sums[SHORT_USD] / MICRO,
            adl_events=sums[ADL_N],
            adl_usd=sums[ADL_USD] / MICRO,
            venues=[VENUES[v] for _, v in entered],
            entry_lags=[(t - started) / SECOND for t, _ in entered],
            floor=sums[FLOOR_USD] > 0,
            assets=[name for _, name in entrants],
            asset_lags=[(t - started) / SECOND for t, _ in entrants],
            long_usd_by_venue=_by_venue(longs),
            short_usd_by_venue=_by_venue(shorts),
            peaked=pace_at,
            peak_usd_per_second=pace / _PACE_SECONDS,
            heat=hot,
            probability=_by_horizon(models, told.cascade_chance[index, :, 0].tolist()),
            peak_probability=_by_horizon(models, told.cascade_chance[index, :, 1].tolist()),
            threshold_usd=_thresholds(models),
        )

    def _cascade_id(self, slot: int, key: int) -> str:
        known = self._ids.get(slot)
        if known is None or known[0] != key:
            asset = asset_of(self._assets, slot)
            made = _hash("cascade", asset, self._rules.version, f"{key & (1 << 64) - 1:016x}")
            known = self._ids[slot] = (key, made)
        return known[1]


def asset_of(assets: Names, slot: int) -> str:
    """The asset of a slot, or the market."""
    return assets[slot - 1] if slot else MARKET


def side_of(sums: list[int]) -> Side:
    """The side that makes up two thirds of the USD."""
    total = sums[LONG_USD] + sums[SHORT_USD]
    if sums[LONG_USD] >= _DOMINANT * total:
        return "long" if total else "mixed"
    return "short" if sums[SHORT_USD] >= _DOMINANT * total else "mixed"


def _known(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _hash(*parts: str) -> str:
    return blake2b("|".join(parts).encode(), digest_size=8).hexdigest()


def _named(figures: list[float]) -> dict[str, float | None]:
    """The first figures by component."""
    return {name: _known(value) for name, value in zip(COMPONENTS, figures, strict=False)}


def _weights(rules: Rules, parts: dict[str, float | None]) -> dict[str, float]:
    """Those of the known components, made to sum 1."""
    known = {name: weight for name, weight in zip(COMPONENTS, rules.weights, strict=True) if parts[name] is not None}
    total = sum(known.values())
    return {name: weight / total for name, weight in known.items()} if total else {}


def _full(rules: Rules, usd: float) -> dict[str, float]:
    values = (
        rules.velocity_full,
        rules.acceleration_full,
        usd,
        rules.venues_full,
        rules.funding_full,
        rules.open_interest_full,
    )
    return dict(zip(COMPONENTS, values, strict=True))


def _by_venue(shares: NDArray[np.int64]) -> dict[str, float]:
    return {VENUES[v]: usd / MICRO for v, usd in enumerate(shares.tolist()) if usd}


def _by_horizon(models: Sequence[CascadeModel], values: list[Any]) -> dict[str, Any]:
    return {model.name: value for model, value in zip(models, values, strict=False)}


def _thresholds(models: Sequence[CascadeModel]) -> dict[str, float]:
    return {model.name: model.threshold_usd for model in models}
