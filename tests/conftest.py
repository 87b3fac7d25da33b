"""What every test may ask for: the recorded material, where it is present, and a normaliser of known instruments."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.normaliser import Normaliser
from schemas.instruments import Instrument
from schemas.records import MarketRecord
from tests.broker import broker, own_broker

__all__ = ["broker", "own_broker", "read", "shared"]

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("BREAKWATER_SHARED", ROOT.parent / "shared"))

settings.register_profile("breakwater", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("breakwater")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell; whatever a test starts would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Read = Callable[..., list[MarketRecord]]


@pytest.fixture(autouse=True)
def _logs_say_what_they_said_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command run in this process sets logging up for good; the next test must not find that."""
    configure = structlog.configure
    monkeypatch.setattr(structlog, "configure", lambda **how: configure(**how | {"cache_logger_on_first_use": False}))
    yield
    structlog.reset_defaults()


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Path of a recorded file below ``BREAKWATER_SHARED``; skips where it is not present."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"recorded material is not present: {path} (set BREAKWATER_SHARED)")
        return path

    return find


@pytest.fixture
def read() -> Read:
    """``read(venue, frames, instruments, receive_time=0, feed="test")``: the records a venue's frames turn into."""

    def run(
        venue: str,
        frames: Iterable[bytes | str],
        instruments: Iterable[Instrument],
        receive_time: int = 0,
        feed: str = "test",
    ) -> list[MarketRecord]:
        normaliser = Normaliser(exchanges().values(), Catalogue(instruments))
        raw = [frame.encode() if isinstance(frame, str) else frame for frame in frames]
        return list(normaliser.normalise([Frame(venue, feed, r, receive_time) for r in raw]).records())

    return run
