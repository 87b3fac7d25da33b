"""The types settings are written in, and how each is read: durations, venues, contracts, options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from schemas.instruments import canonical
from schemas.records import RECORDED_ONLY, VENUES

LISTENED = tuple(venue for venue in VENUES if venue not in RECORDED_ONLY)
"""The venues a connection can be made to."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ADDRESS = re.compile(r"https?://[^\s/?#]+(/[^\s/?#]+)*")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)")


def read_duration(text: object) -> float:
    """Seconds in ``"100ms"``, ``"5s"``, ``"1.5m"``, ``"1h"``; ValueError for anything else, bare numbers included."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a number and a unit, such as 100ms, 5s, 1m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def write_duration(seconds: float) -> str:
    """The shortest text ``read_duration`` reads back: ``60.0`` -> ``"1m"``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count = seconds / _UNITS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-6:
            return f"{round(count)}{unit}"
    return f"{seconds:g}s"


def nearest(name: str, known: Iterable[str], spelled: Callable[[str], str] = str) -> str:
    """``; did you mean 'x' or 'y'?`` where known names come near, else nothing."""
    lowered = {k.lower(): k for k in known}
    # One that is nearly the same needs no company.
    close = get_close_matches(name.lower(), list(lowered), 1, 0.85) or get_close_matches(name.lower(), list(lowered))
    return f"; did you mean {' or '.join(repr(spelled(lowered[k])) for k in close)}?" if close else ""


def listed(value: object) -> object:
    """A list that may be written as text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _venue(name: str) -> str:
    if name not in VENUES:
        raise ValueError(f"no venue {name!r}{nearest(name, VENUES)}")
    return name


def _asset(name: str) -> str:
    return canonical(name.strip())[0]


def _gateway(text: str) -> str:
    venue, _, address = text.partition("=")
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{text!r} names no gateway: write bybit=https://host/path, without a slash at the end")
    return f"{_venue(venue)}={address}"


def _kafka_option(text: str) -> str:
    name, is_one, _ = text.partition("=")
    if not is_one or not re.fullmatch(r"[a-z_.]+", name):
        raise ValueError(f"{text!r} is no option: write name=value, such as compression.type=zstd")
    return text


def _start(text: str) -> str:
    if text not in {"beginning", "end"}:
        read_duration(text)
    return text


def _contract(text: str) -> str:
    asset, _, contract = text.partition("=")
    venue, _, instrument = contract.partition("/")
    if not asset or not instrument:
        raise ValueError(f"{text!r} names no contract: write BTC=hyperliquid/BTC")
    return f"{_asset(asset)}={_venue(venue)}/{instrument}"


def _reason_mode(text: str) -> str:
    reason, _, mode = text.partition("=")
    if not reason or mode not in CLOSE_MODES:
        raise ValueError(
            f"{text!r} is no mode for a reason: write MANUAL=limit_only; modes are {', '.join(CLOSE_MODES)}"
        )
    return text


def unset(value: object) -> object:
    """Empty text says nothing."""
    return None if value == "" else value


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Duration = Annotated[float, BeforeValidator(read_duration), PlainSerializer(write_duration)]
"""Seconds, written with a unit."""
VenueName = Annotated[str, BeforeValidator(_venue)]
Contract = Annotated[str, BeforeValidator(_contract)]
"""A contract that may carry a hedge, ``BTC=hyperliquid/BTC``."""
ReasonMode = Annotated[str, BeforeValidator(_reason_mode)]
"""How closes of a reason go, ``MANUAL=limit_only``."""
Gateway = Annotated[str, BeforeValidator(_gateway)]
"""A venue and the HTTP address it is reached at, ``bybit=https://host/path``."""
KafkaOption = Annotated[str, BeforeValidator(_kafka_option)]
"""``name=value`` as librdkafka names it."""
AssetName = Annotated[str, BeforeValidator(_asset)]
Start = Annotated[str, AfterValidator(_start)]
"""``beginning``, ``end``, or a duration: so long ago."""
Share = Annotated[float, Field(ge=0, le=1)]
Reaction = Literal["nothing", "tighten", "reduce", "close"]
CloseMode = Literal["limit_only", "limit_with_fallback", "market_only", "aggressive_limit"]
CLOSE_MODES: tuple[str, ...] = get_args(CloseMode)


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
