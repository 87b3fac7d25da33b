"""One request to a venue's REST interface, answered with what came back or with nothing: never with an exception."""

from __future__ import annotations

import asyncio
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx2
import msgspec

from connectors.rest import USER_AGENT
from connectors.venues.access import Permission, ReadPermission, reads
from schemas.clock import SECOND, seconds
from schemas.errors import UsageError
from schemas.instruments import Instrument, scale
from schemas.orders import Outcome, Unknown

_BODY = 16 * 1024 * 1024
"""The longest answer that is read: some venues list all contracts at once."""


class Answer(NamedTuple):
    """What a venue answered."""

    status: int
    body: Any
    """Decoded JSON; ``None`` where it is none."""
    retry_after: int | None = None
    """Nanoseconds."""

    @property
    def good(self) -> bool:
        """A 2xx answer with a readable body."""
        return 200 <= self.status < 300 and self.body is not None


class Lost(NamedTuple):
    """No answer: whether the request arrived nobody knows."""

    reason: str


class Transport:
    """A connection to one venue, kept open.

    :arg timeout: seconds for the whole exchange.
    :arg permission: with one to read, whatever is no question stays here: this is the only way out of a venue's client.
    """

    def __init__(self, base: str, *, timeout: float, permission: Permission = None) -> None:
        self._base = base
        self._looking = isinstance(permission, ReadPermission)
        self._timeout = timeout
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, headers={"User-Agent": USER_AGENT})

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer | Lost:
        """One exchange. A redirect is no answer of the venue and is not followed."""
        if self._looking and not reads(method, path):
            return Lost(f"not sent: {method} {path.partition('?')[0]} is no question, and only questions are allowed")
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.request(
                    method, self._base + path, content=body or None, headers=headers or {}
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            return Lost(type(error).__name__)
        return Answer(response.status_code, _json(response.content), _wait(response.headers.get("retry-after")))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()


async def told_time(base: str, *, patience: float) -> int | None:
    """The clock of a host in nanoseconds UTC, by the ``Date`` of any answer: whole seconds. ``None``: it tells none."""
    async with httpx2.AsyncClient(timeout=patience, trust_env=False, headers={"User-Agent": USER_AGENT}) as client:
        try:
            answer = await client.get(base + "/")
            return int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp()) * SECOND
        except (httpx2.HTTPError, ValueError, TypeError):
            return None


def _json(raw: bytes) -> Any:
    if len(raw) > _BODY:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None


def _wait(text: str | None) -> int | None:
    try:
        return seconds(float(text)) if text is not None else None
    except ValueError:
        return None


def troubled(answer: Answer | Lost) -> Outcome | None:
    """What an answer means that is not the venue's word on the order itself; ``None`` for one that is.

    Never an exception's class, always the status: 429 and 418 are refusals before anything was looked at, 5xx may
    have been carried out.
    """
    if isinstance(answer, Lost):
        return Outcome(kind="unknown", code=answer.reason)
    if answer.status in {429, 418}:
        return Outcome(kind="throttled", code=f"HTTP {answer.status}", retry_after=answer.retry_after or SECOND)
    if answer.status >= 500 or answer.status < 200 or 300 <= answer.status < 400:
        return Outcome(kind="unknown", code=f"HTTP {answer.status}")
    if answer.body is None:
        kind = "unknown" if answer.status < 300 else "refused"
        return Outcome(kind=kind, code=f"HTTP {answer.status}, no JSON")  # type: ignore[arg-type] # one of the two
    return None


def decimal(value: Any) -> Decimal:
    """A number as the venue wrote it.

    :raises ValueError: it is none, or not finite.
    """
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"no number: {value!r}") from error
    if not number.is_finite():
        raise ValueError(f"not finite: {value!r}")
    return number


def optional(value: Any) -> Decimal | None:
    """As ``decimal``; nothing, empty text and zero are not told."""
    return decimal(value) or None if value not in {None, ""} else None


def plain(number: Decimal) -> str:
    """Digits without exponent or trailing zeros, as every venue reads them."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


UNREAD = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What reading an answer of the wrong shape raises."""


def expect(answer: Answer | Lost) -> Any:
    """The body of a good answer.

    :raises ValueError: there is none; says why.
    """
    if isinstance(answer, Lost):
        raise ValueError(answer.reason)
    if not answer.good:
        raise ValueError(f"HTTP {answer.status} {answer.body}")
    return answer.body


def unread(error: Exception) -> Unknown:
    """An answer that could not be had or read."""
    return Unknown(f"{type(error).__name__}: {error}"[:200])


def unscaled(instrument: Instrument) -> Instrument:
    """The instrument, if one unit of it is one coin.

    :raises UsageError: it counts thousands of coins; orders in base units would be off by as much.
    """
    _, factor, divisor = scale(instrument)
    if factor != 1.0 or divisor != 1.0 or instrument.contract_size != 1.0 or instrument.contract_unit != "base":
        raise UsageError(f"{instrument.venue} {instrument.instrument} does not count single coins: not traded")
    return instrument
