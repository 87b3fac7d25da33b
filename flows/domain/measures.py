"""Measures told, columnar, and spelled out as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain import clusters
from flows.domain.bursts import ALL
from flows.domain.constants import MICRO, N_VENUES, NEVER
from flows.domain.contagion import ACTIVE, BURSTING, CASCADING, WATCHED
from flows.domain.minute import PACE
from flows.domain.rolling import LARGEST, LENGTHS, LONG_N, LONG_USD, PARTIAL_USD, SAMPLED_USD, SHORT_N, SHORT_USD
from schemas.batches import Names
from schemas.cascades import MARKET
from schemas.clock import MINUTE, SECOND
from schemas.columns import Column, Lists, Maps, Named, Parts, known, lists, spelled, where
from schemas.measures import ROLLING, SCALES, Measures
from schemas.records import VENUES

_Columns = dict[str, Column]
_SHOWN = 0.01
"""Pairs whose decayed count, and levels whose decayed USD, fell below this are no longer told."""


@dataclass(frozen=True, slots=True)
class UnderCount:
    """By how much feeds that do not tell everything are known to tell too few USD: a factor for each coverage."""

    sampled: float = 2.8
    """At most one event per contract and second. Published averages are 2.7 to 2.9, up to 185 in the densest seconds;
    keeping the largest event per contract and second of a complete feed gives 2.2 to 2.6."""
    partial: float = 1.0
    """An unknown part of the truth: no factor is known, and none is made up."""

    def estimate(self, cover: NDArray[Any]) -> NDArray[np.float64]:
        """USD estimated; the last axis of ``cover`` is USD of complete, sampled and partial feeds."""
        # Not as a product of matrices: its rounding depends on how many rows are multiplied together.
        complete, sampled, partial = np.moveaxis(cover, -1, 0)
        estimated: NDArray[np.float64] = complete + self.sampled * sampled + self.partial * partial
        return estimated


@dataclass(slots=True)
class MeasureRows:
    """Measures of slots at times: ``flows.domain.measuring.MEASURE`` before they are spelled out."""

    rows: NDArray[Any]
    assets: Names
    under_count: UnderCount
    dataset: str = "measures"
    """Where they are stored."""

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> dict[str, Column]:
        """The fields of ``Measures``, in their order."""
        rows, factor = self.rows, self.under_count
        names = [MARKET, *(self.assets[code] for code in range(len(self.assets)))]
        return {
            "asset": Named(rows["slot"], names),
            "time": rows["time"],
            **_minute(rows["last"], factor),
            **_pace(rows["last"], factor),
            **_bursts(rows),
            **_contagion(rows, names),
            **_decayed(rows, factor),
            **_rolling(rows, factor),
            **_levels(rows),
            "open_interest_usd_per_second": known(rows["open_interest"]),
            "funding_velocity": known(rows["funding"][:, 0]),
            "funding_acceleration": known(rows["funding"][:, 1]),
        }

    def records(self) -> list[Measures]:
        """Every row as a record."""
        columns = {name: spelled(column) for name, column in self.columns().items()}
        return [Measures(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """The quotient; NaN where the whole is 0."""
    made = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=made, where=whole != 0)


def _minute(last: NDArray[Any], factor: UnderCount) -> _Columns:
    cover, count, usd = last["cover"], last["venue_count"].astype(np.float64), last["venue_usd"].astype(np.float64)
    whole = cover.sum(axis=1)
    return {
        "events": last["venue_count"].sum(axis=1),
        "complete_usd": cover[:, 0] / MICRO,
        "floor_usd": cover[:, 1:].sum(axis=1) / MICRO,
        "estimate_usd": factor.estimate(cover / MICRO),
        "largest_share": known(_ratio(last["largest"][:, 0], whole)),
        "top5_share": known(_ratio(last["largest"].sum(axis=1), whole)),
        "whale_events": last["whales"][:, 0],
        "whale_share": known(_ratio(last["whales"][:, 1], whole)),
        "effective_venues": known(_ratio(count.sum(axis=1) ** 2, (count**2).sum(axis=1))),
        "venue_concentration": known(_ratio((usd**2).sum(axis=1), usd.sum(axis=1) ** 2)),
    }


def _motion(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Velocity, acceleration and jerk from amounts of three tens of seconds (last axis), the newest first."""
    velocity = values / PACE
    acceleration = (velocity[..., :-1] - velocity[..., 1:]) / PACE
    return velocity[..., 0], acceleration[..., 0], (acceleration[..., 0] - acceleration[..., 1]) / PACE


