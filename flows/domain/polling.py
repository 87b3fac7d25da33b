"""How often positions are read where no stream tells them: faster when it matters, never beyond the venue's limit."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.clock import MINUTE, SECOND
from schemas.orders import Capabilities


@dataclass(frozen=True, slots=True)
class Polling:
    """Nanoseconds between two reads."""

    calm: int = 5 * SECOND
    """Nothing is going on."""
    alert: int = 2 * SECOND
    """A cascade runs in an asset held, a leg is near its liquidation price, or marks move or part."""
    urgent: int = SECOND
    """The stream is silent, a read failed, or what is read disagrees with what should be."""
    share: float = 0.5
    """Of what the venue bears besides the emergency reserve, used for this at most."""


def pause(polling: Polling, caps: Capabilities, *, alert: bool, urgent: bool) -> int:
    """Nanoseconds until the next read."""
    wanted = polling.urgent if urgent else polling.alert if alert else polling.calm
    affordable = caps.requests_per_minute * (1 - caps.emergency_share) * polling.share
    return max(wanted, round(MINUTE / affordable))
