"""What can be set, its meaning, its unit and its default. Where values come from is ``flows.configuration``.

``Settings()`` is the defaults and reads nothing. Everything is frozen and unknown keys are errors. Durations are
written as text (``"100ms"``, ``"5s"``, ``"1m"``, ``"1h"``) and are seconds once read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.cascades import COMPONENTS, Level
from schemas.instruments import canonical
from schemas.records import RECORDED_ONLY, VENUES

LISTENED = tuple(venue for venue in VENUES if venue not in RECORDED_ONLY)
"""The venues a connection can be made to."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ADDRESS = re.compile(r"https?://[^\s/?#]+(/[^\s/?#]+)*")
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


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _venue(name: str) -> str:
    if name not in VENUES:
        raise ValueError(f"no venue {name!r}{nearest(name, VENUES)}")
    return name


def _asset(name: str) -> str:
    return canonical(name.strip())[0]


def _gateway(text: str) -> str:
    venue, _, address = text.partition("=")
    if not _ADDRESS.fullmatch(address):
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


def _unset(value: object) -> object:
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


class VenueSettings(Section):
    """Whom to listen to."""

    enabled: Annotated[tuple[VenueName, ...], BeforeValidator(_listed)] = LISTENED
    """Venue identifiers."""
    assets: Annotated[tuple[AssetName, ...], BeforeValidator(_listed)] = ()
    """Base assets such as BTC, ETH; empty: every contract the venues list."""
    proxy: Annotated[SecretStr | None, BeforeValidator(_unset)] = None
    """URL of an HTTP or SOCKS proxy for sockets and REST, empty for none. May carry a password: keep that in .env."""
    gateways: Annotated[tuple[Gateway, ...], BeforeValidator(_listed)] = ()
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


