"""Where things are kept, the bus, and the workers: what does not change a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, SecretStr, model_validator

from flows.settings.values import Duration, KafkaOption, Section, Start, is_loopback, listed, read_duration, unset


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
    password: Annotated[SecretStr | None, BeforeValidator(unset)] = None
    """With sasl_..: the password. Keep it in .env."""
    options: Annotated[tuple[KafkaOption, ...], BeforeValidator(listed)] = ()
    """Anything else librdkafka can be told, such as ssl.ca.location=/etc/ssl/desk.pem, compression.type=zstd."""
    secret_options: Annotated[tuple[SecretStr, ...], BeforeValidator(listed)] = ()
    """The same for what must not be shown, such as ssl.key.password=... Keep it in .env."""


class HealthSettings(Section):
    """The page of a worker: ``/healthz``, ``/readyz`` and, for Prometheus, ``/metrics``."""

    enabled: bool = True
    """Whether workers serve one."""
    host: str = "127.0.0.1"
    """The address it is bound to. Any but loopback demands a token."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0: a free one, told in the log."""
    token: Annotated[SecretStr | None, BeforeValidator(unset)] = None
    """What a reader must send as ``Authorization: Bearer ...``, empty for nothing. Keep it in .env."""

    @model_validator(mode="after")
    def _guarded(self) -> HealthSettings:
        if self.token is None and not is_loopback(self.host):
            raise ValueError(f"{self.host} can be reached by others: set a token, or bind 127.0.0.1")
        return self


class WorkerSettings(Section):
    """The separate workers that meet in topics."""

    start: Annotated[Start | None, BeforeValidator(unset)] = None
    """Where to read from, whatever was read before: beginning, end, or a time ago such as 15m. Empty: where the worker
    left off, else the beginning."""
    warm_up: Duration = read_duration("15m")
    """How much of the log before ``start`` a cascades worker reads first, silently, so that its windows are full."""
    slack: Duration = read_duration("5s")
    """How long the bus may hold an event up before silence is believed: levels fall, and cascades close, so much later
    than in one process where nothing else comes. Each still carries the time at which it was due."""


class LogSettings(Section):
    """What is said on stderr."""

    format: Literal["auto", "console", "json"] = "auto"
    """auto: for people in a terminal, JSON lines otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe that is said."""
