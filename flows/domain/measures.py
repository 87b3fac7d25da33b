"""Measures told, columnar, and spelled out as records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from schemas.measures import ROLLING, SCALES, Measures
from schemas.records import VENUES

_Columns = dict[str, Iterable[Any]]
_SHOWN = 0.01
"""Pairs whose decayed count fell below this are no longer told."""


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
        estimated: NDArray[np.float64] = cover @ np.array([1.0, self.sampled, self.partial])
        return estimated


@dataclass(slots=True)
class MeasureRows:
    """Measures of slots at times: ``flows.domain.measuring.MEASURE`` before they are spelled out."""

    rows: NDArray[Any]
    assets: Names
    under_count: UnderCount

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> dict[str, list[Any]]:
        """The fields of ``Measures``, each as a list over the rows."""
        rows, factor = self.rows, self.under_count
        made: _Columns = {
            "asset": [self._asset(slot) for slot in rows["slot"].tolist()],
            "time": rows["time"],
            **_minute(rows["last"], factor),
            **_pace(rows["last"], factor),
            **_bursts(rows),
            **self._contagion(),
            **_decayed(rows, factor),
            **_rolling(rows, factor),
            **_levels(rows),
            "open_interest_usd_per_second": _known(rows["open_interest"]),
            "funding_velocity": _known(rows["funding"][:, 0]),
            "funding_acceleration": _known(rows["funding"][:, 1]),
        }
        return {
            name: values.tolist() if isinstance(values, np.ndarray) else list(values) for name, values in made.items()
        }

    def records(self) -> list[Measures]:
        """Every row as a record."""
        columns = self.columns()
        return [Measures(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]

    def _asset(self, slot: int) -> str:
        return self.assets[slot - 1] if slot else MARKET

    def _contagion(self) -> _Columns:
        rows, asset = self.rows, self._asset
        pairs = [_pairs(row) for row in rows["ignitions"].tolist()]
        waves = [[entry for entry in row if entry[0]] for row in _until_none(rows["wave"].tolist())]
        shares = _ratio(rows["breadth"], rows["breadth"][:, [ACTIVE]])
        market = rows["slot"] == 0
        return {
            "igniters": [[asset(pair[0]) for pair in row] for row in pairs],
            "ignited": [[asset(pair[1]) for pair in row] for row in pairs],
            "ignitions": [[pair[2] for pair in row] for row in pairs],
            "ignition_seconds": [[pair[3] / pair[2] for pair in row] for row in pairs],
            "wave": [[asset(entry[0]) for entry in row] for row in waves],
            "wave_lags": [[(entry[1] - row[0][1]) / SECOND for entry in row] for row in waves],
            "active_assets": _where(market, rows["breadth"][:, ACTIVE]),
            "breadth_burst": _where(market, _known(shares[:, BURSTING])),
            "breadth_watch": _where(market, _known(shares[:, WATCHED])),
            "breadth_cascade": _where(market, _known(shares[:, CASCADING])),
        }


def _until_none(rows: list[Any]) -> Iterator[list[Any]]:
    """Entries of each row up to the first that is none."""
    for row in rows:
        end = next((k for k, entry in enumerate(row) if not entry[0]), len(row))
        yield row[:end]


def _pairs(row: list[Any]) -> list[Any]:
    return [pair for pair in row if pair[2] >= _SHOWN]


def _known(values: NDArray[Any]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN is not itself


def _where(mask: NDArray[np.bool_], values: Iterable[Any]) -> list[Any]:
    return [value if told else None for told, value in zip(mask.tolist(), list(values), strict=True)]


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """The quotient; NaN where the whole is 0."""
    made = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=made, where=whole != 0)


def _minute(last: NDArray[Any], factor: UnderCount) -> _Columns:
    cover, count, usd = last["cover"], last["venue_count"], last["venue_usd"].astype(np.float64)
    whole = cover.sum(axis=1)
    events = count.sum(axis=1)
    return {
        "events": events,
        "complete_usd": cover[:, 0] / MICRO,
        "floor_usd": cover[:, 1:].sum(axis=1) / MICRO,
        "estimate_usd": factor.estimate(cover / MICRO),
        "largest_share": _known(_ratio(last["largest"][:, 0], whole)),
        "top5_share": _known(_ratio(last["largest"].sum(axis=1), whole)),
        "whale_events": last["whales"][:, 0],
        "whale_share": _known(_ratio(last["whales"][:, 1], whole)),
        "effective_venues": _known(_ratio(events.astype(np.float64) ** 2, (count.astype(np.float64) ** 2).sum(axis=1))),
        "venue_concentration": _known(_ratio((usd**2).sum(axis=1), usd.sum(axis=1) ** 2)),
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
        made = {
            **made,
            f"{side}_events_per_second": velocity,
            f"{side}_acceleration": acceleration,
            f"{side}_jerk": jerk,
            f"{side}_usd_per_second": usd_velocity,
            f"{side}_usd_acceleration": usd_acceleration,
        }
    present = last["count"].sum(axis=2) > 0
    velocity, acceleration, jerk = _motion(last["count"])
    usd_velocity, usd_acceleration, _ = _motion(last["usd"] / MICRO)
    return {
        **made,
        "venue_events_per_second": _by_venue(present, velocity),
        "venue_acceleration": _by_venue(present, acceleration),
        "venue_jerk": _by_venue(present, jerk),
        "venue_usd_per_second": _by_venue(present, usd_velocity),
        "venue_usd_acceleration": _by_venue(present, usd_acceleration),
    }


def _by_venue(present: NDArray[np.bool_], values: NDArray[np.float64]) -> list[dict[str, float]]:
    made: list[dict[str, float]] = [{} for _ in range(len(present))]
    rows, venues = np.nonzero(present)
    for row, venue, value in zip(rows.tolist(), venues.tolist(), values[present].tolist(), strict=True):
        made[row][VENUES[venue]] = value
    return made


def _bursts(rows: NDArray[Any]) -> _Columns:
    lags = [_lags(row) for row in rows["onset"].tolist()]
    pairs = [_pairs(row) for row in rows["leads"].tolist()]
    return {
        "burst_started": [None if began == NEVER else began for began in rows["onset"][:, ALL].tolist()],
        "leading_venue": [next(iter(found), None) for found in lags],
        "venue_lags": lags,
        "lead_venues": [[VENUES[pair[0]] for pair in row] for row in pairs],
        "lag_venues": [[VENUES[pair[1]] for pair in row] for row in pairs],
        "lead_bursts": [[pair[2] for pair in row] for row in pairs],
        "lead_seconds": [[pair[3] / pair[2] for pair in row] for row in pairs],
    }


def _lags(onsets: list[int]) -> dict[str, float]:
    """Seconds after the earliest by venue, in that order."""
    began = sorted((onset, v) for v, onset in enumerate(onsets[:N_VENUES]) if onset != NEVER)
    return {VENUES[v]: (onset - began[0][0]) / SECOND for onset, v in began}


def _decayed(rows: NDArray[Any], factor: UnderCount) -> _Columns:
    floor = rows["floor_usd"].sum(axis=2)
    complete = np.maximum(rows["usd"].sum(axis=1) - floor.sum(axis=1), 0.0)
    cover = np.stack([complete, floor[:, 0], floor[:, 1]], axis=-1)
    ratio = rows["branching"]
    return {
        "decayed_long_events": _by_scale(rows["count"][:, 0]),
        "decayed_short_events": _by_scale(rows["count"][:, 1]),
        "decayed_long_usd": _by_scale(rows["usd"][:, 0]),
        "decayed_short_usd": _by_scale(rows["usd"][:, 1]),
        "decayed_floor_usd": _by_scale(floor.sum(axis=1)),
        "decayed_estimate_usd": _by_scale(factor.estimate(cover)),
        "heat": rows["heat"],
        "branching_ratio": _known(ratio[:, 0]),
        "branching_error": _known(ratio[:, 1]),
        "branching_minutes": ratio[:, 2],
    }


def _by_scale(values: NDArray[np.float64]) -> list[dict[str, float]]:
    return [dict(zip(SCALES, row, strict=True)) for row in values.tolist()]


def _rolling(rows: NDArray[Any], factor: UnderCount) -> _Columns:
    made: _Columns = {}
    minute = rows["time"] // MINUTE
    for w, (name, length) in enumerate(zip(("15m", "1h", "4h"), LENGTHS, strict=True)):
        now, before = rows["rolling"][:, w, 0], rows["rolling"][:, w, 1]
        watched = np.clip(minute - rows["since"], 0, length)
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
            watched, count, now[:, LONG_N], now[:, SHORT_N], usd, now[:, LONG_USD] / MICRO, now[:, SHORT_USD] / MICRO,
            complete, floor.sum(axis=1), factor.estimate(cover), _ratio(usd, count), now[:, LARGEST] / MICRO,
            rows["spread"][:, w, 0], rows["spread"][:, w, 1],
            _change(count, earlier, judged), _change(usd, earlier_usd, judged),
        )  # fmt: skip
        table = np.stack([np.asarray(f, np.float64) for f in figures], axis=-1).tolist()
        made[f"rolling_{name}"] = [
            {key: None if v != v else v for key, v in zip(ROLLING, row, strict=True)}  # noqa: PLR0124 - NaN is not itself
            for row in table
        ]
    return made


def _change(now: NDArray[Any], before: NDArray[Any], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(judged, _ratio(now, before) - 1.0, np.nan)


def _levels(rows: NDArray[Any]) -> _Columns:
    prices, usd, shares, longs, distances = ([] for _ in range(5))
    told = zip(rows["clusters"].tolist(), rows["clusters_usd"].tolist(), rows["price"].tolist(), strict=True)
    for levels, whole, price in told:
        found = [level for level in levels if level[1] > 0.0]
        middles = [clusters.price_of(int(level[0])) for level in found]
        prices.append(middles)
        usd.append([level[1] for level in found])
        shares.append([level[1] / whole for level in found])
        longs.append([level[2] / level[1] for level in found])
        distances.append([middle / price - 1.0 for middle in middles])
    return {
        "price": _known(rows["price"]),
        "level_prices": prices,
        "level_usd": usd,
        "level_shares": shares,
        "level_long_shares": longs,
        "level_distances": distances,
    }
