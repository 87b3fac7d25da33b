"""What a venue says it lists: its instruments, and the bodies that said so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx2
import structlog

from connectors.backoff import verdict
from connectors.exchange import UNREADABLE, Endpoints, Exchange, Frame
from connectors.recording import METADATA
from connectors.rest import RestLimits, fetch, rest_client
from schemas.clock import Clock
from schemas.instruments import Instrument

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer of one venue."""

    instruments: tuple[Instrument, ...]
    frames: tuple[Frame, ...]
    """The raw bodies, feed ``metadata``."""
    problem: str | None
    """Why some or all of it could not be had or read; the caller then falls back to the built-in snapshot."""


async def ask(
    client: httpx2.AsyncClient, exchange: Exchange, endpoints: Endpoints, clock: Clock, limits: RestLimits
) -> Listing:
    """Ask one venue for everything it lists. Never raises for what the venue does."""
    instruments: list[Instrument] = []
    frames: list[Frame] = []
    try:
        async with asyncio.timeout(limits.total):
            for request in exchange.metadata_requests():
                body = await fetch(client, exchange.venue, endpoints.rest, request, limits.body)
                frames.append(Frame(exchange.venue, METADATA, body, clock()))
                instruments += exchange.metadata(body)
    except UNREADABLE as error:
        problem = f"its instruments cannot be read: {type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - verdict() names every case, the unforeseen included
        problem = verdict(error).reason
    else:
        return Listing(tuple(instruments), tuple(frames), None if instruments else "it lists no instrument")
    log.warning("instruments are not known from the venue itself", venue=exchange.venue, reason=problem)
    return Listing(tuple(instruments), tuple(frames), problem)


def load_instruments(
    exchange: Exchange, endpoints: Endpoints, clock: Clock, limits: RestLimits | None = None, proxy: str | None = None
) -> Listing:
    """``ask`` for callers without an event loop."""

    async def run() -> Listing:
        bounds = limits or RestLimits()
        async with rest_client(bounds, proxy) as client:
            return await ask(client, exchange, endpoints, clock, bounds)

    return asyncio.run(run())
