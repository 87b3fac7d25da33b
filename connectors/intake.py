"""Where dialects put what a frame told, in the venue's own terms; converted to base units and USD a batch at a time.

The split keeps a dialect small (no unit arithmetic, no instrument lookup, no ids) and the hot path columnar: a forced
close is one packed row, everything else about it is computed for the whole batch at once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from connectors.catalogue import Catalogue, Contract
from connectors.conversion import (
    BACKFILL,
    ROW,
    SAMPLED,
    SKEW_LIMIT,
    TOO_LATE,
    Rows,
    Unit,
    complaint,
    converted,
    pack,
    terms,
)
from connectors.identity import text_key
from schemas.batches import Batch, LiquidationColumns, Tick
from schemas.records import (
    COVERAGES,
    VENUES,
    AccountEvent,
    Control,
    Coverage,
    DeadLetter,
    Funding,
    MarketRecord,
    MarkPrice,
    OpenInterest,
    Position,
    Trade,
)

Source = tuple[str, str, bytes, int]
"""A frame as ``connectors.exchange.Frame``: venue, feed, payload, receive time."""

RAW_LIMIT = 64 * 1024
NOTHING = LiquidationColumns.empty()
"""No rows; nobody writes to it."""
HOURS_PER_YEAR = 8760.0


class Intake:
    """Collects one batch over any number of venues; ``take`` converts it and starts the next."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.references: dict[str, float] = {}
        """Last USD price by asset, for coin-quoted and quanto contracts."""
        self.track = False
        """Whether ``closing`` is kept."""
        self.closing: list[Source] = []
        """The frames of the last batch that told forced closes."""
        self.venues: dict[str, VenueIntake] = {}
        self._coverage = np.zeros(len(VENUES), np.int8)
        self._clear()

    def _clear(self) -> None:
        self.rows: list[bytes] = []
        """Pending forced closes, each packed."""
        self.rates: dict[int, float] = {}
        """USD per reference asset of the few rows that need one, by row."""
        self.others: list[tuple[int, MarketRecord | Tick]] = []
        self._frames: list[Source] = []
        self._ends: list[int] = []
        for venue in self.venues.values():
            venue.bind()

    def venue(self, name: str, coverage: Coverage) -> VenueIntake:
        """The intake a session of ``name`` writes to."""
        known = self.venues.get(name)
        self._coverage[VENUES.index(name)] = COVERAGES.index(coverage)
        if known is None:
            known = self.venues[name] = VenueIntake(self, name)
        return known

    def open(self, frames: Sequence[Source]) -> tuple[list[bytes], Callable[[int], None]]:
        """Begin a batch of these frames. After each is read, in order, ``done(len(rows))`` must be called.

        :returns: rows, done.
        """
        self._frames = list(frames)
        return self.rows, self._ends.append

    @property
    def receive_time(self) -> int:
        """When the frame being read was received; 0 where unknown."""
        return self._frames[len(self._ends)][3]

    def put(self, record: MarketRecord | Tick) -> None:
        """Append what is no liquidation."""
        self.others.append((len(self.rows), record))

    def reject(self, reason: str) -> None:
        """The frame being read, or a part of it, becomes a dead letter."""
        self.put(self._letter(len(self._ends), reason))

    def _letter(self, frame: int, reason: str) -> DeadLetter:
        venue, feed, payload, received = self._frames[frame]
        if len(payload) > RAW_LIMIT:  # once per frame: a large body may hold hundreds of unknown rows
            payload = payload[:RAW_LIMIT]
            self._frames[frame] = (venue, feed, payload, received)
        return DeadLetter(venue, feed, reason, payload, received)

    def warm_up(self) -> None:
        """Load what is compiled, so that the first forced close does not wait for it."""
        none, nowhere = np.empty(0, np.int64), np.frombuffer(bytes(ROW.itemsize), ROW)[:0]
        converted(nowhere, {}, self.catalogue.columns, self._coverage, none, none)

    def take(self) -> Batch:
        """Everything collected since the last call, converted."""
        frames, symbols, assets = len(self._ends), self.catalogue.symbols, self.catalogue.assets
        columns, others = NOTHING, self.others
        self.closing = []
        if self.rows:
            rows = np.frombuffer(b"".join(self.rows), ROW)
            ends = np.array(self._ends, np.int64)
            received = np.array([f[3] for f in self._frames], np.int64)
            columns, sound = converted(rows, self.rates, self.catalogue.columns, self._coverage, received, ends)
            if self.track:
                self.closing = [self._frames[i] for i in np.flatnonzero(np.diff(ends, prepend=0))]
            if not sound.all():
                others = self._bury(rows, ends, sound)
                columns = columns.take(sound)
        self._clear()
        return Batch(columns, symbols, assets, others, frames)

    def _bury(
        self, rows: Rows, ends: NDArray[np.int64], sound: NDArray[np.bool_]
    ) -> list[tuple[int, MarketRecord | Tick]]:
        """Dead letters in the place of unsound rows, and the other records moved up accordingly."""
        kept = np.concatenate([[0], np.cumsum(sound)])
        letters: list[tuple[int, int, MarketRecord | Tick]] = []
        for row in np.flatnonzero(~sound).tolist():
            contract = self.catalogue.contracts[rows[row]["code"]]
            frame = int(np.searchsorted(ends, row, side="right"))
            reason = complaint(rows[row], self.rates.get(row, 1.0), contract)
            letters.append((row, 1, self._letter(frame, reason)))
        merged = sorted([*letters, *((before, 0, record) for before, record in self.others)], key=lambda item: item[:2])
        return [(int(kept[before]), record) for before, _, record in merged]


