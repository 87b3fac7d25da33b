"""The page of a worker, asked over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from pydantic import SecretStr, ValidationError

from flows.health import STUCK, Health, HealthPage
from flows.settings import HealthSettings
from schemas.errors import SettingsError
from tests.flows.test_metrics import value

TOKEN = "".join(("open", "sesame"))


@contextmanager
def served(health: Health, **settings: object) -> Iterator[int]:
    page = HealthPage(health, HealthSettings(**settings))  # type: ignore[arg-type] # whatever a test sets
    try:
        yield int(page.address.rpartition(":")[2])
    finally:
        page.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


def test_a_worker_is_ready_once_it_says_so_and_no_more_once_it_stops() -> None:
    health = Health("cascades")
    with served(health) as port:
        assert ask(port, "/readyz") == (503, "starting")
        assert ask(port, "/healthz") == (200, "ok")
        assert value("breakwater_worker_up", worker="cascades") == 0
        health.ready()
        assert ask(port, "/readyz") == (200, "ok")
        assert value("breakwater_worker_up", worker="cascades") == 1
        health.unready("stopping")
        assert ask(port, "/readyz") == (503, "stopping")
        assert value("breakwater_worker_up", worker="cascades") == 0


def test_a_flow_that_no_longer_turns_is_neither_alive_nor_ready_until_it_turns_again() -> None:
    now = 1000.0
    health = Health("archive", lambda: now)
    health.ready()
    with served(health) as port:
        now += STUCK + 1
        assert ask(port, "/healthz") == (503, "the flow has not turned for 31 s")
        assert ask(port, "/readyz") == (503, "the flow has not turned for 31 s")
        health.turned()
        assert ask(port, "/healthz") == (200, "ok")
        assert ask(port, "/readyz") == (200, "ok")


def test_the_metrics_are_what_prometheus_reads() -> None:
    with served(Health("capture")) as port:
        status, text = ask(port, "/metrics")
        assert status == 200
        assert 'breakwater_worker_up{worker="capture"} 0.0' in text
        assert ask(port, "/") == (404, "there are /healthz, /readyz and /metrics")
        assert ask(port, "/metrics", "POST")[0] == 405


def test_others_may_not_reach_it_without_a_token() -> None:
    for host in (".".join("0000"), "10.1.2.3", "worker.example", "::"):
        with pytest.raises(ValidationError, match="set a token, or bind 127"):
            HealthSettings(host=host)
        HealthSettings(host=host, token=SecretStr(TOKEN))
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1"):
        HealthSettings(host=host)


def test_where_a_token_is_set_it_is_asked_for_everywhere() -> None:
    with served(Health("capture"), token=TOKEN) as port:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert ask(port, path)[0] == 401
            assert ask(port, path, Authorization="Bearer wrong")[0] == 401
        assert ask(port, "/healthz", Authorization=f"Bearer {TOKEN}") == (200, "ok")


def test_a_name_of_somebody_elses_for_this_machine_is_not_answered() -> None:
    with served(Health("capture")) as port:
        assert ask(port, "/metrics", Host="evil.example")[0] == 401
        assert ask(port, "/healthz", Host=f"localhost:{port}") == (200, "ok")


def test_an_address_in_use_is_an_error_that_says_what_to_do() -> None:
    with served(Health("capture")) as port, pytest.raises(SettingsError, match=r"choose another health\.port, or 0"):
        HealthPage(Health("capture"), HealthSettings(port=port))


def test_a_reader_that_never_asks_holds_up_nobody() -> None:
    with served(Health("capture")) as port, socket.create_connection(("127.0.0.1", port)):
        began = monotonic()
        assert ask(port, "/healthz") == (200, "ok")
        assert monotonic() - began < 2
