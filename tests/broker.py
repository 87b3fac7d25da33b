"""A real Kafka for tests: one per test session, however many processes run it, from the script of ``make kafka``.

It is missing where Java is, or Maven and the jars are; tests then skip and say so, unless ``TESTS_BROKER`` is
``required``, as it is where every change must pass.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.kafka.topics import create
from schemas.bus import Bus
from schemas.topics import TOPICS, Topic

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "docker/kafka/broker"
JARS = Path(os.environ.get("KAFKA_JARS", ROOT / ".kafka/jars-4.3.0"))

_GUARD = """
import fcntl, subprocess, sys
from pathlib import Path
sys.stdin.buffer.read()
users, *stop = sys.argv[1:]
with open(users, "r+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    left = int(file.read() or 0) - 1
    file.seek(0); file.truncate(); file.write(str(left))
    if left <= 0:
        subprocess.run(stop)
"""
"""Ends the broker with its last user, also where that was killed."""

_BRIEF = "-XX:TieredStopAtLevel=1"
"""A broker of tests lives for seconds: compiling it for hours of work would take the cores from those it serves."""


@dataclass
class Broker:
    """A broker of one's own: it can be stopped, killed, frozen and started again on the same port with the same log."""

    port: int
    controller: int
    directory: Path
    settings: Sequence[str] = ()
    brief: bool = True
    """Whether it is compiled for seconds."""

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return int((self.directory / "pid").read_text())

    def bus(self, prefix: str = "", **options: str | int | float | bool) -> Bus:
        named = {name.replace("_", "."): value for name, value in options.items()}
        return Bus(self.bootstrap, prefix or f"t{uuid.uuid4().hex[:8]}", named)

    def bus_with(self, *topics: Topic) -> Bus:
        """A bus whose topics, all or these, have been made."""
        bus = self.bus()
        create(bus, topics or list(TOPICS.values()))
        return bus

    def start(self) -> Broker:
        environment = os.environ | {"BREAKWATER_CONTROLLER_PORT": str(self.controller)}
        if self.brief:
            environment["JAVA_TOOL_OPTIONS"] = _BRIEF
        told = subprocess.run(  # noqa: S603 - our own script
            [*self._command("start"), *self.settings],
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert told.stdout.strip() == self.bootstrap
        return self

    def stop(self) -> None:
        subprocess.run(self._command("stop"), check=True, timeout=60)  # noqa: S603 - our own script

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _command(self, what: str) -> list[str]:
        return [str(SCRIPT), what, str(self.port), str(self.directory)]


def free_ports(count: int) -> list[int]:
    """Ports nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def missing() -> str:
    """Why there can be no broker; nothing where there can."""
    if shutil.which("java") is None:
        return "no Java: a real Kafka needs Java 17"
    if shutil.which("mvn") is None and not JARS.is_dir():
        return "no Maven to fetch Kafka with"
    return ""


def needed() -> None:
    """Skip where there can be no broker; fail where there must be one."""
    why = missing()
    if why and os.environ.get("TESTS_BROKER") == "required":
        pytest.fail(f"TESTS_BROKER=required, but {why}")
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker of this session. Who stops, kills or fills it uses ``own_broker``."""
    needed()
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "broker"
    directory.mkdir(exist_ok=True)
    with (directory / "users").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        users = int(file.read() or 0)
        ports = directory / "ports"
        if not users:
            ports.write_text(" ".join(map(str, free_ports(2))))
        found = Broker(*map(int, ports.read_text().split()), directory / "kafka").start()
        file.seek(0)
        file.truncate()
        file.write(str(users + 1))
    guard = subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-c", _GUARD, str(directory / "users"), *found._command("stop")],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    yield found
    with closing(guard.stdin):  # type: ignore[type-var]  # a pipe was asked for
        pass
    guard.wait(60)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """``own_broker("name=value", ...)``: a broker nobody else uses, with these settings of its server."""
    needed()
    made: list[Broker] = []

    def make(*settings: str) -> Broker:
        made.append(Broker(*free_ports(2), tmp_path / f"kafka{len(made)}", settings).start())
        return made[-1]

    yield make
    for one in made:
        with suppress(OSError, ValueError):  # it may not be running
            one.thaw()
        one.stop()
