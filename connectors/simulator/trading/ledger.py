"""Who has what: wallets, positions, fees, insurance. Every movement has two sides, so that nothing is made or lost.

A position holds the cash its trades cost; what a close brings goes to the wallet. Summed over all accounts, the fee
account and the insurance fund included, USD and contracts are the same before and after everything that happens.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, field

from connectors.simulator.trading.book import ZERO
from connectors.simulator.trading.profiles import Tier

CROWD = "crowd"
"""Everybody who is not simulated one by one; it has no margin and takes the other side of trades."""
INSURANCE = "insurance"
FEES = "fees"
NOBODY = frozenset({CROWD, INSURANCE, FEES})
"""Accounts no margin is asked of."""
_CENT = Decimal("1e-8")
_PART = Decimal("1e-10")


class Holding(Struct):
    """A position of one account."""

    quantity: Decimal = ZERO
    """Signed."""
    cash: Decimal = ZERO
    """USD received for what is held: minus quantity times average price."""
    margin: Decimal = ZERO
    """USD put behind it where the account is isolated."""

    @property
    def entry(self) -> Decimal | None:
        """Average price of what is held."""
        return -self.cash / self.quantity if self.quantity else None


class Wallet(Struct):
    """One account."""

    name: str
    cash: Decimal = ZERO
    isolated: bool = False
    leverage: Decimal = Decimal(10)
    """The account's choice, for isolated margin and for what an order needs."""
    holdings: dict[str, Holding] = field(default_factory=dict)

    def quantity(self, instrument: str) -> Decimal:
        """Signed base units held."""
        held = self.holdings.get(instrument)
        return held.quantity if held is not None else ZERO


