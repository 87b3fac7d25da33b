"""Where dialects put what a frame told, in the venue's own terms; converted to base units and USD a batch at a time.

The split keeps a dialect small (no unit arithmetic, no instrument lookup, no ids) and the hot path columnar: a forced
close is one packed row, everything else about it is computed for the whole batch at once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.catalogue import Catalogue, Contract
from connectors.identity import event_ids, text_key
from schemas.batches import Batch, LiquidationColumns, Tick
from schemas.clock import SECOND
from schemas.instruments import CONTRACT_UNITS
from schemas.records import (
    CAUSES,
    COVERAGES,
    POSITIONS,
    PRICE_KINDS,
    TIME_SOURCES,
    VENUES,
    AccountEvent,
    Cause,
    Control,
    Coverage,
    DeadLetter,
    Funding,
    MarketRecord,
    MarkPrice,
    OpenInterest,
    Position,
    PriceKind,
    Trade,
)

Unit = Literal["contracts", "base", "quote"]
"""What a native quantity counts: contracts, the venue's base coins, or quote currency."""
UNITS: tuple[Unit, ...] = ("contracts", "base", "quote")

SKEW_LIMIT = 10 * SECOND
"""An event this far ahead of its receipt was stamped by a wrong clock."""
RAW_LIMIT = 64 * 1024
_TOO_LATE = 2**63
"""Nanoseconds no signed 64-bit clock can hold."""
HOURS_PER_YEAR = 8760.0


def terms(
    position: Position,
    price_kind: PriceKind,
    unit: Unit,
    cause: Cause = "liquidation",
    *,
    backfill: bool = False,
) -> int:
    """Everything constant about a kind of forced close as one small integer; dialects compute it once."""
    return (
        POSITIONS.index(position)
        | CAUSES.index(cause) << 1
        | PRICE_KINDS.index(price_kind) << 3
        | UNITS.index(unit) << 6
        | backfill << 8
    )


Source = tuple[str, str, bytes, int]
"""A frame as ``connectors.exchange.Frame``: venue, feed, payload, receive time."""

BACKFILL = 1 << 8
"""Or-ed into ``terms``: the venue replayed this on subscribe."""

SAMPLED = COVERAGES.index("sampled") << 9
"""Or-ed into ``terms``: a sampled feed of a venue whose coverage is otherwise ``complete``."""


_ROW = np.dtype(
    [
        ("code", np.int32),
        ("terms", np.int32),
        ("price", np.float64),
        ("quantity", np.float64),
        ("time", np.int64),
        ("key", np.uint64),
    ]
)
"""A pending forced close, native terms."""
_pack = struct.Struct("<iiddqQ").pack
"""The same as bytes: checks each type and makes the row at once, so that no row is ever half there."""


