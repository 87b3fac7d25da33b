"""Where settings come from: option > environment > ``.env`` > file > default, and how to say which it was.

The file is ``breakwater.toml`` of the working directory, or what ``--config`` or ``BREAKWATER_CONFIG`` name. The
environment says ``BREAKWATER_SECTION__KEY``; ``.env`` of the working directory says the same and suits secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, TomlConfigSettingsSource

from flows.settings import Settings, nearest
from schemas.errors import SettingsError

FILE = Path("breakwater.toml")
PREFIX = "BREAKWATER_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from."""

    value: object
    origin: str
    """``default``, the path of the file, ``env``, ``.env`` or ``option``."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force."""

    settings: Settings
    values: Mapping[str, Setting]
    """Every setting by dotted name, secrets masked."""
    file: Path | None


def load(config: Path | None = None, options: Mapping[str, object] | None = None) -> Configuration:
    """Read everything there is for the working directory.

    :arg config: the file to read, which must exist.
    :arg options: what the command line says, by dotted name.
    Raises SettingsError naming source, key and what is wrong.
    """
    environment = _variables(EnvSettingsSource(Settings).env_vars)
    beside = _variables(DotEnvSettingsSource(Settings, env_file=".env", env_file_encoding="utf-8").env_vars)
    named = (environment.pop("config", None), beside.pop("config", None))
    file = _file(config, named[0] or named[1])
    sources = {
        str(file): _read(file) if file else {},
        ".env": beside,
        "env": environment,
        "option": dict(options or {}),
    }
    defaults = dict(_flat(Settings().model_dump(mode="json")))
    for origin, values in sources.items():
        _refuse_unknown(origin, values, defaults)
    given = {name: Setting(value, origin) for origin, values in sources.items() for name, value in values.items()}
    settings = _settled({name: given[name].value if name in given else defaults[name] for name in defaults}, given)
    shown = dict(_flat(settings.model_dump(mode="json")))
    origins = {name: given[name].origin if name in given else "default" for name in defaults}
    return Configuration(settings, {name: Setting(shown[name], origins[name]) for name in defaults}, file)


def variable(name: str) -> str:
    """The environment variable of a dotted name."""
    return PREFIX + name.replace(".", "__").upper()


def template() -> str:
    """A file that says every setting, its meaning and its default; every value commented out."""
    lines = ["# Breakwater. Every value is the default; remove the # in front of one to change it.", ""]
    lines += _described(Settings(), "")
    return "\n".join(lines).rstrip() + "\n"


def _file(option: Path | None, from_environment: object) -> Path | None:
    named = option or (Path(str(from_environment)) if from_environment else None)
    if named is None:
        return FILE if FILE.is_file() else None
    if not named.is_file():
        raise SettingsError(f"{named}: there is no such file ({'--config' if option else CONFIG_VARIABLE} names it)")
    return named


def _read(file: Path) -> dict[str, object]:
    try:
        return dict(_flat(TomlConfigSettingsSource(Settings, file).toml_data))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _variables(names: Mapping[str, str | None]) -> dict[str, object]:
    prefix = PREFIX.lower()
    found = {
        name.removeprefix(prefix).replace("__", "."): value for name, value in names.items() if name.startswith(prefix)
    }
    # Other tools may own a BREAKWATER_NAME; one with a section is meant for us, and so is one nearly right.
    top = [*Settings.model_fields, "config"]
    return {
        name: value for name, value in found.items() if "." in name or name in top or get_close_matches(name, top, 1)
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, key = name.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
        table[key] = value
    return tree


def _refuse_unknown(origin: str, values: Mapping[str, object], known: Mapping[str, object]) -> None:
    for name in values:
        if name in known:
            continue
        if any(other.startswith(f"{name}.") for other in known):
            raise SettingsError(f"{origin}: {_spelled(origin, name)} is a section, not a value")
        hint = nearest(name, known, lambda found: _spelled(origin, found))
        raise SettingsError(f"{origin}: unknown setting {_spelled(origin, name)!r}{hint}")


def _spelled(origin: str, name: str) -> str:
    return variable(name) if origin in {"env", ".env"} else name


def _settled(values: Mapping[str, object], given: Mapping[str, Setting]) -> Settings:
    try:
        return Settings(**_nested(values))
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(fault, given) for fault in error.errors())) from None


def _complaint(fault: Any, given: Mapping[str, Setting]) -> str:
    loc = [str(part) for part in fault["loc"]]
    name = ".".join(loc)
    blamed = next((n for n in given if name == n or name.startswith(f"{n}.")), None)
    blamed = blamed or next((n for n in given if n.startswith(f"{name}.")), None)
    origin = given[blamed].origin if blamed else "default"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{origin}: {_spelled(origin, blamed or name)}: {message}"


def _described(model: BaseModel, path: str) -> Iterator[str]:
    """Values before tables, as TOML wants it."""
    tables = []
    shown = model.model_dump(mode="json")
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            tables.append((f"{path}{key}", value))
            continue
        if field.description:
            yield f"# {_prose(field.description)}"
        yield f"#{key} = {json.dumps('' if shown[key] is None else shown[key])}"
    yield ""
    for name, table in tables:
        yield f"# {_prose(type(table).__doc__ or '').replace('{NAME}', name.rpartition('.')[2].upper())}"
        yield f"[{name}]"
        yield from _described(table, f"{name}.")


def _prose(docstring: str) -> str:
    return " ".join(docstring.replace("``", "").split())


def write_template(file: Path, *, force: bool) -> None:
    """Put the template at ``file``; SettingsError where one is already there and ``force`` is not said."""
    if file.exists() and not force:
        raise SettingsError(f"{file} exists; --force replaces it")
    try:
        file.write_text(template(), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None


def masked(value: object) -> str:
    """A value as ``config show`` prints it."""
    return json.dumps(str(value) if isinstance(value, os.PathLike) else value, ensure_ascii=False)
