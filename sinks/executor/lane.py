"""One task per pair: decide, do, and decide again whenever something is told or has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog
from msgspec.structs import replace

from schemas.clock import SECOND, Clock
from schemas.orders import IntentKind
from schemas.pairs import Leg, LegSight, Pair, PairSight
from sinks.executor import closing, emergency
from sinks.executor.case import FOREVER, ZERO, Case, LegView, too_small
from sinks.executor.journal import Intent
from sinks.executor.performing import Performer
from sinks.executor.profit import realised
from sinks.executor.records import Records
from sinks.executor.rules import ClosingOf, Rules
from sinks.executor.steps import Decision, Finish, LegKey
from sinks.executor.world import World

log = structlog.get_logger(__name__)

_WORKED: tuple[IntentKind, ...] = ("emergency_close", "reduce_pair", "close_pair")
"""What a case can begin with, the most urgent first; hedges are made within one."""


class Lane:
    """Works the intents of one pair, the most urgent first.

    :arg closing_of: how a close of that intent goes.
    """

    def __init__(
        self,
        pair: str,
        records: Records,
        world: World,
        performer: Performer,
        rules: Rules,
        closing_of: ClosingOf,
        clock: Clock,
    ) -> None:
        self._name, self._records, self._world, self._performer = pair, records, world, performer
        self._rules, self._closing_of, self._clock = rules, closing_of, clock
        self._busy: dict[LegKey, asyncio.Task[None]] = {}
        self._began: dict[str, int] = {}
        self._alarmed: set[tuple[str, str]] = set()
        self._broken: BaseException | None = None
        self.wake = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None
        """Called when the pair's ledger has changed."""

    async def run(self) -> None:
        """Until the pair is closed, or cancelled."""
        try:
            while (pair := self._records.pairs.get(self._name)) is not None:
                self.wake.clear()
                await self._turn(pair)
                if self._broken is not None:
                    raise self._broken
            for intent in self._records.working(self._name):
                self._records.finish(intent.order.intent_id, "noop", "the pair is closed", None)
        finally:
            for task in self._busy.values():
                task.cancel()

    async def _turn(self, pair: Pair) -> None:
        intent = self._most_urgent()
        if intent is None:
            await self._pause(FOREVER)
            return
        if intent.order.intent not in _WORKED:
            self._refuse(intent)
            return
        case = self._case(pair, intent)
        decision = self._decide(case, self._clock())
        for alarm in decision.alarms:
            self._raise(case, alarm.what, alarm.detail)
        finish = decision.finish or self._refusal(case)
        if finish is not None:
            self._finish(case, finish)
            return
        for action in decision.actions:
            doing = self._performer.perform(action, pair, intent, emergency=case.intent.intent == "emergency_close")
            task = asyncio.create_task(doing)
            self._busy[action.leg] = task
            task.add_done_callback(partial(self._done, action.leg))
        await self._pause(decision.until)

    def _refuse(self, intent: Intent) -> None:
        """What this executor does not do is never taken for something else."""
        kind = intent.order.intent
        detail = f"{kind} is not carried out here: only {', '.join(_WORKED)} are"
        self._records.finish(intent.order.intent_id, "refused", detail, None)
        log.warning("an intent was refused", pair=self._name, intent=kind, detail=detail)

    def _done(self, leg: LegKey, task: asyncio.Task[None]) -> None:
        self._busy.pop(leg, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error
        self.wake.set()

    async def _pause(self, until: int | None) -> None:
        """Until then, or until something is told."""
        if until is None or until >= FOREVER:
            await self.wake.wait()
            return
        delay = max(0, until - self._clock()) / SECOND
        timer = asyncio.get_running_loop().call_later(delay, self.wake.set)
        try:
            await self.wake.wait()
        finally:
            timer.cancel()

    def _most_urgent(self) -> Intent | None:
        intents = self._records.working(self._name)
        return min(intents, key=lambda i: _rank(i.order.intent), default=None)

    def _decide(self, case: Case, now: int) -> Decision:
        if case.intent.intent == "emergency_close":
            return emergency.decide(case, self._rules.emergency, now)
        first = [a.prepared for leg in case.legs for a in leg.attempts if a.intent_id == case.intent.intent_id]
        began = min([*first, self._began.setdefault(case.intent.intent_id, now)])
        return closing.decide(case, self._closing_of(case.intent), began, now)

    def _case(self, pair: Pair, intent: Intent) -> Case:
        ids = [i.order.intent_id for i in self._records.case(intent.order.intent_id)]
        first, second = (self._view((leg.venue, leg.instrument), ids) for leg in pair.legs)
        rules = self._rules
        return Case(
            intent=intent.order, pair=pair, legs=(first, second), hedge=self._hedge(pair, ids), ladder=rules.ladder,
            pace=rules.pace, fresh=rules.fresh,
        )  # fmt: skip

    def _view(self, key: LegKey, ids: list[str]) -> LegView:
        contract, venue = self._world.contract(key), self._world.venues[key[0]]
        failing = [at for at in (venue.failing_since, contract.refusing_since) if at is not None]
        return LegView(
            key=key, holding=contract.holding, caps=venue.caps, attempts=self._records.on(key, ids),
            rules=contract.rules, book=contract.book, book_at=contract.book_at, read_at=contract.read_at,
            mark=contract.known.mark_price if contract.known else None, mark_at=contract.known_at,
            speaking=venue.speaking, busy=key in self._busy, not_before=contract.not_before,
            failing_since=min(failing, default=None),
        )  # fmt: skip

    def _hedge(self, pair: Pair, ids: list[str]) -> LegView | None:
        """The contract that carries, or may carry, what a leg leaves open."""
        views = [
            self._view(key, ids)
            for key in self._rules.hedges.get(pair.asset, ())
            if key[0] in self._world.venues and self._records.pair_of(key) is None
        ]
        used = [view for view in views if view.attempts]
        able = [view for view in views if view.failing_since is None]
        able.sort(key=lambda view: not self._performer.sees(view.key[0]))
        return next(iter([*used, *able]), None)

    def _raise(self, case: Case, what: str, detail: str) -> None:
        key = (case.intent.intent_id, what)
        if key not in self._alarmed:
            self._alarmed.add(key)
            self._records.alarm(case.intent.intent_id, what, detail, case.pair)

    def _refusal(self, case: Case) -> Finish | None:
        """What a refusal of the gate means for the case: its end, where nothing was begun that has to be finished."""
        refused = self._performer.refusals.pop(case.intent.intent_id, None)
        if refused is None:
            return None
        if refused.rule == "shadow":
            # The case lives until somebody else has made the book safe, or it is too old.
            return None
        begun = any(leg.attempts for leg in case.legs)
        if refused.rule == "mode" or (case.intent.intent != "emergency_close" and not begun):
            return Finish(state="refused", detail=f"{refused.rule}: {refused.detail}")
        self._raise(case, "refused", f"{refused.rule}: {refused.detail}")
        return None

    def _finish(self, case: Case, finish: Finish) -> None:
        """The case ends, and the ledger says what is held. What comes next is an episode of its own."""
        pair = replace(case.pair, episode=case.pair.episode + 1)
        if finish.quantities:
            legs = [
                replace(leg, quantity=held) for leg, held in zip(pair.legs, finish.quantities, strict=True)
            ]  # fmt: skip
            pair = replace(pair, legs=(legs[0], legs[1]), dust=finish.dust)
            if all(not held or too_small(v, abs(held)) for v, held in zip(case.legs, finish.quantities, strict=True)):
                pair = self._closed(case, pair)
        self._records.finish(case.intent.intent_id, finish.state, finish.detail, pair)
        self._began.pop(case.intent.intent_id, None)
        log.info("case ended", pair=pair.pair, reason=case.intent.reason, state=finish.state, detail=finish.detail)
        self.changed()

    def _closed(self, case: Case, pair: Pair) -> Pair:
        fills = [self._records.journal.fills(leg.venue, leg.instrument, pair.opened) for leg in pair.legs]
        original = self._original(pair)
        return replace(pair, closed=self._clock(), reason=case.intent.reason, pnl=realised(original, pair.legs, fills))

    def _original(self, pair: Pair) -> tuple[Leg, ...]:
        return self._records.journal.opened_legs(pair.pair)

    def sight(self) -> PairSight | None:
        """The pair as it can be seen now."""
        pair = self._records.pairs.get(self._name)
        if pair is None:
            return None
        intent = self._most_urgent()
        first, second = (self._leg_sight(leg) for leg in pair.legs)
        return PairSight(
            pair=pair, legs=(first, second), working=intent.order.intent if intent else None, now=self._clock()
        )

    def _leg_sight(self, leg: Leg) -> LegSight:
        key = (leg.venue, leg.instrument)
        contract, venue = self._world.contract(key), self._world.venues[leg.venue]
        moved = sum((a.expected - a.baseline for a in self._records.on(key, self._ids())), ZERO)
        held = contract.holding
        return LegSight(
            leg=leg, quantity=held.quantity, at=held.at, before=held.before, expected=leg.quantity + moved,
            known=contract.known, reachable=venue.speaking and venue.failing_since is None and held.doubted is None,
        )  # fmt: skip

    def _ids(self) -> list[str]:
        return [i.order.intent_id for i in self._records.intents.values() if i.order.pair == self._name]


def _rank(kind: IntentKind) -> int:
    return _WORKED.index(kind) if kind in _WORKED else len(_WORKED)
