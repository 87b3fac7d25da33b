"""An order book with price-time priority: a crowd's quantity at each price, and our orders with a queue ahead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from schemas.orders import FINAL, BookLevel, ContractRules, Order, OrderSide, OrderState, OrderStatus

ZERO = Decimal(0)


class LiveOrder(Struct, kw_only=True):
    """An order the venue has taken."""

    account: str
    order_id: str
    client_id: str
    instrument: str
    side: OrderSide
    price: Decimal | None
    quantity: Decimal
    reduce_only: bool
    post_only: bool
    sequence: int
    """Order of time at the venue."""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    """USD of the fills so far."""
    state: OrderState = "open"
    ahead: Decimal = ZERO
    """Of the crowd's quantity at its price, what stands before it."""

    @property
    def left(self) -> Decimal:
        """What could still fill."""
        return self.quantity - self.filled

    def status(self, time: int) -> OrderStatus:
        """As it would be told."""
        return OrderStatus(
            client_id=self.client_id,
            order_id=self.order_id,
            instrument=self.instrument,
            side=self.side,
            state=self.state,
            quantity=self.quantity,
            filled=self.filled,
            average_price=self.value / self.filled if self.filled else None,
            reduce_only=self.reduce_only,
            time=time,
        )


def live(order: Order, account: str, order_id: str, sequence: int) -> LiveOrder:
    """The order as the venue keeps it."""
    return LiveOrder(
        account=account,
        order_id=order_id,
        client_id=order.client_id,
        instrument=order.instrument,
        side=order.side,
        price=order.price,
        quantity=order.quantity,
        reduce_only=order.reduce_only,
        post_only=order.time_in_force == "post_only",
        sequence=sequence,
    )


class Match(Struct, frozen=True):
    """A quantity traded at a price; ``maker`` is ``None`` where it was the crowd's."""

    price: Decimal
    quantity: Decimal
    maker: LiveOrder | None


@dataclass(frozen=True, slots=True)
class Depth:
    """What the crowd keeps in the book."""

    usd: float = 20_000.0
    """At the best price of each side; further levels hold more."""
    spread: float = 0.0002
    """Fraction of the mark between best bid and best ask."""
    spacing: float = 0.0003
    levels: int = 8
    growth: float = 1.4


