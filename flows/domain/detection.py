"""Notices that a leg was taken away, is about to be, or is not known: what happened in, intents out. Pure.

Several sources tell of one event: its notice, its fills, the position afterwards. All of them lead to the one intent of
the pair's episode; only the first to arrive is how it was noticed. An outage is no event: what is unknown is read more
often, and nothing is ever closed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b

from msgspec.structs import replace

from flows.domain.background import Marks, OpenInterests, Unusual, paid
from flows.domain.hints import Hints
from flows.domain.policy import Policy, Reaction, distance, in_danger, reaction
from flows.domain.polling import Polling, pause
from schemas.cascades import Signal
from schemas.clock import MINUTE, SECOND
from schemas.orders import Capabilities, Fill, IntentKind, OrderIntent
from schemas.pairs import Hint, HintKind, LegSight, PairSight
from schemas.records import AccountEvent, FeedStatus, Funding, Liquidation, MarkPrice, OpenInterest

_HURRY = 30 * SECOND
"""What calls for more frequent reads does so for this long."""
_BLIND = 10 * MINUTE
"""A feed that does not speak closes its venue for so long; one that stays silent says so each five minutes."""
_SPEAKING = frozenset({"connected", "subscribed", "quiet"})
_ALIKE = 0.01
"""Fraction by which a public close may differ in size from our leg, or in price from where it would be closed."""


@dataclass(frozen=True, slots=True)
class Sentinel:
    """When a net exposure counts."""

    tolerance: Decimal = Decimal("0.01")
    """Of the larger leg."""
    patience: int = 2 * SECOND
    """Nanoseconds it has to last."""


@dataclass(slots=True)
class Detector:
    """Remembers what it needs to tell news from repetition.

    :arg capabilities: of each venue a pair may have a leg at.
    """

    capabilities: Mapping[str, Capabilities]
    policy: Policy = field(default_factory=Policy)
    sentinel: Sentinel = field(default_factory=Sentinel)
    polling: Polling = field(default_factory=Polling)
    unusual: Unusual = field(default_factory=Unusual)
    hints: Hints = field(default_factory=Hints)
    silent: set[str] = field(default_factory=set)
    """Venues whose private stream does not speak: nothing is opened there."""
    _open_interests: OpenInterests = field(default_factory=OpenInterests)
    _marks: Marks = field(default_factory=Marks)
    _apart_since: dict[str, int] = field(default_factory=dict)
    _raised: set[str] = field(default_factory=set)

    def told(
        self, event: AccountEvent | Fill | FeedStatus, pair: PairSight | None, *, ours: bool, now: int
    ) -> list[OrderIntent]:
        """Something came over a private stream."""
        if isinstance(event, FeedStatus):
            self._spoke(event, now)
            return []
        if pair is None or ours:
            return []
        return self._fill(event, pair) if isinstance(event, Fill) else self._event(event, pair)

    def _spoke(self, status: FeedStatus, now: int) -> None:
        if status.state in _SPEAKING:
            self.silent.discard(status.venue)
        else:
            self.silent.add(status.venue)
        if status.state not in {"quiet", "connected", "connecting"}:
            # After a gap too: what was missed has to be read.
            self._hint(status.venue, "urgent", "stream", now, f"private stream {status.state}", now)

    def _event(self, event: AccountEvent, pair: PairSight) -> list[OrderIntent]:
        match event.event:
            case "liquidation" | "adl":
                reason = f"{event.event.upper()}_{event.venue.upper()}"
                return self._emergency(pair, event.event_id, reason, "private_notice", event.event_time)
            case "margin_call":
                return self._react(self.policy.margin, pair, event.event_id, "MARGIN", "margin", event.event_time)
            case _:
                return []

    def _fill(self, fill: Fill, pair: PairSight) -> list[OrderIntent]:
        cause = {"liquidation": "LIQUIDATION", "adl": "ADL", "settlement": "SETTLEMENT"}.get(fill.cause, "UNEXPLAINED")
        reason = f"{cause}_{fill.venue.upper()}"
        return self._emergency(pair, f"{fill.venue} fill {fill.trade_id}", reason, "own_fill", fill.time)

    def seen(self, pair: PairSight) -> list[OrderIntent]:
        """A pair was looked at."""
        self._restless(pair)
        if pair.working == "emergency_close":
            return []
        for leg in pair.legs:
            if not leg.reachable:
                # Nothing is concluded from silence: what is believed stands, and is asked for more often.
                self._hint(leg.leg.venue, "urgent", "reads", pair.now, "not reachable, or in doubt", pair.now)
        return self._unexplained(pair) or self._apart(pair) or self._near(pair)

    def _unexplained(self, pair: PairSight) -> list[OrderIntent]:
        for leg in pair.legs if pair.working is None else ():
            if leg.quantity is not None and leg.quantity != leg.expected:
                venue = leg.leg.venue
                cause = f"{_case(pair)} {venue} {leg.leg.instrument} holds {leg.quantity:f}"
                return self._emergency(
                    pair, _digest(cause), f"UNEXPLAINED_{venue.upper()}", "position_change", leg.before
                )
        return []

    def _apart(self, pair: PairSight) -> list[OrderIntent]:
        first, second = (leg.quantity for leg in pair.legs)
        name = pair.pair.pair
        if first is None or second is None:
            return []
        if abs(first + second) <= max(abs(first), abs(second)) * self.sentinel.tolerance + abs(pair.pair.dust):
            self._apart_since.pop(name, None)
            return []
        since = self._apart_since.setdefault(name, pair.now)
        if pair.now - since < self.sentinel.patience:
            return []
        return self._emergency(pair, _digest(f"{_case(pair)} apart"), "NET_EXPOSURE", "sentinel", since)

    def _near(self, pair: PairSight) -> list[OrderIntent]:
        for leg in pair.legs if pair.working is None else ():
            # What is not known is an alarm of the executor, and no reason to trade.
            if distance(leg) is not None and in_danger(leg, self.policy.margin_danger):
                cause = _digest(f"{_case(pair)} near {leg.leg.venue} {leg.leg.instrument}")
                return self._react(self.policy.margin, pair, cause, "MARGIN", "margin", leg.at)
        return []

    def _restless(self, pair: PairSight) -> None:
        """What makes reads more frequent by itself: leverage, volatility, divergence."""
        prices = [leg.known.mark_price if leg.known is not None else None for leg in pair.legs]
        for leg, price in zip(pair.legs, prices, strict=True):
            venue, away = leg.leg.venue, distance(leg)
            if away is not None and away < self.policy.danger:
                self._hint(venue, "alert", "leverage", pair.now, f"{away:.0%} from its liquidation price", pair.now)
            if price and price > 0:
                move = self._marks.move((venue, leg.leg.instrument), float(price), pair.now)
                if move >= self.unusual.move:
                    self._hint(venue, "alert", "volatility", pair.now, f"its mark moved {move:.1%}", pair.now)
        if all(price and price > 0 for price in prices):
            apart = abs(float(prices[0] or 0) / float(prices[1] or 1) - 1)
            for leg in pair.legs if apart >= self.unusual.divergence else ():
                self._hint(leg.leg.venue, "alert", "divergence", pair.now, f"marks {apart:.1%} apart", pair.now)

    def signalled(self, signal: Signal, pair: PairSight) -> list[OrderIntent]:
        """A signal about an asset of which the pair holds some."""
        does = reaction(signal, pair, self.policy)
        return self._react(does, pair, signal.signal_id, f"CASCADE_{signal.level}", "signal", signal.event_time)

    def public(self, told: Liquidation, pair: PairSight) -> None:
        """A public forced close at a leg's venue and on its side: ours may be next; one like ours may be ours."""
        for leg in pair.legs:
            if leg.leg.venue == told.venue and (leg.leg.quantity > 0) == (told.position == "long"):
                alike = _alike(told, leg)
                what = "a public close like this leg's" if alike else f"public closes of {told.position}s"
                self._hint(told.venue, "urgent" if alike else "alert", "closes", told.receive_time, what, pair.now)

    def marked(self, mark: MarkPrice, pair: PairSight) -> list[OrderIntent]:
        """A leg's contract has a new mark: how near is its liquidation price now? One told late is none."""
        if pair.now - mark.receive_time > self.policy.signal_age:
            return []
        legs = [_at_mark(leg, mark) if _same(leg, mark) else leg for leg in pair.legs]
        pair = replace(pair, legs=(legs[0], legs[1]))
        self._restless(pair)
        return self._near(pair)

    def background(self, told: OpenInterest | Funding, pair: PairSight) -> None:
        """Open interest or funding where a leg is: see ``flows.domain.background``."""
        fall = self._open_interests.fall(told) if isinstance(told, OpenInterest) else 0.0
        for leg in pair.legs:
            if leg.leg.venue != told.venue:
                continue
            if fall >= self.unusual.fall:
                words = f"open interest fell {fall:.0%} within a minute"
                self._hint(told.venue, "alert", "open interest", told.receive_time, words, pair.now)
            if isinstance(told, Funding) and (rate := paid(told, long=leg.leg.quantity > 0)) >= self.unusual.funding:
                words = f"its side pays {rate:.2%} funding per 8 h"
                self._hint(told.venue, "alert", "funding", told.receive_time, words, pair.now)

    def fed(self, status: FeedStatus, now: int) -> None:
        """What a public feed is doing. Where nobody sees the market, no risk is added."""
        venue, source, began = status.venue, f"feed {status.feed}", status.event_time
        match status.state:
            case "subscribed" | "quiet":
                self.hints.lift(venue, "closed", source, now, f"{source} speaks again")
            case "gap":
                self._hint(venue, "closed", f"{source} gap", began, f"{source} lost a span", now)
                self._hint(venue, "urgent", source, began, f"{source} lost a span", now)
            case "connecting" | "connected":
                pass  # on its way: what it was before counts until it is subscribed
            case _:
                self._hint(venue, "closed", source, began, f"{source} is {status.state}", now, lasts=_BLIND)
                self._hint(venue, "urgent", source, began, f"{source} is {status.state}", now)

    def hinted(self, hints: Sequence[Hint], now: int) -> set[str]:
        """What another process noticed; the venues to be read at once."""
        return self.hints.replace(hints, now)

    def closed(self, venue: str, now: int) -> str:
        """Why no risk is to be added at the venue; empty where nothing speaks against it."""
        silent = ["its private stream does not speak"] if venue in self.silent else []
        return ", ".join(silent + self.hints.reasons(venue, now, "closed"))

    def about(self, venue: str, now: int) -> str:
        """What there is to say about the venue now, in words."""
        return ", ".join(self.hints.reasons(venue, now))

    def pause(self, venue: str, now: int) -> int:
        """Nanoseconds until the venue's positions are to be read again."""
        urgent = venue in self.silent or bool(self.hints.reasons(venue, now, "urgent"))
        alert = bool(self.hints.reasons(venue, now, "alert"))
        return pause(self.polling, self.capabilities[venue], alert=alert, urgent=urgent)

    def _hint(
        self, venue: str, what: HintKind, source: str, since: int, reason: str, now: int, *, lasts: int = _HURRY
    ) -> None:
        # Counted from when it happened, so that what is told again says the same.
        self.hints.give(Hint(venue=venue, what=what, source=source, until=since + lasts, reason=reason), now)

    def _react(
        self, does: Reaction, pair: PairSight, cause: str, reason: str, path: str, created: int
    ) -> list[OrderIntent]:
        if does == "nothing":
            return []
        for leg in pair.legs:
            self._hint(leg.leg.venue, "alert", path, created, reason, pair.now)
        if does == "tighten":
            return []
        kind: IntentKind = "reduce_pair" if does == "reduce" else "close_pair"
        return self._intent(kind, pair, cause, reason, path, created, pair.now + self.policy.close_age)

    def _emergency(self, pair: PairSight, cause: str, reason: str, path: str, created: int) -> list[OrderIntent]:
        for leg in pair.legs:
            self._hint(leg.leg.venue, "urgent", path, pair.now, reason, pair.now)
        return self._intent("emergency_close", pair, cause, reason, path, created, None)

    def _intent(
        self, kind: IntentKind, pair: PairSight, cause: str, reason: str, path: str, created: int, expires: int | None
    ) -> list[OrderIntent]:
        if cause in self._raised:
            return []
        self._raised.add(cause)
        return [
            OrderIntent(
                intent_id=_digest(f"{kind} {self.policy.version} {_case(pair)}"), intent=kind, pair=pair.pair.pair,
                asset=pair.pair.asset, cause=cause, reason=reason, policy=self.policy.version, created=created,
                expires=expires, detected=pair.now, path=path,
            )
        ]  # fmt: skip


def _same(leg: LegSight, mark: MarkPrice) -> bool:
    return (leg.leg.venue, leg.leg.instrument) == (mark.venue, mark.instrument) and leg.reachable


def _at_mark(leg: LegSight, mark: MarkPrice) -> LegSight:
    known = leg.known and replace(leg.known, mark_price=Decimal(repr(mark.price)))
    return replace(leg, known=known, at=mark.receive_time)


def _alike(told: Liquidation, leg: LegSight) -> bool:
    """Whether a public close may well be of this leg: its size, or the price it would be closed at."""
    size, known = abs(float(leg.leg.quantity)), leg.known
    if size and abs(told.quantity / size - 1) <= _ALIKE:
        return True
    price = float(known.liquidation_price) if known is not None and known.liquidation_price else None
    return price is not None and abs(told.price / price - 1) <= _ALIKE


def _case(pair: PairSight) -> str:
    return f"{pair.pair.pair} {pair.pair.episode}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
