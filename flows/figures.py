"""Counts what comes out of a flow and makes the view a person watches."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import numpy as np

from connectors.exchange import Exchange
from connectors.reader import FeedFigures
from flows.domain.constants import MICRO
from flows.domain.detector import Detector, Look
from flows.domain.state import FLOOR_USD, LONG_N, LONG_USD, SHORT_N, SHORT_USD
from flows.stages import Outcome
from schemas.cascades import MARKET, WINDOWS, CascadeUpdate, Signal
from schemas.clock import SECOND, Clock
from schemas.records import CAUSES, VENUES, DeadLetter, FeedStatus
from schemas.view import AssetView, FeedView, PipelineView, SignalView, WindowView

_KEPT = 50
_SHOWN_ASSETS = 12
_MINUTE = list(WINDOWS).index("60s")
_TWO_SECONDS = list(WINDOWS).index("2s")
_ADL = CAUSES.index("adl")


class Figures:
    """Takes outcomes, answers with counts and views. Latencies are from the socket's stamp to here.

    :arg live: whether receive times are of this machine and this moment, so that latencies mean something.
    :arg feeds: asked for the state of each feed when a view is made.
    """

    def __init__(
        self,
        detector: Detector,
        exchanges: Iterable[Exchange],
        clock: Clock,
        *,
        simulated: bool = False,
        live: bool = True,
        feeds: Callable[[], list[FeedFigures]] = list,
        files: Callable[[], int] = lambda: 0,
    ) -> None:
        self.events = self.adl = self.dead_letters = self.signals = self.cascades = self.duplicates = self.late = 0
        self.frames = self.gaps = 0
        self.by_venue: Counter[str] = Counter()
        self._detector, self._clock, self._simulated = detector, clock, simulated
        self._exchanges = {e.venue: e for e in exchanges}
        self._feeds, self._files = feeds, files
        self._started = clock()
        self._busy: Counter[int] = Counter()
        self._last_event: dict[str, int] = {}
        self._recent: deque[SignalView] = deque(maxlen=_KEPT)
        self._open: dict[str, CascadeUpdate] = {}
        self._closed: deque[CascadeUpdate] = deque(maxlen=_KEPT)
        self._live = live
        self._latencies: deque[float] = deque(maxlen=100_000)

    def take(self, outcome: Outcome) -> None:
        """Count one outcome."""
        batch, found = outcome.batch, outcome.detections
        self.frames += batch.frames
        self.duplicates += outcome.duplicates
        self.late += found.late
        if len(batch.liquidations):
            self._count(outcome)
        for _, record in batch.others:
            if isinstance(record, DeadLetter):
                self.dead_letters += 1
            elif isinstance(record, FeedStatus) and record.state == "gap":
                self.gaps += 1
        for told in found.records:
            if isinstance(told, Signal):
                self._signal(told)
            else:
                self._cascade(told)

    def _count(self, outcome: Outcome) -> None:
        columns = outcome.batch.liquidations
        adl = int(np.count_nonzero(columns.cause == _ADL))
        self.events += len(columns) - adl
        self.adl += adl
        codes, counts = np.unique(columns.asset, return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            self._busy[code] += count
        fresh = ~columns.backfill
        now = self._clock()
        for venue, count in zip(*np.unique(columns.venue, return_counts=True), strict=True):
            self.by_venue[VENUES[venue]] += int(count)
        for venue in np.unique(columns.venue[fresh]):
            self._last_event[VENUES[venue]] = int(columns.receive_time[fresh & (columns.venue == venue)].max())
        if self._live:
            self._latencies.extend(((now - columns.receive_time[fresh]) / 1e6).tolist()[:1000])

    def _signal(self, signal: Signal) -> None:
        self.signals += 1
        latency = (self._clock() - signal.receive_time) / 1e6 if signal.event_id and self._live else None
        self._recent.appendleft(SignalView(signal, latency))

    def _cascade(self, update: CascadeUpdate) -> None:
        if update.state == "close":
            self._open.pop(update.cascade_id, None)
            self._closed.appendleft(update)
            return
        self.cascades += update.state == "open"
        self._open[update.cascade_id] = update

    def latency(self, share: float) -> float | None:
        """Milliseconds from socket to sink that ``share`` of the forced closes stayed within."""
        return round(float(np.quantile(np.array(self._latencies), share)), 3) if self._latencies else None

    def view(self) -> PipelineView:
        """Everything now."""
        now = self._clock()
        market = self._detector.look(MARKET)
        recent = market.sums[_TWO_SECONDS]
        minute = market.sums[_MINUTE]
        busiest = self._busiest()
        return PipelineView(
            simulated=self._simulated,
            elapsed=(now - self._started) / SECOND,
            events=self.events,
            events_per_second=float(recent[LONG_N] + recent[SHORT_N]) / 2,
            long_usd_minute=float(minute[LONG_USD]) / MICRO,
            short_usd_minute=float(minute[SHORT_USD]) / MICRO,
            adl_events=self.adl,
            market=self._asset(MARKET, market),
            assets=[self._asset(name, look) for name, look in busiest],
            feeds=[self._feed(figures, now) for figures in self._feeds()],
            signals=list(self._recent),
            cascades=[*self._open.values(), *self._closed],
            cascades_total=self.cascades,
            signals_total=self.signals,
            dead_letters=self.dead_letters,
            latency_p50_ms=self.latency(0.5),
            latency_p99_ms=self.latency(0.99),
            files=self._files(),
        )

    def _busiest(self) -> list[tuple[str, Look]]:
        """By USD of the last minute, then by events ever."""
        names = [self._detector.assets[code] for code, _ in self._busy.most_common(3 * _SHOWN_ASSETS)]
        looks = [(name, self._detector.look(name)) for name in names]
        looks.sort(key=lambda item: -int(item[1].sums[_MINUTE][LONG_USD] + item[1].sums[_MINUTE][SHORT_USD]))
        return looks[:_SHOWN_ASSETS]

    def _asset(self, name: str, look: Look) -> AssetView:
        windows = [
            WindowView(int(w[LONG_N] + w[SHORT_N]), float(w[LONG_USD]) / MICRO, float(w[SHORT_USD]) / MICRO)
            for w in look.sums
        ]
        rules = self._detector.rules
        deciding = next((model.name for model in rules.models_of(name) if model.horizon == rules.horizon), "")
        floor, chance = bool(look.sums[-1][FLOOR_USD]), look.probability.get(deciding)
        return AssetView(name, look.level, look.score, windows, floor, look.heat, chance)

    def _feed(self, figures: FeedFigures, now: int) -> FeedView:
        exchange = self._exchanges[figures.venue]
        last_event = self._last_event.get(figures.venue)
        return FeedView(
            venue=figures.venue,
            title=exchange.title,
            feed=figures.feed,
            coverage=exchange.coverage,
            state=figures.state,
            reason=figures.reason,
            frames=figures.frames,
            events=self.by_venue[figures.venue],
            reconnects=figures.reconnects,
            dropped=figures.dropped,
            frame_age=(now - figures.last_frame) / SECOND if figures.last_frame else None,
            event_age=(now - last_event) / SECOND if last_event else None,
        )
