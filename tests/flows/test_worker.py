"""What every worker has around its flow."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from flows.settings import Settings
from flows.worker import Worker
from tests.integration.processes import ENVIRONMENT

_WARMED = """
import gc
from numba.core.dispatcher import Dispatcher
from connectors.exchange import Frame
from flows.domain.rules import Rules
from flows.domain.shard import Shard
from flows.normalise import PartitionReader
from schemas.batches import Batch
from schemas.clock import SECOND

def compiled():
    return {(d.py_func.__qualname__, len(d.overloads)) for d in gc.get_objects() if isinstance(d, Dispatcher)}

NOW = 1_790_000_000 * SECOND
BODY = b'{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1790000000000,"data":[%s]}'
ROW = b'{"T":%d,"s":"BTCUSDT","S":"Buy","v":"1","p":"1000"}'
reader, shard = PartitionReader(lambda: NOW), Shard("0", Rules(), SECOND)
reader.warm_up(), shard.warm_up()
before = compiled()
rows = [ROW % (1_790_000_000_000 - number) for number in range(3)]
for body in (rows[:1], rows[1:]):
    batch = reader._normaliser.normalise([Frame("bybit", "public", BODY % b",".join(body), NOW)])
    assert shard.closes(batch).taken == len(body)
shard.tick(NOW + 3600 * SECOND)
assert compiled() == before, compiled() - before
"""


def test_nothing_is_compiled_by_what_comes_first() -> None:
    subprocess.run([sys.executable, "-c", _WARMED], env=ENVIRONMENT, check=True, timeout=110)  # noqa: S603 - as written here


def test_the_second_request_to_stop_is_not_waited_for() -> None:
    worker = Worker("cascades", Settings())
    worker.stop(signal.SIGTERM, None)
    assert worker.turned()
    with pytest.raises(KeyboardInterrupt):
        worker.stop(signal.SIGTERM, None)
