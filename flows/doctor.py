"""``breakwater doctor``: can Breakwater work on this machine? Each line is OK, WARN or FAIL and says the fix."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from msgspec import Struct

from schemas.clock import Clock
from schemas.errors import BreakwaterError

Verdict = Literal["OK", "WARN", "FAIL"]

_MODULES = {"confluent-kafka": "confluent_kafka", "pydantic-settings": "pydantic_settings"}
_FREE_WARN, _FREE_FAIL = 5e9, 2e8
_EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)


class Finding(Struct, frozen=True):
    """One line of the report."""

    verdict: Verdict
    subject: str
    found: str
    fix: str = ""


def examine(data_dir: Path, clock: Clock) -> Iterator[Finding]:
    """Every check, quick ones first; none raises."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        lambda: _clock(clock()),
        _loopback,
        lambda: _writable(data_dir),
        lambda: _disk(data_dir),
        _packages,
        _extras,
        _compiled,
    ]
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    spelled = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        yield Finding("OK", "python", spelled)
    else:
        yield Finding("FAIL", "python", spelled, "use Python 3.11 or 3.12: bytewax has no wheel for others")


def _packages() -> Iterator[Finding]:
    """Imports every required package: a wheel of the wrong platform fails here and not in the night."""
    for name in requirements():
        module = _MODULES.get(name, name.replace("-", "_"))
        try:
            importlib.import_module(module)
            yield Finding("OK", name, version(name))
        except (ImportError, OSError, PackageNotFoundError) as error:
            yield Finding("FAIL", name, f"does not import: {error}", "pip install -r requirements.lock")


def requirements(extra: bool = False) -> list[str]:
    """The names of the required packages, or of the optional ones."""
    try:
        lines = requires("breakwater") or []
    except PackageNotFoundError:
        return []
    chosen = [line for line in lines if ("extra ==" in line) is extra]
    return sorted({"".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0] for line in chosen})


def _extras() -> Iterator[Finding]:
    missing = []
    for name in requirements(extra=True):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if not requirements(extra=True):
        yield Finding("OK", "extras", "none exist, nothing optional is missing")
    elif missing:
        yield Finding(
            "WARN", "extras", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}, if wanted"
        )
    else:
        yield Finding("OK", "extras", "all installed")


def _writable(data_dir: Path) -> Iterator[Finding]:
    probe = data_dir / f".doctor-{os.getpid()}"
    made = [p for p in [data_dir, *data_dir.parents] if not p.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"breakwater")
        probe.unlink()
        yield Finding("OK", "data directory", f"{data_dir} can be written")
    except OSError as error:
        fix = (
            f"make it writable, or set another: --data-dir, data_dir in the file, BREAKWATER_DATA_DIR (now {data_dir})"
        )
        yield Finding("FAIL", "data directory", f"{data_dir}: {error.strerror}", fix)
    finally:
        # Looking leaves nothing behind.
        with suppress(OSError):
            for path in made:
                path.rmdir()


def _disk(data_dir: Path) -> Iterator[Finding]:
    there = next((p for p in [data_dir, *data_dir.absolute().parents] if p.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free at {there}"
    if free < _FREE_FAIL:
        yield Finding("FAIL", "disk", found, "free some space or move data_dir: history could not be written")
    elif free < _FREE_WARN:
        yield Finding(
            "WARN", "disk", found, "history grows by hundreds of MB a day with mark prices; keep an eye on it"
        )
    else:
        yield Finding("OK", "disk", found)


def _compiled() -> Iterator[Finding]:
    """The window kernel is compiled at first use and kept; a read-only installation compiles at each start."""
    try:
        kernel = importlib.import_module("flows.domain.kernel")
    except (ImportError, BreakwaterError) as error:
        yield Finding("FAIL", "window kernel", str(error), "pip install -r requirements.lock")
        return
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(str(kernel.__file__)).parent / "__pycache__")
    kept = [*folder.rglob("kernel.*.nbc")]
    if kept:
        yield Finding("OK", "window kernel", f"compiled, {len(kept)} functions kept in {folder}")
    elif os.access(folder if folder.exists() else folder.parent, os.W_OK):
        yield Finding("WARN", "window kernel", "not compiled yet", "the first start takes some seconds longer, once")
    else:
        fix = "set NUMBA_CACHE_DIR to a directory that can be written"
        yield Finding("WARN", "window kernel", f"compiled at each start: {folder} cannot be written", fix)


def _loopback() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname(), timeout=2):
                pass
            yield Finding("OK", "loopback", f"127.0.0.1 accepts connections (tried port {server.getsockname()[1]})")
    except OSError as error:
        fix = "allow connections to 127.0.0.1: demo speaks to its simulated venues through it"
        yield Finding("FAIL", "loopback", str(error), fix)


def _clock(now: int) -> Iterator[Finding]:
    """Without asking anybody: a clock that shows a time before this was written is wrong."""
    told = datetime.fromtimestamp(now / 1e9, UTC)
    if told < _EARLIEST or told.year > _EARLIEST.year + 20:
        yield Finding("FAIL", "clock", f"{told:%Y-%m-%d %H:%M:%S} UTC", "set the clock (timedatectl set-ntp true)")
    else:
        yield Finding(
            "OK", "clock", f"{told:%Y-%m-%d %H:%M:%S} UTC (compare with yours; events carry the venues' clocks)"
        )
