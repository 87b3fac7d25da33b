"""What can be set, its meaning, its unit and its default. Where values come from is ``flows.configuration``.

``Settings()`` is the defaults and reads nothing. Everything is frozen and unknown keys are errors. Durations are
written as text (``"100ms"``, ``"5s"``, ``"1m"``, ``"1h"``) and are seconds once read.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from flows.settings.executor import ExecutorSettings
from flows.settings.feeds import FeedSettings, MeasureSettings, VenueSettings, WindowSettings
from flows.settings.running import HealthSettings, HistorySettings, KafkaSettings, LogSettings, WorkerSettings
from flows.settings.scoring import CascadeSettings, LevelRule, LevelSettings, ProbabilitySettings, ScoreSettings
from flows.settings.values import LISTENED, is_loopback, nearest, read_duration, write_duration
from schemas.cascades import Level

__all__ = [
    "LISTENED", "ExecutorSettings", "HealthSettings", "HistorySettings", "KafkaSettings", "Settings", "VenueSettings",
    "is_loopback", "nearest", "read_duration", "write_duration",
]  # fmt: skip


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
