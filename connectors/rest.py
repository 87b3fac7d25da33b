"""One REST request: bounded in time and size, answered with the plain body or an exception ``verdict`` understands."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

from connectors.compression import gunzip
from connectors.exchange import Request
from schemas.errors import FrameTooLarge

USER_AGENT = "breakwater"


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one request may take."""

    timeout: float = 10.0
    """Seconds for each of connecting, sending and the next bytes of the answer."""
    total: float = 30.0
    """Seconds for the whole request."""
    body: int = 16 * 1024 * 1024
    """Bytes of the answer, after decompression."""
    connections: int = 16


def rest_client(limits: RestLimits, proxy: str | None = None) -> httpx2.AsyncClient:
    """A client for all venues together. The environment's proxy variables are not read: the setting says it all."""
    return httpx2.AsyncClient(
        timeout=limits.timeout,
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=limits.connections),
        proxy=proxy,
        trust_env=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
    )


async def fetch(client: httpx2.AsyncClient, venue: str, base: str, request: Request, limit: int) -> bytes:
    """The body of a 2xx answer.

    :arg limit: bytes of the body, compressed and plain.
    :raises FrameTooLarge: the body is larger.
    :raises httpx2.HTTPStatusError: any other status, redirects included.
    :raises httpx2.RequestError: no answer.
    """
    headers = dict(request.headers)
    if request.body:
        headers.setdefault("Content-Type", "application/json")
    content = request.body.encode() or None
    async with client.stream(request.method, base + request.path, content=content, headers=headers) as response:
        if not response.is_success:
            raise httpx2.HTTPStatusError(f"HTTP {response.status_code}", request=response.request, response=response)
        body = bytearray()
        # Raw: the library would inflate without a bound.
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                raise FrameTooLarge(venue, len(body), limit)
    return gunzip(venue, bytes(body), limit)
