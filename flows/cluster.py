"""Runs a worker's flow: in this process, as one of a cluster, or as several processes of this host."""

from __future__ import annotations

import importlib
import json
import secrets
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from time import sleep
from types import FrameType

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows.lifeline import environment, lifeline
from flows.recovery import held
from flows.stages import unwrapped
from schemas.errors import UsageError

WORKERS = ("capture", "normalise", "cascades", "archive", "execute")
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """How one worker is to be run."""

    name: str
    recovery: Path
    """Its own directory."""
    snapshot: int = 10
    """Seconds between snapshots."""
    processes: int = 1
    process_id: int | None = None
    addresses: Sequence[str] = ()
    bounded: bool = False
    config: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings said on the command line."""

    def __post_init__(self) -> None:
        if self.name not in WORKERS:
            raise UsageError(f"no worker {self.name!r}; there are {', '.join(WORKERS)}")
        if self.name == "capture" and (self.processes > 1 or self.addresses):
            raise UsageError("capture is one process; several share the venues: give each its own by --venue")
        if self.addresses and (self.processes > 1 or self.process_id is None):
            raise UsageError("a cluster over hosts: one process each, told by -i which of the addresses -a it is")
        if self.process_id is not None and not self.process_id < len(self.addresses):
            raise UsageError(f"-i {self.process_id}: there are {len(self.addresses)} addresses, counted from 0")

    def call(self) -> str:
        """The factory with what it is to be told."""
        arguments = ", ".join(f"{name}={_spelled(value)}" for name, value in self.told().items())
        return f"flows.{self.name}:build({arguments})"

    def told(self) -> dict[str, object]:
        """What it is to be told."""
        said = {"config": self.config, "bounded": self.bounded or None, "recovery": str(self.recovery)}
        return {name: value for name, value in said.items() if value is not None}

    def arguments(self) -> list[str]:
        """For ``python -m bytewax.run``."""
        out = [self.call(), "-r", str(self.recovery), "-s", str(self.snapshot), "-b", "0"]
        if self.addresses:
            out += ["-i", str(self.process_id), "-a", ";".join(self.addresses)]
        return out

    def line(self) -> str:
        """The same as a command of the engine."""
        said = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*said, "python -m bytewax.run", *map(shlex.quote, self.arguments())])


def _spelled(value: object) -> str:
    """In Python, with quotes that leave the shell its own."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def run(plan: Plan) -> int:
    """Run to the end; the exit code.

    :raises UsageError: another process works with its recovery store.
    """
    with held(plan.recovery, plan.process_id or 0):
        return several(plan) if plan.processes > 1 else alone(plan)


def alone(plan: Plan) -> int:
    """In this process."""
    try:
        flow = built(plan)
    except KeyboardInterrupt:  # told to stop before anything was begun
        return 0
    with unwrapped():
        cli_main(
            flow,
            process_id=plan.process_id,
            addresses=list(plan.addresses) or None,
            epoch_interval=timedelta(seconds=plan.snapshot),
            recovery_config=RecoveryConfig(plan.recovery),
        )
    return 0


def built(plan: Plan) -> Dataflow:
    """The flow itself."""
    try:
        build: Callable[..., Dataflow] = importlib.import_module(f"flows.{plan.name}").build
    except ModuleNotFoundError as missing:
        raise UsageError(f"there is no worker {plan.name!r} in this installation ({missing})") from missing
    return build(**plan.told())


def several(plan: Plan) -> int:
    """As processes of this host that form a cluster. When one ends, all do, this one included: they share one state.

    A supervisor starts it again; nothing is lost by that.
    """
    addresses = _free_addresses(plan.processes)
    plans = [replace(plan, process_id=i, addresses=addresses, processes=1) for i in range(plan.processes)]
    with ExitStack() as stack:
        line = stack.enter_context(lifeline())
        running = [stack.enter_context(_started(each, line)) for each in plans]

        def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
            for process in running:
                process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        while all(process.poll() is None for process in running):
            sleep(_LOOK)
        _wait_for_all(running)
        return 1 if any(process.returncode for process in running) else 0


def _started(plan: Plan, line: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "bytewax.run", *plan.arguments()]
    return subprocess.Popen(arguments, pass_fds=[line], env=environment(line))  # noqa: S603 - our own program


def _wait_for_all(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """The others end by themselves, at once where one died, else when drained; nobody is left behind."""
    for process in running:
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_addresses(count: int) -> tuple[str, ...]:
    """On loopback, below the ports the system hands out by itself: nobody takes one before its process is up."""
    with ExitStack() as stack:
        found: list[str] = []
        while len(found) < count:
            with suppress(OSError):
                taken = stack.enter_context(socket.create_server(("127.0.0.1", 20_000 + secrets.randbelow(10_000))))
                found.append(f"127.0.0.1:{taken.getsockname()[1]}")
        return tuple(found)
