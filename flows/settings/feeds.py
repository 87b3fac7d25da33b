"""Whom to listen to, and how the stream of events is cut."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr

from flows.settings.values import (
    LISTENED,
    AssetName,
    Duration,
    Gateway,
    Section,
    VenueName,
    listed,
    read_duration,
    unset,
)


class VenueSettings(Section):
    """Whom to listen to."""

    enabled: Annotated[tuple[VenueName, ...], BeforeValidator(listed)] = LISTENED
    """Venue identifiers."""
    assets: Annotated[tuple[AssetName, ...], BeforeValidator(listed)] = ()
    """Base assets such as BTC, ETH; empty: every contract the venues list."""
    proxy: Annotated[SecretStr | None, BeforeValidator(unset)] = None
    """URL of an HTTP or SOCKS proxy for sockets and REST, empty for none. May carry a password: keep that in .env."""
    gateways: Annotated[tuple[Gateway, ...], BeforeValidator(listed)] = ()
    """Where to reach a venue instead of its own hosts, such as bybit=https://gateway.example/bybit: a gateway of the
    desk, or a simulator. Sockets are opened at the same place, by wss (or ws where it is http)."""


class FeedSettings(Section):
    """When a connection counts as broken, and how much may wait in memory."""

    stale_after: Duration = read_duration("0s")
    """No frame at all, pings included, for this long: the socket is dead and made anew. 0s: each venue's own limit."""
    quiet_after: Duration = read_duration("60s")
    """A healthy connection without a forced close for this long is shown as quiet."""
    silent_after: Duration = read_duration("10s")
    """A feed is never called silent before this long without a forced close ..."""
    silent_false_alarm: Annotated[Duration, Field(gt=0)] = read_duration("7d")
    """... nor before its own rhythm makes the gap unbelievable: one false alarm per feed in this time is accepted."""
    spool_frames: PositiveInt = 200_000
    """Frames that may wait for the pipeline, per process; beyond it new ones are dropped and counted."""
    spool_megabytes: PositiveFloat = 128.0
    """The same limit in megabytes (10^6 bytes)."""
    max_frame_megabytes: PositiveFloat = 16.0
    """A longer frame closes its connection (megabytes, 10^6 bytes, after decompression)."""


class WindowSettings(Section):
    """The clock of the trailing windows."""

    allowed_lateness: Duration = read_duration("5s")
    """An event this far behind the newest still enters its windows; older ones are stored, not scored."""
    snapshot: Duration = read_duration("1s")
    """How often window rows are written to the history."""
    tick: Annotated[Duration, Field(gt=0)] = read_duration("100ms")
    """How often the passing of time alone is looked at: rates decay, cascades close."""


class MeasureSettings(Section):
    """What is told beside the windows: pace, bursts, contagion, price levels, memory, rolling windows."""

    enabled: bool = True
    """Whether it is kept and told."""
    sampled: Annotated[float, Field(ge=1)] = 2.8
    """USD estimated for each USD told by a feed that tells at most one event per contract and second. Published
    averages are 2.7 to 2.9; far more in the densest seconds."""
    partial: Annotated[float, Field(ge=1)] = 1.0
    """The same for a feed that tells an unknown part of the truth; 1: no factor is known, so none is made up."""
