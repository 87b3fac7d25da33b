"""An account watched by asking again and again, where no private stream is read.

It is no stream and does not pretend to be one: its feed is called ``polling``, each look says how far apart looks are,
and the time between the last good look and the next one after a failure is told as a gap. A position that changed is
told as such; what opened and closed again between two looks shows in the fills alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from hashlib import blake2b
from typing import Any

from connectors.venues.private_stream import PrivateMessage
from schemas.clock import SECOND, Clock, seconds
from schemas.orders import Account, Fill, Flat, Known, OrderStatus, Unknown, VenuePort
from schemas.records import AccountEvent, FeedState, FeedStatus

FEED = "polling"
_OVERLAP = 60 * SECOND
"""Fills become visible late; each look reaches this far back."""


async def polled(
    port: VenuePort, venue: str, assets: Mapping[str, str], clock: Clock, *, every: float
) -> AsyncIterator[PrivateMessage]:
    """Fills, orders and position changes, for ever.

    :arg assets: canonical asset of each contract watched.
    :arg every: seconds between looks.
    """
    watch = _Watch(venue, assets, clock(), every)
    while True:
        began = clock()
        account, orders, fills = (
            await port.account(),
            await port.open_orders(),
            await port.fills(watch.seen_to - _OVERLAP),
        )
        missing = [told.reason for told in (account, orders, fills) if isinstance(told, Unknown)]
        if missing:
            yield watch.lost(missing[0], clock())
        else:
            for message in watch.look(account, orders, fills, began, clock()):
                yield message
        await asyncio.sleep(every)


class _Watch:
    """What was known at the last look, and what is new in the next."""

    def __init__(self, venue: str, assets: Mapping[str, str], now: int, every: float) -> None:
        self._venue = venue
        self._assets = assets
        self._began = now
        self._every = every
        self._held: dict[str, Known] | None = None
        self._trades: dict[str, int] = {}
        self._orders: dict[str, OrderStatus] = {}
        self._lost = True
        self._failures = 0
        self.seen_to = now

    def lost(self, reason: str, now: int) -> FeedStatus:
        """A look that told nothing: nothing follows from it."""
        self._lost = True
        self._failures += 1
        return self._status("unreachable", reason, now)

    def look(self, account: Any, orders: Any, fills: Any, began: int, now: int) -> list[PrivateMessage]:
        """What a whole look tells beyond the last one."""
        told: list[PrivateMessage] = []
        late = began - self.seen_to > 3 * seconds(self._every) + SECOND
        if self._held is not None and (self._lost or late):
            told.append(self._status("gap", "looks failed" if self._lost else "a look came late", now, self.seen_to))
        if self._lost or late:
            told.append(self._status("subscribed", f"polled every {self._every:g} s, no stream is read", now))
        told += self._filled(fills)
        told += self._ordered(orders)
        told += self._moved(account, now)
        self._lost, self.seen_to = False, began
        return told

    def _filled(self, fills: list[Fill]) -> list[PrivateMessage]:
        new = [fill for fill in fills if fill.trade_id not in self._trades and fill.time >= self._began]
        self._trades |= {fill.trade_id: fill.time for fill in fills}
        horizon = self.seen_to - 2 * _OVERLAP
        self._trades = {trade: time for trade, time in self._trades.items() if time >= horizon}
        return list(new)

    def _ordered(self, orders: list[OrderStatus]) -> list[PrivateMessage]:
        """Living orders that changed. One that is gone is not told as done: only a lookup says what became of it."""
        now = {order.order_id: order for order in orders}
        new = [order for key, order in now.items() if self._orders.get(key) != order]
        self._orders = now
        return list(new)

    def _moved(self, account: Account, now: int) -> list[PrivateMessage]:
        before, self._held = self._held, dict(account.positions)
        if before is None:
            return []
        return [
            self._event(name, account.position(name), now)
            for name in self._assets
            if _size(before, name) != _size(self._held, name)
        ]

    def _event(self, instrument: str, held: Known | Flat, now: int) -> AccountEvent:
        left = held.quantity if isinstance(held, Known) else None
        spelled = f"{self._venue} {instrument} {left} {now}"
        return AccountEvent(
            event_id=blake2b(spelled.encode(), digest_size=8).hexdigest(),
            venue=self._venue,
            instrument=instrument,
            asset=self._assets[instrument],
            event="position",
            position=None if left is None else "long" if left > 0 else "short",
            order_side=None,
            price=None,
            quantity=None,
            notional_usd=None,
            state="known" if left is not None else "flat",
            remaining=float(left) if left is not None else None,
            order_id="",
            client_id="",
            detail="seen by polling",
            event_time=now,
            receive_time=now,
        )

    def _status(self, state: FeedState, reason: str, now: int, since: int | None = None) -> FeedStatus:
        return FeedStatus(
            self._venue,
            FEED,
            state,
            reason,
            now,
            gap_from=since,
            gap_to=now if since is not None else None,
            reconnects=self._failures,
        )


def _size(held: Mapping[str, Known], instrument: str) -> Any:
    found = held.get(instrument)
    return found.quantity if found is not None else None
