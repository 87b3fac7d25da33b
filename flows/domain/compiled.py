"""``compiled``: numba's ``njit`` with a cache that knows about all of this folder.

numba keys its cache by the one file a function stands in and bakes in what that function calls, so a change in
``rings.py`` would leave a stale ``kernel.process`` behind. Here the cache lives in a folder named after the contents of
every module of the domain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numba

_HERE = Path(__file__).parent


def cache_folder(sources: Path = _HERE) -> Path:
    """Where compiled code of exactly these sources is kept, with this numba."""
    digest = blake2b(numba.__version__.encode(), digest_size=8)
    for source in sorted(sources.glob("*.py")):
        digest.update(source.read_bytes())
    return sources / "__pycache__" / f"compiled-{digest.hexdigest()}"


def is_warm() -> bool:
    """Whether compiled code of these sources is there, so that the first start is quick."""
    return any(cache_folder().glob("**/*.nbc"))


if "NUMBA_CACHE_DIR" not in os.environ and os.access(_HERE, os.W_OK):
    numba.config.CACHE_DIR = str(cache_folder())


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit`` with the cache on; further options as numba's."""
    options = {"cache": True, **options}
    return numba.njit(**options) if function is None else numba.njit(**options)(function)
