"""Settings: documented defaults, one order of sources, every mistake named with place and nearest right name."""

from __future__ import annotations

import os
import pickle
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from flows.configuration import load, template, variable, write_template
from flows.settings import Settings, nearest, read_duration, write_duration
from schemas.cascades import COMPONENTS, WINDOWS
from schemas.errors import SettingsError
from schemas.records import VENUES


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BREAKWATER_")]:
        monkeypatch.delenv(name)
    return tmp_path


def told(error: pytest.ExceptionInfo[SettingsError]) -> str:
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("100ms", 0.1), ("5s", 5.0), ("1m", 60.0), ("1.5m", 90.0), ("1h", 3600.0), ("250us", 0.00025), ("2 d", 172800.0)],
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", 5, "s", "-5s", "5 sec", "", None, "1m30s", "nans"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration: write a number and a unit"):
        read_duration(text)


@given(st.integers(0, 10**9), st.sampled_from(["us", "ms", "s", "m", "h", "d"]))
def test_a_written_duration_reads_back(count: int, unit: str) -> None:
    seconds = read_duration(f"{count}{unit}")
    assert read_duration(write_duration(seconds)) == pytest.approx(seconds)


def test_the_defaults_are_the_documented_ones() -> None:
    s = Settings()
    assert (s.windows.allowed_lateness, s.windows.snapshot, s.windows.tick) == (5.0, 1.0, 0.1)
    assert (s.score.velocity, s.score.acceleration, s.score.usd_per_second) == (50.0, 20.0, 5_000_000.0)
    assert (s.score.funding, s.score.open_interest) == (0.001, 0.05)
    assert (s.score.boost_acceleration, s.score.boost) == (20.0, 1.5)
    assert list(s.score.weights.by_component().items()) == list(
        zip(COMPONENTS, (0.25, 0.20, 0.20, 0.15, 0.10, 0.10), strict=True)
    )
    assert [(name, rule.score, rule.rate, rule.acceleration) for name, rule in s.rules().items()] == [
        ("EXTREME", 0.9, 100, 0), ("CRITICAL", 0.7, 50, 20), ("ALERT", 0.5, 20, 0), ("WATCH", 0.3, 10, 0),
    ]  # fmt: skip
    assert (s.levels.window, s.levels.hold, s.cascade.open_level) == ("2s", 10.0, "ALERT")
    assert s.levels.window in WINDOWS
    assert (s.history.flush, s.history.flush_rows, s.history.enabled) == (60.0, 50_000, True)
    assert (s.history.trades, s.history.mark_prices) == (False, False)
    assert s.venues.enabled == tuple(v for v in VENUES if v != "pacifica")
    assert s.venues.assets == ()


def test_settings_read_nothing_by_themselves(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".env").write_text("BREAKWATER_DATA_DIR=a\n")
    monkeypatch.setenv("BREAKWATER_DATA_DIR", "b")
    assert Settings().data_dir == Path("data")


def test_settings_are_frozen_and_travel() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.data_dir = Path("x")
    with pytest.raises(ValidationError, match="frozen"):
        settings.windows.tick = 1.0
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


def test_sources_rank_option_environment_dotenv_file_default(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "breakwater.toml").write_text(
        'data_dir = "file"\n[windows]\ntick = "10ms"\nsnapshot = "2s"\nallowed_lateness = "7s"\n'
        "[levels.critical]\nscore = 0.6\n"
    )
    (here / ".env").write_text("BREAKWATER_WINDOWS__TICK=20ms\nBREAKWATER_WINDOWS__SNAPSHOT=3s\nOTHER=1\n")
    monkeypatch.setenv("BREAKWATER_WINDOWS__TICK", "30ms")
    monkeypatch.setenv("BREAKWATER_DATA_DIR", "env")
    configuration = load(options={"data_dir": "option"})
    s = configuration.settings
    assert (s.data_dir, s.windows.tick, s.windows.snapshot, s.windows.allowed_lateness) == (Path("option"), 0.03, 3, 7)
    stays = {"rate": 50, "acceleration": 20, "probability": 0.5}
    assert s.levels.critical.model_dump() == {"score": 0.6, **stays}, "the rest of a rule stays"
    shown = {name: (v.value, v.origin) for name, v in configuration.values.items() if v.origin != "default"}
    assert shown == {
        "data_dir": ("option", "option"),
        "windows.tick": ("30ms", "env"),
        "windows.snapshot": ("3s", ".env"),
        "windows.allowed_lateness": ("7s", "breakwater.toml"),
        "levels.critical.score": (0.6, "breakwater.toml"),
    }
    assert configuration.values["levels.critical.rate"].value == 50


def test_the_file_is_named_by_option_then_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("breakwater", "one", "two", "three"):
        (here / f"{name}.toml").write_text(f'data_dir = "{name}"\n')
    assert load().settings.data_dir == Path("breakwater")
    (here / ".env").write_text("BREAKWATER_CONFIG=three.toml\n")
    assert load().settings.data_dir == Path("three")
    monkeypatch.setenv("BREAKWATER_CONFIG", "two.toml")
    assert load().settings.data_dir == Path("two")
    assert load(Path("one.toml")).settings.data_dir == Path("one")
    with pytest.raises(SettingsError, match=r"none.toml: there is no such file \(--config"):
        load(Path("none.toml"))


