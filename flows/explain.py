"""Why there was a cascade, from the history, number by number: its life, what raised each level, who took part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from schemas.cascades import CascadeUpdate, Signal
from schemas.clock import SECOND
from schemas.errors import UsageError
from schemas.tables import DATASETS, records
from sinks.duckdb import asked

_UNITS = {
    "velocity": "events/s",
    "acceleration": "events/s²",
    "volume": "USD/s",
    "cross_venue": "venues",
    "funding": "per 8 h",
    "open_interest": "of it",
}
_DRIVERS = 5


def explain(data_dir: Path, cascade_id: str) -> str:
    """Everything the history tells of a cascade, as text.

    :arg cascade_id: or its beginning, where that is enough to tell it from others.
    :raises UsageError: where there is none, or several.
    :raises HistoryError: where the history cannot be read.
    """
    updates, signals = asked(data_dir, lambda connection: _read(connection, cascade_id))
    found = sorted({update.cascade_id for update in updates})
    if not found:
        raise UsageError(f"no cascade {cascade_id!r} in {data_dir}; list them: breakwater sql 'from cascades'")
    if len(found) > 1:
        raise UsageError(f"{cascade_id!r} begins {len(found)} cascades: {', '.join(found[:8])}")
    return "\n".join(story(updates, signals))


def _read(connection: duckdb.DuckDBPyConnection, cascade_id: str) -> tuple[list[CascadeUpdate], list[Signal]]:
    def told(view: str, dataset: str, time: str) -> list[Any]:
        columns = ", ".join(f"{name}" for name in _columns(dataset))
        asking = f"SELECT {columns} FROM {view} WHERE starts_with(cascade_id, ?) ORDER BY {time}"  # noqa: S608 - our own names
        return records(_in_nanoseconds(connection.sql(asking, params=[cascade_id]).to_arrow_table()), dataset)

    in_order = "time, events, list_position(['open', 'update', 'peak', 'close'], state)"
    return told("cascade_updates", "cascades", in_order), told("signals", "signals", "event_time, receive_time")


def _in_nanoseconds(table: pa.Table) -> pa.Table:
    """Times as the files have them; the views show microseconds."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.timestamp("ns")))
    return table


def _columns(dataset: str) -> list[str]:
    return [f'window_name AS "{name}"' if name == "window" else name for name in DATASETS[dataset].schema.names]


def story(updates: Sequence[CascadeUpdate], signals: Sequence[Signal]) -> Iterator[str]:
    """The lines, from all updates of one cascade and its signals, each in order."""
    first, last = updates[0], updates[-1]
    yield f"cascade {last.cascade_id} of {_asset(last.asset)}: {last.side} closed, {_usd(last.usd, floor=last.floor)}"
    yield ""
    yield from _life(first, updates)
    for signal in signals:
        yield ""
        yield from _why(signal)
    yield ""
    yield from _shares(last)


def _life(first: CascadeUpdate, updates: Sequence[CascadeUpdate]) -> Iterator[str]:
    last = updates[-1]
    yield "life"
    yield f"  started  {_time(last.started)}  its first event"
    yield f"  opened   {_time(first.opened)}  at {first.level}, {_after(first.opened, last)}"
    if last.peaked is not None:
        pace = f"{_usd(last.peak_usd_per_second)}/s over ten seconds"
        yield f"  peaked   {_time(last.peaked)}  {pace}, {_after(last.peaked, last)}"
    for update in updates:
        if update.state == "peak":
            yield f"  past it  {_time(update.time)}  known {_after(update.time, last)}"
    if last.closed is None:
        yield f"  open     {_time(last.time)}  when last told, at {last.level}"
    else:
        yield f"  closed   {_time(last.closed)}  {_after(last.closed, last)}"
    best = f"  best     level {last.peak_level}, score {last.peak_score:.3f}"
    chances = [f"{p:.1%} of {_usd(last.threshold_usd[name])} in {name}" for name, p in last.peak_probability.items()]
    yield ", ".join([best, *chances])