class VenueIntake:
    """What the sessions of one venue write to. Numbers are native; the intake knows the contracts."""

    def __init__(self, intake: Intake, venue: str) -> None:
        self.name = venue
        self.funding_hours: dict[str, float] = {}
        """Funding interval by instrument, where the venue tells it apart from the rate. Shared by all sessions."""
        self.mark_of: dict[str, float] = {}
        """Last native mark price by instrument. Shared by all sessions."""
        self._intake = intake
        self._codes = intake.catalogue.codes(venue)
        self._quoted = intake.catalogue.needing_reference
        self.bind()

    def bind(self) -> None:
        """Take hold of the arrays of a new batch."""
        self._append = self._intake.rows.append

    @property
    def receive_time(self) -> int:
        """When the frame being read was received, nanoseconds; 0 where unknown."""
        return self._intake.receive_time

    def knows(self, instrument: str) -> bool:
        """Whether the catalogue has this symbol."""
        return instrument in self._codes

    def instrument_of(self, number: str) -> str | None:
        """The symbol of the venue's numeric id, where its frames carry only that."""
        for code in self._codes.values():
            instrument = self._intake.catalogue.contracts[code].instrument
            if instrument.number == number:
                return instrument.instrument
        return None

    def forced_close(self, instrument: str, terms: int, price: float, quantity: float, time: int, key: int = 0) -> None:
        """One forced close.

        :arg terms: from ``terms(...)``: position, price kind, unit, cause, backfill.
        :arg price: as the venue wrote it.
        :arg quantity: positive, in the unit of ``terms``.
        :arg time: nanoseconds UTC by the venue's clock, 0 where it sends none.
        :arg key: the venue's own id of this close as an unsigned 64-bit integer (``text_key`` for text), 0 where it
            has none.
        """
        code = self._codes.get(instrument)
        if code is None:
            self._unknown(instrument)
            return
        if code in self._quoted:
            reference = self._intake.catalogue.contracts[code].reference
            self._intake.rates[len(self._intake.rows)] = self._intake.references.get(reference, math.nan)
        try:
            self._append(pack(code, terms, price, quantity, time, key))
        except (struct.error, OverflowError) as error:
            self.reject(f"{instrument}: price {price!r}, quantity {quantity!r}, time {time!r}, id {key!r}: {error}")

    def open_interest(
        self,
        instrument: str,
        quantity: float,
        unit: Unit,
        time: int,
        *,
        sides: int = 1,
        usd: float | None = None,
    ) -> None:
        """Open interest in native terms; ``sides=2`` where the venue counts both, ``usd`` where it tells USD itself."""
        contract = self._known(instrument)
        if contract is None or not self._sound(instrument, "open interest", quantity, zero=True):
            return
        if usd is not None and not self._sound(instrument, "open interest in USD", usd, zero=True):
            return
        base, worth = self._measure(contract, quantity / sides, unit, self.mark_of.get(instrument))
        if base is None and worth is None:
            self.reject(
                f"{instrument}: open interest of {quantity} needs a price of {contract.reference}, none seen yet"
            )
            return
        time, received = self._clocks(time)
        self._intake.put(
            OpenInterest(
                self.name, instrument, contract.asset, base,
                worth if usd is None else usd, time, received,
            )
        )  # fmt: skip

    def funding(
        self,
        instrument: str,
        rate: float,
        interval_hours: float,
        time: int,
        *,
        next_time: int | None = None,
        settled: bool = False,
    ) -> None:
        """Funding as a fraction of notional per ``interval_hours``."""
        contract = self._known(instrument)
        if contract is None:
            return
        annual = rate * HOURS_PER_YEAR / interval_hours if interval_hours else math.nan
        if not math.isfinite(annual) or not 0 < interval_hours < math.inf:
            self.reject(f"{instrument}: funding rate {rate!r} per {interval_hours!r} h is not a number")
            return
        time, received = self._clocks(time)
        if next_time is not None and not 0 < next_time < TOO_LATE:
            next_time = None
        asset = contract.asset
        self._intake.put(
            Funding(self.name, instrument, asset, rate, interval_hours, annual, next_time, time, received, settled)
        )

    def mark_price(self, instrument: str, price: float, time: int, *, index_price: float | None = None) -> None:
        """Mark (and index) price in native quote per native base coin."""
        contract = self._known(instrument)
        if contract is None or not self._sound(instrument, "mark price", price):
            return
        self.observe(instrument, price)
        time, received = self._clocks(time)
        divisor = contract.divisor
        index = index_price / divisor if index_price is not None and math.isfinite(index_price) else None
        self._intake.put(MarkPrice(self.name, instrument, contract.asset, price / divisor, index, time, received))

    def observe(self, instrument: str, price: float) -> None:
        """Remember a price of this instrument for conversions, without telling anyone."""
        code = self._codes.get(instrument)
        if code is None or not (math.isfinite(price) and price > 0):
            return
        contract = self._intake.catalogue.contracts[code]
        self.mark_of[instrument] = price
        if not contract.reference:
            self._intake.references[contract.asset] = price / contract.divisor

    def trade(
        self,
        instrument: str,
        taker: Literal["buy", "sell"],
        price: float,
        quantity: float,
        unit: Unit,
        time: int,
        trade_id: str,
        *,
        backfill: bool = False,
    ) -> None:
        """An ordinary trade."""
        contract = self._known(instrument)
        if contract is None:
            return
        if not (self._sound(instrument, "price", price) and self._sound(instrument, "quantity", quantity)):
            return
        self.observe(instrument, price)
        base, usd = self._measure(contract, quantity, unit, price)
        if base is None or usd is None:
            self.reject(f"{instrument}: no USD price of {contract.reference} seen yet")
            return
        time, received = self._clocks(time)
        self._intake.put(
            Trade(trade_id, self.name, instrument, contract.asset, taker, price / contract.divisor, base, usd, time,
                  received, backfill)
        )  # fmt: skip

    def account(
        self,
        instrument: str,
        event: Literal["liquidation", "adl", "fill", "margin_call", "position"],
        time: int,
        *,
        position: Position | None = None,
        order_side: Literal["buy", "sell"] | None = None,
        price: float | None = None,
        quantity: float | None = None,
        unit: Unit = "contracts",
        remaining: float | None = None,
        order_id: str = "",
        client_id: str = "",
        trade_id: str = "",
        detail: str = "",
    ) -> None:
        """What happened to the desk's own position. ``remaining`` is signed and native: 0 flat, ``None`` untold.

        ``trade_id`` tells two equal fills of one order apart.
        """
        contract = self._known(instrument)
        if contract is None:
            return
        priced = price if price is not None and math.isfinite(price) and price > 0 else None
        base = usd = left = None
        if remaining is not None and not math.isfinite(remaining):
            remaining = None
        if quantity is not None and math.isfinite(quantity):
            base, usd = self._measure(contract, abs(quantity), unit, priced or self.mark_of.get(instrument))
        if remaining:
            left = self._measure(contract, abs(remaining), unit, priced or self.mark_of.get(instrument))[0]
            left = math.copysign(left, remaining) if left is not None else None
        state: Literal["known", "flat", "unknown"] = "unknown" if left is None else "known"
        if remaining == 0:
            state, left = "flat", 0.0
        time, received = self._clocks(time)
        order_id, client_id, detail, trade_id = str(order_id), str(client_id), str(detail), str(trade_id)
        identity = text_key(
            "|".join(
                (self.name, instrument, event, order_id, client_id, str(time), repr(quantity), repr(price), trade_id)
            )
        )
        self._intake.put(
            AccountEvent(
                f"{identity:016x}", self.name, instrument, contract.asset, event, position, order_side,
                priced / contract.divisor if priced else None, base, usd, state, left, order_id, client_id, detail,
                time, received,
            )
        )  # fmt: skip

    def control(
        self,
        what: Literal["ack", "refused", "heartbeat", "ping", "pong", "welcome", "metadata", "ignored", "gap"],
        detail: str = "",
    ) -> None:
        """The frame is understood and is no event."""
        self._intake.put(Control(self.name, what, detail, self._intake.receive_time))

    def reject(self, reason: str) -> None:
        """The frame, or a part of it, becomes a dead letter."""
        self._intake.reject(reason)

    def _unknown(self, instrument: object) -> None:
        self.reject(
            f"instrument {instrument!r} is not known on {self.name}: "
            "load its metadata (or pass --instruments) and re-drive"
        )

    def _known(self, instrument: str) -> Contract | None:
        code = self._codes.get(instrument)
        if code is None:
            self._unknown(instrument)
            return None
        return self._intake.catalogue.contracts[code]

    def _sound(self, instrument: str, what: str, value: float, *, zero: bool = False) -> bool:
        if math.isfinite(value) and (value > 0 or (zero and value == 0)):
            return True
        self.reject(f"{instrument}: {what} {value!r} is not a positive number")
        return False

    def _clocks(self, time: int) -> tuple[int, int]:
        if not 0 < time < TOO_LATE:
            time = 0
        received = self._intake.receive_time or time
        if time <= 0 or time - received > SKEW_LIMIT:
            time = received
        return time, received

    def _measure(
        self, contract: Contract, quantity: float, unit: Unit, price: float | None
    ) -> tuple[float | None, float | None]:
        """Base units and USD of a native quantity; ``None`` for what needs a price nobody told yet."""
        each = price / contract.divisor if price else None
        rate = 1.0
        if contract.reference:
            rate = self._intake.references.get(contract.reference, math.nan)
        kind = contract.instrument.contract_unit if unit == "contracts" else unit
        if kind == "quanto":
            return (None, None) if math.isnan(rate) else _worth(quantity * contract.size * rate, each, 1.0)
        if kind == "base":
            base = quantity * (contract.size if unit == "contracts" else contract.coin)
            return _worth(base, each, rate)
        worth = quantity * (contract.size if unit == "contracts" else 1.0)
        if not math.isfinite(worth):
            return None, None
        usd = None if math.isnan(rate) else worth * rate
        base = worth / each if each else math.inf
        return (base if math.isfinite(base) else None), usd


def _worth(base: float, each: float | None, rate: float) -> tuple[float | None, float | None]:
    if not math.isfinite(base):
        return None, None
    usd = base * each * rate if each else None
    return base, usd if usd is not None and math.isfinite(usd) else None


__all__ = ["BACKFILL", "SAMPLED", "Intake", "Unit", "VenueIntake", "terms", "text_key"]