class BookSide:
    """Bids or asks."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.crowd: dict[Decimal, Decimal] = {}
        """Quantity by price, best first."""
        self.orders: list[LiveOrder] = []
        """Ours, best price first, then time."""

    def better(self, price: Decimal, other: Decimal) -> bool:
        """Whether ``price`` is served before ``other``."""
        return price > other if self._sign > 0 else price < other

    def best(self) -> Decimal | None:
        """The price served first."""
        prices = [*self.crowd, *(o.price for o in self.orders if o.price is not None)]
        return max(prices, key=lambda p: self._sign * p, default=None)

    def prices(self) -> list[Decimal]:
        """Every price, best first."""
        found = {*self.crowd, *(o.price for o in self.orders if o.price is not None)}
        return sorted(found, reverse=self._sign > 0)

    def at(self, price: Decimal) -> list[LiveOrder]:
        """Our orders at a price, in order of time."""
        return [o for o in self.orders if o.price == price]

    def insert(self, order: LiveOrder) -> None:
        """To the end of the queue at its price."""
        assert order.price is not None, "only limit orders rest"  # noqa: S101 - the caller has checked
        order.ahead = self.crowd.get(order.price, ZERO)
        self.orders.append(order)
        self.orders.sort(key=lambda o: (-self._sign * (o.price or ZERO), o.sequence))

    def replace_crowd(self, crowd: dict[Decimal, Decimal]) -> None:
        """The crowd has moved: those ahead of us who left are no longer ahead."""
        self.crowd = crowd
        for order in self.orders:
            order.ahead = min(order.ahead, crowd.get(order.price or ZERO, ZERO))

    def take(self, quantity: Decimal, limit: Decimal | None, account: str) -> Iterator[Match]:
        """Trade up to ``quantity`` at ``limit`` or better, best price first, at a price in order of the queue.

        Orders of ``account`` itself are passed over. Each match must be booked before the next is asked for.
        """
        for price in self.prices():
            if quantity <= 0 or (limit is not None and self.better(limit, price)):
                return
            for match in self._at_price(price, quantity, account):
                quantity -= match.quantity
                yield match

    def _at_price(self, price: Decimal, quantity: Decimal, account: str) -> Iterator[Match]:
        for order in self.at(price):
            if quantity <= 0:
                return
            taken = self._from_crowd(price, min(quantity, order.ahead))
            if taken:
                quantity -= taken
                yield Match(price, taken, None)
            if quantity > 0 and order.account != account and order.state not in FINAL:
                part = min(quantity, order.left)
                quantity -= part
                yield Match(price, part, order)
        taken = self._from_crowd(price, quantity)
        if taken:
            yield Match(price, taken, None)

    def _from_crowd(self, price: Decimal, wanted: Decimal) -> Decimal:
        there = self.crowd.get(price, ZERO)
        taken = min(there, wanted)
        if taken <= 0:
            return ZERO
        if taken == there:
            del self.crowd[price]
        else:
            self.crowd[price] = there - taken
        for order in self.at(price):
            order.ahead = max(ZERO, order.ahead - taken)
        return taken

    def levels(self) -> tuple[BookLevel, ...]:
        """As it would be told."""
        rows = ((p, self.crowd.get(p, ZERO) + sum((o.left for o in self.at(p)), ZERO)) for p in self.prices())
        return tuple(BookLevel(price, quantity) for price, quantity in rows if quantity > 0)


class OrderBook:
    """One contract's book. The crowd's quotes are laid out anew around each mark."""

    def __init__(self, rules: ContractRules, depth: Depth, rng: random.Random) -> None:
        self._rules = rules
        self._rng = rng
        self.depth = depth
        self.bids = BookSide(+1)
        self.asks = BookSide(-1)

    def side(self, side: OrderSide) -> BookSide:
        """Where an order of that side rests."""
        return self.bids if side == "buy" else self.asks

    def against(self, side: OrderSide) -> BookSide:
        """What an order of that side meets."""
        return self.asks if side == "buy" else self.bids

    def quote(self, mark: Decimal, thinning: float = 1.0) -> None:
        """The crowd quotes around ``mark``; our orders stay.

        :arg thinning: share of the usual quantity.
        """
        self.bids.replace_crowd(self._ladder(mark, -1, thinning))
        self.asks.replace_crowd(self._ladder(mark, +1, thinning))

    def _ladder(self, mark: Decimal, direction: int, thinning: float) -> dict[Decimal, Decimal]:
        depth, tick, step = self.depth, self._rules.tick, self._rules.step
        middle = float(mark / tick)
        value = depth.usd * thinning / float(mark * step)
        found: dict[Decimal, Decimal] = {}
        offset, last = depth.spread / 2.0, None
        for _ in range(depth.levels):
            place = round(middle * (1.0 + direction * offset))
            place = place if last is None else (max if direction > 0 else min)(place, last + direction)
            steps = int(value * (0.5 + self._rng.random()))
            if place > 0 and steps > 0:
                found[place * tick] = steps * step
            last, offset, value = place, offset + depth.spacing, value * depth.growth
        return found

    def in_front(self) -> bool:
        """Whether one of our orders rests at a best price."""
        return any(side.orders and side.orders[0].price == side.best() for side in (self.bids, self.asks))

    def crossed(self) -> list[tuple[LiveOrder, Decimal]]:
        """Our resting orders the crowd now quotes through, with the quantity quoted so."""
        found = []
        for ours, theirs in ((self.bids, self.asks), (self.asks, self.bids)):
            for order in ours.orders:
                price = order.price or ZERO
                met = [p for p in theirs.crowd if not theirs.better(price, p)]
                quantity = sum((theirs.crowd.pop(p) for p in met), ZERO)
                if quantity > 0:
                    found.append((order, min(quantity, order.left)))
        return found

    def remove(self, order: LiveOrder) -> None:
        """Take an order out."""
        orders = self.side(order.side).orders
        if order in orders:
            orders.remove(order)


def round_price(price: Decimal, tick: Decimal, side: OrderSide) -> Decimal:
    """To the tick, never to a worse price for the owner of an order of that side."""
    mode = ROUND_FLOOR if side == "buy" else ROUND_CEILING
    return (price / tick).to_integral_value(mode) * tick


def round_down(quantity: Decimal, step: Decimal) -> Decimal:
    """To a multiple of the step, towards zero."""
    return (quantity / step).to_integral_value(ROUND_FLOOR) * step
