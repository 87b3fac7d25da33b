"""Carries out actions: journal, wire, journal. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import ParamSpec, TypeVar

import structlog
from msgspec.structs import replace

from schemas.clock import MILLISECOND, SECOND, Clock
from schemas.errors import BreakwaterError, UsageError
from schemas.orders import Account, Capabilities, Fill, IntentKind, Order, OrderIntent, Outcome, Unknown, VenuePort
from schemas.pairs import Approved, Pair, Proposal, Refused
from sinks.executor.attempts import (
    Attempt,
    Evidence,
    after_cancel,
    after_fence,
    after_lookup,
    after_outcome,
    proven_absent,
)
from sinks.executor.ids import client_id
from sinks.executor.journal import Intent
from sinks.executor.records import Records
from sinks.executor.rules import Gate, Rules
from sinks.executor.steps import (
    Action,
    Cancel,
    LegKey,
    Look,
    Place,
    Prove,
    ReadAccount,
    ReadBook,
    SendAgain,
    SpendNonce,
)
from sinks.executor.world import Venue, World

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
_AGAIN = 200 * MILLISECOND
"""Until a question that was not answered is asked again."""
_KEEP_EVERY = 5 * SECOND
"""Between two accounts of a venue written down."""
_REFUSED_AGAIN = SECOND
"""Until the gate is asked again."""
_WITHHELD_AGAIN = 10 * SECOND
"""The same where nothing is ever sent."""


async def answered(ask: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T | Unknown:
    """What a port answers; a port that raises has answered nothing."""
    try:
        return await ask(*args, **kwargs)
    except BreakwaterError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a client library raises, nothing is known
        log.warning("a port raised", error=f"{type(error).__name__}: {error}")
        return Unknown(f"{type(error).__name__}: {error}")


class Performer:
    """Does what decisions ask for, for every pair.

    :arg gate: asked right before an order is made durable and sent.
    :arg closed: why no risk is to be added at a venue now; empty where nothing speaks against it.
    """

    def __init__(
        self,
        records: Records,
        world: World,
        gate: Gate,
        closed: Callable[[str, int], str],
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._records, self._world, self._gate, self._rules, self._clock = records, world, gate, rules, clock
        self._closed = closed
        self.filled: Callable[[str, Fill], None] = lambda _venue, _fill: None
        """Told of each fill that was found by asking."""
        self.refusals: dict[str, Refused] = {}
        """By root intent: why the gate last sent nothing."""

    async def perform(self, action: Action, pair: Pair, root: Intent, *, emergency: bool) -> None:
        """One action, if the venue's budget bears it now."""
        venue = self._world.venues[action.leg[0]]
        contract = self._world.contract(action.leg)
        now = self._clock()
        if wait := venue.budget.wait(now, "emergency" if emergency else "order"):
            contract.not_before = now + wait
            return
        venue.budget.spend(now)
        port = venue.lane if emergency else venue.port
        match action:
            case ReadAccount():
                await self.read_account(action.leg[0], port)
            case ReadBook():
                await self._read_book(action.leg, port)
            case Look(_, attempt):
                await self._look(attempt, port)
            case Prove(_, attempt):
                await self._prove(attempt, venue, port)
            case SpendNonce(_, attempt):
                await self._fence(attempt, port)
            case SendAgain(_, attempt):
                await self._send(replace(attempt, looked=now), port)
            case Cancel(_, attempt):
                await self._cancel(attempt, port)
            case Place():
                await self._place(action, pair, root, port, emergency=emergency)

    async def read_account(self, name: str, port: VenuePort) -> None:
        """Ask for all positions; where they are not what is believed, ask for the fills that account for it."""
        asked = self._clock()
        account = await answered(port.account)
        self._take(name, account, asked)
        if self._world.doubtful(name) and not isinstance(account, Unknown):
            await self.read_fills(name, port)
            self._take(name, account, asked)

    def _take(self, name: str, account: Account | Unknown, asked: int) -> None:
        for key in self._world.account_read(name, account, asked, self._records.accounted):
            held = self._world.contract(key).holding.quantity
            if held is not None:
                self._records.journal.observe(*key, held, "read")
        venue = self._world.venues[name]
        if not isinstance(account, Unknown) and asked - venue.kept_at >= _KEEP_EVERY:
            venue.kept_at = asked
            self._records.journal.keep_account(account)

    async def read_fills(self, name: str, port: VenuePort) -> bool:
        """Ask for every fill that may not be known yet; whether the venue answered."""
        venue, asked = self._world.venues[name], self._clock()
        venue.budget.spend(asked)
        fills = await answered(port.fills, venue.history_from)
        if isinstance(fills, Unknown):
            return False
        self.learn_fills(name, fills)
        venue.history_from = max(venue.history_from, asked - self._rules.overlap)
        return True

    def learn_fills(self, name: str, fills: Sequence[Fill]) -> None:
        """Fills asked for; whoever watches hears of those that are new."""
        with self._records.journal.together():
            for fill in fills:
                if self._records.add_fills([fill], self._clock()):
                    self.filled(name, fill)

    async def _read_book(self, leg: LegKey, port: VenuePort) -> None:
        contract, asked = self._world.contract(leg), self._clock()
        if contract.rules is None:
            # Both at once: in an emergency every round trip counts.
            book, rules = await asyncio.gather(answered(port.book, leg[1]), answered(port.rules, leg[1]))
            contract.rules = None if isinstance(rules, Unknown) else rules
        else:
            book = await answered(port.book, leg[1])
        known = not isinstance(book, Unknown) and contract.rules is not None
        self._world.venues[leg[0]].answered(self._clock(), well=known)
        if isinstance(book, Unknown):
            contract.not_before = self._clock() + _AGAIN
        else:
            contract.book, contract.book_at = book, asked
            if contract.rules is None:
                contract.not_before = self._clock() + _AGAIN

    async def read_rules(self, name: str, port: VenuePort) -> None:
        """The rules of every contract that may be traded there, before they are needed."""
        for key, contract in self._world.contracts.items():
            if key[0] == name and contract.rules is None:
                self._world.venues[name].budget.spend(self._clock())
                rules = await answered(port.rules, key[1])
                contract.rules = None if isinstance(rules, Unknown) else rules

    def _current(self, attempt: Attempt) -> Attempt:
        """The attempt as it is known by now: the stream may have told of it meanwhile."""
        return self._records.attempts.get((attempt.order.venue, attempt.client_id), attempt)

    def _keep(self, attempt: Attempt) -> None:
        self._records.change(attempt, self._clock())

    async def _look(self, attempt: Attempt, port: VenuePort) -> None:
        found = await answered(port.lookup, attempt.order.instrument, attempt.client_id)
        now = self._clock()
        self._world.venues[attempt.order.venue].answered(now, well=not isinstance(found, Unknown))
        self._keep(after_lookup(self._current(attempt), found, now))

    async def _prove(self, attempt: Attempt, venue: Venue, port: VenuePort) -> None:
        asked = self._clock()
        for _ in range(3):
            venue.budget.spend(asked)
        lookup, orders, fills, account = await asyncio.gather(
            answered(port.lookup, attempt.order.instrument, attempt.client_id),
            answered(port.open_orders),
            answered(port.fills, attempt.prepared - self._rules.overlap),
            answered(port.account),
        )
        if not isinstance(fills, Unknown):
            self.learn_fills(attempt.order.venue, fills)
        self._take(attempt.order.venue, account, asked)
        now = self._clock()
        attempt = after_lookup(self._current(attempt), lookup, now)
        evidence = Evidence(asked=asked, lookup=lookup, open_orders=orders, fills=fills, account=account)
        if not attempt.over and proven_absent(attempt, evidence, venue.caps):
            attempt = replace(attempt, state="absent", ended=now)
        self._keep(attempt)

    async def _fence(self, attempt: Attempt, port: VenuePort) -> None:
        fence = await answered(port.fence, attempt.request)
        now = self._clock()
        known = "unknown" if isinstance(fence, Unknown) else fence
        self._world.venues[attempt.order.venue].answered(now, well=known != "unknown")
        self._keep(after_fence(self._current(attempt), known, now))

    async def _cancel(self, attempt: Attempt, port: VenuePort) -> None:
        now = self._clock()
        self._keep(replace(self._current(attempt), cancelling=now))
        request = port.prepare_cancel(attempt.order.instrument, attempt.client_id, now=now)
        outcome = await answered(port.send, request)
        if not isinstance(outcome, Unknown):
            self._keep(after_cancel(self._current(attempt), outcome, self._clock()))

    async def _send(self, attempt: Attempt, port: VenuePort) -> None:
        self._keep(replace(self._current(attempt), looked=attempt.looked))
        answer = await answered(port.send, attempt.request)
        outcome = Outcome(kind="unknown", code=answer.reason) if isinstance(answer, Unknown) else answer
        now = self._clock()
        before = self._current(attempt)
        self._keep(after_outcome(before, outcome, now))
        self._world.venues[attempt.order.venue].answered(now, well=outcome.kind in {"done", "refused"})
        if outcome.kind == "throttled":
            leg = (attempt.order.venue, attempt.order.instrument)
            self._world.contract(leg).not_before = now + (outcome.retry_after or _AGAIN)

    async def _place(
        self, action: Place, pair: Pair, root: Intent, port: VenuePort, *, emergency: bool
    ) -> None:  # fmt: skip
        intent = self._intent_for(action.intent, root)
        ordinal = sum(1 for a in self._records.on(action.leg, [intent.intent_id]) if a.intent_id == intent.intent_id)
        order = self._order(action, intent.intent_id, ordinal, port.capabilities)
        verdict = self._gate(self._proposal(action, order, intent, root, emergency=emergency))
        now = self._clock()
        if not isinstance(verdict, Approved):
            self._refuse(action, root, verdict, _WITHHELD_AGAIN if verdict.rule == "shadow" else _REFUSED_AGAIN)
            return
        try:
            request = port.prepare(verdict.order, now=now)
        except UsageError as error:
            self._refuse(action, root, Refused("client", str(error)), _REFUSED_AGAIN)
            return
        attempt = Attempt(
            intent_id=intent.intent_id, ordinal=ordinal, order=verdict.order, request=request,
            baseline=action.baseline, epoch=self._records.journal.epoch or 0, prepared=now, gone=request.valid_until,
        )  # fmt: skip
        with self._records.journal.together():
            if intent is not root.order:
                self._records.insert(intent, root.order.intent_id)
            self._records.prepare(attempt, pair, action.why)
        await self._send(attempt, port)

    def sees(self, venue: str) -> bool:
        """Whether nothing speaks against adding risk at the venue."""
        return not self._closed(venue, self._clock())

    def _refuse(self, action: Place, root: Intent, why: Refused, again: int) -> None:
        self.refusals[root.order.intent_id] = why
        self._world.contract(action.leg).not_before = self._clock() + again

    def _order(self, action: Place, intent_id: str, ordinal: int, caps: Capabilities) -> Order:
        salt, venue = 0, action.leg[0]
        spell = caps.client_id
        while self._records.journal.has_client_id(
            venue, name := client_id(spell, self._rules.desk, intent_id, *action.leg, ordinal, salt)
        ):
            salt += 1
        return Order(
            venue=venue, instrument=action.leg[1], side=action.side, quantity=action.quantity, price=action.price,
            time_in_force=action.time_in_force, reduce_only=action.reduce_only, client_id=name,
        )  # fmt: skip

    def _intent_for(self, kind: IntentKind, root: Intent) -> OrderIntent:
        """The intent an order is for: the case's own, or the hedge that belongs to it."""
        if kind == root.order.intent:
            return root.order
        digest = blake2b(f"{root.order.intent_id} {kind}".encode(), digest_size=8).hexdigest()
        return replace(root.order, intent_id=digest, intent=kind, cause="")

    def _proposal(self, action: Place, order: Order, intent: OrderIntent, root: Intent, *, emergency: bool) -> Proposal:
        venue, now = self._world.venues[action.leg[0]], self._clock()
        adding = [a for a in self._records.attempts.values() if not a.order.reduce_only and a.order.price is not None]
        worth = [(a, (a.filled if a.over else a.order.quantity) * (a.order.price or 0)) for a in adding]
        ids = {i.order.intent_id for i in self._records.intents.values() if i.order.pair == intent.pair}
        return Proposal(
            order=order,
            intent=intent.intent,
            root=root.order.intent_id,
            intent_created=intent.created,
            emergency=emergency,
            mark_price=action.mark_price,
            mark_time=action.mark_time,
            pair_notional=sum((usd for a, usd in worth if a.intent_id in ids), order.quantity * 0),
            total_notional=sum((usd for _, usd in worth), order.quantity * 0),
            equity=venue.equity,
            free_margin=venue.free_margin,
            drawdown=venue.drawdown,
            failures=venue.failures,
            control=self._records.journal.control().state,
            now=now,
            closed=self._closed(action.leg[0], now),
        )
