"""Bitfinex derivatives.

| channel | what it tells | evidence |
|---|---|---|
| ``status`` ``liq:global`` | liquidated positions, margin positions on spot pairs among them | vendor docs |
| ``status`` ``deriv:<symbol>`` | mark, spot price, running funding, open interest | vendor docs |
| ``GET /v2/liquidations/hist`` | the same rows: backfill | vendor docs, documentation example |

The sign of the amount is the position's: positive was a long. ``[6]`` is the **entry** price of the position; ``[11]``
is the price at which the system took it over, the only one that says what the close was worth.

One position yields several rows with one id: a trigger (``IS_MATCH`` 0), as a rule without ``[11]``, and milliseconds
later its closing rows with ``[11]`` (seen: the whole amount, then what of it was matched). Each position is counted
**once**: at the first row that tells ``[11]``, with the amount of the trigger where that was larger. A trigger without
``[11]`` therefore is a control, not an event. An execution (``IS_MATCH`` 1) without ``[11]``, as in old data, is told
at the last mark price seen, as ``mark``, and is a dead letter where none was seen: the entry price is never published.

Only symbols with ``F0:`` are derivatives; other liquidations are known and ignored. Frames are arrays matched by the
channel number of the ``subscribed`` answer; a recorded frame without one is understood by its shape, except that a
derivatives status then does not say whose it is. Funding is paid every 8 h. ADL is not told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import msgspec
from msgspec import Struct

from connectors.exchange import (
    Acknowledged,
    Connection,
    Denied,
    Endpoints,
    Exchange,
    RateLimit,
    Request,
    Session,
)
from connectors.intake import BACKFILL, VenueIntake, terms
from schemas.clock import MICROSECOND, MILLISECOND
from schemas.instruments import Instrument

_DERIVATIVE = "F0:"
_LONG, _SHORT = terms("long", "takeover", "base"), terms("short", "takeover", "base")
_LONG_MARK, _SHORT_MARK = terms("long", "mark", "base"), terms("short", "mark", "base")
_REMEMBERED = 10_000
"""Positions whose rows are still told apart; a position's rows come within milliseconds."""
_CHANNELS = 25
"""Subscriptions one connection may hold."""
_HOURS = 8.0
_STATUS_FIELDS = 18
_ASSETS = {
    "ALG": "ALGO", "AMP": "AMPL", "ATO": "ATOM", "DSH": "DASH", "IOT": "IOTA", "LUNA": "LUNC", "LUNA2": "LUNA",
    "MNA": "MANA", "QTM": "QTUM", "TSD": "TUSD", "UST": "USDT",
}  # fmt: skip
"""The venue's spelling -> the asset's own, where they differ."""


class _Row(Struct, array_like=True, gc=False):
    """``["pos",7001,1790000000123.5,null,"tSOLF0:USTF0",-2.5,171.2,null,1,1,null,176.8]``."""

    kind: str
    position: int
    time: float
    unused_3: Any
    symbol: str
    amount: float
    entry_price: float | None
    unused_7: Any = None
    is_match: int | None = None
    is_market_sold: int | None = None
    unused_10: Any = None
    closing_price: float | None = None


class _Rows(Struct, array_like=True, gc=False):
    """``[channel number, [row, …]]``."""

    channel: int
    rows: list[_Row]


_rows = msgspec.json.Decoder(_Rows, strict=False).decode
_any = msgspec.json.Decoder().decode


