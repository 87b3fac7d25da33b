"""What else was tried: each set of inputs scored inside the fit half (which may decide) and on the later half.

A set is kept where it wins on blocks left out and holds later, at its cost; the others stay here, with what they made.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flows.domain.decays import FEATURES, N_SCALES, SCALES
from flows.domain.model import MARKET_FEATURES
from flows.study import features
from flows.study.baselines import hawkes
from flows.study.evaluate import Study
from flows.study.events import Events, Recording
from flows.study.fit import SETS, Isotonic, Standard, choose_l2, logistic, platt
from flows.study.labels import Sums
from flows.study.metrics import Ranked, brier_skill
from schemas.cascades import MARKET
from schemas.clock import MINUTE, SECOND

Floats = NDArray[np.float64]
STRENGTHS = (10.0, 100.0, 1000.0)
CHOSEN = "**chosen**"
_NAMES = (
    "slow scales, USD of 1800 s, age, heat",
    "recommended: counts, USD, share, venues, age, heat",
    "slow scales, and the market's",
)
"""Of ``SETS``."""
_DAY = 86_400.0
_FUNDING = 28_800.0


class Attempt(Struct, frozen=True):
    """A set of inputs and what it made."""

    name: str
    inputs: int
    left_out: float
    """Log score on blocks of the fit half left out, smaller is better."""
    auc: float
    """At onset, later half; so the next two."""
    ap: float
    skill: float


def breadth(events: Events, time: NDArray[np.int64], window: int = MINUTE) -> Floats:
    """``log1p`` of the number of assets with an event seen in the window before."""
    recent: deque[tuple[int, int]] = deque()
    alive: Counter[int] = Counter()
    out = np.zeros(len(time))
    row, seen, assets = 0, events.visible.tolist(), events.asset.tolist()
    for i, now in enumerate(time.tolist()):
        while row < len(seen) and seen[row] < now:
            recent.append((seen[row], assets[row]))
            alive[assets[row]] += 1
            row += 1
        while recent and recent[0][0] < now - window:
            alive[recent.popleft()[1]] -= 1
        alive += Counter()
        out[i] = len(alive)
    return np.log1p(out)


def inputs(recording: Recording, made: Study) -> Iterator[tuple[str, Floats]]:
    """Each set tried, as columns."""
    time, events, target = made.labels.time, made.events, made.model.target
    table = features.known(recording, target, time)
    known = (*FEATURES, *MARKET_FEATURES)

    def columns(*names: str) -> Floats:
        return table[:, [known.index(name) for name in names]]

    chosen = columns(*made.model.features)
    yield CHOSEN, chosen
    for names in SETS if target != MARKET else SETS[:2]:
        if names != made.model.features:
            yield _NAMES[SETS.index(names)], columns(*names)
    if target != MARKET:
        yield "recommended, and the market's", table
    yield "counts alone", table[:, :N_SCALES]
    yield "capped USD alone (marks)", table[:, N_SCALES : 2 * N_SCALES]
    power = sum(np.expm1(table[:, k]) * scale**-0.15 for k, scale in enumerate(SCALES))
    yield "power-law kernel, exponent 1.15", np.log1p(power)[:, None]
    yield "one-exponential Hawkes intensity", np.log(hawkes(events, made.labels) + 1e-9)[:, None]
    yield "chosen + sides apart (cross-excitation)", np.hstack([chosen, features.by_side(events, time)])
    for other in [name for name in ("BTC", "ETH") if name != target and name in recording.assets]:
        yield f"chosen + {other} (cross-excitation)", np.hstack([chosen, features.table(recording.of(other), time)])
    longer = [features.decayed(events, np.ones(len(events)), hours * 3600.0, time) / hours for hours in (2, 6)]
    yield "chosen + scales of 2 and 6 h", np.hstack([chosen, np.log1p(np.stack(longer, axis=1))])
    yield "chosen + assets active in a minute", np.hstack([chosen, breadth(recording.events, time)[:, None]])
    yield "chosen + squares (hazard by age)", np.hstack([chosen, chosen**2])
    heated = columns("heat") * columns("dominant_share")
    yield "chosen + heat x share of the larger side", np.hstack([chosen, columns("dominant_share"), heated])
    angle = 2 * np.pi * (time / SECOND % _DAY) / _DAY
    yield "chosen + time of day", np.hstack([chosen, np.stack([np.sin(angle), np.cos(angle)], axis=1)])
    since = time / SECOND % _FUNDING
    settling = np.stack([since < 300, since > _FUNDING - 300], axis=1).astype(np.float64)
    yield "chosen + funding minutes", np.hstack([chosen, settling])


def attempts(recording: Recording, made: Study) -> list[Attempt]:
    """Every set, fitted on the earlier half with its own strength of L2; then other ways to fit the chosen one."""
    labels = made.labels
    early, later = labels.fitted, slice(labels.split, None)
    gap = 2 * labels.horizon // (5 * SECOND)
    found = []
    for name, x in inputs(recording, made):
        standard = Standard.of(x[early])
        choice = choose_l2(standard(x[early]), labels.reached[early], gap, STRENGTHS)
        w = logistic(standard(x[early]), labels.reached[early], choice.l2)
        odds = w[0] + standard(x[later]) @ w[1:]
        found.append(_attempt(name, x.shape[1], choice.score, odds, made))
        if name == CHOSEN:
            offset, slope = platt(choice.odds, labels.reached[early])
            step = Isotonic.fit(choice.odds, labels.reached[early])(odds)
            found.append(_attempt("chosen, Platt on blocks left out", 0, choice.score, offset + slope * odds, made))
            found.append(_attempt("chosen, isotonic on blocks left out", 0, choice.score, odds, made, step))
            found += _otherwise(x, choice.l2, made)
    return found


def _otherwise(x: Floats, l2: float, made: Study) -> Iterator[Attempt]:
    """The chosen inputs fitted on more outcomes (a third of the threshold), and on the newer half of the fit only."""
    labels = made.labels
    early, later = labels.fitted, slice(labels.split, None)
    standard = Standard.of(x[early])
    seen, reached = standard(x[early]), labels.reached[early]
    future = Sums(made.recording.of(made.model.target)).between(labels.time, labels.time + labels.horizon)
    w = logistic(seen, future[early] >= labels.threshold / 3, l2)
    offset, slope = platt(seen @ w[1:], reached)
    lower = offset + slope * (standard(x[later]) @ w[1:])
    yield _attempt("chosen, weights by a third of the threshold", 0, float("nan"), lower, made)
    newer = slice(len(seen) // 2, None)
    if reached[newer].any():
        w = logistic(seen[newer], reached[newer], l2)
        newest = w[0] + standard(x[later]) @ w[1:]
        yield _attempt("chosen, the newer half of the fit alone", 0, float("nan"), newest, made)


def _attempt(name: str, count: int, left_out: float, odds: Floats, made: Study, said: Floats | None = None) -> Attempt:
    labels = made.labels
    onset, before = labels.onset[labels.split :], labels.onset[labels.fitted]
    reached = labels.reached[labels.split :][onset]
    climate = float(labels.reached[labels.fitted][before].mean())
    p = (1 / (1 + np.exp(-np.clip(odds, -15, 15))) if said is None else said)[onset]
    ranked = Ranked(reached, odds[onset] if said is None else p)
    return Attempt(name, count, left_out, ranked.auc(), ranked.ap(), brier_skill(reached, p, climate))