class WeightSettings(Section):
    """How much each part of the score counts. They sum to 1; those of missing contexts are spread over the rest."""

    velocity: Share = 0.25
    """Share of 1."""
    acceleration: Share = 0.20
    """Share of 1."""
    volume: Share = 0.20
    """Share of 1."""
    cross_venue: Share = 0.15
    """Share of 1."""
    funding: Share = 0.10
    """Share of 1."""
    open_interest: Share = 0.10
    """Share of 1."""

    @model_validator(mode="after")
    def _whole(self) -> WeightSettings:
        total = sum(self.by_component().values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights sum to {total:g}, not 1")
        return self

    def by_component(self) -> dict[str, float]:
        """Weight by name, in the order of ``schemas.cascades.COMPONENTS``."""
        return {name: getattr(self, name) for name in COMPONENTS}


class ScoreSettings(Section):
    """The values at which each part of the score is full (1)."""

    velocity: PositiveFloat = 50.0
    """Forced closes per second."""
    acceleration: PositiveFloat = 20.0
    """Forced closes per second, per second."""
    usd_per_second: PositiveFloat = 5_000_000.0
    """Forcibly closed USD per second, at most; of an asset less, if that is much for it:"""
    usd_times_usual: PositiveFloat = 100.0
    """this many times its usual USD per second (of the last half hour) ..."""
    usd_at_least: PositiveFloat = 100_000.0
    """... but not less USD per second than this."""
    capped_event: Annotated[float, Field(ge=1)] = 10.0
    """What an event of a feed that does not tell everything (one message per symbol and second) counts for in velocity
    and acceleration, at most ..."""
    capped_by_usual: NonNegativeFloat = 6.0
    """... divided by 1 + this x the usual events per second (of the last half hour), but at least 1."""
    funding: PositiveFloat = 0.001
    """Absolute funding rate per 8 hours (0.001 is 0.1 %)."""
    open_interest: PositiveFloat = 0.05
    """Loss of open interest as a fraction of it (0.05 is 5 %)."""
    boost_acceleration: PositiveFloat = 20.0
    """Acceleration (events/s²) above which the score is multiplied by ``boost``."""
    boost: Annotated[float, Field(ge=1)] = 1.5
    """Times, no unit; the score stays at most 1."""
    weights: WeightSettings = WeightSettings()


class LevelRule(Section):
    """A level is reached by the score alone, by the rate alone or by the probability alone."""

    score: Share
    """Reached above this score, 0 to 1 ..."""
    rate: PositiveFloat
    """... or above this many forced closes per second ..."""
    acceleration: NonNegativeFloat = 0.0
    """... if they also accelerate by more than this (events/s²); 0: the rate alone suffices ..."""
    probability: Share = 1.0
    """... or above this probability of the horizon levels go by; 1: never."""


class LevelSettings(Section):
    """When an asset is at which level."""

    window: Literal["100ms", "500ms", "2s", "10s", "60s", "5m"] = "2s"
    """The trailing window rates are read on."""
    hold: Duration = read_duration("10s")
    """A level must be missed for this long before it falls."""
    watch: LevelRule = LevelRule(score=0.3, rate=10, probability=0.05)
    alert: LevelRule = LevelRule(score=0.5, rate=20, probability=0.2)
    critical: LevelRule = LevelRule(score=0.7, rate=50, acceleration=20, probability=0.5)
    extreme: LevelRule = LevelRule(score=0.9, rate=100, probability=0.8)

    @model_validator(mode="after")
    def _rising(self) -> LevelSettings:
        rules = [self.watch, self.alert, self.critical, self.extreme]
        for name in ("score", "rate", "probability"):
            if any(getattr(low, name) > getattr(high, name) for low, high in pairwise(rules)):
                raise ValueError(f"{name} must not fall from watch over alert and critical to extreme")
        return self


class ProbabilitySettings(Section):
    """P(the USD forcibly closed within a horizon reach a threshold), where there is a model for it."""

    shipped: bool = True
    """Whether the models that come with Breakwater are used."""
    models: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Model files of breakwater fit; of two for one target and horizon the later counts, each before a shipped one."""
    horizon: Annotated[Duration, Field(gt=0)] = read_duration("60s")
    """That of the probability levels go by."""
    unusual: Share = 0.1
    """A probability decides on levels only where its mean of a day is at most this: what is usual is no alarm."""


class CascadeSettings(Section):
    """The life of a cascade."""

    open_level: Literal["WATCH", "ALERT", "CRITICAL", "EXTREME"] = "ALERT"
    """A cascade opens at this level and closes when the level is back at NONE."""


class HistorySettings(Section):
    """Parquet files below ``data_dir``."""

    enabled: bool = True
    """Whether anything is written."""
    flush: Annotated[Duration, Field(gt=0)] = read_duration("60s")
    """Rows wait at most this long for their file."""
    flush_rows: PositiveInt = 50_000
    """... or until this many rows wait."""
    keep: Duration = read_duration("0s")
    """`breakwater retain` removes days that ended longer ago, e.g. 90d. 0s: every day is kept."""
    upkeep: Duration = read_duration("1h")
    """How often the archive worker compacts days that are over and removes those too old, beside its writing. 0s:
    never, `breakwater compact` and `breakwater retain` do it."""
    trades: bool = False
    """Whether ordinary trades are kept as well (large)."""
    mark_prices: bool = False
    """Whether mark prices are kept as well (large)."""


class KafkaSettings(Section):
    """The bus workers meet in."""

    bootstrap: Annotated[str, Field(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")] = "127.0.0.1:9092"
    """Brokers as host:port, several with commas. `make kafka` starts one at the default."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")] = "breakwater"
    """Stands before the name of every topic, with a dot: breakwater.signals.v1. Empty: nothing does."""
    replication: PositiveInt = 1
    """Copies of each topic that is created; 3 in a cluster of three brokers."""
    deadline: Annotated[Duration, Field(gt=0)] = read_duration("2m")
    """How long a message may wait to be delivered, brokers' absence included, before its worker gives up."""
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """How to speak to the brokers."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """With sasl_..: how to say who we are."""
    username: str = ""
    """With sasl_..: who we are."""
    password: Annotated[SecretStr | None, BeforeValidator(_unset)] = None
    """With sasl_..: the password. Keep it in .env."""
    options: Annotated[tuple[KafkaOption, ...], BeforeValidator(_listed)] = ()
    """Anything else librdkafka can be told, such as ssl.ca.location=/etc/ssl/desk.pem, compression.type=zstd."""
    secret_options: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = ()
    """The same for what must not be shown, such as ssl.key.password=... Keep it in .env."""


class HealthSettings(Section):
    """The page of a worker: ``/healthz``, ``/readyz`` and, for Prometheus, ``/metrics``."""

    enabled: bool = True
    """Whether workers serve one."""
    host: str = "127.0.0.1"
    """The address it is bound to. Any but loopback demands a token."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0: a free one, told in the log."""
    token: Annotated[SecretStr | None, BeforeValidator(_unset)] = None
    """What a reader must send as ``Authorization: Bearer ...``, empty for nothing. Keep it in .env."""

    @model_validator(mode="after")
    def _guarded(self) -> HealthSettings:
        if self.token is None and not is_loopback(self.host):
            raise ValueError(f"{self.host} can be reached by others: set a token, or bind 127.0.0.1")
        return self


