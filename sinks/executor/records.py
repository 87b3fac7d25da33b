"""The living part of the journal in memory. Written to disk first, remembered after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import structlog
from msgspec.structs import replace

from schemas.orders import Fill, IntentState, OrderIntent
from schemas.pairs import Leg, Pair
from sinks.executor.attempts import Attempt, after_fills
from sinks.executor.journal import Intent, Journal
from sinks.executor.steps import LegKey
from sinks.executor.world import World

log = structlog.get_logger(__name__)


class Records:
    """Living pairs, intents and attempts, in step with the journal."""

    def __init__(self, journal: Journal, world: World) -> None:
        self.journal = journal
        self._world = world
        self.pairs: dict[str, Pair] = {}
        self.intents: dict[str, Intent] = {}
        self.attempts: dict[tuple[str, str], Attempt] = {}
        """By venue and client id: of living intents, and every one whose end was not seen."""
        self._fills: dict[tuple[str, str], dict[str, Fill]] = {}
        self._legs: dict[LegKey, str] = {}
        self._opened: dict[str, tuple[Leg, Leg]] = {}

    def load(self) -> None:
        """Read what lives from disk; what is known already stays."""
        self.pairs = {pair.pair: pair for pair in self.journal.pairs()}
        self._legs = {(leg.venue, leg.instrument): name for name, pair in self.pairs.items() for leg in pair.legs}
        for name in self.pairs:
            if name not in self._opened:
                self._opened[name] = self.journal.opened_legs(name)
        for intent in self.journal.intents():
            self.intents.setdefault(intent.order.intent_id, intent)
        for pair in self.pairs.values():
            for leg in pair.legs:
                self._world.contract((leg.venue, leg.instrument), leg.quantity)

    def load_attempts(self) -> None:
        """Read attempts of living intents, and unsettled ones, from disk."""
        for attempt in [*self.journal.attempts(list(self.intents)), *self.journal.unsettled()]:
            key = (attempt.order.venue, attempt.client_id)
            self.attempts[key] = attempt
            for fill in self.journal.fills(attempt.order.venue, attempt.order.instrument):
                if fill.client_id == attempt.client_id:
                    self._fills.setdefault(key, {})[fill.trade_id] = fill

    def pair_of(self, leg: LegKey) -> Pair | None:
        """The living pair a contract belongs to."""
        name = self._legs.get(leg)
        return self.pairs.get(name) if name is not None else None

    def accounted(self, leg: LegKey) -> Decimal | None:
        """What all fills since its pair began leave of a contract; nothing where it belongs to none."""
        pair = self.pair_of(leg)
        if pair is None:
            return None
        opened = next(x for x in self._opened[pair.pair] if (x.venue, x.instrument) == leg)
        moved = (f.quantity if f.side == "buy" else -f.quantity for f in self.journal.fills(*leg, pair.opened))
        return sum(moved, opened.quantity)

    def insert(self, order: OrderIntent, root: str = "") -> bool:
        """Take an intent in, once; whether it is new."""
        new = self.journal.insert_intent(order, root)
        if new:
            self.load()
        return new

    def working(self, pair: str) -> list[Intent]:
        """The roots of the living cases of a pair."""
        return [i for i in self.intents.values() if i.order.pair == pair and i.root == i.order.intent_id]

    def case(self, root: str) -> list[Intent]:
        """A case: its root, and hedges made for it."""
        return [intent for intent in self.intents.values() if intent.root == root]

    def finish(self, root: str, state: IntentState, detail: str, pair: Pair | None) -> None:
        """End a case, and say what the ledger holds now."""
        ended = self.case(root)
        part: IntentState = "done" if state == "done" else state
        self.journal.finish([(i.order.intent_id, part, detail) for i in ended], pair)
        for intent in ended:
            del self.intents[intent.order.intent_id]
        ids = {intent.order.intent_id for intent in ended}
        gone = [key for key, attempt in self.attempts.items() if attempt.over and attempt.intent_id in ids]
        for key in gone:
            del self.attempts[key]
            self._fills.pop(key, None)
        if pair is not None:
            self._keep(pair)

    def _keep(self, pair: Pair) -> None:
        if pair.closed is None:
            self.pairs[pair.pair] = pair
            return
        del self.pairs[pair.pair]
        for leg in pair.legs:
            self._legs.pop((leg.venue, leg.instrument), None)

    def alarm(self, case: str, what: str, detail: str, pair: Pair | None = None) -> bool:
        """Something a person has to know, once per case and kind; whether it is new."""
        new = self.journal.raise_alarm(case, what, detail, pair.pair if pair else "", pair.asset if pair else "")
        if new:
            log.error("alarm", case=case, what=what, detail=detail)
        return new

    def on(self, leg: LegKey, ids: Iterable[str]) -> tuple[Attempt, ...]:
        """The attempts in a contract that a case has to mind: its own, and any whose end was not seen."""
        mine = set(ids)
        return tuple(
            attempt
            for attempt in self.attempts.values()
            if (attempt.order.venue, attempt.order.instrument) == leg
            and (attempt.intent_id in mine or not attempt.over)
        )

    def prepare(self, attempt: Attempt, pair: Pair, why: str) -> None:
        """Make a new attempt durable."""
        self.journal.prepare(attempt, pair.asset, pair.pair, why)
        self.attempts[attempt.order.venue, attempt.client_id] = attempt
        self.intents[attempt.intent_id] = self.intents[attempt.intent_id]._replace(state="working")

    def change(self, attempt: Attempt, now: int) -> None:
        """What became of an attempt. When it was last asked about is not kept: a restart asks anew."""
        key = (attempt.order.venue, attempt.client_id)
        before = self.attempts[key]
        if replace(before, looked=attempt.looked, answered=attempt.answered) != attempt:
            pair = self.pair_of((attempt.order.venue, attempt.order.instrument))
            self.journal.update(attempt, pair.asset if pair else "", pair.pair if pair else "")
        self.attempts[key] = attempt
        self._learn(before, attempt, now)

    def _learn(self, before: Attempt, attempt: Attempt, now: int) -> None:
        """What the position and the venue are believed to be after it."""
        venue = self._world.venues[attempt.order.venue]
        contract = self._world.contract((attempt.order.venue, attempt.order.instrument))
        if attempt.filled > before.filled:
            contract.holding.expect(attempt.expected, now, venue.caps.visibility)
            contract.refusing_since, venue.failures = None, 0
        elif attempt.over and not before.over and not attempt.filled:
            contract.refusing_since = contract.refusing_since or now
            venue.failures += 1
        elif attempt.state == "unknown":
            contract.refusing_since = contract.refusing_since or now

    def add_fills(self, fills: Sequence[Fill], now: int) -> list[Fill]:
        """Fills, told or asked for; those not known before."""
        pair = self.pair_of((fills[0].venue, fills[0].instrument)) if fills else None
        new = self.journal.add_fills(fills, pair.asset if pair else "", pair.pair if pair else "") if fills else []
        for fill in new:
            attempt = self.attempts.get((fill.venue, fill.client_id))
            if attempt is not None:
                known = self._fills.setdefault((fill.venue, fill.client_id), {})
                known[fill.trade_id] = fill
                self.change(after_fills(attempt, known.values(), now), now)
        return new
