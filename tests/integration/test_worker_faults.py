"""What workers do when something around them fails: the broker, the disk, a message, a host."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from connectors.kafka.topics import create
from connectors.simulator.process import SimulatorProcess
from schemas.bus import Bus
from schemas.clock import MILLISECOND
from schemas.codec import Outgoing
from schemas.topics import DEAD_LETTERS, FEEDS, LIQUIDATIONS, RAW, TOPICS
from sinks.kafka import Outbox
from sinks.parquet import lay_out
from tests.broker import Broker, free_ports
from tests.integration.killing import CHAIN, Run, assert_nothing_lost_and_nothing_twice
from tests.integration.processes import rows, until
from tests.integration.workers import Workers, feed, frames, messages, values, workers


def system(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command of the system."""
    return subprocess.run(command, check=check, capture_output=True, text=True)  # noqa: S603 - as written here


def ready(pipeline: Workers, name: str) -> tuple[int, str]:
    """What its page says at ``/readyz``."""
    port = re.findall(r'"address": "http://127\.0\.0\.1:(\d+)"', pipeline.log(name).read_text())[-1]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_broker_that_goes_away_and_comes_back_costs_time_and_nothing_else(
    own_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = own_broker()
    bus, told = broker.bus_with(), frames(3000)
    half = len(told) // 2
    with workers(bus, tmp_path) as pipeline:
        feed(bus, told[:half])
        for name in CHAIN:
            pipeline.start(name)
        for name in CHAIN:
            pipeline.await_begun(name)
        before = {name: process.pid for name, process in pipeline.running.items()}
        broker.stop()
        sleep(float(os.environ.get("BREAKWATER_AWAY", "4")))
        assert {name: process.poll() for name, process in pipeline.running.items()} == dict.fromkeys(CHAIN)
        broker.start()
        feed(bus, told[half:])
        for name in CHAIN:
            assert pipeline.running[name].pid == before[name]
            assert pipeline.stop(name) == 0, pipeline.log(name).read_text()[-3000:]
            pipeline.finish(name)
    assert_nothing_lost_and_nothing_twice(bus, Run(told, tmp_path / "data", 0))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_poison_in_every_topic_and_records_of_a_newer_version_become_dead_letters_and_the_rest_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    bus, told = broker.bus_with(), frames(600)
    feed(bus, told)
    now = told[-1].receive_time // MILLISECOND
    poison = [
        Outgoing(topic.name, b"BTC", value, [("schema", schema)], now)
        for topic in TOPICS.values()
        for value, schema in (
            (b"\xff\x00 this is nothing", topic.name.encode()),
            (b'{"kind":"novelty"}', b"novelty.v2"),
        )
    ]
    outbox = Outbox(bus)
    outbox.send(poison)
    outbox.settle()
    with workers(bus, tmp_path) as pipeline:
        for name in CHAIN:
            pipeline.finish(name)
    letters = [json.loads(value) for value in values(bus, DEAD_LETTERS) if value.startswith(b'{"kind":"dead_letter"')]
    by_topic = Counter(
        letter["feed"].split(".", 1)[1].rsplit("/", 2)[0] for letter in letters if letter["venue"] == "bus"
    )
    assert by_topic == {RAW.name: 2, LIQUIDATIONS.name: 2, "market.v1": 2}
    files = f"read_parquet('{tmp_path}/data/history/dead_letters/dt=*/part-*.parquet')"
    stored = rows(tmp_path / "data", f"SELECT feed, reason FROM {files} WHERE venue = 'bus'")  # noqa: S608 - our own files
    others = {name for name in TOPICS if name not in {RAW.name, LIQUIDATIONS.name, "market.v1"}}
    named = Counter(feed_name.split(".", 1)[1].rsplit("/", 2)[0] for feed_name, _ in stored)
    assert {name: named[name] for name in others} == dict.fromkeys(others, 2)
    assert sum("newer version" in reason for _, reason in stored) >= len(others)
    assert len(values(bus, LIQUIDATIONS)) - 2 >= 600


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of this size; skips where none can be made."""
    at.mkdir()
    made = system("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at), check=False)
    if made.returncode:
        pytest.skip(f"no file system of a given size can be mounted here: {made.stderr.strip()}")
    try:
        yield at
    finally:
        system("umount", "-l", str(at), check=False)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_disk_makes_the_archive_wait_and_costs_no_row(broker: Broker, tmp_path: Path) -> None:
    bus, told = broker.bus_with(), frames(2000)
    feed(bus, told)
    with small_disk(tmp_path / "data", "2m") as disk, workers(bus, tmp_path) as pipeline:
        pipeline.finish("normalise")
        pipeline.finish("cascades")
        lay_out(disk)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 16_384))
        process = pipeline.start("archive", BREAKWATER_HISTORY__FLUSH="1s")
        until(lambda: "the disk refuses" in pipeline.log("archive").read_text(), 60)
        assert process.poll() is None
        status, why = ready(pipeline, "archive")
        assert (status, "disk is full" in why) == (503, True), why
        ballast.unlink()
        until(lambda: ready(pipeline, "archive")[0] == 200, 30)
        assert pipeline.stop("archive") == 0
        pipeline.finish("archive")
        assert_nothing_lost_and_nothing_twice(bus, Run(told, disk, 0))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_nobody_heard_while_capture_was_dead_is_a_gap_row(broker: Broker, tmp_path: Path) -> None:
    bus = broker.bus_with(RAW, FEEDS, DEAD_LETTERS)
    with (
        SimulatorProcess("--seed", "3", "--duration", "60") as venues,
        workers(bus, tmp_path) as pipeline,
    ):
        gateway = {"BREAKWATER_VENUES__GATEWAYS": f"bybit={venues.endpoints['bybit'].rest}"}
        pipeline.start("capture", "--venue", "bybit", **gateway)
        pipeline.await_begun("capture")
        sleep(3)
        pipeline.kill("capture")
        killed = time.time_ns()  # noqa: TID251 - what the clock of the machine says is what is tested
        pipeline.start("capture", "--venue", "bybit", **gateway)
        pipeline.await_begun("capture")
        sleep(2)
        assert pipeline.stop("capture") == 0
    told = [json.loads(value) for value in values(bus, FEEDS)]
    (gap,) = [status for status in told if status["state"] == "gap" and status["feed"] == "*"]
    assert gap["venue"] == "bybit"
    assert gap["gap_from"] < killed < gap["gap_to"]
    assert killed - gap["gap_from"] < 5_000_000_000
    assert {status["state"] for status in told} >= {"connected", "subscribed", "closed"}
    schemas = Counter(dict(message.headers())["schema"] for message in messages(bus, RAW))
    assert schemas[b"opened.v1"] >= 2
    assert schemas[b"listed.v1"] >= 2
    assert schemas[b"frame.v1"] > 10


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_worker_two_three_and_two_again_tell_the_same(broker: Broker, tmp_path: Path) -> None:
    bus, told = broker.bus_with(), frames(2000)
    quarter = len(told) // 4 + 1
    with workers(bus, tmp_path) as pipeline:
        for number, processes in enumerate((1, 2, 3, 2)):
            feed(bus, told[number * quarter : (number + 1) * quarter])
            for name in CHAIN:
                pipeline.finish(name, "--workers", str(processes))
    assert_nothing_lost_and_nothing_twice(bus, Run(told, tmp_path / "data", 0))


@contextmanager
def two_hosts() -> Iterator[tuple[str, list[str]]]:
    """Two network namespaces on a bridge: the net of their addresses, and their names; skips where none can be made."""
    tag = f"bw{os.getpid() % 10000}"
    names = [f"{tag}a", f"{tag}b"]
    net = f"10.{200 + os.getpid() % 50}.{os.getpid() % 250}"
    try:
        system("ip", "link", "add", tag, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"no network namespaces can be made here: {refused}")
    try:
        system("ip", "addr", "add", f"{net}.1/24", "dev", tag)
        system("ip", "link", "set", tag, "up")
        for number, name in enumerate(names, 2):
            system("ip", "netns", "add", name)
            system("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", "eth0", "netns", name)
            system("ip", "link", "set", f"{name}0", "master", tag, "up")
            system("ip", "-n", name, "addr", "add", f"{net}.{number}/24", "dev", "eth0")
            system("ip", "-n", name, "link", "set", "eth0", "up")
            system("ip", "-n", name, "link", "set", "lo", "up")
        yield net, names
    finally:
        for name in names:
            system("ip", "netns", "del", name, check=False)
        system("ip", "link", "del", tag, check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_host_that_is_cut_off_makes_its_cluster_wait_and_all_go_on_when_it_is_back(
    broker: Broker, tmp_path: Path
) -> None:
    assert broker  # skips where there can be none
    with two_hosts() as (net, names):
        port, controller = free_ports(2)
        own = Broker(port, controller, tmp_path / "kafka", (
            f"listeners=PLAINTEXT://{net}.1:{port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://{net}.1:{port}",
        )).start()  # fmt: skip
        try:
            _cut_and_heal(Bus(f"{net}.1:{port}", "hosts"), net, names, tmp_path)
        finally:
            own.stop()


def _cut_and_heal(bus: Bus, net: str, names: list[str], directory: Path) -> None:
    create(bus, list(TOPICS.values()))
    told = frames(3000)
    half = len(told) // 2
    cluster = ";".join(f"{net}.{number}:2101" for number in (2, 3))
    with workers(bus, directory) as pipeline:
        feed(bus, told[:half])
        pipeline.finish("normalise")
        for number, name in enumerate(names):
            pipeline.start("cascades", "-i", str(number), "-a", cluster, inside=name)
        for name in names:
            pipeline.await_begun(f"cascades@{name}")
        system("ip", "link", "set", f"{names[1]}0", "down")
        feed(bus, told[half:])
        pipeline.finish("normalise")
        sleep(4)
        assert all(process.poll() is None for process in pipeline.running.values())
        system("ip", "link", "set", f"{names[1]}0", "up")
        sleep(3)
        for name in names:
            pipeline.interrupt(f"cascades@{name}")
        for name in names:
            assert pipeline.stop(f"cascades@{name}") == 0, pipeline.log(f"cascades@{name}").read_text()[-3000:]
        pipeline.finish("cascades")
        pipeline.finish("archive")
    assert_nothing_lost_and_nothing_twice(bus, Run(told, directory / "data", 0))
