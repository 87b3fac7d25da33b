"""How a venue takes down an account: margin call, partial and full liquidation, insurance fund, auto-deleveraging."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from connectors.simulator.trading.accounts import Accounts, Cause, Contract, Party
from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.book import ZERO, round_down, round_price
from connectors.simulator.trading.desk import Desk
from connectors.simulator.trading.ledger import CROWD, INSURANCE, NOBODY
from schemas.orders import OrderSide

_CENT = Decimal("1e-8")


class Liquidator:
    """Watches margins after everything that changes them."""

    def __init__(self, accounts: Accounts, agenda: Agenda) -> None:
        self._accounts = accounts
        self._agenda = agenda
        self._style = accounts.profile.liquidating
        self._called: set[str] = set()
        self._busy: set[str] = set()
        self.desk: Desk | None = None
        """Set by the venue: the desk and the liquidator need each other."""

    def check(self, names: Iterable[str]) -> None:
        """Call margin of, or liquidate, those whose equity is too small."""
        for name in sorted(names):
            if name in NOBODY or name in self._busy:
                continue
            wallet = self._accounts.ledger.wallets[name]
            if wallet.isolated:
                for instrument in list(self._accounts.ledger.held(name)):
                    self._judge(name, [instrument])
            else:
                self._judge(name, list(self._accounts.ledger.held(name)))

    def _judge(self, name: str, instruments: list[str]) -> None:
        ledger = self._accounts.ledger
        if not instruments:
            self._called.discard(name)
            return
        if ledger.wallets[name].isolated:
            held = ledger.wallets[name].holdings[instruments[0]]
            equity = ledger.worth(held, instruments[0])
            needed = ledger.maintenance(abs(held.quantity) * ledger.marks[instruments[0]])
        else:
            equity, needed = ledger.equity(name), ledger.required(name)
        if equity >= needed * self._style.call:
            self._called.discard(name)
        elif name not in self._called:
            self._called.add(name)
            self._accounts.call_margin(name)
        if equity < needed:
            self._take_down(name, instruments, equity, needed)

    def _take_down(self, name: str, instruments: list[str], equity: Decimal, needed: Decimal) -> None:
        """One step against the largest position; the next after a pause."""
        ledger = self._accounts.ledger
        marks = ledger.marks
        wallet = ledger.wallets[name]
        instrument = max(instruments, key=lambda i: (abs(wallet.quantity(i)) * marks[i], i))
        notional = abs(wallet.quantity(instrument)) * marks[instrument]
        worse = equity < needed * self._style.backstop
        share = Decimal(1) if worse or notional < self._style.partial_above else self._style.partial_share
        if not wallet.isolated and self.desk is not None:
            self.desk.cancel_all(name)
        self._busy.add(name)
        self.close(name, instrument, share, backstop=worse)
        self._agenda.after(self._style.pause, lambda: self._again(name))

    def _again(self, name: str) -> None:
        self._busy.discard(name)
        self.check([name])

    def close(self, name: str, instrument: str, share: Decimal, *, backstop: bool = True) -> Decimal:
        """Close a share of a position by force; returns the quantity closed.

        :arg backstop: what the book does not take above the bankruptcy price goes to the insurance fund or to winners.
        """
        desk, contract = self.desk, self._accounts.contracts[instrument]
        held = self._accounts.ledger.wallets[name].quantity(instrument)
        if desk is None or not held:
            return ZERO
        step = contract.rules.step
        quantity = min(abs(held), max(step, round_down(abs(held) * share, step)))
        side: OrderSide = "sell" if held > 0 else "buy"
        limit = self._bankruptcy(name, contract, side)
        party = Party(account=name, side=side, cause="liquidation", detail="liquidation")
        done = desk.forced(contract, party, quantity, limit)
        self._charge(name, done * contract.mark)
        if backstop and done < quantity:
            self._take_over(name, contract, side, quantity - done, limit)
            done = quantity
        desk.trim(name, contract)
        self._cover(name)
        return done

    def _bankruptcy(self, name: str, contract: Contract, side: OrderSide) -> Decimal:
        """The worst price of a forced order: what leaves nothing."""
        price = self._accounts.ledger.bankruptcy_price(name, contract.instrument)
        # Rounded in the account's favour: what it lacks is the insurance fund's.
        price = round_price(price, contract.rules.tick, side)
        return max(price, contract.rules.tick)

    def _charge(self, name: str, notional: Decimal) -> None:
        """The liquidation fee, as far as there is equity."""
        fee = min(notional * self._style.fee, max(ZERO, self._accounts.ledger.equity(name))).quantize(_CENT)
        if fee > 0:
            self._accounts.ledger.pay(name, INSURANCE, fee)

    def _take_over(self, name: str, contract: Contract, side: OrderSide, quantity: Decimal, price: Decimal) -> None:
        """The insurance fund takes the rest at the bankruptcy price if it can bear it, else the winners must."""
        loss = quantity * (price - contract.mark) * (1 if side == "sell" else -1)
        other: OrderSide = "buy" if side == "sell" else "sell"
        if loss <= self._accounts.ledger.equity(INSURANCE):
            party = Party(account=name, side=side, cause="liquidation", detail="backstop")
            fund = Party(account=INSURANCE, side=other, maker=True)
            self._accounts.trade(contract, party, fund, price, quantity)
            self._agenda.after(self._style.pause, lambda: self._unwind(contract))
            return
        loser = Party(account=name, side=side, cause="liquidation", detail="bankrupt, met by deleveraging")
        for winner in self._accounts.winners(contract.instrument, side):
            quantity -= self._deleverage(contract, winner, loser, price, quantity)
        if quantity > 0:
            self._accounts.trade(contract, loser, Party(account=CROWD, side=other, maker=True), price, quantity)

    def _deleverage(self, contract: Contract, winner: str, loser: Party, price: Decimal, most: Decimal) -> Decimal:
        if winner == loser.account or most <= 0:
            return ZERO
        quantity = min(most, abs(self._accounts.ledger.wallets[winner].quantity(contract.instrument)))
        self._accounts.trade(contract, loser, self._winning(winner, loser.side), price, quantity)
        if self.desk is not None:
            self.desk.trim(winner, contract)
        return quantity

    @staticmethod
    def _winning(name: str, against: OrderSide) -> Party:
        cause: Cause = "adl"
        return Party(account=name, side="buy" if against == "sell" else "sell", cause=cause, detail="adl", maker=True)

    def deleverage(self, name: str, instrument: str, quantity: Decimal) -> Decimal:
        """Deleverage an account by decree, at mark, the crowd on the other side; returns the quantity closed."""
        contract = self._accounts.contracts[instrument]
        held = self._accounts.ledger.wallets[name].quantity(instrument)
        quantity = min(quantity, abs(held))
        if quantity > 0:
            party = self._winning(name, "buy" if held > 0 else "sell")
            self._accounts.against_crowd(contract, party, contract.mark, quantity)
            if self.desk is not None:
                self.desk.trim(name, contract)
        return quantity

    def _unwind(self, contract: Contract) -> None:
        """The insurance fund sells into the book what it took over."""
        held = self._accounts.ledger.wallets[INSURANCE].quantity(contract.instrument)
        if not held or self.desk is None:
            return
        side: OrderSide = "sell" if held > 0 else "buy"
        off = Decimal("0.98") if side == "sell" else Decimal("1.02")
        limit = round_price(contract.mark * off, contract.rules.tick, side)
        self.desk.forced(contract, Party(account=INSURANCE, side=side), abs(held), limit)
        self._agenda.after(self._style.pause, lambda: self._unwind(contract))

    def _cover(self, name: str) -> None:
        """A debt that is left without a position is the insurance fund's."""
        ledger = self._accounts.ledger
        debt = -ledger.equity(name)
        if debt > 0 and not ledger.held(name):
            ledger.pay(INSURANCE, name, debt)
