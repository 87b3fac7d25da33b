"""The container stack, checked without an engine: its shape, what it names, and what it opens to whom."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from typer.main import get_command

from flows.cli import app
from flows.configuration import load
from flows.health import Health, HealthPage
from flows.metrics import described
from flows.settings import HealthSettings, Settings
from schemas.records import FeedState
from tests.conftest import ROOT

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = ("capture", "normalise", "cascades", "archive", "execute")
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())["groups"]
BOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
}
METRICS = {name: (kind, labels) for name, kind, labels, _ in described()}

TEXT = {"type": "string", "minLength": 1}
TIME = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
TEXTS = {"type": "array", "items": TEXT, "uniqueItems": True}
NAMED = {"type": "object", "additionalProperties": {"type": "object"}}
SCHEMA = {
    "type": "object",
    "required": ["name", "services"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "networks": {
            "type": "object",
            "additionalProperties": {
                "type": "object", "properties": {"internal": {"type": "boolean"}}, "additionalProperties": False,
            },
        },
        "volumes": NAMED,
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object", "properties": {"environment": TEXT}, "required": ["environment"],
                "additionalProperties": False,
            },
        },
        "services": {
            "type": "object",
            "patternProperties": {"^[a-zA-Z0-9._-]+$": {"$ref": "#/$defs/service"}},
            "additionalProperties": False,
        },
    },
    "patternProperties": {"^x-": {}},
    "additionalProperties": False,
    "$defs": {
        "service": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "pattern": r"^[a-z0-9./_-]+:[A-Za-z0-9._-]+$"},
                "build": {
                    "type": "object", "properties": {"context": TEXT, "dockerfile": TEXT}, "required": ["context"],
                    "additionalProperties": False,
                },
                "platform": TEXT,
                "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                "init": {"type": "boolean"},
                "stop_grace_period": TIME,
                "cap_drop": TEXTS,
                "security_opt": TEXTS,
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "command": {"type": "array", "items": TEXT},
                "profiles": TEXTS,
                "env_file": {
                    "type": "array",
                    "items": {
                        "type": "object", "properties": {"path": TEXT, "required": {"type": "boolean"}},
                        "required": ["path"], "additionalProperties": False,
                    },
                },
                "volumes": TEXTS, "networks": TEXTS, "secrets": TEXTS, "ports": TEXTS,
                "depends_on": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object", "required": ["condition"], "additionalProperties": False,
                        "properties": {
                            "condition": {
                                "enum": ["service_started", "service_healthy", "service_completed_successfully"]
                            }
                        },
                    },
                },
                "healthcheck": {
                    "type": "object",
                    "properties": {
                        "test": TEXTS, "interval": TIME, "timeout": TIME, "start_period": TIME,
                        "retries": {"type": "integer", "minimum": 1}, "disable": {"type": "boolean"},
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        }
    },
}  # fmt: skip
"""The part of the Compose specification that is used here; anything else is a slip."""


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression, with where it stands."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} {target['refId']}", target["expr"]
    for group in RULES:
        for rule in group["rules"]:
            yield f"rules: {rule['alert']}", rule["expr"]


EXPRESSIONS = dict(expressions())


def metric_of(name: str) -> str:
    """The metric a series belongs to: a histogram has three series of its own."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if METRICS.get(base, ("", ()))[0] == "histogram" else name


def complaint(words: list[str]) -> str:
    """What the command line would say to this before doing anything; nothing where it would begin."""
    context = typer.Context(get_command(app), info_name="breakwater")
    while (commands := getattr(context.command, "commands", None)) and words:
        if words[0] not in commands:
            return f"no command {words[0]}"
        context = typer.Context(commands[words[0]], info_name=words[0], parent=context)
        words = words[1:]
    try:
        context.command.make_context(context.info_name, list(words), parent=context.parent)
    except typer.BadParameter.__mro__[1] as error:
        return error.format_message()
    return ""