class _Session(Session):
    def __init__(self, intake: VenueIntake) -> None:
        super().__init__(intake)
        self._keys: dict[int, str] = {}
        """Channel number -> subscribed key."""
        self._positions: OrderedDict[int, float | None] = OrderedDict()
        """Position id -> amount its trigger told; nothing once counted."""

    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """See ``Session.read``."""
        try:
            frame = _rows(payload)
        except msgspec.ValidationError:
            self._read_other(_any(payload))
            return
        if frame.rows:
            self.each(frame.rows, self._told)
        else:
            self.intake.control("ignored", "no rows")

    def _told(self, row: _Row, backfill: int = 0) -> None:
        if row.kind != "pos":
            raise ValueError(f"a liquidation row starts with pos, not {row.kind!r}")
        if _DERIVATIVE not in row.symbol:
            self.intake.control("ignored", f"{row.symbol}: a margin position on a spot pair")
            return
        triggered = self._positions.get(row.position, 0.0)
        if triggered is None:
            self.intake.control("ignored", f"position {row.position} is counted already")
        elif row.closing_price is None and row.is_match != 1:
            self._remember(row.position, row.amount)
            self.intake.control("ignored", f"position {row.position} triggered, its closing price is not told yet")
        else:
            whole = row.amount * triggered > 0 and abs(row.amount) < abs(triggered) < inf
            self._forced(row, triggered if whole else row.amount, backfill)

    def _forced(self, row: _Row, amount: float, backfill: int) -> None:
        price, long, short = row.closing_price, _LONG, _SHORT
        if price is None:
            price, long, short = self.intake.mark_of.get(row.symbol), _LONG_MARK, _SHORT_MARK
        if price is None:
            raise ValueError("the row tells no closing price ([11]) and no mark price was seen; [6] is the entry price")
        closed = (long if amount > 0 else short) | backfill
        self.intake.forced_close(row.symbol, closed, price, abs(amount), _nanoseconds(row.time), row.position)
        if amount and 0 < price < inf and abs(amount) < inf:
            self._remember(row.position, None)

    def _remember(self, position: int, amount: float | None) -> None:
        self._positions[position] = amount
        if len(self._positions) > _REMEMBERED:
            self._positions.popitem(last=False)

    def _read_other(self, body: Any) -> None:
        match body:
            case [int(), "hb"]:
                self.intake.control("heartbeat")
            case [int(), list(rows)] if _liquidations(rows):
                self.each(rows, lambda row: self._told(msgspec.convert(row, _Row, strict=False)))
            case [int(channel), [int() | float(), *_] as status] if len(status) >= _STATUS_FIELDS:
                self._status(self._keys.get(channel, "").removeprefix("deriv:"), status)
            case [[["pos", *_], *_], *_]:
                self.each(body, self._read_past)
            case [[str(), int() | float(), *status], *_] if len(status) >= _STATUS_FIELDS - 1:
                self.each(body, lambda row: self._status(row[0], row[1:]))
            case [[str(), *_] as pairs] if all(isinstance(pair, str) for pair in pairs):
                self.intake.control("metadata", f"{len(pairs)} instruments")
            case []:
                self.intake.control("ignored", "no rows")
            case {"event": str(event)}:
                self._event(event, body)
            case ["error", code, reason]:
                self.intake.control("refused", f"{code}: {reason}")
            case _:
                raise ValueError("no frame of this venue")

    def _read_past(self, item: Any) -> None:
        self.each(item, lambda row: self._told(msgspec.convert(row, _Row, strict=False), BACKFILL))

    def _event(self, event: str, body: dict[str, Any]) -> None:
        match event:
            case "subscribed":
                key = str(body.get("key", body.get("symbol", "")))
                self._keys[int(body["chanId"])] = key
                self.intake.control("ack", key)
            case "unsubscribed" | "conf":
                self.intake.control("ack", event)
            case "info":
                self.intake.control("welcome", str(body.get("msg", body.get("version", ""))))
            case "pong":
                self.intake.control("pong")
            case "error":
                self.intake.control("refused", f"{body.get('code', '')}: {body.get('msg', '')}")
            case _:
                raise ValueError(f"no event {event!r} is known")

    def _status(self, symbol: str, status: list[Any]) -> None:
        """Fields 0 ms, 3 spot price, 7 next funding, 11 running funding, 14 mark, 17 open interest in base coins."""
        if not symbol:
            self.intake.control("ignored", "derivatives status of a channel whose subscription is not recorded")
            return
        if not symbol.startswith("t") or _DERIVATIVE not in symbol:
            raise ValueError(f"{symbol!r} is no derivative")
        time, spot, following, funding = _nanoseconds(status[0]), status[3], status[7], status[11]
        mark, interest = status[14], status[17]
        if mark is not None:
            self.intake.mark_price(symbol, float(mark), time, index_price=float(spot) if spot is not None else None)
        if interest is not None:
            self.intake.open_interest(symbol, float(interest), "base", time)
        if funding is not None:
            next_time = _nanoseconds(following) if following else None
            self.intake.funding(symbol, float(funding), _HOURS, time, next_time=next_time)
        if mark is None and interest is None and funding is None:
            self.intake.control("ignored", f"{symbol}: empty status")


def _nanoseconds(milliseconds: float) -> int:
    """Exact for whole milliseconds, which a float product is not."""
    whole = int(milliseconds)
    return whole * MILLISECOND + round((milliseconds - whole) * 1000) * MICROSECOND  # a double holds no more


def _liquidations(rows: list[Any]) -> bool:
    return any(isinstance(row, list) and row[:1] == ["pos"] for row in rows)


def _asset(name: str) -> str:
    plain = name.removesuffix("F0")
    return _ASSETS.get(plain, plain)


class Bitfinex(Exchange):
    """Perpetual contracts counted in base coins."""

    venue = "bitfinex"
    title = "Bitfinex"
    coverage = "complete"
    production = Endpoints("wss://api-pub.bitfinex.com", "https://api-pub.bitfinex.com")
    rate_limit = RateLimit(10, 60.0)
    session_type = _Session

    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """The global liquidation channel, and a derivatives status per contract, 25 channels to a socket."""
        keys = ["liq:global", *(f"deriv:{i.instrument}" for i in instruments)]
        groups = [keys[start : start + _CHANNELS] for start in range(0, len(keys), _CHANNELS)]
        return tuple(
            Connection(
                f"status-{number + 1}" if number else "liquidations",
                f"{endpoints.websocket}/ws/2",
                tuple(f'{{"event":"subscribe","channel":"status","key":"{key}"}}' for key in group),
                len(group),
                carries_liquidations=number == 0,
            )
            for number, group in enumerate(groups)
        )

    def metadata_requests(self) -> Sequence[Request]:
        """The list of futures pairs; every one counts base coins."""
        return (Request("/v2/conf/pub:list:pair:futures"),)

    def metadata(self, body: bytes) -> Iterable[Instrument]:
        """``[["SOLF0:USTF0", …]]``."""
        for pair in _any(body)[0]:
            base, _, quote = pair.partition(":")
            money = _asset(quote)
            yield Instrument(self.venue, f"t{pair}", _asset(base), 1.0, "base", money, money)

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:
        """``subscribed`` is yes; code 10301 is a key subscribed twice."""
        if len(frame) > 400 or not frame.startswith(b"{"):
            return None
        match _any(frame):
            case {"event": "subscribed"}:
                return Acknowledged()
            case {"event": "error", **rest}:
                return Denied(f"{rest.get('code', '')}: {rest.get('msg', '')}")
        return None


EXCHANGES: tuple[Exchange, ...] = (Bitfinex(),)
