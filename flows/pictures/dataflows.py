"""The dataflows, drawn from themselves: each is built of real parts that are never started."""

from __future__ import annotations

from collections.abc import Callable

from bytewax.dataflow import Dataflow
from bytewax.visualize import to_mermaid

from connectors.catalogue import Catalogue
from connectors.normaliser import Normaliser
from connectors.reader import Reader
from connectors.source import ReplaySource
from flows import replay
from flows.domain.detector import Detector
from flows.domain.rules import Rules
from flows.figures import Figures
from flows.keeping import Archive
from flows.live import Live
from flows.settings import HistorySettings
from schemas.batches import Batch
from schemas.columns import Columnar
from schemas.tables import StoredRecord


class _Nowhere:
    """A history that keeps nothing."""

    def append(self, batch: Batch) -> None:
        """Forget a batch."""

    def add(self, record: StoredRecord) -> None:
        """Forget a record."""

    def extend(self, rows: Columnar) -> None:
        """Forget rows."""


def _never() -> int:
    return 0


def live() -> Dataflow:
    """What ``run`` and ``demo`` execute."""
    catalogue = Catalogue()
    detector = Detector(Rules(), catalogue.assets)
    parts = Live(
        reader=Reader([], _never),
        normaliser=Normaliser([], catalogue),
        detector=detector,
        figures=Figures(detector, [], _never),
        history=None,
        archive=Archive(_Nowhere(), HistorySettings()),
        clock=_never,
    )
    return parts.build(lambda: True, lambda: None)


def replayed() -> Dataflow:
    """What ``replay`` executes."""
    catalogue = Catalogue()
    source = ReplaySource(iter(()))
    return replay.build(source, Normaliser([], catalogue), Detector(Rules(), catalogue.assets), lambda _: None)


def mermaid(build: Callable[[], Dataflow]) -> str:
    """The picture as a fenced block that GitHub draws."""
    return f"```mermaid\n{to_mermaid(build()).strip()}\n```"
