"""A simulated venue: contracts, accounts, margin, funding, and the door every request comes through.

Pure and deterministic: it acts when its agenda acts, and the same seed, script and requests give the same life.
Marks come from outside (``set_mark``, ``follow``), everything else from here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from msgspec import structs

from connectors.simulator.trading.accounts import Accounts, Contract
from connectors.simulator.trading.agenda import Agenda, Appointment
from connectors.simulator.trading.book import ZERO, Depth, OrderBook, round_price
from connectors.simulator.trading.commands import (
    Cancel,
    Deadman,
    Envelope,
    Modify,
    Noop,
    Place,
    Reply,
    refused,
)
from connectors.simulator.trading.desk import Desk
from connectors.simulator.trading.faults import LASTING, QUERY, SEND, Faults, Window
from connectors.simulator.trading.guards import NonceGuard, RateGuard
from connectors.simulator.trading.ledger import CROWD, INSURANCE, Wallet
from connectors.simulator.trading.liquidation import Liquidator
from connectors.simulator.trading.profiles import Profile
from schemas.clock import HOUR, SECOND
from schemas.orders import Account, Book, ContractRules, Unknown

T = TypeVar("T")
_INSURED = Decimal(1_000_000)


class SimulatedVenue:
    """One venue.

    :arg agenda: shared by all venues of a run.
    :arg insurance: USD in the insurance fund at the beginning.
    """

    def __init__(
        self,
        profile: Profile,
        agenda: Agenda,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        insurance: Decimal = _INSURED,
    ) -> None:
        rng = random.Random(f"{profile.venue} {seed}")
        self.profile = profile
        self.agenda = agenda
        self.faults = faults or Faults(profile.venue, seed)
        self.faults.began = agenda.now
        self.accounts = Accounts(profile, agenda, self.faults, rng)
        self.ledger = self.accounts.ledger
        self.ledger.deposit(INSURANCE, insurance)
        self.liquidator = Liquidator(self.accounts, agenda)
        self.desk = Desk(self.accounts, agenda, self.faults, rng, self.liquidator.check)
        self.liquidator.desk = self.desk
        self._rng = rng
        self._seed = seed
        self._nonces: dict[tuple[str, int], NonceGuard] = {}
        self._rates: dict[str, RateGuard] = {}
        self._deadmen: dict[str, Appointment] = {}
        for window in self.faults.windows:
            self._watch(window)
        hours = int(profile.capabilities.funding_hours * HOUR)
        agenda.at((agenda.now // hours + 1) * hours, lambda: self._fund(hours))

    # -- setting the scene

    def list(
        self, rules: ContractRules, mark: Decimal, *, depth: Depth | None = None, funding_rate: Decimal = ZERO
    ) -> Contract:
        """Open a contract for trading.

        :arg funding_rate: fraction of notional longs pay each of the venue's intervals.
        """
        book = OrderBook(
            rules, depth or Depth(), random.Random(f"{self.profile.venue} {rules.instrument} {self._seed}")
        )
        contract = Contract(rules=rules, book=book, mark=mark, funding_rate=funding_rate)
        self.accounts.contracts[rules.instrument] = contract
        self.ledger.marks[rules.instrument] = mark
        return contract

    def contract(self, instrument: str) -> Contract:
        """A listed contract."""
        return self.accounts.contracts[instrument]

    def contracts(self) -> tuple[Contract, ...]:
        """All of them."""
        return tuple(self.accounts.contracts.values())

    def book(self, instrument: str) -> Book | Unknown:
        """The book now."""
        contract = self.accounts.contracts.get(instrument)
        if contract is None:
            return Unknown(f"no contract {instrument!r}")
        self.desk.requote(contract)
        return Book(
            instrument=instrument,
            bids=contract.book.bids.levels(),
            asks=contract.book.asks.levels(),
            mark_price=contract.mark,
            time=self.agenda.now,
        )

    def open(self, account: str, usd: Decimal, *, isolated: bool = False, leverage: Decimal = Decimal(10)) -> Wallet:
        """Open an account, or put more USD into it."""
        return self.accounts.open(account, usd, isolated=isolated, leverage=leverage)

    def grant(self, account: str, instrument: str, quantity: Decimal, price: Decimal | None = None) -> None:
        """Give an account a position (signed), bought from the crowd without fee, order or report on the stream."""
        if not quantity:
            return
        price = price if price is not None else self.contract(instrument).mark
        buyer, seller = (account, CROWD) if quantity > 0 else (CROWD, account)
        self.ledger.trade(instrument, buyer, seller, price, abs(quantity))
        self.accounts.tell_position(account, instrument)

    def set_mark(self, instrument: str, price: Decimal) -> None:
        """The mark moves: the crowd follows, margins are looked at."""
        contract = self.contract(instrument)
        price = max(contract.rules.tick, round_price(price, contract.rules.tick, "buy"))
        contract.mark = self.ledger.marks[instrument] = price
        contract.quoted = None
        if contract.book.bids.orders or contract.book.asks.orders:
            self.desk.requote(contract)
        self.liquidator.check([name for name, w in self.ledger.wallets.items() if w.quantity(instrument)])

    def follow(self, instrument: str, path: Iterable[tuple[int, Decimal]]) -> None:
        """The mark takes each price of ``path`` (nanoseconds after now, USD) at its time."""
        began = self.agenda.now
        points = iter(path)

        def step() -> None:
            point = next(points, None)
            if point is not None:
                after, price = point
                self.agenda.at(began + after, lambda: arrive(price))

        def arrive(price: Decimal) -> None:
            self.set_mark(instrument, price)
            step()

        step()

    def script(self, window: Window) -> None:
        """One more fault, its times counted from the venue's opening."""
        self.faults.add(window)
        self._watch(window)

    def liquidate(self, account: str, instrument: str, share: Decimal = Decimal(1)) -> Decimal:
        """Close a share of a position by force, whatever the margin; returns the quantity closed."""
        return self.liquidator.close(account, instrument, share)

    def deleverage(self, account: str, instrument: str, quantity: Decimal) -> Decimal:
        """Deleverage an account by decree, at mark; returns the quantity closed."""
        return self.liquidator.deleverage(account, instrument, quantity)

    # -- what comes in

    def submit(self, envelope: Envelope, answer: Callable[[Reply], None]) -> None:
        """A request sets off. ``answer`` is called when, and if, the client hears."""
        agenda, latency, hop = self.agenda, self.profile.latency, self.accounts.hop
        struck = self.faults.strike(SEND, agenda.now, f"{type(envelope.command).__name__} of {envelope.account}")
        kind = struck.kind if struck is not None else ""
        there = agenda.now + hop(latency.request)

        def reply(found: Reply) -> None:
            agenda.after(hop(latency.answer), lambda: answer(found))

        if kind == "lost_before":
            return
        if kind == "throttled":
            agenda.at(there, lambda: reply(Reply(kind="throttled", reason="rate_limit", retry_after=SECOND)))
        elif kind == "banned":
            agenda.at(there, lambda: reply(self._ban(envelope.account)))
        elif kind == "error_before":
            agenda.at(there, lambda: reply(Reply(kind="unknown", reason="unavailable")))
        elif kind == "late" and struck is not None:
            agenda.at(there + struck.delay, lambda: self._land(envelope))
        elif kind == "lost_after":
            agenda.at(there, lambda: self._land(envelope))
        elif kind == "error_after":
            agenda.at(there, lambda: self._fail(envelope, reply))
        elif kind == "duplicate":
            agenda.at(there, lambda: self._land(envelope))
            agenda.at(there + hop(latency.request), lambda: reply(self.execute(envelope)))
        else:
            agenda.at(there, lambda: reply(self.execute(envelope)))

    def _land(self, envelope: Envelope) -> None:
        self.execute(envelope)

    def _fail(self, envelope: Envelope, reply: Callable[[Reply], None]) -> None:
        self.execute(envelope)
        reply(Reply(kind="unknown", reason="unavailable"))

    def _ban(self, account: str) -> Reply:
        return Reply(kind="throttled", reason="banned", retry_after=self._rate(account).ban(self.agenda.now))

    def ask(self, account: str, question: Callable[[], T], answer: Callable[[T | Unknown], None]) -> None:
        """A query sets off; ``answer`` is called when, and if, the client hears."""
        agenda, latency, hop = self.agenda, self.profile.latency, self.accounts.hop
        struck = self.faults.strike(QUERY, agenda.now, f"query of {account}")
        kind = struck.kind if struck is not None else ""
        delay = hop(latency.request) + (struck.delay if struck is not None and kind == "query_slow" else 0)

        def arrive() -> None:
            found: T | Unknown = self._question(account, question)
            if kind == "query_error":
                found = Unknown("HTTP 503")
            elif kind == "false_flat" and not isinstance(found, Unknown):
                found = _emptied(found)
            agenda.after(hop(latency.answer), lambda: answer(found))

        if kind != "query_lost":
            agenda.after(delay, arrive)

    def _question(self, account: str, question: Callable[[], T]) -> T | Unknown:
        now = self.agenda.now
        if self.faults.lasting("outage", now):
            return Unknown("HTTP 503")
        allowed, _ = self._rate(account).ask(now)
        return question() if allowed == "ok" else Unknown("HTTP 429" if allowed == "throttled" else "HTTP 418")

    def execute(self, envelope: Envelope) -> Reply:
        """A request arrives."""
        now = self.agenda.now
        if self.faults.lasting("outage", now):
            return Reply(kind="unknown", reason="unavailable")
        if envelope.account not in self.ledger.wallets:
            return refused("account_unknown")
        allowed, wait = self._rate(envelope.account).ask(now)
        if allowed != "ok":
            return Reply(
                kind="throttled", reason="rate_limit" if allowed == "throttled" else "banned", retry_after=wait
            )
        if envelope.valid_until is not None and now > envelope.valid_until:
            return refused("expired")
        spent = self._nonce(envelope.account, envelope.key).spend(envelope.nonce, now)
        if spent == "used":
            return Reply(kind="duplicate", reason="nonce_used")
        return refused("nonce_wrong") if spent == "wrong" else self._obey(envelope)

    def _obey(self, envelope: Envelope) -> Reply:
        account = envelope.account
        match envelope.command:
            case Place(order):
                return self.desk.place(account, order)
            case Cancel(_, client_id):
                return self.desk.cancel(account, client_id)
            case Modify(order):
                return self.desk.modify(account, order)
            case Deadman(ttl):
                return self._arm(account, ttl)
            case Noop():
                return Reply(kind="done")

    def _arm(self, account: str, ttl: int) -> Reply:
        if not self.profile.capabilities.deadman:
            return refused("malformed")
        armed = self._deadmen.pop(account, None)
        if armed is not None:
            armed.cancel()
        if ttl > 0:
            self._deadmen[account] = self.agenda.after(ttl, lambda: self.desk.cancel_all(account))
        return Reply(kind="done")

    def next_nonce(self, account: str, key: int = 0) -> int:
        """With sequential nonces, the one the venue expects."""
        return self._nonce(account, key).next

    def _nonce(self, account: str, key: int) -> NonceGuard:
        return self._nonces.setdefault((account, key), NonceGuard(self.profile.nonces))

    def _rate(self, account: str) -> RateGuard:
        return self._rates.setdefault(account, RateGuard(self.profile.limits))

    # -- what happens by itself

    def _fund(self, interval: int) -> None:
        now = self.agenda.now
        for instrument, contract in self.accounts.contracts.items():
            if contract.funding_rate:
                paid = self.ledger.fund(instrument, contract.funding_rate)
                self.accounts.payments += [(now, name, instrument, usd) for name, usd in paid.items()]
        self.liquidator.check(list(self.ledger.wallets))
        self.agenda.after(interval, lambda: self._fund(interval))

    def _watch(self, window: Window) -> None:
        """A lasting fault cuts or silences the streams for its time."""
        if window.kind not in LASTING:
            return
        start, end = self.faults.began + window.start, self.faults.began + window.end
        self.agenda.at(start, lambda: self._begin(window))
        if window.kind in {"outage", "stream_gap", "stream_stall"}:
            self.agenda.at(end, lambda: self._end(window))

    def _begin(self, window: Window) -> None:
        self.faults.note(window.kind, self.agenda.now, f"for {(window.end - window.start) / SECOND:g} s")
        for stream in self.accounts.streams.values():
            if window.kind in {"outage", "stream_gap"}:
                stream.cut()
            elif window.kind == "stream_stall":
                stream.stall(self.profile.heartbeat)

    def _end(self, window: Window) -> None:
        for stream in self.accounts.streams.values():
            if window.kind == "stream_stall":
                stream.resume()
            else:
                stream.restore()


def _emptied(found: T) -> T:
    """The answer with no position in it: the lie some venues tell for a moment."""
    if isinstance(found, Account):
        return structs.replace(found, positions={})
    return found
