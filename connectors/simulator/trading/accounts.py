"""The accounts of a venue with everything they are told: trades are booked and reported here, nowhere else."""

from __future__ import annotations

import random
from decimal import Decimal
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.book import ZERO, LiveOrder, OrderBook
from connectors.simulator.trading.faults import Faults
from connectors.simulator.trading.ledger import CROWD, NOBODY, Ledger, Wallet
from connectors.simulator.trading.private import Message, Stream, View
from connectors.simulator.trading.profiles import Profile
from schemas.orders import Account, ContractRules, Fill, Known, OrderSide, OrderStatus
from schemas.records import AccountEvent

Cause = Literal["order", "liquidation", "adl", "settlement"]
_TAIL = 10


class Contract(Struct):
    """One perpetual of a venue."""

    rules: ContractRules
    book: OrderBook
    mark: Decimal
    funding_rate: Decimal = ZERO
    """Of each interval."""
    thinning: float = 1.0
    """Share of the usual depth the crowd keeps now."""
    quoted: int | None = None
    """When the crowd last quoted; ``None`` after a move of the mark."""

    @property
    def instrument(self) -> str:
        """The venue's symbol."""
        return self.rules.instrument


class Party(Struct, frozen=True, kw_only=True):
    """One side of a trade."""

    account: str
    side: OrderSide
    order: LiveOrder | None = None
    maker: bool = False
    cause: Cause = "order"
    detail: str = ""


