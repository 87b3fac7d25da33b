"""Recorded forced closes as the studies need them: plain columns, in the order they became visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.extracts import read_extract
from flows.domain.arrivals import scorable
from flows.domain.constants import MICRO
from schemas.batches import Batch, Names
from schemas.cascades import MARKET
from schemas.clock import HOUR, MILLISECOND, MINUTE, SECOND
from schemas.errors import UsageError
from schemas.records import CAUSES, COVERAGES, VENUES, FeedStatus

SILENCE = 30 * MINUTE
"""Longer than this without an event, the recorder may have been off: nothing in between is judged."""
GATHERED_SILENCE = 6 * HOUR
"""The same where a row is written only once a sum was gathered, so that a calm hour leaves none.

Seen on the buckets of January 2023: one run of one process (the funding it took once at its start never changes), no
silence over two hours in six days, and the first row after one of over half an hour sums more messages than others do
(median 27 against 18): the recorder went on counting.
"""
_HELD = 0.05
"""A told gap cuts where its venue has at least this share of the recorded USD."""
_RELAY = 200 * MILLISECOND
"""Where a file tells no arrival, venues other than its main one are taken to be seen this much later."""
_ADL = CAUSES.index("adl")
_COMPLETE = COVERAGES.index("complete")
Spans = NDArray[np.int64]
"""N x 2: first and last time of each span, ns."""


@dataclass(frozen=True, slots=True)
class Events:
    """Liquidations (no ADL), by the time they became visible."""

    time: NDArray[np.int64]
    """Event time, ns."""
    visible: NDArray[np.int64]
    """When a live detector would have had it, ns; never before ``time``."""
    usd: NDArray[np.int64]
    """Micro-USD."""
    side: NDArray[np.int8]
    """0 long closed, 1 short closed."""
    venue: NDArray[np.int8]
    asset: NDArray[np.int32]
    instrument: NDArray[np.int32]
    complete: NDArray[np.bool_]
    """Whether the feed tells everything."""

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[Any] | slice) -> Events:
        """The chosen rows, in order."""
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))

    def in_order(self) -> Events:
        """The same events by the time they became visible."""
        return self.take(np.argsort(self.visible, kind="stable"))


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read: events of all assets, and what identifies them."""

    name: str
    events: Events
    assets: tuple[str, ...]
    digest: str
    """SHA-256 over the columns, first 16 hex digits: the same data, the same digest, however stored."""
    silence: int = SILENCE
    """Longer than this (ns) without an event, the recorder may have been off."""
    gaps: Spans = field(default_factory=lambda: np.empty((0, 2), np.int64))
    """N x 2: between these times a connection of a venue that matters is known to have been lost."""

    @property
    def recorded(self) -> Spans:
        """N x 2: the stretches during which the recorder ran."""
        return without(stretches(self.events.time, self.silence), self.gaps)

    def of(self, target: str) -> Events:
        """The events of an asset, or of all together (``*``).

        :raises UsageError: where the asset does not occur.
        """
        if target == MARKET:
            return self.events
        if target not in self.assets:
            raise UsageError(f"{self.name} holds no {target}; there are {', '.join(sorted(self.assets)[:12])} …")
        return self.events.take(self.events.asset == self.assets.index(target))


def read_recording(paths: Iterable[Path]) -> Recording:
    """The liquidations of extracts and history directories together.

    :raises RecordingError: as ``read_extract``.
    """
    paths = list(paths)
    names, instruments = Names(), Names()
    parts, lost, gathered = [], list[tuple[int, int, int]](), True
    for path in paths:
        for batch in read_extract(path):
            parts.append(_columns(batch.relabelled(names), instruments))
            lost += _lost(batch)
            # Rows that tell USD and no price sum several orders.
            gathered &= bool(np.isnan(batch.liquidations.price).all())
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else _nothing()
    events = _seen(Events(*columns))
    assets = tuple(names[code] for code in range(len(names)))
    name = ", ".join(path.name for path in paths)
    silence = GATHERED_SILENCE if gathered and parts else SILENCE
    return Recording(name, events, assets, _digest(events, assets), silence, _gaps(events, lost))