def test_an_unknown_key_is_named_with_its_file_and_the_nearest(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "breakwater.toml").write_text('[windows]\nallowed_latenes = "5s"\n')
    with pytest.raises(SettingsError) as error:
        load()
    assert told(error) == (
        "breakwater.toml: unknown setting 'windows.allowed_latenes'; did you mean 'windows.allowed_lateness'?"
    )
    (here / "breakwater.toml").write_text('[windoze]\ntick = "5s"\n')
    with pytest.raises(
        SettingsError, match=r"breakwater.toml: unknown setting 'windoze.tick'; did you mean 'windows.tick'"
    ):
        load()
    (here / "breakwater.toml").unlink()
    (here / ".env").write_text("BREAKWATER_SCORE__VELOCTY=3\n")
    with pytest.raises(
        SettingsError,
        match=r"^.env: unknown setting 'BREAKWATER_SCORE__VELOCTY'; did you mean 'BREAKWATER_SCORE__VELOCITY'",
    ):
        load()
    (here / ".env").unlink()
    monkeypatch.setenv("BREAKWATER_DATADIR", "x")
    with pytest.raises(
        SettingsError, match=r"^env: unknown setting 'BREAKWATER_DATADIR'; did you mean 'BREAKWATER_DATA_DIR'"
    ):
        load()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("WINDOWS__TICK", "5", "'5' is no duration"),
        ("WINDOWS__TICK", "0s", "greater than 0"),
        ("VENUES__ENABLED", "bybit,binanc_usdm", "no venue 'binanc_usdm'; did you mean 'binance_usdm'"),
        ("SCORE__WEIGHTS__VELOCITY", "0.5", "the weights sum to 1.25, not 1"),
        ("LEVELS__ALERT__SCORE", "0.8", "must not fall from watch over alert"),
        ("SCORE__BOOST", "nan", "finite number"),
        ("HISTORY__TRADES", "perhaps", "boolean"),
        ("CASCADE__OPEN_LEVEL", "alert", "'ALERT'"),
        ("FEED", "1", "BREAKWATER_FEED is a section, not a value"),
    ],
)
def test_a_bad_value_is_named_with_its_place(
    name: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"BREAKWATER_{name}", value)
    with pytest.raises(SettingsError) as error:
        load()
    assert told(error).startswith(f"env: BREAKWATER_{name}")
    assert complaint in told(error)


def test_a_malformed_file_is_named(here: Path) -> None:
    (here / "breakwater.toml").write_text("[windows\n")
    with pytest.raises(SettingsError, match=r"^breakwater.toml: .*line 1"):
        load()


def test_what_other_tools_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unrelated BREAKWATER_NAME is no typing mistake; an empty variable is not set."""
    monkeypatch.setenv("BREAKWATER_SHARED", "/somewhere")
    monkeypatch.setenv("BREAKWATER_WINDOWS__TICK", "")
    assert load().settings == Settings()


def test_lists_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAKWATER_VENUES__ENABLED", "bybit, okx")
    monkeypatch.setenv("BREAKWATER_VENUES__ASSETS", "btc,1000PEPE,XBT")
    venues = load().settings.venues
    assert venues.enabled == ("bybit", "okx")
    assert venues.assets == ("BTC", "PEPE", "BTC")


def test_secrets_are_masked_wherever_they_are_shown(here: Path) -> None:
    (here / ".env").write_text("BREAKWATER_VENUES__PROXY=http://user:hunter2@proxy:1\n")
    configuration = load()
    proxy = configuration.settings.venues.proxy
    assert isinstance(proxy, SecretStr)
    assert proxy.get_secret_value() == "http://user:hunter2@proxy:1"
    assert "hunter2" not in repr(configuration)
    assert configuration.values["venues.proxy"].value == "**********"


def test_the_template_explains_every_setting_and_is_the_defaults(here: Path) -> None:
    file = here / "breakwater.toml"
    write_template(file, force=False)
    assert load().settings == Settings()
    assert {v.origin for v in load().values.values()} == {"default"}
    lines = template().splitlines()
    active = "\n".join(row[1:] if row.startswith("#") and not row.startswith("# ") else row for row in lines)
    file.write_text(active)
    assert load().settings == Settings()
    assert {name for name, v in load().values.items() if v.origin == "default"} == set(), "none is left out"
    assert tomllib.loads(active)["levels"]["critical"] == {
        "score": 0.7,
        "rate": 50.0,
        "acceleration": 20.0,
        "probability": 0.5,
    }
    with pytest.raises(SettingsError, match="exists; --force replaces it"):
        write_template(file, force=False)
    write_template(file, force=True)
    assert file.read_text() == template()


def described(model: type[BaseModel], path: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert kind.__doc__, f"{path}{name}"
            found += described(kind, f"{path}{name}.")
        else:
            assert field.description, f"{path}{name} says what it means"
            found.append(f"{path}{name}")
    return found


def test_every_setting_has_its_meaning() -> None:
    assert described(Settings) == list(load().values)


def test_names_of_variables() -> None:
    assert variable("score.weights.open_interest") == "BREAKWATER_SCORE__WEIGHTS__OPEN_INTEREST"
    assert nearest("bynance_usdm", VENUES).startswith("; did you mean 'binance_usdm'")
    assert nearest("qqqq", VENUES) == ""
