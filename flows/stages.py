"""The steps every flow is composed of, stream to stream. All thinking is called from ``flows.domain``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.errors import BytewaxRuntimeError
from bytewax.operators import KeyedStream, StatefulBatchLogic
from bytewax.run import cli_main

from connectors.normaliser import Normaliser
from connectors.reader import Reader
from flows.domain.detector import Detections, Detector
from flows.domain.duplicates import Seen
from schemas.batches import Batch
from schemas.errors import BreakwaterError

SHARD = "0"
"""The embedded flow keeps all assets in one shard: the market needs them together."""


@dataclass(slots=True)
class Outcome:
    """One batch and what it brought about."""

    batch: Batch
    detections: Detections
    duplicates: int = 0


def execute(flow: Dataflow) -> None:
    """Run a flow in this process to its end.

    What our own code raised, or an interruption, comes out as it was; the engine would wrap it in its own error.
    """
    with unwrapped():
        cli_main(flow)


@contextmanager
def unwrapped() -> Iterator[None]:
    """What our own code raised in a flow comes out as it was."""
    try:
        yield
    except BytewaxRuntimeError as wrapped:
        cause: BaseException | None = wrapped
        while isinstance(cause, BytewaxRuntimeError):
            cause = cause.__cause__
        if isinstance(cause, BreakwaterError | KeyboardInterrupt):
            raise cause from None
        raise


def normalised(up: Stream[Any], normaliser: Normaliser, reader: Reader | None = None) -> Stream[Batch]:
    """Items or batches in, batches out. Bad frames are dead letters in the batch; nothing is lost.

    :arg reader: told which of its feeds brought forced closes, so that it can judge their silence.
    """

    def read(pieces: list[Any]) -> Iterable[Batch]:
        for piece in pieces:
            if isinstance(piece, Batch):
                yield piece
                continue
            batch = normaliser.normalise(piece)
            if reader is not None and len(batch.liquidations):
                for venue, feed, _, received in normaliser.closing:
                    reader.forced_closes(venue, feed, received)
            yield batch

    return op.flat_map_batch("normalise", up, read)


class _Detect(StatefulBatchLogic[Batch, Outcome, None]):
    """Takes known events out, thinks about the rest."""

    def __init__(self, detector: Detector, seen: Seen) -> None:
        self._detector, self._seen = detector, seen

    def on_batch(self, values: list[Batch]) -> tuple[list[Outcome], bool]:
        """One outcome per batch."""
        found = []
        for value in values:
            batch = value.relabelled(self._detector.assets)
            doubled = self._seen.drop(batch)
            found.append(Outcome(batch, self._detector.process(batch), doubled))
        return found, StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        """The embedded flow starts afresh: sockets cannot be rewound."""


def detected(up: Stream[Batch], detector: Detector, seen: Seen) -> Stream[Outcome]:
    """Batches in, outcomes out: duplicates removed, windows, score, levels and cascades told."""
    keyed: KeyedStream[Batch] = op.key_on("shard", up, lambda _: SHARD)
    outcomes = op.stateful_batch("detect", keyed, lambda _: _Detect(detector, seen))
    return op.key_rm("unshard", outcomes)