class WorkerSettings(Section):
    """The separate workers that meet in topics."""

    start: Annotated[Start | None, BeforeValidator(_unset)] = None
    """Where to read from, whatever was read before: beginning, end, or a time ago such as 15m. Empty: where the worker
    left off, else the beginning."""
    warm_up: Duration = read_duration("15m")
    """How much of the log before ``start`` a cascades worker reads first, silently, so that its windows are full."""
    slack: Duration = read_duration("5s")
    """How long the bus may hold an event up before silence is believed: levels fall, and cascades close, so much later
    than in one process where nothing else comes. Each still carries the time at which it was due."""


class LimitSettings(Section):
    """What the executor may risk. Reducing what is held is not limited by these; adding to it, a hedge, is."""

    order_usd: NonNegativeFloat = 0.0
    """Largest order that adds risk, USD. 0: none is sent, and with mode live nothing is sent at all."""
    pair_usd: NonNegativeFloat = 0.0
    """Sum of one pair's orders that add risk, USD."""
    total_usd: NonNegativeFloat = 0.0
    """Sum of all orders that add risk, USD. 0 as above."""
    trade_size: Share = 0.5
    """Share of the venue's equity one of them may be worth."""
    exposure: Share = 0.8
    """Share of the venue's equity all of them may be worth."""
    free_margin: Share = 0.05
    """Share of the venue's equity that has to stay free."""
    drawdown: Share = 0.2
    """Loss from the highest equity seen beyond which nothing is added."""
    failures: PositiveInt = 3
    """Orders failed in a row at a venue after which nothing is added there."""
    collar: Share = 0.05
    """How much worse than the mark a limit price may be; 0.05 is 5 %. Of every order, emergencies included."""
    signal_age: Duration = read_duration("2s")
    """Risk is not added for an older cause."""
    halted_emergencies: bool = True
    """Whether a halted executor still reduces the leg that is left over when the other was taken away."""


class PolicySettings(Section):
    """Which signal does what to a pair: nothing, tighten (read positions more often), reduce both legs, or close."""

    alert: Reaction = "tighten"
    """A cascade of level ALERT in an asset held."""
    critical: Reaction = "tighten"
    """A cascade of level CRITICAL or EXTREME against a leg that is not in danger."""
    critical_danger: Reaction = "reduce"
    """The same against a leg in danger."""
    margin: Reaction = "reduce"
    """A margin call, or a leg as near as margin_danger, without any cascade."""
    danger: Share = 0.15
    """In a cascade, a leg nearer to its liquidation price than this is in danger (0.15 is 15 % of the mark)."""
    margin_danger: Share = 0.05
    """The same without a cascade."""
    reduce_share: Share = 0.5
    """How much of both legs `reduce` closes."""
    net_tolerance: Share = 0.01
    """Net exposure that counts as none, as a share of the larger leg."""
    net_patience: Duration = read_duration("2s")
    """Net exposure has to last so long before it is closed."""