def test_the_stack_is_what_compose_reads() -> None:
    errors = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(COMPOSE)]
    assert errors == []
    assert set(SERVICES) == {"kafka", "topics", *WORKERS, "executor", "prometheus", "grafana"}


def test_a_slip_in_the_stack_is_noticed() -> None:
    wrong = json.loads(json.dumps(COMPOSE))
    wrong["services"]["kafka"]["port"] = wrong["services"]["kafka"].pop("ports")
    wrong["services"]["archive"]["depends_on"]["topics"]["condition"] = "service_ready"
    assert len(list(Draft202012Validator(SCHEMA).iter_errors(wrong))) == 2


def test_whatever_is_named_is_there() -> None:
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DOCKER / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"], volume
        if "build" in service:
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
                DOCKER / "Dockerfile"
            )
    used = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    assert used == {line.split("=")[0] for line in (DOCKER / "env.example").read_text().splitlines() if "=" in line}


def test_nothing_is_open_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert COMPOSE["networks"]["bus"] == {"internal": True}
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in WORKERS:
        environment = SERVICES[name]["environment"]
        assert environment["BREAKWATER_HEALTH__HOST"] != "127.0.0.1"
        assert environment["BREAKWATER_HEALTH__TOKEN"].startswith("${BREAKWATER_HEALTH__TOKEN:?"), "no token, no start"
    outside = {name for name in WORKERS if "outside" in SERVICES[name]["networks"]}
    assert outside == {"capture", "execute"}, "the others need no venue"


def test_every_setting_of_the_stack_exists() -> None:
    named = {name for service in SERVICES.values() for name in service.get("environment", {})}
    named |= set(re.findall(r"\b(BREAKWATER_\w+)=", DOCKERFILE))
    ours = sorted(name.removeprefix("BREAKWATER_").lower() for name in named if name.startswith("BREAKWATER_"))
    assert set(ours) == {
        "data_dir", "executor__mode", "health__host", "health__port", "health__token", "kafka__bootstrap",
        "log__format",
    }  # fmt: skip
    for name in ours:
        section, _, key = name.partition("__")
        field = Settings.model_fields.get(section)
        if key and field is not None:
            assert key in field.annotation.model_fields, name  # type: ignore[union-attr] # a section is a model
        else:
            assert field is not None or section == "kafka", name


@pytest.mark.parametrize("service", ["topics", *WORKERS])
def test_a_service_runs_a_command_that_would_begin(service: str) -> None:
    command = SERVICES[service]["command"]
    known = get_command(app).commands  # type: ignore[attr-defined] # it is a group
    if command[0] in known:
        assert complaint(command) == ""
    assert command[:2] == (["topics", "create"] if service == "topics" else ["worker", service])