def _pace(last: NDArray[Any], factor: UnderCount) -> _Columns:
    count, usd = last["side_count"], last["side_usd"] / MICRO
    velocity, acceleration, jerk = _motion(count.sum(axis=1))
    usd_velocity, usd_acceleration, usd_jerk = _motion(last["side_usd"].sum(axis=1) / MICRO)
    made: _Columns = {
        "events_per_second": velocity,
        "acceleration": acceleration,
        "jerk": jerk,
        "usd_per_second": usd_velocity,
        "usd_acceleration": usd_acceleration,
        "usd_jerk": usd_jerk,
        "floor_usd_per_second": last["pace_cover"][:, 1:].sum(axis=1) / MICRO / PACE,
        "estimate_usd_per_second": factor.estimate(last["pace_cover"] / MICRO / PACE),
    }
    for k, side in enumerate(("long", "short")):
        velocity, acceleration, jerk = _motion(count[:, k])
        usd_velocity, usd_acceleration, _ = _motion(usd[:, k])
        made[f"{side}_events_per_second"] = velocity
        made[f"{side}_acceleration"] = acceleration
        made[f"{side}_jerk"] = jerk
        made[f"{side}_usd_per_second"] = usd_velocity
        made[f"{side}_usd_acceleration"] = usd_acceleration
    present = last["count"].sum(axis=2) > 0
    velocity, acceleration, jerk = _motion(last["count"])
    usd_velocity, usd_acceleration, _ = _motion(last["usd"] / MICRO)
    for name, values in (
        ("venue_events_per_second", velocity),
        ("venue_acceleration", acceleration),
        ("venue_jerk", jerk),
        ("venue_usd_per_second", usd_velocity),
        ("venue_usd_acceleration", usd_acceleration),
    ):
        made[name] = Maps(present.sum(axis=1), Named(np.nonzero(present)[1], VENUES), values[present])
    return made


def _bursts(rows: NDArray[Any]) -> _Columns:
    onset = rows["onset"][:, :N_VENUES]
    order = np.argsort(np.where(onset == NEVER, np.iinfo(np.int64).max, onset), axis=1, kind="stable")
    began = np.take_along_axis(onset, order, axis=1)
    going = began != NEVER
    lags = np.where(going, began - began[:, :1], 0) / SECOND
    leader, follower, count, lag = _pairs(rows["leads"], VENUES)
    return {
        "burst_started": where(rows["onset"][:, ALL] != NEVER, rows["onset"][:, ALL]),
        "leading_venue": Named(np.where(going[:, 0], order[:, 0], len(VENUES)), [*VENUES, None]),
        "venue_lags": Maps(going.sum(axis=1), Named(order[going], VENUES), lags[going]),
        "lead_venues": leader,
        "lag_venues": follower,
        "lead_bursts": count,
        "lead_seconds": lag,
    }


def _pairs(pairs: NDArray[Any], names: Sequence[str]) -> tuple[Lists, Lists, Lists, Lists]:
    """The first, the second, the count and the mean lag of each pair."""
    told = pairs["count"] >= _SHOWN
    length, count = told.sum(axis=1), pairs["count"][told]
    first, second = Named(pairs["leader"][told], names), Named(pairs["follower"][told], names)
    return Lists(length, first), Lists(length, second), Lists(length, count), Lists(length, pairs["lag"][told] / count)