def _why(signal: Signal) -> Iterator[str]:
    """One change of level."""
    yield f"{_time(signal.event_time)}  {signal.previous} → {signal.level}, decided by {signal.decided_by}"
    if signal.decided_by == "time":
        return
    weighted = sum((signal.weights.get(name) or 0.0) * (part or 0.0) for name, part in signal.components.items())
    yield "  component                 raw          full at   part  weight  adds"
    for name, part in signal.components.items():
        raw, full = signal.raw.get(name), signal.full_scale.get(name)
        if part is None or raw is None or full is None:
            yield f"  {name:14} not known: its weight is spread over the others"
            continue
        weight = signal.weights.get(name) or 0.0
        figures = f"{_figure(raw):>14} {_figure(full):>12} {_UNITS[name]:9}"
        yield f"  {name:14}{figures} {part:5.3f}   {weight:.3f}  {weight * part:.3f}"
    yield f"  sum {weighted:.3f} x boost {signal.boost:g} = score {signal.score:.3f} (at most 1), rules {signal.rules}"
    yield from _scaled(signal)
    yield from _outlook(signal)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _scaled(signal: Signal) -> Iterator[str]:
    yield (
        f"  told: {signal.events_per_second:,.2f} events/s, {_usd(signal.usd_per_second, floor=signal.floor)}/s in"
        f" {signal.window}; an event of a feed that does not tell everything counted {signal.capped_event or 1.0:.2f}"
    )
    if signal.usual_events_per_second is not None and signal.usual_usd_per_second is not None:
        usual = f"{signal.usual_events_per_second:.3g} events/s, {_usd(signal.usual_usd_per_second)}/s"
        yield f"  usual: {usual}; heat {signal.heat:.1f}"
    else:
        yield f"  usual: not known yet; heat {signal.heat:.1f}"


def _outlook(signal: Signal) -> Iterator[str]:
    if not signal.probability:
        yield "  probability: none, there is no model"
    for name, chance in signal.probability.items():
        usual = f"usually {signal.usual_probability[name]:.2%}" if name in signal.usual_probability else ""
        yield f"  P({_usd(signal.threshold_usd[name])} in {name}) = {chance:.1%}, {usual}"
        yield f"    fitted on {signal.models.get(name, 'unknown data')}"
    if signal.drivers:
        strongest = sorted(signal.drivers.items(), key=lambda item: -abs(item[1]))[:_DRIVERS]
        yield "  log odds, strongest: " + ", ".join(f"{name} {value:+.2f}" for name, value in strongest)


def _shares(last: CascadeUpdate) -> Iterator[str]:
    yield "venue              entered         longs        shorts"
    for venue, lag in zip(last.venues, last.entry_lags, strict=True):
        longs, shorts = last.long_usd_by_venue.get(venue, 0.0), last.short_usd_by_venue.get(venue, 0.0)
        yield f"  {venue:16} +{lag:6.1f} s {longs:13,.0f} {shorts:13,.0f}"
    yield f"  {'all':16} {last.events:6,} ev {last.long_usd:12,.0f} {last.short_usd:13,.0f}"
    if last.adl_events:
        yield f"  deleveraging apart: {last.adl_events:,} events, {_usd(last.adl_usd)}"
    if len(last.assets) > 1:
        entered = zip(last.assets, last.asset_lags, strict=True)
        yield "assets entered: " + ", ".join(f"{name} +{lag:.1f} s" for name, lag in entered)


def _after(time: int, last: CascadeUpdate) -> str:
    return f"{(time - last.started) / SECOND:.1f} s after it started"


def _time(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}"


def _usd(amount: float, *, floor: bool = False) -> str:
    return f"{'at least ' if floor else ''}{amount:,.0f} USD"


def _asset(name: str) -> str:
    return "the market" if name == "*" else name