class ExecutorSettings(Section):
    """Who watches over two-venue positions, and how it closes them."""

    mode: Literal["off", "paper", "shadow", "live"] = "paper"
    """off: nothing is sent. paper: simulated venues. shadow: real accounts, nothing is sent. live: orders, capped."""
    desk: str = "main"
    """Stands in every order id, so that two desks with one account keep apart."""
    journal: Path = Path("executor/journal.sqlite")
    """What was decided and sent; relative to data_dir. On a disk of this machine."""
    close_mode: CloseMode = "limit_with_fallback"
    """How a healthy pair is closed: limit_only, limit_with_fallback, market_only or aggressive_limit."""
    close_modes: Annotated[tuple[ReasonMode, ...], BeforeValidator(_listed)] = ("MARGIN=aggressive_limit",)
    """Other modes by reason, such as MANUAL=limit_only; a reason counts for all that begin with it."""
    limit_offset: Share = 0.0001
    """How far from the best price of its own side a waiting order stands."""
    reprice: Annotated[Duration, Field(gt=0)] = read_duration("3s")
    """A waiting order is replaced after so long."""
    fallback: Duration = read_duration("15s")
    """Waiting orders are given up for immediate ones after so long."""
    slippage: Annotated[tuple[PositiveFloat, ...], BeforeValidator(_listed), Field(min_length=1)] = (
        0.003,
        0.006,
        0.012,
        0.025,
    )
    """Steps of an immediate order beyond the best price; the last is repeated."""
    hedges: Annotated[tuple[Contract, ...], BeforeValidator(_listed)] = ()
    """Where a leg that cannot be closed may be hedged for a while, such as BTC=hyperliquid/BTC; first ones first."""
    hedge_usd: NonNegativeFloat = 0.0
    """Largest such hedge, USD. 0: none."""
    hedge_after: Duration = read_duration("3s")
    """The venue of the leg has answered nothing that helps for so long."""
    alarm_after: Duration = read_duration("5s")
    """A book not safe so long after it was noticed is an alarm."""
    dust_usd: NonNegativeFloat = 50.0
    """A remainder worth more is an alarm."""
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()


class LogSettings(Section):
    """What is said on stderr."""

    format: Literal["auto", "console", "json"] = "auto"
    """auto: for people in a terminal, JSON lines otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe that is said."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix="BREAKWATER_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
    )

    data_dir: Path = Path("data")
    """Where history and recordings are kept, relative to the working directory."""
    venues: VenueSettings = VenueSettings()
    feed: FeedSettings = FeedSettings()
    windows: WindowSettings = WindowSettings()
    measures: MeasureSettings = MeasureSettings()
    score: ScoreSettings = ScoreSettings()
    levels: LevelSettings = LevelSettings()
    probability: ProbabilitySettings = ProbabilitySettings()
    cascade: CascadeSettings = CascadeSettings()
    history: HistorySettings = HistorySettings()
    kafka: KafkaSettings = KafkaSettings()
    worker: WorkerSettings = WorkerSettings()
    health: HealthSettings = HealthSettings()
    executor: ExecutorSettings = ExecutorSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' hook
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the hook's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the hook's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the hook's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the hook's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    def rules(self) -> dict[Level, LevelRule]:
        """The rule of each level, highest first."""
        levels = self.levels
        return {
            "EXTREME": levels.extreme,
            "CRITICAL": levels.critical,
            "ALERT": levels.alert,
            "WATCH": levels.watch,
        }
