"""``compiled``: numba's ``njit`` with a cache that knows about every file compiled code is made from.

numba keys its cache by the one file a function stands in, and bakes in what that function calls and the constants it
imports: a change in ``rings.py`` would leave a stale ``kernel.process`` behind. Here the cache lives in a folder named
after the contents of all modules that are compiled or give constants to those that are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numba

_ROOT = Path(__file__).parents[1]
_SOURCES = tuple(_ROOT / room for room in ("schemas", "connectors", "flows/domain"))


def cache_folder(sources: Iterable[Path] = _SOURCES) -> Path:
    """Where compiled code of exactly these folders' modules is kept, with this numba."""
    digest = blake2b(numba.__version__.encode(), digest_size=8)
    for folder in sources:
        for module in sorted(folder.glob("*.py")):
            digest.update(module.read_bytes())
    return Path(__file__).parent / "__pycache__" / f"compiled-{digest.hexdigest()}"


def is_warm() -> bool:
    """Whether compiled code of these sources is there, so that the first start is quick."""
    return any(Path(numba.config.CACHE_DIR or cache_folder()).glob("**/*.nbc"))


if "NUMBA_CACHE_DIR" not in os.environ and os.access(Path(__file__).parent, os.W_OK):
    numba.config.CACHE_DIR = str(cache_folder())


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit`` with the cache on; further options as numba's."""
    options = {"cache": True, **options}
    return numba.njit(**options) if function is None else numba.njit(**options)(function)
