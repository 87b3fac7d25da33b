"""Batches in, detections out: drives the kernel and says in records what it found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.domain import decays, kernel
from flows.domain.arrivals import NONE, closes, others
from flows.domain.constants import MICRO, N_VENUES, NEVER
from flows.domain.forecast import N_SEEN, chance, forecasts, read
from flows.domain.kernel import process
from flows.domain.measures import MeasureRows, UnderCount
from flows.domain.measuring import MEASURE, look_measures
from flows.domain.minute import BY_SECOND
from flows.domain.rings import look
from flows.domain.rules import Rules
from flows.domain.spelling import Spelling, asset_of
from flows.domain.state import (
    ADL_N,
    ADL_USD,
    EVERYTHING,
    FLOOR_USD,
    LONG_N,
    LONG_USD,
    N_SUMS,
    SHORT_N,
    SHORT_USD,
    State,
    allocate,
    continues,
    with_arena,
    with_forecasts,
    with_rings,
    with_slots,
)
from flows.domain.telling import SIGNAL, WINDOWS_TOLD, told
from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.cascades import LEVELS, MARKET, WINDOWS, CascadeUpdate, Level, Signal, WindowMetrics
from schemas.clock import SECOND
from schemas.measures import Measures
from schemas.records import VENUES

_NAMES = tuple(WINDOWS)


@dataclass(slots=True)
class WindowRows:
    """Windows told, columnar: ``WindowMetrics`` before they are spelled out."""

    figures: NDArray[np.int64]
    """N x (2 + W x 10): slot, time, then per window eight sums, and count and USD of the preceding window."""
    venues: NDArray[np.int32]
    """N x W x V."""
    assets: Names

    def __len__(self) -> int:
        return len(self.figures)

    def records(self) -> list[WindowMetrics]:
        """Every window as a record."""
        found = []
        for i in range(len(self.figures)):
            slot, time = int(self.figures[i, 0]), int(self.figures[i, 1])
            rows = self.figures[i, 2:].reshape(len(_NAMES), N_SUMS + 2)
            for w, name in enumerate(_NAMES):
                found.append(_window(asset_of(self.assets, slot), name, time, rows[w], self.venues[i, w]))
        return found


@dataclass(slots=True)
class Detections:
    """What one batch brought about."""

    records: list[Signal | CascadeUpdate]
    """In the order it happened."""
    windows: list[WindowRows] = field(default_factory=list)
    measures: list[MeasureRows] = field(default_factory=list)
    """Beside the windows, where they are kept."""
    scored: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """One asset at one moment."""

    sums: NDArray[np.int64]
    """W x 8, see ``flows.domain.state``; USD in millionths."""
    level: Level
    score: float
    heat: float = 1.0
    probability: dict[str, float] = field(default_factory=dict)
    """By horizon; empty without a model."""


class Detector:
    """The state of all assets and the market; feed it batches in arrival order.

    The same arrivals give the same records however they are cut into batches.

    :arg measures: what feeds that do not tell everything stand for, where measures are to be told beside the windows.
    :arg tells: of what is told, see ``flows.domain.state``.
    """

    def __init__(
        self, rules: Rules, assets: Names, *, measures: UnderCount | None = None, tells: int = EVERYTHING
    ) -> None:
        self.rules = rules
        self.assets = assets
        self.state: State = allocate()
        for name in ("span", "lateness", "delay", "hold", "snapshot"):
            self.state.shard[name] = getattr(rules, name)
        self.state.shard["open_level"] = rules.open_code
        self.state.shard["measures"] = measures is not None
        self.state.shard["tells"] = tells
        self._measures = measures
        self._told = told(measures=measures is not None)
        self._parameters = rules.parameters()
        self._spelling = Spelling(rules, assets)
        self._equipped = 0
        """How many slots have the forecasts there are models for."""

    def process(self, batch: Batch) -> Detections:
        """Take in one batch."""
        found = Detections([])
        told, context = closes(batch.liquidations), others(batch)
        if not len(told.key) and context is NONE:
            return found
        if len(self.assets) >= len(self.state.slot):
            self.state = with_slots(self.state, len(self.assets) + 1)
        self._equip()
        row = other = 0
        why = -1
        while why != kernel.DONE:
            row, other, why = process(self.state, self._told, told, context, row, other, self._parameters)
            self._collect(batch, found)
            if why == kernel.MORE_ARENA:
                self.state = with_arena(self.state)
            elif why == kernel.MORE_RINGS:
                self.state = with_rings(self.state)
        return found

    def _equip(self) -> None:
        """Forecasts for the slots of assets seen for the first time; they begin with its first event."""
        while self._equipped <= len(self.assets):
            slot, self._equipped = self._equipped, self._equipped + 1
            made = forecasts(self.rules.models_of(asset_of(self.assets, slot)), self.rules.horizon)
            if not continues(self.state, slot, made):
                self.state = with_forecasts(self.state, slot, made)

    def finish(self, receive_time: int) -> Detections:
        """Let time pass to ``receive_time`` with nothing arriving: what is due by then happens."""
        return self.process(Batch(LiquidationColumns.empty(), (), self.assets, [(0, Tick(receive_time))]))

    def look(self, asset: str) -> Look:
        """The six windows and the level of an asset (or the market) at the newest time known. Changes nothing."""
        code = -1 if asset == MARKET else self.assets.find(asset)
        out = np.zeros((len(_NAMES), N_SUMS), np.int64)
        if code is None or code + 1 >= len(self.state.slot):
            return Look(out, "NONE", 0.0)
        me = self.state.slot[code + 1]
        clock = int(self.state.shard["clock"][0])
        look(self.state.event, me, clock, out, np.zeros(N_VENUES, np.int32))
        features = np.zeros(N_SEEN)
        read(me, self.state.slot[0], clock, features)
        chances = {
            model.name: chance(self.state.forecast[number], features)
            for model, number in zip(self.rules.models_of(asset), me["forecast"].tolist(), strict=False)
            if number >= 0
        }
        return Look(out, LEVELS[int(me["level"])], float(me["score"]), decays.heat(me["decays"], clock), chances)

    def measure(self, asset: str) -> Measures | None:
        """The measures of an asset (or the market) at the newest time known; nothing where it was never heard of, or
        where measures are not kept. Changes nothing.
        """
        code = -1 if asset == MARKET else self.assets.find(asset)
        clock = int(self.state.shard["clock"][0])
        if self._measures is None or code is None or code + 1 >= len(self.state.slot) or clock == NEVER:
            return None
        row = np.zeros(1, MEASURE)
        look_measures(self.state.event, self.state.slot, code + 1, clock, np.zeros(1, BY_SECOND)[0], row[0])
        return MeasureRows(row, self.assets, self._measures).records()[0]

    def warm_up(self) -> None:
        """Compile, so that the first event does not wait for it."""
        process(self.state, self._told, closes(LiquidationColumns.empty()), NONE, 0, 0, self._parameters)
        self.look(MARKET)
        if self._measures is not None:
            look_measures(self.state.event, self.state.slot, 0, 0, self._told.seconds[0], np.zeros(1, MEASURE)[0])

    def _collect(self, batch: Batch, found: Detections) -> None:
        told = self._told
        found.scored += int(told.n[4])
        found.late += int(told.n[5])
        if not told.n[3]:
            told.n[:] = 0
            return
        order = told.order[: told.n[3]]
        for kind, index in order[order[:, 0] != WINDOWS_TOLD].tolist():
            if kind == SIGNAL:
                found.records.append(self._spelling.signal(told, index, batch))
            else:
                found.records.append(self._spelling.cascade(told, index))
        windows = int(told.n[1])
        if windows:
            found.windows.append(
                WindowRows(told.window[:windows].copy(), told.window_venues[:windows].copy(), self.assets)
            )
            if self._measures is not None:
                found.measures.append(MeasureRows(told.measure[:windows].copy(), self.assets, self._measures))
        told.n[:] = 0


def _window(asset: str, name: str, time: int, row: NDArray[np.int64], counts: NDArray[np.int32]) -> WindowMetrics:
    seconds = WINDOWS[name] / SECOND
    count = int(row[LONG_N] + row[SHORT_N])
    usd = int(row[LONG_USD] + row[SHORT_USD])
    venues = {VENUES[v]: int(n) for v, n in enumerate(counts) if n}
    return WindowMetrics(
        asset=asset,
        window=name,
        time=time,
        count=count,
        usd=usd / MICRO,
        long_count=int(row[LONG_N]),
        short_count=int(row[SHORT_N]),
        long_usd=int(row[LONG_USD]) / MICRO,
        short_usd=int(row[SHORT_USD]) / MICRO,
        adl_count=int(row[ADL_N]),
        adl_usd=int(row[ADL_USD]) / MICRO,
        floor_usd=int(row[FLOOR_USD]) / MICRO,
        events_per_second=count / seconds,
        usd_per_second=usd / MICRO / seconds,
        acceleration=(count - int(row[N_SUMS])) / seconds**2,
        usd_acceleration=(usd - int(row[N_SUMS + 1])) / MICRO / seconds**2,
        venues=venues,
        leading_venue=max(venues, key=lambda v: venues[v]) if venues else None,
    )
