"""A venue that sends rubbish between sound frames: each sound forced close arrives once, the rubbish is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from schemas.clock import MILLISECOND, SECOND, system_clock
from tests.connectors.loopback import websocket_venue
from tests.integration.processes import breakwater, rows

HUGE = 50_000_000
"""Bytes of one frame; the limit is 16 MB by default."""
SOUND = 40
"""Forced closes per burst, of 1, 2, 3 ... coins."""


def close(number: int, time: int, symbol: str = "BTCUSDT") -> dict[str, object]:
    """A sound one, told apart by its quantity."""
    return {"T": time // MILLISECOND, "s": symbol, "S": "Buy" if number % 2 else "Sell", "v": str(number), "p": "50000"}


def frame(*closes: dict[str, object]) -> str:
    data = {"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": system_clock() // MILLISECOND}
    return json.dumps({**data, "data": list(closes)})


def ruined(number: int, now: int) -> str | bytes:
    """Rubbish of seven kinds."""
    row = close(number, now)
    return [
        frame(row)[:-25],
        frame({**row, "v": "NaN"}),
        frame({**row, "v": "-1"}),
        frame({**row, "p": "Infinity"}),
        frame({**row, "s": "NOSUCHUSDT"}),
        frame({**row, "S": "Sideways"}),
        b'{"topic":"allLiquidation.BTCUSDT","data":[{"T":1,"s":"\xff\xfe"}]}',
    ][number % 7]


class Hostile:
    """The script: bursts of sound and ruined frames on the first socket, a frame of 50 MB, the rest on the second."""

    def __init__(self) -> None:
        self.sockets = 0
        self.ruined = 0
        self.first: list[str] = []
        self.began = system_clock()

    async def __call__(self, socket: ServerConnection) -> None:
        asked = json.loads(await socket.recv())
        topics = asked.get("args", ())
        told = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": asked.get("req_id", ""), "op": "subscribe"}
        await socket.send(json.dumps(told))
        if "allLiquidation.BTCUSDT" in topics:
            self.sockets += 1
            if self.sockets == 1:
                await self.burst(socket, 1)
                with suppress(ConnectionClosed):
                    await socket.send("x" * HUGE)
            else:
                await self.again(socket)
                await self.burst(socket, SOUND + 1)
        async for _ in socket:
            pass

    async def burst(self, socket: ServerConnection, start: int) -> None:
        """Sound frames out of order and off the clock, rubbish between them."""
        now = self.began
        for number in range(start, start + SOUND):
            time = now - (number * 7 % 5) * 100 * MILLISECOND
            if number % 10 == 3:
                time += 3600 * SECOND  # a clock an hour ahead
            elif number % 10 == 6:
                time -= 3600 * SECOND  # told an hour late
            sound = frame(close(number, time))
            self.first.append(sound)
            await socket.send(sound)
            await socket.send(ruined(number, now))
            self.ruined += 1
            if number % 4 == 0:
                await socket.send(sound)
            await asyncio.sleep(0)

    async def again(self, socket: ServerConnection) -> None:
        """What a venue that replays after a reconnect sends: everything once more."""
        for sound in self.first:
            await socket.send(sound)


def no_rest(connection: ServerConnection, request: Request) -> Response | None:
    """Over plain HTTP nothing is known: the built-in contracts serve."""
    if "Upgrade" in request.headers:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, "{}")


def test_rubbish_between_sound_frames_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Torn, not numbers, unknown, doubled, disordered, off the clock, and 50 MB at once."""
    venue = Hostile()
    with websocket_venue(venue, process_request=no_rest, compression=None, max_size=None) as address:
        gateway = f"bybit={address.replace('ws', 'http', 1)}"
        arguments = ("run", "--venue", "bybit", "--asset", "BTC", "--duration", 4, "--headless")
        done = breakwater(*arguments, "--data-dir", "kept", cwd=tmp_path, BREAKWATER_VENUES__GATEWAYS=gateway)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    kept = tmp_path / "kept"
    assert venue.sockets == 2
    found = rows(
        kept,
        "SELECT quantity, position, notional_usd, time_source, epoch_ns(event_time), epoch_ns(receive_time) "
        "FROM files.liquidations ORDER BY quantity",
    )
    assert [row[0] for row in found] == list(range(1, 2 * SOUND + 1)), "each sound one, once, even in the files"
    for number, position, usd, source, happened, received in found:
        assert (position, usd) == ("long" if number % 2 else "short", number * 50_000.0)
        assert source == ("skew" if number % 10 == 3 else "venue")
        assert happened == received if source == "skew" else happened <= received
        assert 0 <= received - venue.began < 60 * SECOND
    letters = rows(kept, "SELECT reason, raw FROM files.dead_letters WHERE feed LIKE 'liquidations%'")
    (huge,) = [reason for reason, raw in letters if not raw]
    assert f"{HUGE} bytes" in huge
    assert len(letters) - 1 == venue.ruined == 2 * SOUND
    reasons = " | ".join(reason for reason, _ in letters)
    for complaint in (
        "unreadable",
        "quantity nan",
        "quantity -1.0",
        "price inf",
        "'NOSUCHUSDT' is not known",
        "Sideways",
    ):
        assert complaint in reasons
    assert f"dead letters   {2 * SOUND + 1}" in done.stdout
    gaps = rows(kept, "SELECT reason FROM feeds WHERE state = 'gap' AND feed LIKE 'liquidations-linear%'")
    assert len(gaps) == 1
    assert f"{HUGE} bytes" in gaps[0][0]
