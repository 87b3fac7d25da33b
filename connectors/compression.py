"""Gunzip with a bound: what a few kilobytes can unfold to is somebody else's choice otherwise."""

from __future__ import annotations

import zlib

from schemas.errors import FrameTooLarge

MAGIC = b"\x1f\x8b"
_GZIP = 31
"""zlib's ``wbits`` for a gzip header and trailer."""


def gunzip(venue: str, payload: bytes, limit: int) -> bytes:
    """The plain bytes of a gzip ``payload``; a payload that is no whole gzip is returned as it is.

    :raises FrameTooLarge: it unfolds to more than ``limit`` bytes.
    """
    if payload[:2] != MAGIC:
        return payload
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(payload, limit + 1)
    except zlib.error:
        return payload
    if len(plain) > limit:
        raise FrameTooLarge(venue, len(plain), limit)
    return plain if inflater.eof else payload
