"""When a silence is no longer believable: the gap a feed's own rhythm allows at a stated false-alarm rate. Pure.

Gaps between forced closes are heavy-tailed (their coefficient of variation is about 5), so a fixed timeout either
cries wolf all night or notices nothing. They are taken as log-normal, with mean ``m`` and coefficient of variation
``c`` learned from the feed itself. The longest believable gap ``x`` is the one only a fraction ``a`` of gaps exceeds::

    s² = ln(1 + c²)        x(a) = m · exp(s · z(1 − a) − s²/2)        z: the standard normal quantile

A gap is the time between the beginnings of two bursts, so that a venue that sends twenty frames each second is as
regular as one that sends a single one. One false alarm per ``T`` seconds means ``a = m / T``, because ``T / m`` gaps
begin in that time. A connection that has told nothing since it was opened is judged by a stated chance per opening
instead, when that is the larger. The rate holds once the rhythm is learned: before, a prior stands in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from schemas.clock import SECOND

_quantile = NormalDist().inv_cdf
_RAREST, _COMMONEST = 1e-12, 0.01


@dataclass(frozen=True, slots=True)
class SilenceRule:
    """How a feed is judged. Times in seconds."""

    false_alarm_every: float = 7 * 86_400.0
    """One false alarm per feed in this time is accepted."""
    false_alarm_at_open: float = 1e-3
    """Chance of a false alarm accepted each time a connection opens and has told nothing yet."""
    least: float = 10.0
    """Never silent before this: shorter hiccups are the network's, and the library's ping watches over them."""
    least_gaps: float = 5.0
    """... nor before this many mean gaps."""
    quiet_after: float = 60.0
    """A healthy feed that told nothing for this long is shown as quiet."""
    prior_gap: float = 60.0
    """Mean gap assumed until the feed's own is known; counts like one observed gap."""
    prior_variation: float = 5.0
    """Coefficient of variation assumed; counts like ``prior_gaps`` gaps."""
    tick_variation: float = 1.0
    """... of a feed whose dialect says how often it ticks: forced closes cluster, mark prices do not."""
    prior_gaps: float = 20.0
    half_life: float = 6 * 3600.0
    """Half of what was learned is forgotten in this time, never below ``prior_gaps`` gaps."""
    burst: float = 0.1
    """What is told within this time of the first is one telling: a venue's batch, a block, a cascade."""
    least_variation: float = 0.5
    """However regular a feed looks, this much irregularity is allowed for."""


class Rhythm:
    """Learns mean and variation of the gaps between the things one feed tells."""

    def __init__(self, rule: SilenceRule, prior_gap: float | None = None) -> None:
        self._rule = rule
        self._prior_gap = prior_gap or rule.prior_gap
        self._prior_variation = rule.prior_variation if prior_gap is None else rule.tick_variation
        self.last = 0
        """When something was told last, or the connection opened; nanoseconds."""
        self.told = False
        """Whether anything was told since the connection opened."""
        self._burst = round(rule.burst * SECOND)
        self._begun = 0
        self._gaps = self._sum = self._squares = 0.0
        self._new_gaps, self._new_squares, self._new_sum = 0, 0, 0
        self._folded = 0

    def open(self, now: int) -> None:
        """The connection is made anew: the time without one is no gap."""
        self.last = self._begun = now
        self.told = False

    def heard(self, now: int) -> None:
        """Something was told. Called for every frame, so it only adds."""
        self.told = True
        self.last = max(self.last, now)
        gap = now - self._begun
        if gap < self._burst:
            return
        if self._begun:
            self._new_gaps += 1
            self._new_sum += gap
            self._new_squares += gap * gap
        self._begun = now

    def elapsed(self, now: int) -> float:
        """Seconds since something was told."""
        return max(0, now - self.last) / SECOND

    def believable(self, now: int) -> float:
        """The longest gap, in seconds, that is still believable at ``now``."""
        self._fold(now)
        rule, mean, variation = self._rule, self.mean, self.variation
        chance = mean / rule.false_alarm_every
        if not self.told:
            chance = max(chance, rule.false_alarm_at_open)
        square = math.log1p(variation * variation)
        z = _quantile(1.0 - min(max(chance, _RAREST), _COMMONEST))
        gap = mean * math.exp(math.sqrt(square) * z - square / 2)
        return max(gap, rule.least, rule.least_gaps * mean)

    @property
    def mean(self) -> float:
        """Seconds."""
        return (self._sum + self._prior_gap) / (self._gaps + 1)

    @property
    def variation(self) -> float:
        """Standard deviation of the gaps over their mean."""
        rule, own = self._rule, 0.0
        if self._gaps > 0 and self._sum > 0:
            own = max(0.0, self._squares * self._gaps / (self._sum * self._sum) - 1.0)
        prior = self._prior_variation * self._prior_variation
        shrunk = (own * self._gaps + prior * rule.prior_gaps) / (self._gaps + rule.prior_gaps)
        return max(math.sqrt(shrunk), rule.least_variation)

    def _fold(self, now: int) -> None:
        """Take in what was heard since, after forgetting a little of what was known."""
        if self._new_gaps == 0:
            return
        keep = 0.5 ** (max(0, now - self._folded) / SECOND / self._rule.half_life) if self._folded else 1.0
        if self._gaps * keep < self._rule.prior_gaps:
            keep = min(1.0, self._rule.prior_gaps / self._gaps) if self._gaps else 1.0
        self._gaps = self._gaps * keep + self._new_gaps
        self._sum = self._sum * keep + self._new_sum / SECOND
        self._squares = self._squares * keep + self._new_squares / SECOND / SECOND
        self._new_gaps, self._new_squares, self._new_sum = 0, 0, 0
        self._folded = now
