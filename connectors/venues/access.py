"""What it takes to trade on a venue: endpoints, a permission, and secrets that never show."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from connectors.exchange import Endpoints
from schemas.errors import SettingsError, UsageError


@dataclass(frozen=True, slots=True)
class LivePermission:
    """Somebody switched live trading on for this venue. Only settings make one, never a default."""

    venue: str


@dataclass(frozen=True, slots=True)
class ReadPermission:
    """Somebody wants to look at an account of this venue: nothing that changes anything leaves (``reads``)."""

    venue: str


Permission = LivePermission | ReadPermission | None


def admitted(venue: str, endpoints: Endpoints, permission: Permission) -> Endpoints:
    """The endpoints, if requests may go there: on this machine always, elsewhere with a permission for the venue.

    :raises UsageError: not permitted.
    """
    outside = [url for url in (endpoints.rest, endpoints.websocket) if not _loopback(url)]
    if outside and (permission is None or permission.venue != venue):
        raise UsageError(
            f"orders to {outside[0]} need a live permission for {venue}: set executor mode live and enable the venue"
        )
    return endpoints


class AccountModes(NamedTuple):
    """What a venue tells of an account and of the key that is used; ``None`` for what it does not tell."""

    one_way: bool | None = None
    """One position per contract, long or short. In the other mode nothing here would be true."""
    trades: bool | None = None
    """Whether the key may place orders."""
    withdraws: bool | None = None
    """Whether the key may take money out; ours must not."""


_HARMLESS = frozenset({"/info", "/fapi/v1/listenKey", "/fapi/v3/listenKey"})
"""Questions that are no GET: Hyperliquid's, and the keys of the user streams of Binance and Aster."""
_QUESTIONS = "/v2/auth/r/"
"""Bitfinex asks by POST."""


def reads(method: str, path: str) -> bool:
    """Whether a request can only be a question: no order, cancel, change, fence or dead-man's switch is one.

    What is not known to be a question is none.
    """
    bare = path.partition("?")[0]
    return method == "GET" or bare in _HARMLESS or bare.startswith(_QUESTIONS)


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def secret(name: str, environment: Mapping[str, str], directory: Path | None = None) -> SecretStr:
    """The secret ``name``: from the environment variable, else from the file of that name in ``directory``.

    :raises SettingsError: neither is there, or the file may be read by others than its owner.
    """
    told = environment.get(name, "").strip()
    if told:
        return _spelled(name, told)
    path = directory / name if directory is not None else None
    if path is None or not path.is_file():
        place = f"in {directory}" if directory is not None else "in the directory that executor.secrets names"
        raise SettingsError(
            f"no secret {name}: set the environment variable {name}, or put a file of that name and mode 600 {place}"
        )
    return secret_file(path)


def secret_origin(name: str, environment: Mapping[str, str], directory: Path | None = None) -> str:
    """Where ``secret`` would take it from, or why it would not; never what it is."""
    try:
        secret(name, environment, directory)
    except SettingsError as error:
        return f"missing: {error}"
    return "env" if environment.get(name, "").strip() else str((directory or Path()) / name)


def _spelled(where: str, text: str) -> SecretStr:
    """One word of printable ASCII: anything else would show itself in the complaint of whoever tries to send it."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(f"{where} is no key: it has spaces, line breaks or characters no key has")
    return SecretStr(text)


def secret_file(path: Path) -> SecretStr:
    """The secret in a file only its owner may read.

    :raises SettingsError: others may read it, or it is empty.
    """
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
        raise SettingsError(f"{path} may be read by others: chmod 600 {path}")
    text = path.read_text().strip()
    if not text:
        raise SettingsError(f"{path} is empty")
    return _spelled(str(path), text)
