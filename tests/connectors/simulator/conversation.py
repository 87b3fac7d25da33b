"""A raw websocket client of the simulator, as a venue's own page describes it."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.error
import urllib.request
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from connectors.simulator import Simulator


class Client:
    """Says and hears JSON on one socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def hear(self) -> Any:
        """The next message, unpacked; text that is no JSON as it is."""
        raw = await asyncio.wait_for(self.socket.recv(), 5.0)
        text = gzip.decompress(raw).decode() if isinstance(raw, bytes) else raw
        try:
            return json.loads(text)
        except ValueError:
            return text

    async def ask(self, message: Any) -> Any:
        await self.say(message)
        return await self.hear()

    async def until(self, wanted: Any) -> Any:
        """The first message for which ``wanted`` is true."""
        while True:
            message = await self.hear()
            if wanted(message):
                return message


def open_socket(simulator: Simulator, venue: str, path: str, **headers: str) -> connect:
    """``async with open_socket(…) as socket: Client(socket)``."""
    url = simulator.endpoints(venue).websocket + path
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(url, additional_headers=more, compression=None, max_size=None, max_queue=None)


async def rest(simulator: Simulator, venue: str, path: str, body: str | None = None) -> Any:
    """The JSON answer, or the status of a refusal. GET, or POST where there is a body."""
    url = simulator.endpoints(venue).rest + path

    def fetch() -> Any:
        request = urllib.request.Request(url, None if body is None else body.encode())  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own server
                return json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    return await asyncio.to_thread(fetch)
