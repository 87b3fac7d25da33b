"""The thinking part of the flow without the engine: what the benchmarks time, and what it lets out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.normaliser import Normaliser
from flows.domain.detector import Detector
from flows.domain.duplicates import Seen
from flows.domain.rules import Rules
from flows.stages import Outcome
from schemas.batches import Batch
from schemas.cascades import Signal
from schemas.records import DeadLetter


@dataclass(slots=True)
class Tally:
    """What came out."""

    events: int = 0
    signals: int = 0
    windows: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("normalise", "duplicates", "detect"), 0.0))
    """CPU time by step."""

    def take(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.events += len(outcome.batch.liquidations)
        self.duplicates += outcome.duplicates
        self.signals += sum(isinstance(record, Signal) for record in outcome.detections.records)
        self.windows += sum(map(len, outcome.detections.windows))
        self.dead_letters += sum(isinstance(record, DeadLetter) for _, record in outcome.batch.others)


class Pipeline:
    """Fresh parts, everything compiled.

    :arg tell_windows: also tell the windows of each second, as the history keeps them.
    """

    def __init__(self, *, tell_windows: bool = False) -> None:
        self.catalogue = Catalogue(snapshots())
        self.normaliser = Normaliser(exchanges().values(), self.catalogue)
        self.detector = Detector(Rules() if tell_windows else Rules(snapshot=0), self.catalogue.assets)
        self.detector.warm_up()
        self.seen = Seen()
        self.seen.drop(self.normaliser.normalise(()))
        self.tally = Tally()

    def run(self, pieces: Iterable[Sequence[Frame] | Batch]) -> Tally:
        """Everything in the order of the flow, timed step by step."""
        clock, seconds = time.process_time, self.tally.seconds
        for piece in pieces:
            began = clock()
            batch = piece if isinstance(piece, Batch) else self.normaliser.normalise(piece)
            batch = batch.relabelled(self.detector.assets)
            read = clock()
            doubled = self.seen.drop(batch)
            known = clock()
            found = self.detector.process(batch)
            done = clock()
            seconds["normalise"] += read - began
            seconds["duplicates"] += known - read
            seconds["detect"] += done - known
            self.tally.take(Outcome(batch, found, doubled))
        return self.tally