def _lost(batch: Batch) -> Iterator[tuple[int, int, int]]:
    """Venue, and from when to when a connection of it was lost."""
    for _, record in batch.others:
        if isinstance(record, FeedStatus) and record.gap_from is not None and record.gap_to is not None:
            yield VENUES.index(record.venue), record.gap_from, record.gap_to


def _gaps(events: Events, lost: list[tuple[int, int, int]]) -> Spans:
    """Those of venues that matter."""
    worth = np.bincount(events.venue, weights=events.usd, minlength=len(VENUES))
    found = sorted({(first, last) for venue, first, last in lost if worth[venue] >= _HELD * worth.sum() > 0})
    return np.array(found, np.int64).reshape(-1, 2)


def _columns(batch: Batch, instruments: Names) -> list[NDArray[Any]]:
    c = batch.liquidations
    c = c.take(scorable(batch) & (c.cause != _ADL))
    code = np.array(
        [instruments.code(f"{v}:{batch.instruments[i]}") for v, i in zip(c.venue, c.instrument, strict=True)]
    )
    usd = np.rint(np.nan_to_num(c.notional_usd) * MICRO).astype(np.int64)
    return [
        np.minimum(c.event_time, c.receive_time) if len(c) else c.event_time, c.receive_time, usd,
        c.position.astype(np.int8), c.venue, c.asset, code.astype(np.int32), c.coverage == _COMPLETE,
    ]  # fmt: skip


def _nothing() -> list[NDArray[Any]]:
    dtypes: list[Any] = [np.int64, np.int64, np.int64, np.int8, np.int8, np.int32, np.int32, np.bool_]
    return [np.empty(0, dtype) for dtype in dtypes]


def _seen(events: Events) -> Events:
    """By visibility; where no arrivals were recorded, venues other than the main one come a relay later."""
    visible = np.maximum(events.visible, events.time)
    if len(events) and (visible == events.time).all():
        main = np.bincount(events.venue).argmax()
        visible = visible + np.where(events.venue == main, 0, _RELAY)
    return Events(events.time, visible, *(getattr(events, f.name) for f in fields(events)[2:])).in_order()


def _digest(events: Events, assets: tuple[str, ...]) -> str:
    made = sha256("|".join(assets).encode())
    for column in (events.time, events.visible, events.usd, events.side, events.venue, events.asset):
        made.update(column.tobytes())
    return made.hexdigest()[:16]


def stretches(time: NDArray[np.int64], silence: int = SILENCE) -> Spans:
    """First and last event of each recorded stretch: no longer ``silence`` in it."""
    ordered = np.sort(time)
    cut = np.flatnonzero(np.diff(ordered) > silence)
    first = np.concatenate([[0], cut + 1])
    last = np.concatenate([cut, [len(ordered) - 1]])
    return np.stack([ordered[first], ordered[last]], axis=1) if len(ordered) else np.empty((0, 2), np.int64)


def without(recorded: Spans, gaps: Spans) -> Spans:
    """The recorded stretches with the gaps cut out; gaps may overlap."""
    found: list[tuple[int, int]] = []
    for begun, last in recorded.tolist():
        first = begun
        for lost, back in gaps.tolist():
            if lost < last and back > first:
                if lost > first:
                    found.append((first, lost))
                first = back
        if first <= last:
            found.append((first, last))
    return np.array(found, np.int64).reshape(-1, 2)


def decisions(recorded: Spans, horizon: int, step: int = 5 * SECOND) -> NDArray[np.int64]:
    """The times (ns) something is predicted at: every ``step`` of the clock inside stretches, outcome recorded too."""
    grids = [np.arange(-(-first // step) * step, last - horizon + 1, step) for first, last in recorded]
    return np.concatenate(grids) if grids else np.empty(0, np.int64)
