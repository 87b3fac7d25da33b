"""``liquidations.v1``, ``market.v1`` → ``windows.v1``, ``measures.v1``, ``cascades.v1``, ``signals.v1``.

Reads: forced closes and their context. Writes: windows, measures, cascades and signals of each asset, and of the market
(and ``deadletters.v1``). Key: the asset (cascades: their id). Guarantee: at least once with deterministic ids and
content; a double adds nothing. Each partition is thought about by itself, in its own order, and the market by one shard
that reads them all (its figures come a quarter of a second later, see ``flows.domain.shard``). One that is told where
to begin reads the last minutes before it first, silently, so that its windows are full when it speaks. Signals and
cascades are told at once; windows and measures, a thousand each second, behind them and a few at a time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from msgspec import Struct

from connectors.kafka import Arrivals, KafkaSource, Run
from flows import assembly, metrics
from flows.backlog import Backlog, Turns
from flows.domain.measures import UnderCount
from flows.domain.rules import Rules
from flows.domain.shard import Shard, Told
from flows.reading import RunReader, schemas
from flows.worker import Worker
from schemas.batches import Batch, Tick
from schemas.bus import Bus
from schemas.cascades import MARKET, Signal
from schemas.clock import MILLISECOND, SECOND, Clock, seconds
from schemas.codec import Outgoing, encode
from schemas.placement import key_at, keys_of
from schemas.records import DeadLetter, Funding, MarkPrice, OpenInterest, Trade
from schemas.topics import LIQUIDATIONS
from schemas.topics import MARKET as CONTEXT


class Piece(NamedTuple):
    """What a shard is handed: closes or context of one partition, or that time passed."""

    shard: str
    closes: Batch | None = None
    context: tuple[OpenInterest | Funding, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    warm: bool = False
    tick: int = 0
    partitions: tuple[int, ...] = ()
    """Of which the tick says that everything was read ..."""
    of: int = 0
    """... of so many."""


def build(config: str | None = None, *, bounded: bool = False, recovery: str | None = None) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("cascades", config, bounded=bounded, recovery=recovery)
    said = worker.settings.worker
    source = worker.source([LIQUIDATIONS, CONTEXT], warm_up=said.warm_up, aligned=True, ticks=not bounded)
    flow = Dataflow("cascades")
    arrivals = op.input("closes", flow, source)
    pieces = op.flat_map("shards", arrivals, PieceReader(worker.bus, source).read)
    rules, slack = assembly.rules(worker.settings), seconds(said.slack)
    measures = assembly.under_count(worker.settings)
    worker.warm_up(Shard(MARKET, rules, slack, measures=measures).warm_up)
    made = ShardLogic.maker(rules, slack, measures, worker.clock)
    told = op.stateful_batch("detect", pieces, made)
    op.output("topics", told, worker.sink())
    return flow


class PieceReader:
    """Runs in, pieces for the shards out."""

    def __init__(self, bus: Bus, source: KafkaSource) -> None:
        self._prefix, self._source = f"{bus.name(LIQUIDATIONS)}/", source
        self._reader = RunReader(bus)
        self._mine: tuple[int, ...] = ()
        self._all = 0
        self._keys: dict[str, str] = {}

    def read(self, arrived: Arrivals | Tick) -> list[tuple[str, Piece]]:
        """The pieces, by the key of their shard."""
        if isinstance(arrived, Tick):
            found = self._ticks(arrived.receive_time)
        else:
            found = [piece for run in arrived.runs for piece in self._pieces(run)]
        self._keys = self._keys or self._placed()
        return [(self._keys[piece.shard], piece) for piece in found]

    def _placed(self) -> dict[str, str]:
        keys = keys_of({*self._source.partitions(LIQUIDATIONS), *self._source.partitions(CONTEXT)})
        return {str(number): key for number, key in keys.items()} | {MARKET: key_at(len(keys), MARKET)}

    def _ticks(self, time: int) -> list[Piece]:
        if not self._mine:
            read = [name for name in self._source.lags() if name.startswith(self._prefix)]
            self._mine = tuple(int(name.removeprefix(self._prefix)) for name in read)
            self._all = len(self._source.partitions(LIQUIDATIONS))
        return [
            Piece(shard, tick=time, partitions=self._mine, of=self._all) for shard in (*map(str, self._mine), MARKET)
        ]

    def _pieces(self, run: Run) -> list[Piece]:
        shard = str(run.partition)
        if run.topic == LIQUIDATIONS.name:
            batch, letters = self._reader.closes(run)
            mine = Piece(shard, batch, letters=tuple(letters), warm=run.warm)
            return [mine, Piece(MARKET, batch, warm=run.warm)]
        rows, letters = self._reader.records(run, _UNUSED)
        return [Piece(shard, None, tuple(record for _, record in rows), tuple(letters), run.warm)]


_UNUSED = schemas(MarkPrice, Trade)
"""Context the score does not look at: most of the topic, not worth decoding."""


_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
_SLICE = 24
"""Windows and measures told at a time while closes come one by one: half a millisecond or so ..."""
_PAUSE = 2 * MILLISECOND
"""... and how long after it the next."""
_MOST = 2048
"""Of them that may wait in one shard."""
_MANY = 256
"""Closes at a time with which nobody waits for one of them."""


class ShardLogic(StatefulBatchLogic[Piece, list[Outgoing], bytes]):
    """Drives one shard, and says what it tells as messages: signals and cascades at once, the rest behind them."""

    def __init__(
        self, rules: Rules, slack: int, measures: UnderCount | None, clock: Clock, turns: Turns, resume: bytes | None
    ) -> None:
        self._rules, self._slack, self._measures, self._clock = rules, slack, measures, clock
        self._turns = turns
        stored: tuple[bytes | None, list[Struct]] = pickle.loads(resume) if resume else (None, [])  # noqa: S301 - our own recovery store
        self._resume, self._backlog = stored[0], Backlog(stored[1])
        self._shard: Shard | None = None
        self._ticked: dict[int, int] = {}
        self._open = 0

    @classmethod
    def maker(
        cls, rules: Rules, slack: int, measures: UnderCount | None, clock: Clock
    ) -> Callable[[bytes | None], ShardLogic]:
        """What the engine calls for each key."""
        turns = Turns(_PAUSE, clock)
        return lambda resume: cls(rules, slack, measures, clock, turns, resume)

    def on_batch(self, values: list[Piece]) -> tuple[list[list[Outgoing]], bool]:
        """What the pieces bring about, in their order."""
        if self._shard is None:
            # The engine does not say which key it makes a logic for; its first piece does.
            self._shard = Shard(values[0].shard, self._rules, self._slack, self._resume, self._measures)
        out = [message for piece in values for message in self._take(self._shard, piece)]
        metrics.cascades_open.inc(self._shard.open_cascades - self._open)
        self._open = self._shard.open_cascades
        closes = sum(len(piece.closes.liquidations) for piece in values if piece.closes is not None)
        excess = len(self._backlog) - (_MOST if closes < _MANY else 0)
        out += map(encode, self._backlog.take(excess))
        return [out] if out else [], StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """At once, where something waits; what has arrived meanwhile comes first."""
        return _AT_ONCE if self._backlog else None

    def on_notify(self) -> tuple[list[list[Outgoing]], bool]:
        """A slice of what waits, of one shard at a time."""
        return self._later(_SLICE) if self._turns.mine() else ([], StatefulBatchLogic.RETAIN)

    def on_eof(self) -> tuple[list[list[Outgoing]], bool]:
        """All of it."""
        return self._later(len(self._backlog))

    def _later(self, most: int) -> tuple[list[list[Outgoing]], bool]:
        out = [encode(record) for record in self._backlog.take(most)]
        return [out] if out else [], StatefulBatchLogic.RETAIN

    def _take(self, shard: Shard, piece: Piece) -> list[Outgoing]:
        if piece.warm and not shard.fresh:
            return []
        shard.context(piece.context)
        out = [encode(record) for record in piece.letters if not piece.warm]
        if piece.closes is not None:
            told = shard.closes(piece.closes)
            return out if piece.warm else out + self._messages(shard, told)
        if piece.tick:
            return out + self._messages(shard, shard.tick(self._passed(shard, piece)))
        return out

    def _passed(self, shard: Shard, piece: Piece) -> int:
        """The time until which everything was read: of the market, what the last of its partitions says."""
        if shard.name != MARKET:
            return piece.tick
        self._ticked.update(dict.fromkeys(piece.partitions, piece.tick))
        return min(self._ticked.values()) if len(self._ticked) == piece.of else 0

    def _messages(self, shard: Shard, told: Told) -> list[Outgoing]:
        found = told.detections
        if shard.name != MARKET:
            metrics.duplicates.inc(told.duplicates)
            metrics.late.inc(found.late)
        for record in found.records:
            if isinstance(record, Signal):
                metrics.signals.labels(record.level).inc()
        if told.received:
            stage = "market" if shard.name == MARKET else "cascades"
            metrics.stage_seconds.labels(stage).observe(max(self._clock() - told.received, 0) / SECOND)
        for windows in found.windows:
            self._backlog.add(windows)
        for measures in found.measures:
            self._backlog.add(measures)
        return [*map(encode, found.records)]

    def snapshot(self) -> bytes:
        """Everything of the shard, and what it has not told yet."""
        # Resumed, and nothing has come yet: as it was.
        shard = self._resume if self._shard is None else self._shard.snapshot()
        return pickle.dumps((shard, self._backlog.rest()))