class Ledger:
    """All accounts of one venue."""

    def __init__(self, tiers: tuple[Tier, ...]) -> None:
        self._tiers = tiers
        self.marks: dict[str, Decimal] = {}
        self.deposited = ZERO
        """USD that ever came in."""
        self.wallets: dict[str, Wallet] = {name: Wallet(name) for name in (CROWD, INSURANCE, FEES)}

    def deposit(self, account: str, usd: Decimal) -> Wallet:
        """USD from outside; opens the account."""
        wallet = self.wallets.setdefault(account, Wallet(account))
        wallet.cash += usd
        self.deposited += usd
        return wallet

    def trade(self, instrument: str, buyer: str, seller: str, price: Decimal, quantity: Decimal) -> None:
        """``quantity`` changes hands."""
        self._book(self.wallets[buyer], instrument, quantity, price)
        self._book(self.wallets[seller], instrument, -quantity, price)

    def pay(self, payer: str, payee: str, usd: Decimal) -> None:
        """Move USD between wallets; negative moves it back."""
        self.wallets[payer].cash -= usd
        self.wallets[payee].cash += usd

    def fee(self, account: str, notional: Decimal, rate: Decimal) -> Decimal:
        """What a trade costs the account, paid; negative is a rebate."""
        usd = (notional * rate).quantize(_CENT)
        self.pay(account, FEES, usd)
        return usd

    def _book(self, wallet: Wallet, instrument: str, change: Decimal, price: Decimal) -> None:
        held = wallet.holdings.setdefault(instrument, Holding())
        closing = held.quantity * change < 0
        if closing:
            closed = min(abs(change), abs(held.quantity)).copy_sign(change)
            self._reduce(wallet, held, closed, price)
            change -= closed
        if change:
            held.quantity += change
            held.cash -= change * price
            if wallet.isolated:
                margin = (abs(change) * price / wallet.leverage).quantize(_CENT)
                held.margin += margin
                wallet.cash -= margin

    @staticmethod
    def _reduce(wallet: Wallet, held: Holding, closed: Decimal, price: Decimal) -> None:
        """Move the profit of the part closed, and the margin behind it, to the wallet."""
        after = held.quantity + closed
        share = after / held.quantity
        kept, margin = (held.cash * share).quantize(_PART), (held.margin * share).quantize(_PART)
        if not after:
            kept = margin = ZERO
        wallet.cash += held.cash - closed * price - kept + held.margin - margin
        held.quantity, held.cash, held.margin = after, kept, margin

    def fund(self, instrument: str, rate: Decimal) -> dict[str, Decimal]:
        """Longs pay shorts ``rate`` of their notional; the crowd takes the rest of the rounding.

        :returns: USD paid by each account that holds any, negative where received.
        """
        mark = self.marks[instrument]
        paid: dict[str, Decimal] = {}
        for name, wallet in self.wallets.items():
            quantity = wallet.quantity(instrument)
            if quantity and name != CROWD:
                paid[name] = (quantity * mark * rate).quantize(_CENT)
                self.pay(name, CROWD, paid[name])
        return paid

    def worth(self, held: Holding, instrument: str) -> Decimal:
        """Profit not yet taken plus its own margin, USD."""
        return held.cash + held.quantity * self.marks[instrument] + held.margin

    def equity(self, account: str) -> Decimal:
        """Wallet and positions at mark, USD."""
        wallet = self.wallets[account]
        return wallet.cash + sum((self.worth(h, i) for i, h in wallet.holdings.items() if h.quantity), ZERO)

    def maintenance(self, notional: Decimal) -> Decimal:
        """USD that must stand behind a position of that notional."""
        needed, below = ZERO, ZERO
        for tier in self._tiers:
            cap = notional if tier.cap is None else min(notional, tier.cap)
            if cap > below:
                needed += (cap - below) * tier.maintenance
            if tier.cap is None or notional <= tier.cap:
                break
            below = tier.cap
        return needed

    def max_leverage(self, notional: Decimal) -> Decimal:
        """The highest the tier of that notional allows."""
        return next(t.leverage for t in self._tiers if t.cap is None or notional <= t.cap)

    def initial(self, account: str, instrument: str, quantity: Decimal) -> Decimal:
        """USD it takes to hold ``quantity``."""
        notional = abs(quantity) * self.marks[instrument]
        return notional / min(self.wallets[account].leverage, self.max_leverage(notional))

    def held(self, account: str) -> dict[str, Holding]:
        """The positions of an account that are not flat."""
        return {i: h for i, h in self.wallets[account].holdings.items() if h.quantity}

    def required(self, account: str) -> Decimal:
        """Maintenance of all positions, USD."""
        marks = self.marks
        return sum((self.maintenance(abs(h.quantity) * marks[i]) for i, h in self.held(account).items()), ZERO)

    def free(self, account: str) -> Decimal:
        """USD with which more could be opened."""
        used = sum((self.initial(account, i, h.quantity) for i, h in self.held(account).items()), ZERO)
        return self.equity(account) - used

    def backing(self, account: str, instrument: str) -> Decimal:
        """What else stands behind one position: its margin if isolated, else all the rest of the account, USD."""
        wallet = self.wallets[account]
        held = wallet.holdings[instrument]
        if wallet.isolated:
            return held.margin
        return self.equity(account) - held.cash - held.quantity * self.marks[instrument]

    def bankruptcy_price(self, account: str, instrument: str) -> Decimal:
        """The price at which closing leaves nothing."""
        held = self.wallets[account].holdings[instrument]
        return -(held.cash + self.backing(account, instrument)) / held.quantity

    def liquidation_price(self, account: str, instrument: str) -> Decimal | None:
        """The mark at which the account would be in liquidation, other marks standing still."""
        held = self.wallets[account].holdings[instrument]
        size = abs(held.quantity)
        notional = size * self.marks[instrument]
        rate = self.maintenance(notional) / notional
        backing = self.backing(account, instrument)
        if not self.wallets[account].isolated:
            backing -= self.required(account) - self.maintenance(notional)
        slope = held.quantity - size * rate
        price = -(held.cash + backing) / slope if slope else ZERO
        return price if price > 0 else None

    def total(self) -> Decimal:
        """USD of all accounts; equals ``deposited`` whatever happened, as contracts sum to zero."""
        return sum((self.equity(name) for name in self.wallets), ZERO)

    def net(self, instrument: str) -> Decimal:
        """Contracts of all accounts: zero."""
        return sum((w.quantity(instrument) for w in self.wallets.values()), ZERO)
