"""What an account is told: its private stream, and the view its queries see, each later than the truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from msgspec import structs

from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.faults import STREAM, Faults
from schemas.orders import FINAL, Fill, OrderStatus
from schemas.records import AccountEvent, FeedState, FeedStatus

Message = AccountEvent | Fill | OrderStatus | FeedStatus
Told = Callable[[Message], None]

_KEPT = 10_000
"""Orders and fills a venue still tells about."""


class View:
    """What queries see of an account: everything that happened, once it is old enough."""

    def __init__(self, lag: int) -> None:
        self._lag = lag
        self._pending: deque[tuple[int, OrderStatus | Fill | tuple[str, Decimal]]] = deque()
        self._orders: dict[str, OrderStatus] = {}
        self._same: dict[tuple[str, str], list[str]] = {}
        """Orders by contract and client id, oldest first."""
        self._fills: list[Fill] = []
        self._quantities: dict[str, Decimal] = {}

    def show(self, what: OrderStatus | Fill | tuple[str, Decimal], now: int) -> None:
        """This happened: an order changed, a fill, or a position's new quantity."""
        self._pending.append((now + self._lag, what))

    def _catch_up(self, now: int) -> None:
        pending = self._pending
        while pending and pending[0][0] <= now:
            match pending.popleft()[1]:
                case OrderStatus() as status:
                    if status.order_id not in self._orders:
                        self._same.setdefault((status.instrument, status.client_id), []).append(status.order_id)
                    self._orders[status.order_id] = status
                case Fill() as fill:
                    self._fills.append(fill)
                case (instrument, quantity):
                    self._quantities[instrument] = quantity

    def order(self, instrument: str, client_id: str, now: int) -> OrderStatus | None:
        """The order of that client id; of several the living one, else the newest."""
        self._catch_up(now)
        same = [self._orders[order_id] for order_id in self._same.get((instrument, client_id), ())]
        return next((o for o in same if o.state not in FINAL), same[-1] if same else None)

    def orders(self, now: int) -> list[OrderStatus]:
        """All orders, living or done."""
        self._catch_up(now)
        return list(self._orders.values())

    def open_orders(self, now: int) -> list[OrderStatus]:
        """All living orders."""
        self._catch_up(now)
        return [o for o in self._orders.values() if o.state not in FINAL]

    def fills(self, since: int, now: int) -> list[Fill]:
        """Fills from ``since`` on."""
        self._catch_up(now)
        return [f for f in self._fills[-_KEPT:] if f.time >= since]

    def quantities(self, now: int) -> dict[str, Decimal]:
        """Positions that are not flat."""
        self._catch_up(now)
        return {instrument: quantity for instrument, quantity in self._quantities.items() if quantity}


class Stream:
    """The private stream of one account, to everybody who listens."""

    def __init__(self, account: str, agenda: Agenda, faults: Faults, latency: Callable[[], int]) -> None:
        self._account = account
        self._agenda = agenda
        self._faults = faults
        self._latency = latency
        self._listeners: list[Told] = []
        self._lost_since: int | None = None
        self._stalled = False
        self._stalled_at = 0
        self._last = 0
        self._reconnects = 0
        self.snapshot: Callable[[], list[Message]] = list
        """What a fresh connection begins with."""

    def listen(self, told: Told) -> Callable[[], None]:
        """Connect; the snapshot comes first.

        :returns: what to call to leave.
        """
        self._listeners.append(told)
        if self._lost_since is None:
            self._later(lambda: self._begin([told]))
        return lambda: self._listeners.remove(told) if told in self._listeners else None

    def _begin(self, listeners: list[Told]) -> None:
        for told in listeners:
            told(self._status("subscribed", ""))
            for message in self.snapshot():
                told(message)

    def say(self, message: Message) -> None:
        """Tell everybody, after the stream's delay, unless a fault is in the way."""
        if not self._listeners or self._lost_since is not None or self._stalled:
            return
        now = self._agenda.now
        position = isinstance(message, AccountEvent) and message.event == "position"
        kinds = STREAM if position else STREAM[:-1]
        struck = self._faults.strike(kinds, now, f"{type(message).__name__} to {self._account}")
        kind = struck.kind if struck is not None else ""
        if kind == "stream_drop":
            return
        if kind == "stream_false_flat" and isinstance(message, AccountEvent):
            message = structs.replace(message, state="flat", remaining=0.0, detail="snapshot")
        if kind == "stream_duplicate":
            self._later(lambda: self._deliver(message))
        if kind == "stream_reorder":
            self._agenda.after(self._latency() * 5, lambda: self._deliver(message))
        else:
            self._later(lambda: self._deliver(message))

    def _later(self, action: Callable[[], None]) -> None:
        """In order: nothing overtakes what was said before."""
        self._last = max(self._last, self._agenda.now + self._latency())
        self._agenda.at(self._last, action)

    def _deliver(self, message: Message) -> None:
        if self._lost_since is None and not self._stalled:
            for told in list(self._listeners):
                told(message)

    def _status(self, state: FeedState, reason: str, since: int | None = None) -> FeedStatus:
        return FeedStatus(
            self._faults.venue,
            "private",
            state,
            reason,
            self._agenda.now,
            gap_from=since,
            gap_to=self._agenda.now if since is not None else None,
            reconnects=self._reconnects,
        )

    def cut(self) -> None:
        """The connection is lost; what happens from here on is not told."""
        if self._lost_since is None:
            self._lost_since = self._agenda.now

    def restore(self) -> None:
        """Connected again: the hole is told, then the snapshot."""
        since, self._lost_since = self._lost_since, None
        if since is None:
            return
        self._reconnects += 1
        self._stalled = False
        for told in list(self._listeners):
            told(self._status("gap", "the connection was lost", since))
        self._begin(list(self._listeners))

    def stall(self, patience: int) -> None:
        """Stay connected and say nothing; after ``patience`` nanoseconds a reader notices."""
        self._stalled = True
        began = self._stalled_at = self._agenda.now

        def notice() -> None:
            if self._stalled:
                for told in list(self._listeners):
                    told(self._status("silent", f"no frame since {began}"))

        self._agenda.after(patience, notice)

    def resume(self) -> None:
        """The silent connection is replaced by one that speaks."""
        if self._stalled:
            self._stalled = False
            self._lost_since = self._stalled_at
            self.restore()
