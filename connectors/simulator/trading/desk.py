"""Where orders are admitted, matched, changed and taken out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec import structs

from connectors.simulator.trading.accounts import Accounts, Contract, Party
from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.book import ZERO, LiveOrder, live, round_price
from connectors.simulator.trading.commands import Reason, Reply, refused
from connectors.simulator.trading.faults import Faults
from connectors.simulator.trading.guards import IdGuard
from connectors.simulator.trading.ledger import CROWD
from schemas.clock import MILLISECOND
from schemas.orders import FINAL, ContractRules, Order, OrderSide

REQUOTE = 250 * MILLISECOND
"""After this the crowd has filled up what was taken."""
_SPREAD = 0.8
"""Of the crowd's order sizes, log-normal."""


def malformed(order: Order, rules: ContractRules, mark: Decimal, band: Decimal, *, asks_notional: bool) -> Reason:
    """Why the contract does not take such an order at all; '' if it does."""
    price = order.price if order.price is not None else mark
    if order.quantity <= 0 or order.quantity % rules.step:
        return "off_step"
    if order.price is not None and (order.price <= 0 or order.price % rules.tick):
        return "off_tick"
    if order.quantity < rules.min_quantity:
        return "min_quantity"
    if rules.max_quantity is not None and order.quantity > rules.max_quantity:
        return "too_large"
    if (asks_notional or not order.reduce_only) and order.quantity * price < rules.min_notional:
        return "min_notional"
    over = price / mark - 1 if order.side == "buy" else 1 - price / mark
    return "price_band" if over > band else ""


def not_reducing(side: OrderSide, quantity: Decimal, held: Decimal) -> Reason:
    """Why an order does not only reduce what is held; '' if it does."""
    if not held:
        return "reduce_only_no_position"
    if (held > 0) == (side == "buy"):
        return "reduce_only_wrong_side"
    return "reduce_only_oversize" if quantity > abs(held) else ""