class Accounts:
    """Wallets, views and streams.

    :arg rng: seeds latencies.
    """

    def __init__(self, profile: Profile, agenda: Agenda, faults: Faults, rng: random.Random) -> None:
        self.profile = profile
        self.ledger = Ledger(profile.tiers)
        self.contracts: dict[str, Contract] = {}
        self.views: dict[str, View] = {}
        self.streams: dict[str, Stream] = {}
        self.payments: list[tuple[int, str, str, Decimal]] = []
        """Funding paid: time, account, instrument, USD (negative: received)."""
        self._agenda = agenda
        self._faults = faults
        self._rng = rng
        self._trades = 0
        self._events = 0

    def open(self, name: str, usd: Decimal, *, isolated: bool = False, leverage: Decimal = Decimal(10)) -> Wallet:
        """An account with USD in it; more USD for one there is."""
        wallet = self.ledger.deposit(name, usd)
        if name not in self.streams and name not in NOBODY:
            wallet.isolated, wallet.leverage = isolated, leverage
            self.views[name] = View(self.profile.latency.visibility)
            stream = self.streams[name] = Stream(
                name, self._agenda, self._faults, lambda: self.hop(self.profile.latency.stream)
            )
            stream.snapshot = lambda: self.snapshot(name)
        return wallet

    def hop(self, base: int) -> int:
        """Nanoseconds a hop takes this time."""
        latency = self.profile.latency
        if latency.tail and self._rng.random() < latency.tail:
            base *= _TAIL
        return base + int(base * latency.jitter * self._rng.random())

    def trade(self, contract: Contract, taker: Party, maker: Party, price: Decimal, quantity: Decimal) -> None:
        """A quantity changes hands at a price: booked, fees paid, told to both."""
        buyer, seller = (taker, maker) if taker.side == "buy" else (maker, taker)
        self.ledger.trade(contract.instrument, buyer.account, seller.account, price, quantity)
        for party in (taker, maker):
            if party.account in NOBODY:
                continue
            rate = self.profile.maker_fee if party.maker else self.profile.taker_fee
            fee = ZERO if party.cause != "order" else self.ledger.fee(party.account, price * quantity, rate)
            self._report(contract, party, price, quantity, fee)

    def against_crowd(self, contract: Contract, party: Party, price: Decimal, quantity: Decimal) -> None:
        """A trade with the crowd."""
        other: OrderSide = "sell" if party.side == "buy" else "buy"
        crowd = Party(account=CROWD, side=other, maker=not party.maker)
        self.trade(contract, party, crowd, price, quantity)

    def _report(self, contract: Contract, party: Party, price: Decimal, quantity: Decimal, fee: Decimal) -> None:
        now, order = self._agenda.now, party.order
        if order is not None:
            order.filled += quantity
            order.value += quantity * price
            order.state = "filled" if order.filled >= order.quantity else "partial"
        if party.cause in {"liquidation", "adl"}:
            self.tell(party.account, self._forced(contract, party, price, quantity))
        self._trades += 1
        fill = Fill(
            trade_id=str(self._trades),
            venue=self.profile.venue,
            instrument=contract.instrument,
            order_id=order.order_id if order is not None else f"forced-{self._trades}",
            client_id=order.client_id if order is not None else "",
            side=party.side,
            price=price,
            quantity=quantity,
            fee=fee,
            maker=party.maker,
            cause=party.cause if party.cause == "order" or self.profile.marks_forced else "unknown",
            time=now,
        )
        self.views[party.account].show(fill, now)
        self.tell(party.account, fill)
        if order is not None:
            self.tell_order(order)
        self.tell_position(party.account, contract.instrument)

    def tell(self, account: str, message: Message | None) -> None:
        """On the private stream, where the venue tells it there."""
        if message is not None:
            self.streams[account].say(message)

    def tell_order(self, order: LiveOrder) -> None:
        """An order changed."""
        now = self._agenda.now
        status = order.status(now)
        self.views[order.account].show(status, now)
        self.tell(order.account, status)

    def tell_position(self, account: str, instrument: str) -> None:
        """A position changed."""
        now = self._agenda.now
        self.views[account].show((instrument, self.ledger.wallets[account].quantity(instrument)), now)
        self.tell(account, self._event(account, instrument, "position"))

    def call_margin(self, account: str) -> None:
        """Equity is near what must be there."""
        if self.profile.capabilities.margin_stream:
            for instrument in self.ledger.held(account):
                self.tell(account, self._event(account, instrument, "margin_call"))

    def _forced(self, contract: Contract, party: Party, price: Decimal, quantity: Decimal) -> AccountEvent | None:
        told = self.profile.capabilities
        if not (told.adl_stream if party.cause == "adl" else told.liquidation_stream):
            return None
        return self._event(
            party.account, contract.instrument, "adl" if party.cause == "adl" else "liquidation",
            side=party.side, price=price, quantity=quantity, detail=party.detail,
        )  # fmt: skip

    def _event(
        self,
        account: str,
        instrument: str,
        event: Literal["liquidation", "adl", "margin_call", "position"],
        *,
        side: OrderSide | None = None,
        price: Decimal | None = None,
        quantity: Decimal | None = None,
        detail: str = "",
    ) -> AccountEvent:
        self._events += 1
        held = self.ledger.wallets[account].quantity(instrument)
        forced = side is not None
        long = side == "sell" if forced else held > 0
        return AccountEvent(
            event_id=blake2b(f"{self.profile.venue} {account} {self._events}".encode(), digest_size=8).hexdigest(),
            venue=self.profile.venue,
            instrument=instrument,
            asset=self.contracts[instrument].rules.asset,
            event=event,
            position=("long" if long else "short") if forced or held else None,
            order_side=side,
            price=float(price if price is not None else self.contracts[instrument].mark),
            quantity=float(quantity) if quantity is not None else None,
            notional_usd=float(price * quantity) if price is not None and quantity is not None else None,
            state="known" if held else "flat",
            remaining=float(held),
            order_id="",
            client_id="",
            detail=detail or event,
            event_time=self._agenda.now,
            receive_time=self._agenda.now,
        )

    def snapshot(self, account: str) -> list[Message]:
        """What a fresh private connection begins with: positions, then living orders."""
        view, now = self.views[account], self._agenda.now
        held = self.ledger.held(account)
        found: list[Message] = [self._event(account, instrument, "position") for instrument in held]
        orders: list[OrderStatus] = view.open_orders(now)
        return [*found, *orders]

    def account(self, name: str) -> Account:
        """Positions and margin as a query shows them."""
        now, ledger = self._agenda.now, self.ledger
        positions = {i: self._known(name, i, q) for i, q in self.views[name].quantities(now).items()}
        return Account(
            venue=self.profile.venue,
            positions=positions,
            equity=ledger.equity(name),
            free_margin=ledger.free(name),
            time=now,
        )

    def _known(self, account: str, instrument: str, quantity: Decimal) -> Known:
        wallet = self.ledger.wallets[account]
        held = wallet.holdings[instrument]
        there = bool(held.quantity)
        return Known(
            instrument=instrument,
            quantity=quantity,
            entry_price=held.entry,
            mark_price=self.contracts[instrument].mark,
            liquidation_price=self.ledger.liquidation_price(account, instrument) if there else None,
            leverage=wallet.leverage,
            margin=held.margin if wallet.isolated else None,
            adl_rank=self.adl_rank(account, instrument) if there else None,
        )

    def winners(self, instrument: str, side: OrderSide) -> list[str]:
        """Who is deleveraged first when a position that must be closed by an order of ``side`` finds no taker."""
        mark = self.ledger.marks[instrument]

        def score(name: str) -> Decimal:
            held = self.ledger.wallets[name].holdings[instrument]
            profit = held.cash + held.quantity * mark
            equity = max(self.ledger.equity(name), Decimal("0.01"))
            leverage = abs(held.quantity) * mark / equity
            share = profit / -held.cash if held.cash else ZERO
            share = share.copy_sign(profit)
            return share * leverage if profit > 0 else share / max(leverage, Decimal("0.01"))

        sign = 1 if side == "buy" else -1
        held = [n for n, w in self.ledger.wallets.items() if n not in NOBODY and w.quantity(instrument) * sign > 0]
        return sorted(held, key=lambda name: (-score(name), name))

    def adl_rank(self, account: str, instrument: str) -> float:
        """0 (last) to 1 (first) in the queue of those on its side."""
        long = self.ledger.wallets[account].quantity(instrument) > 0
        queue = self.winners(instrument, "buy" if long else "sell")
        return 1.0 - queue.index(account) / len(queue)