def test_the_executor_is_asked_for_and_what_its_file_names_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is copied it sends nothing: no account is in use and the limits are 0."""
    service = SERVICES["executor"]
    assert (service["profiles"], service["command"]) == (["executor"], ["executor", "run"])
    assert complaint([*service["command"], "--live"]) == ""
    (file,) = service["env_file"]
    lines = (DOCKER / f"{file['path']}.example").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    executor = load().settings.executor
    assert list(executor.accounts.enabled()) == []
    assert (executor.limits.order_usd, executor.limits.total_usd) == (0, 0)
    secrets = {s for v in ("aster", "okx") for s in getattr(executor.accounts, v).secrets(v)}
    assert {name for name in told if not name.startswith("BREAKWATER_")} == secrets


def test_commands_of_the_readme_would_begin() -> None:
    shown = re.findall(r"exec \w+ breakwater (.+)$", (DOCKER / "README.md").read_text(), re.MULTILINE)
    assert len(shown) == 3
    assert [complaint(shlex.split(command)) for command in shown] == ["", "", ""]


def test_the_image_is_locked_checked_and_without_rights() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["python:3.12-slim", "python:3.12-slim"]
    assert "--require-hashes -r /build/requirements.lock" in DOCKERFILE
    final = DOCKERFILE.split("FROM python:3.12-slim\n")[-1]
    steps = re.findall(r"^([A-Z]+) ", final, re.MULTILINE)
    assert "USER breakwater" in final
    assert steps.index("USER") < steps.index("ENTRYPOINT")
    assert steps[steps.index("USER") :].count("USER") == 1
    assert 'ENTRYPOINT ["breakwater"]' in final
    assert "HEALTHCHECK" in final
    for source in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        assert (ROOT / source).exists(), source
    sent = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / path).exists() for path in sent)


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_a_metric_that_is_shown_exists_with_its_labels(where: str) -> None:
    expression = EXPRESSIONS[where]
    series = set(re.findall(r"\bbreakwater_\w+", expression))
    if not series:
        assert expression.startswith('up{job="breakwater"}')
        return
    labels = {"le"} if "_bucket" in expression else set()
    for name in series:
        assert metric_of(name) in METRICS, name
        if METRICS[metric_of(name)][0] == "histogram":
            assert name != metric_of(name), "a histogram has no series of its own name"
        labels |= set(METRICS[metric_of(name)][1])
    asked = {label for text in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", text)}
    asked |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|!~|=)", expression))
    assert asked <= labels
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_counters_are_shown_as_rates_and_gauges_are_not(where: str) -> None:
    for name in re.findall(r"\bbreakwater_\w+", EXPRESSIONS[where]):
        counts = METRICS[metric_of(name)][0] in {"counter", "histogram"}
        wrapped = re.search(rf"\b(rate|increase)\({name}(\{{[^}}]*\}})?\[\d+[smhd]\]\)", EXPRESSIONS[where])
        assert bool(wrapped) == counts, name


def test_every_metric_is_shown_somewhere() -> None:
    shown = {metric_of(name) for text in EXPRESSIONS.values() for name in re.findall(r"\bbreakwater_\w+", text)}
    assert shown == set(METRICS)


def test_states_of_feeds_are_those_there_are() -> None:
    told = {state for text in EXPRESSIONS.values() for states in re.findall(r'state=~?"([^"]+)"', text)
            for state in states.split("|")}  # fmt: skip
    assert told <= set(FeedState.__args__)  # type: ignore[attr-defined] # a literal has them
    assert "silent" in told


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_loads_and_its_panels_do_not_overlap(name: str) -> None:
    board = BOARDS[name]
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert board["uid"] == f"breakwater-{name}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_what_is_provisioned_is_where_it_is_mounted() -> None:
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    (provider,) = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/breakwater.yaml").read_text())["providers"]
    assert provider["options"]["path"] == mounts["./grafana/dashboards"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DOCKER / "grafana/dashboards" / home.relative_to(mounts["./grafana/dashboards"])).exists()
    prometheus = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{name}:9464" for name in WORKERS]}]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])["./prometheus"]
    assert prometheus["rule_files"] == [f"{mounted}/rules.yml"]


def test_each_alert_says_how_bad_and_what() -> None:
    rules = [rule for group in RULES for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        kept = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        assert told <= (set(re.split(r",\s*", kept[0])) if kept else {"instance", "worker"}), rule["alert"]


@pytest.mark.parametrize(("token", "code"), [("right", 0), ("wrong", 1), ("", 1)])
def test_the_health_check_of_the_image_asks_the_worker(token: str, code: int) -> None:
    page = HealthPage(Health("archive"), HealthSettings(token=SecretStr("right")))
    try:
        port = page.address.rsplit(":", 1)[1]
        asked = {**os.environ, "BREAKWATER_HEALTH__PORT": port, "BREAKWATER_HEALTH__TOKEN": token}
        command = [sys.executable, "-I", str(DOCKER / "healthcheck.py")]
        done = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)  # noqa: S603 - our own file
        assert done.returncode == code, done.stderr
        assert done.stdout == ("ok\n" if code == 0 else "")
    finally:
        page.close()