class Desk:
    """The orders of one venue.

    :arg settled: called with the accounts whose positions a match has changed.
    """

    def __init__(
        self,
        accounts: Accounts,
        agenda: Agenda,
        faults: Faults,
        rng: random.Random,
        settled: Callable[[Iterable[str]], None],
    ) -> None:
        self._accounts = accounts
        self._agenda = agenda
        self._faults = faults
        self._rng = rng
        self._settled = settled
        self._profile = accounts.profile
        self._orders: dict[str, dict[str, LiveOrder]] = {}
        self._ids: dict[str, IdGuard] = {}
        self._count = 0
        self._flowing: set[str] = set()

    # -- what a client asks

    def place(self, account: str, order: Order) -> Reply:
        """Admit an order and match it."""
        contract = self._accounts.contracts.get(order.instrument)
        if contract is None:
            return refused("instrument_unknown")
        why = self._closed_to(order) or malformed(
            order, contract.rules, contract.mark, self._profile.price_band,
            asks_notional=self._profile.reduce_only_min_notional,
        )  # fmt: skip
        if why:
            return refused(why)
        ids = self._ids.setdefault(account, IdGuard(self._profile.capabilities.client_id.unique))
        if ids.taken(order.client_id, self._agenda.now):
            return Reply(kind="duplicate", reason="duplicate_id")
        return self._admit(account, contract, order)

    def _closed_to(self, order: Order) -> Reason:
        now, faults = self._agenda.now, self._faults
        if faults.lasting("cancel_only", now):
            return "maintenance"
        if faults.lasting("post_only", now) and order.time_in_force != "post_only":
            return "maintenance"
        return "reduce_only_mode" if faults.lasting("reduce_only", now) and not order.reduce_only else ""

    def _admit(self, account: str, contract: Contract, order: Order) -> Reply:
        self._count += 1
        entered = live(order, account, str(self._count), self._count)
        held = self._accounts.ledger.wallets[account].quantity(order.instrument)
        why = self._unwanted(account, contract, order, held)
        style = self._profile.capabilities.reduce_only
        if why.startswith("reduce_only") and style == "drop":
            return Reply(kind="done")
        if why == "reduce_only_oversize" and style == "trim":
            entered.quantity, why = abs(held), ""
        if why and not self._profile.asynchronous:
            return refused(why)
        self._ids[account].enter(order.client_id, self._agenda.now)
        self._orders.setdefault(account, {})[order.client_id] = entered
        if why:
            self._finish(entered, "cancelled")
            return Reply(kind="done", reason=why)
        self._accounts.tell_order(entered)
        delay = 0 if entered.post_only else self._profile.latency.taker
        if delay:
            self._agenda.after(delay, lambda: self._work(contract, entered, order))
        else:
            self._work(contract, entered, order)
        status = None if self._profile.asynchronous else entered.status(self._agenda.now)
        return Reply(kind="done", order=status)

    def _unwanted(self, account: str, contract: Contract, order: Order, held: Decimal) -> Reason:
        """Why the state of the account or of the book speaks against an order."""
        if order.reduce_only and (why := not_reducing(order.side, order.quantity, held)):
            return why
        if order.time_in_force == "post_only" and self._crosses(contract, order):
            return "post_only_crosses"
        if order.reduce_only:
            return ""
        after = held + (order.quantity if order.side == "buy" else -order.quantity)
        if abs(after) <= abs(held):
            return ""
        ledger = self._accounts.ledger
        more = ledger.initial(account, order.instrument, after) - ledger.initial(account, order.instrument, held)
        return "insufficient_margin" if more > ledger.free(account) else ""

    def _crosses(self, contract: Contract, order: Order) -> bool:
        self.requote(contract)
        best = contract.book.against(order.side).best()
        if best is None or order.price is None:
            return order.price is None
        return order.price >= best if order.side == "buy" else order.price <= best

    def cancel(self, account: str, client_id: str) -> Reply:
        """Take a living order out."""
        order = self.living(account, client_id)
        if order is None:
            return refused("order_unknown")
        self._finish(order, "cancelled")
        return Reply(kind="done", order=None if self._profile.asynchronous else order.status(self._agenda.now))

    def cancel_all(self, account: str) -> None:
        """Take every living order of an account out."""
        for order in list(self._orders.get(account, {}).values()):
            if order.state not in FINAL:
                self._finish(order, "cancelled")

    def modify(self, account: str, wanted: Order) -> Reply:
        """Change price and total quantity. Its place in the queue is kept only where it becomes smaller."""
        order = self.living(account, wanted.client_id)
        if order is None:
            return refused("order_unknown")
        contract = self._accounts.contracts[order.instrument]
        changed = structs.replace(
            wanted, side=order.side, reduce_only=order.reduce_only,
            time_in_force="post_only" if order.post_only else "gtc",
        )  # fmt: skip
        why = malformed(changed, contract.rules, contract.mark, self._profile.price_band, asks_notional=False)
        if not why and order.post_only and self._crosses(contract, changed):
            why = "post_only_crosses"
        if why:
            return refused(why)
        if wanted.quantity <= order.filled:
            self._finish(order, "cancelled")
        elif wanted.price == order.price and wanted.quantity <= order.quantity:
            order.quantity = wanted.quantity
            self._accounts.tell_order(order)
        else:
            contract.book.remove(order)
            order.price, order.quantity = wanted.price, wanted.quantity
            self._count += 1
            order.sequence = self._count
            self._accounts.tell_order(order)
            self._work(contract, order, changed)
        return Reply(kind="done", order=None if self._profile.asynchronous else order.status(self._agenda.now))

    def living(self, account: str, client_id: str) -> LiveOrder | None:
        """The order of that id, unless it is done."""
        order = self._orders.get(account, {}).get(client_id)
        return order if order is not None and order.state not in FINAL else None

    # -- matching

    def _work(self, contract: Contract, order: LiveOrder, asked: Order) -> None:
        """Match what crosses; what is left rests or expires."""
        if order.state in FINAL:
            return
        self.requote(contract)
        if not order.post_only:
            self.sweep(contract, order, self._limit(contract, order))
        if order.state in FINAL:
            return
        if asked.time_in_force == "ioc" or order.price is None:
            self._finish(order, "expired")
        else:
            contract.book.side(order.side).insert(order)
            self.trim(order.account, contract)
            self._flow(contract)

    def _limit(self, contract: Contract, order: LiveOrder) -> Decimal:
        """A market order goes no further than the band."""
        if order.price is not None:
            return order.price
        off = self._profile.price_band if order.side == "buy" else -self._profile.price_band
        return round_price(contract.mark * (1 + off), contract.rules.tick, order.side)

    def sweep(self, contract: Contract, order: LiveOrder, limit: Decimal) -> None:
        """Match an order against the book up to ``limit``."""
        touched = {order.account}
        wallet = self._accounts.ledger.wallets[order.account]
        most = order.left
        if order.reduce_only:
            held = wallet.quantity(order.instrument)
            most = min(most, abs(held)) if not_reducing(order.side, ZERO, held) == "" else ZERO
        taker = Party(account=order.account, side=order.side, order=order)
        for match in contract.book.against(order.side).take(most, limit, order.account):
            maker = match.maker
            if maker is None:
                self._accounts.against_crowd(contract, taker, match.price, match.quantity)
                continue
            other = Party(account=maker.account, side=maker.side, order=maker, maker=True)
            self._accounts.trade(contract, taker, other, match.price, match.quantity)
            self._filled(contract, maker)
            touched.add(maker.account)
        if order.state in FINAL:
            self._finish(order, order.state, told=True)
        for account in touched:
            self.trim(account, contract)
        self._settled(touched)

    def forced(self, contract: Contract, party: Party, quantity: Decimal, limit: Decimal) -> Decimal:
        """Match a forced close of the venue itself; returns what the book took."""
        self.requote(contract)
        done, makers = ZERO, []
        for match in contract.book.against(party.side).take(quantity, limit, party.account):
            done += match.quantity
            if match.maker is None:
                self._accounts.against_crowd(contract, party, match.price, match.quantity)
            else:
                other = Party(account=match.maker.account, side=match.maker.side, order=match.maker, maker=True)
                self._accounts.trade(contract, party, other, match.price, match.quantity)
                self._filled(contract, match.maker)
                makers.append(match.maker.account)
        for account in makers:
            self.trim(account, contract)
        return done

    def _filled(self, contract: Contract, maker: LiveOrder) -> None:
        if maker.state in FINAL:
            self._finish(maker, maker.state, told=True)
        elif maker.reduce_only:
            self.trim(maker.account, contract)

    def trim(self, account: str, contract: Contract) -> None:
        """Reduce-only orders never stand for more than what is held."""
        held = self._accounts.ledger.wallets[account].quantity(contract.instrument)
        for order in [*contract.book.bids.orders, *contract.book.asks.orders]:
            if order.account != account or not order.reduce_only or order.state in FINAL:
                continue
            if not_reducing(order.side, ZERO, held):
                self._finish(order, "cancelled")
            elif order.left > abs(held):
                order.quantity = order.filled + abs(held)
                self._accounts.tell_order(order)

    def _finish(self, order: LiveOrder, state: str, *, told: bool = False) -> None:
        contract = self._accounts.contracts[order.instrument]
        contract.book.remove(order)
        self._ids[order.account].leave(order.client_id)
        if not told:
            order.state = "expired" if state == "expired" else "cancelled"
            self._accounts.tell_order(order)

    # -- the crowd

    def requote(self, contract: Contract) -> None:
        """Let the crowd quote if its quotes are old or the mark has moved."""
        now = self._agenda.now
        if contract.quoted is not None and now - contract.quoted < REQUOTE:
            return
        contract.quoted = now
        contract.book.quote(contract.mark, contract.thinning)
        self._trade_through(contract)
        self._flow(contract)

    def _trade_through(self, contract: Contract) -> None:
        """The crowd fills our orders it now quotes beyond."""
        touched = set()
        for order, quantity in contract.book.crossed():
            self._maker_fill(contract, order, min(quantity, order.left))
            touched.add(order.account)
        if touched:
            self._settled(touched)

    def _maker_fill(self, contract: Contract, order: LiveOrder, quantity: Decimal) -> None:
        if quantity <= 0 or order.state in FINAL or order.price is None:
            return
        party = Party(account=order.account, side=order.side, order=order, maker=True)
        self._accounts.against_crowd(contract, party, order.price, quantity)
        self._filled(contract, order)
        self.trim(order.account, contract)

    def _flow(self, contract: Contract) -> None:
        """While an order rests in front, the crowd trades: that is how a queue gets shorter."""
        if contract.instrument not in self._flowing and contract.book.in_front():
            self._flowing.add(contract.instrument)
            self._agenda.after(REQUOTE, lambda: self._step_flow(contract))

    def _step_flow(self, contract: Contract) -> None:
        self._flowing.discard(contract.instrument)
        side: OrderSide = "buy" if self._rng.random() < 0.5 else "sell"
        usd = contract.book.depth.usd * contract.thinning * math.exp(_SPREAD * self._rng.gauss(0.0, 1.0))
        step = contract.rules.step
        quantity = int(usd / float(contract.mark * step)) * step
        best = contract.book.against(side).best()
        touched = set()
        for match in contract.book.against(side).take(quantity, best, CROWD):
            if match.maker is not None:
                self._maker_fill(contract, match.maker, match.quantity)
                touched.add(match.maker.account)
        if touched:
            self._settled(touched)
        self.requote(contract)
        self._flow(contract)
