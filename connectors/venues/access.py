"""What it takes to trade on a venue: endpoints, a permission, and secrets that never show."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from connectors.exchange import Endpoints
from schemas.errors import SettingsError, UsageError


@dataclass(frozen=True, slots=True)
class LivePermission:
    """Somebody switched live trading on for this venue. Only settings make one, never a default."""

    venue: str


def admitted(venue: str, endpoints: Endpoints, permission: LivePermission | None) -> Endpoints:
    """The endpoints, if orders may go there: on this machine always, elsewhere with a permission for the venue.

    :raises UsageError: not permitted.
    """
    outside = [url for url in (endpoints.rest, endpoints.websocket) if not _loopback(url)]
    if outside and (permission is None or permission.venue != venue):
        raise UsageError(
            f"orders to {outside[0]} need a live permission for {venue}: set executor mode live and enable the venue"
        )
    return endpoints


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
    told = environment.get(name)
    if told:
        return SecretStr(told)
    path = directory / name if directory is not None else None
    if path is None or not path.is_file():
        raise SettingsError(f"no secret {name}: set the environment variable, or put a file of mode 600 in {directory}")
    return secret_file(path)


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
    return SecretStr(text)