class _Rows(NamedTuple):
    """The pending forced closes as arrays."""

    code: NDArray[np.int32]
    terms: NDArray[np.int32]
    price: NDArray[np.float64]
    quantity: NDArray[np.float64]
    time: NDArray[np.int64]
    key: NDArray[np.uint64]
    rate: NDArray[np.float64]


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
        self._venues: dict[str, VenueIntake] = {}
        self._coverage = np.zeros(len(VENUES), np.int8)
        self._clear()

    def _clear(self) -> None:
        self.rows: list[bytes] = []
        """Pending forced closes, each ``_pack``-ed."""
        self.rates: dict[int, float] = {}
        """USD per reference asset of the few rows that need one, by row."""
        self.others: list[tuple[int, MarketRecord | Tick]] = []
        self._frames: list[Source] = []
        self._ends: list[int] = []
        for venue in self._venues.values():
            venue.bind()

    def venue(self, name: str, coverage: Coverage) -> VenueIntake:
        """The intake a session of ``name`` writes to."""
        known = self._venues.get(name)
        self._coverage[VENUES.index(name)] = COVERAGES.index(coverage)
        if known is None:
            known = self._venues[name] = VenueIntake(self, name)
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

    def take(self) -> Batch:
        """Everything collected since the last call, converted."""
        packed = np.frombuffer(b"".join(self.rows), _ROW)
        native = {name: np.ascontiguousarray(packed[name]) for name in _ROW.names or ()}
        rows = _Rows(**native, rate=np.ones(len(packed)))
        for row, rate in self.rates.items():
            rows.rate[row] = rate
        ends = np.array(self._ends, np.int64)
        frame = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0)) if len(rows.code) else ends[:0]
        columns, sound = self._convert(rows, frame, ends)
        others = self.others
        if not sound.all():
            others = self._bury(rows, frame, sound)
            columns = columns.take(sound)
        batch = Batch(columns, self.catalogue.symbols, self.catalogue.assets, others, len(ends))
        if self.track:
            self.closing = [self._frames[i] for i in np.unique(frame)]
        self._clear()
        return batch

    def _convert(
        self, rows: _Rows, frame: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[LiquidationColumns, NDArray[np.bool_]]:
        table = self.catalogue.columns
        code = rows.code
        unit = rows.terms >> 6 & 3
        by_contract = unit == UNITS.index("contracts")
        kind = np.where(by_contract, table.unit[code], -1)
        price = rows.price / table.divisor[code]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            native = rows.quantity * np.where(by_contract, table.size[code], 1.0)
            is_base = (unit == UNITS.index("base")) | (kind == CONTRACT_UNITS.index("base"))
            is_quanto = kind == CONTRACT_UNITS.index("quanto")
            base = np.where(
                is_base,
                np.where(by_contract, native, native * table.coin[code]),
                np.where(is_quanto, native * rows.rate, native / price),
            )
            quoted = np.where(is_base | is_quanto, base * price, native)
            usd = np.where(is_quanto, quoted, quoted * rows.rate)
        received = np.array([f[3] for f in self._frames], np.int64)[frame]
        event_time, received, source = _times(rows.time, received)
        sound = np.isfinite(usd) & (usd > 0) & np.isfinite(base) & (base > 0) & (price > 0) & np.isfinite(price)
        sound &= usd < 1e12
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
        ids = event_ids(
            table.salt[code], rows.terms & 0b111, rows.time, rows.price, rows.quantity, rows.key, starts, ends
        )
        columns = LiquidationColumns(
            event_id=ids,
            venue=table.venue[code],
            instrument=code,
            asset=table.asset[code],
            position=(rows.terms & 1).astype(np.int8),
            cause=(rows.terms >> 1 & 3).astype(np.int8),
            price=price,
            price_kind=(rows.terms >> 3 & 7).astype(np.int8),
            quantity=base,
            notional_usd=usd,
            event_time=event_time,
            receive_time=received,
            coverage=np.maximum(self._coverage[table.venue[code]], rows.terms >> 9 & 3).astype(np.int8),
            backfill=(rows.terms & BACKFILL) != 0,
            time_source=source,
        )
        return columns, sound

    def _bury(
        self, rows: _Rows, frame: NDArray[np.int64], sound: NDArray[np.bool_]
    ) -> list[tuple[int, MarketRecord | Tick]]:
        """Dead letters in the place of unsound rows, and the other records moved up accordingly."""
        kept = np.concatenate([[0], np.cumsum(sound)])
        letters: list[tuple[int, int, MarketRecord | Tick]] = []
        for row in np.flatnonzero(~sound):
            contract = self.catalogue.contracts[rows.code[row]]
            letters.append((int(row), 1, self._letter(int(frame[row]), _complaint(rows, int(row), contract))))
        merged = sorted([*letters, *((before, 0, record) for before, record in self.others)], key=lambda item: item[:2])
        return [(int(kept[before]), record) for before, _, record in merged]


def _times(
    time: NDArray[np.int64], received: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Event time, receive time and time source: what one clock lacks, the other fills in."""
    received = np.where(received == 0, np.maximum(time, 0), received)
    skewed = (time - received) > SKEW_LIMIT
    absent = time <= 0
    source = np.where(absent, np.where(received > 0, TIME_SOURCES.index("receive"), TIME_SOURCES.index("none")), 0)
    source = np.where(skewed, TIME_SOURCES.index("skew"), source).astype(np.int8)
    return np.where(absent | skewed, received, time), received, source


def _complaint(rows: _Rows, row: int, contract: Contract) -> str:
    price, quantity = float(rows.price[row]), float(rows.quantity[row])
    symbol = contract.instrument.instrument
    if math.isnan(rows.rate[row]):
        return f"{symbol}: no USD price of {contract.reference} seen yet; re-drive after its mark price"
    if not (math.isfinite(price) and price > 0):
        return f"{symbol}: price {price!r} is not a positive number"
    if not (math.isfinite(quantity) and quantity > 0):
        return f"{symbol}: quantity {quantity!r} is not a positive number"
    return f"{symbol}: {quantity!r} at {price!r} is no possible notional; check its contract size"


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
            self._append(_pack(code, terms, price, quantity, time, key))
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
        if next_time is not None and not 0 < next_time < _TOO_LATE:
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
        if not 0 < time < _TOO_LATE:
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
