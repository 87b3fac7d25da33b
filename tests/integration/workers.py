"""Workers as real processes over a real broker, what they are fed, and what an undisturbed run would have told."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshots
from connectors.kafka import BusConsumer, Reading, partition_names
from connectors.normaliser import Normaliser
from flows import assembly
from flows.domain.shard import Shard
from flows.reading import RunReader
from flows.settings import Settings
from schemas.bus import Bus
from schemas.cascades import MARKET
from schemas.clock import HOUR, MILLISECOND, SECOND, system_clock
from schemas.codec import Outgoing, encode, encode_closes, encode_frame
from schemas.records import DeadLetter
from schemas.topics import LIQUIDATIONS, TOPICS, Topic
from sinks.kafka import Outbox
from tests.integration.processes import ENVIRONMENT, ROOT, until

SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LINK", "AVAX")
AGO = 6 * HOUR
"""When the frames were received: within what topics keep, and not in the future, which brokers refuse."""


def frames(count: int, seed: int = 1, together: float = 0.5, symbols: Sequence[str] = SYMBOLS) -> list[Frame]:
    """Frames of three venues that tell so many forced closes in waves, with rubbish and repetitions among them.

    Nine tenths of the time is calm. At the end, an hour later, each asset has one more, so that all is closed.

    :arg together: the share of frames that tell several at a time, all of one venue.
    """
    r = random.Random(seed)
    now = system_clock() // SECOND * SECOND - AGO
    made: list[Frame] = []
    told = 0
    while told < count:
        storm = (told // 1500) % 3 == 2
        now += round(r.expovariate(1.0) * (2 if storm else 80)) * MILLISECOND
        symbol = r.choice(symbols)
        if r.random() < together:
            rows = [_row(r, symbol, now) for _ in range(min(r.randint(1, 12), count - told))]
            told += len(rows)
            made.append(_bybit(symbol, rows, now))
        else:
            told += 1
            made.append(_binance(r, r.choice(("binance_usdm", "aster")), symbol, now))
        if r.random() < 0.002:
            made.append(Frame("bybit", "public", b'{"topic":"allLiquidation.BTCUSDT","data":[{"s":%d}]}' % told, now))
        if r.random() < 0.01:
            made.append(made[-1])
    for symbol in symbols:
        now += HOUR // len(symbols)
        made.append(_binance(r, "aster", symbol, now))
    return made


def _row(r: random.Random, symbol: str, now: int) -> dict[str, Any]:
    time = now // MILLISECOND - r.randrange(200)
    price, quantity = f"{r.randrange(100_000, 200_000) / 100}", f"{r.randrange(1, 100_000) / 1000}"
    return {"T": time, "s": f"{symbol}USDT", "S": r.choice(["Buy", "Sell"]), "v": quantity, "p": price}


def _bybit(symbol: str, rows: list[dict[str, Any]], now: int) -> Frame:
    told = {"topic": f"allLiquidation.{symbol}USDT", "type": "snapshot", "ts": now // MILLISECOND, "data": rows}
    return Frame("bybit", "public", json.dumps(told).encode(), now)


def _binance(r: random.Random, venue: str, symbol: str, now: int) -> Frame:
    time, quantity = now // MILLISECOND, f"{r.randrange(1, 100_000) / 1000}"
    order = {
        "s": f"{symbol}USDT", "S": r.choice(["BUY", "SELL"]), "o": "LIMIT", "f": "IOC", "q": quantity, "p": "1500",
        "ap": f"{r.randrange(100_000, 200_000) / 100}", "X": "FILLED", "l": quantity, "z": quantity, "T": time - 20,
    }  # fmt: skip
    return Frame(venue, "public", json.dumps({"e": "forceOrder", "E": time, "o": order}).encode(), now)


def feed(bus: Bus, told: list[Frame]) -> None:
    """Put frames into ``raw.v1``."""
    outbox = Outbox(bus)
    outbox.send(encode_frame(*frame) for frame in told)
    outbox.settle()


def normalised(told: list[Frame]) -> tuple[dict[str, bytes], set[bytes]]:
    """What the frames say, each once: messages of forced closes by id, and dead letters."""
    catalogue = Catalogue(snapshots())
    batch = Normaliser(exchanges().values(), catalogue).normalise(told)
    letters = {encode(record).value for _, record in batch.others if isinstance(record, DeadLetter)}
    closes: dict[str, bytes] = {}
    for message in encode_closes(batch):
        closes.setdefault(json.loads(message.value)["event_id"], message.value)
    return closes, letters


def messages(bus: Bus, topic: Topic) -> Iterator[Any]:
    """Every message of a topic, by partition and offset."""
    consumer = BusConsumer(bus, Reading((topic,), bounded=True), system_clock)
    for name in partition_names(bus, (topic,)):
        consumer.add(name)
    runs = []
    while not consumer.finished():
        runs += consumer.read()
    consumer.close()
    for run in sorted(runs, key=lambda run: (run.partition, run.messages[0].offset())):
        yield from run.messages


def values(bus: Bus, topic: Topic) -> list[bytes]:
    """Their values."""
    return [message.value() for message in messages(bus, topic)]


def undisturbed(bus: Bus) -> tuple[set[bytes], set[bytes]]:
    """What an undisturbed worker tells of the topic as it is: of the assets, and of the market."""
    settings = Settings()
    rules, slack = assembly.rules(settings), round(settings.worker.slack * SECOND)
    reader, market, out = RunReader(bus), Shard(MARKET, rules, slack), list[Outgoing]()
    consumer = BusConsumer(bus, Reading((LIQUIDATIONS,), bounded=True, aligned=True), system_clock)
    shards: dict[int, Shard] = {}
    for name in partition_names(bus, (LIQUIDATIONS,)):
        consumer.add(name)
    told_of_market: list[Outgoing] = []
    while not consumer.finished():
        for run in consumer.read():
            shard = shards.setdefault(run.partition, Shard(str(run.partition), rules, slack))
            batch, _ = reader.closes(run)
            out += _spelled(shard.closes(batch))
            told_of_market += _spelled(market.closes(batch))
    consumer.close()
    return {m.value for m in out}, {m.value for m in told_of_market}


def _spelled(told: Any) -> list[Outgoing]:
    windows = [window for rows in told.detections.windows for window in rows.records()]
    return [encode(record) for record in [*told.detections.records, *windows]]


class Workers:
    """Workers of one pipeline, each with its recovery store, in a directory."""

    def __init__(self, bus: Bus, directory: Path, **settings: str) -> None:
        self.directory = directory
        self._bus = bus
        self._environment = {
            **ENVIRONMENT, "BREAKWATER_KAFKA__BOOTSTRAP": bus.bootstrap, "BREAKWATER_KAFKA__PREFIX": bus.prefix,
            "BREAKWATER_LOG__FORMAT": "json", "PYTHONPATH": str(ROOT),
            # The clock of this machine decides nothing about what was received hours ago.
            "BREAKWATER_WORKER__SLACK": "365d", **settings,
        }  # fmt: skip
        self._asked: set[str] = set()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *options: str, inside: str = "", **settings: str) -> subprocess.Popen[bytes]:
        """One worker; its log goes to a file.

        :arg inside: the network namespace it lives in; it is then known as ``name@inside``.
        """
        arguments = [sys.executable, "-m", "flows.cli", "worker", name, "--snapshot", "1", *options]
        arguments += ["--recovery", str(self.directory / "recovery"), "--data-dir", str(self.directory / "data")]
        if inside:
            arguments, name = ["ip", "netns", "exec", inside, *arguments], f"{name}@{inside}"
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program
                arguments, stdout=log, stderr=log, cwd=self.directory, env={**self._environment, **settings},
                start_new_session=True,
            )  # fmt: skip
        self.running[name] = process
        return process

    def await_begun(self, name: str, within: float = 60.0) -> None:
        """Until all its processes are past their start and read."""
        process = self.running[name]

        def begun() -> bool:
            pids, told = self.pids(name), self.log(name).read_text()
            return bool(pids) and all(f'"pid": {pid}' in told for pid in pids)

        try:
            until(begun, within)
        except AssertionError:
            process.send_signal(signal.SIGUSR1)  # what it is doing
            sleep(0.5)
            raise AssertionError(f"{name}: {process.poll()}\n{self.log(name).read_text()[-5000:]}") from None

    def pids(self, name: str) -> list[int]:
        """The processes a worker is: those a cluster's parent has started, once it has all, or itself."""
        process = self.running[name]
        told = list(map(str, process.args))  # type: ignore[arg-type] # a list of words
        count = int(told[told.index("--workers") + 1]) if "--workers" in told else 1
        if count == 1:
            return [process.pid]
        with suppress(FileNotFoundError):  # it has ended
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return [int(child) for child in children] if len(children) == count else []
        return []

    def log(self, name: str) -> Path:
        """What it said."""
        return self.directory / f"{name}.log"

    def kill(self, name: str) -> None:
        """As the system does when memory runs out."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def interrupt(self, name: str) -> None:
        """Ask it to end in order."""
        self._asked.add(name)
        self.running[name].send_signal(signal.SIGTERM)

    def stop(self, name: str, within: float = 60.0) -> int:
        """In order; its exit code."""
        process = self.running.pop(name)
        if name not in self._asked:
            process.send_signal(signal.SIGTERM)
        return process.wait(within)

    def finish(self, name: str, *options: str, within: float = 110.0) -> None:
        """Run it to where the topics end now."""
        process = self.start(name, "--bounded", *options)
        assert process.wait(within) == 0, self.log(name).read_text()[-3000:]
        del self.running[name]

    def close(self) -> None:
        """End what still runs."""
        for process in self.running.values():
            process.kill()
            process.wait()


@contextmanager
def workers(bus: Bus, directory: Path, **settings: str) -> Iterator[Workers]:
    """None of them outlives the test."""
    made = Workers(bus, directory, **settings)
    try:
        yield made
    finally:
        made.close()


def killed_at_random(
    pipeline: Workers, names: tuple[str, ...], kills: int, seed: int, most: float, *options: str
) -> list[str]:
    """Run these workers and kill one of them every now and then, at whatever moment; what was killed."""
    r, done = random.Random(seed), []
    for name in names:
        pipeline.start(name, *options)
    for number in range(kills):
        name = names[number % len(names)]
        pipeline.await_begun(name)
        sleep(r.uniform(0.0, most))
        for each, process in pipeline.running.items():
            assert process.poll() is None, pipeline.log(each).read_text()[-3000:]
        pipeline.kill(name)
        pipeline.start(name, *options)
        done.append(name)
    return done


ALL = tuple(TOPICS.values())