def _contagion(rows: NDArray[Any], names: Sequence[str]) -> _Columns:
    igniter, ignited, count, lag = _pairs(rows["ignitions"], names)
    slot, began = rows["wave"]["slot"], rows["wave"]["onset"]
    told = np.logical_and.accumulate(slot != 0, axis=1)
    market = rows["slot"] == 0
    active = rows["breadth"][:, ACTIVE]
    judged = market & (active > 0)
    shares = _ratio(rows["breadth"], rows["breadth"][:, [ACTIVE]])
    return {
        "igniters": igniter,
        "ignited": ignited,
        "ignitions": count,
        "ignition_seconds": lag,
        "wave": Lists(told.sum(axis=1), Named(slot[told], names)),
        "wave_lags": lists(told, (began - began[:, :1]) / SECOND),
        "active_assets": where(market, active),
        "breadth_burst": where(judged, shares[:, BURSTING]),
        "breadth_watch": where(judged, shares[:, WATCHED]),
        "breadth_cascade": where(judged, shares[:, CASCADING]),
    }


def _decayed(rows: NDArray[Any], factor: UnderCount) -> _Columns:
    floor = rows["floor_usd"].sum(axis=2)
    complete = np.maximum(rows["usd"].sum(axis=1) - floor.sum(axis=1), 0.0)
    cover = np.stack([complete, floor[:, 0], floor[:, 1]], axis=-1)
    ratio = rows["branching"]
    return {
        "decayed_long_events": Parts(SCALES, rows["count"][:, 0]),
        "decayed_short_events": Parts(SCALES, rows["count"][:, 1]),
        "decayed_long_usd": Parts(SCALES, rows["usd"][:, 0]),
        "decayed_short_usd": Parts(SCALES, rows["usd"][:, 1]),
        "decayed_floor_usd": Parts(SCALES, floor.sum(axis=1)),
        "decayed_estimate_usd": Parts(SCALES, factor.estimate(cover)),
        "heat": rows["heat"],
        "branching_ratio": known(ratio[:, 0]),
        "branching_error": known(ratio[:, 1]),
        "branching_minutes": ratio[:, 2],
    }


def _rolling(rows: NDArray[Any], factor: UnderCount) -> _Columns:
    made: _Columns = {}
    minute = rows["time"] // MINUTE
    for w, (name, length) in enumerate(zip(("15m", "1h", "4h"), LENGTHS, strict=True)):
        now, before = rows["rolling"][:, w, 0], rows["rolling"][:, w, 1]
        count, usd = now[:, LONG_N] + now[:, SHORT_N], (now[:, LONG_USD] + now[:, SHORT_USD]) / MICRO
        floor = now[:, [SAMPLED_USD, PARTIAL_USD]] / MICRO
        complete = usd - floor.sum(axis=1)
        cover = np.stack([complete, floor[:, 0], floor[:, 1]], axis=-1)
        judged = minute - 2 * length >= rows["since"]
        earlier, earlier_usd = (
            before[:, LONG_N] + before[:, SHORT_N],
            (before[:, LONG_USD] + before[:, SHORT_USD]) / MICRO,
        )
        figures = (
            np.clip(minute - rows["since"], 0, length), count, now[:, LONG_N], now[:, SHORT_N],
            usd, now[:, LONG_USD] / MICRO, now[:, SHORT_USD] / MICRO,
            complete, floor.sum(axis=1), factor.estimate(cover), _ratio(usd, count), now[:, LARGEST] / MICRO,
            rows["spread"][:, w, 0], rows["spread"][:, w, 1],
            _change(count, earlier, judged), _change(usd, earlier_usd, judged),
        )  # fmt: skip
        made[f"rolling_{name}"] = Parts(ROLLING, known(np.stack(figures, axis=-1).astype(np.float64)))
    return made


def _change(now: NDArray[Any], before: NDArray[Any], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(judged, _ratio(now, before) - 1.0, np.nan)


def _levels(rows: NDArray[Any]) -> _Columns:
    level, usd, longs = (rows["clusters"][:, :, k] for k in range(3))
    told = usd >= _SHOWN
    price = clusters.price_of(np.where(told, level, 0.0))
    return {
        "price": known(rows["price"]),
        "level_prices": lists(told, price),
        "level_usd": lists(told, usd),
        "level_shares": lists(told, _ratio(usd, rows["clusters_usd"][:, None])),
        "level_long_shares": lists(told, _ratio(longs, usd)),
        "level_distances": lists(told, price / rows["price"][:, None] - 1.0),
    }
