"""Batches in, detections out: drives the kernel and says in records what it found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.domain import decays, kernel
from flows.domain.arrivals import NONE, closes, others
from flows.domain.constants import N_VENUES, NEVER
from flows.domain.forecast import N_SEEN, chance, forecasts, read
from flows.domain.kernel import process
from flows.domain.measures import MeasureRows, UnderCount
from flows.domain.measuring import MEASURE, look_measures
from flows.domain.minute import BY_SECOND
from flows.domain.rings import look
from flows.domain.rules import Rules
from flows.domain.spelling import Spelling, asset_of
from flows.domain.state import (
    EVERYTHING,
    N_SUMS,
    State,
    allocate,
    continues,
    with_arena,
    with_forecasts,
    with_rings,
    with_slots,
)
from flows.domain.telling import SIGNAL, WINDOWS_TOLD, told
from flows.domain.windows import WindowRows
from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.cascades import LEVELS, MARKET, WINDOWS, CascadeUpdate, Level, Signal
from schemas.measures import Measures


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
        out = np.zeros((len(WINDOWS), N_SUMS), np.int64)
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
