"""Keys that the engine puts on the worker that reads the partition they are of.

Bytewax 0.21 gives the partitions of a source or a sink to the workers in turn, in the order of their names, and a key
to worker ``SipHash-1-3(key) % workers`` (``src/timely.rs``, ``src/operators.rs``). What is keyed by its partition's
number is thought about wherever that falls, mostly in another process than reads it, and unevenly: of "0" to "11" one
of two workers gets nine. What crosses is pickled, which costs more than the thinking does.

So a key is given a tail with which it hashes to its partition's place in that order: it is thought about where it is
read, and told where it is thought about. That holds for numbers of workers that divide 60; with others, or should the
engine hash otherwise one day, some of it crosses, which costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import count

PLACES = 60
"""Divided by 1 to 6, 10, 12, 15, 20, 30 and 60 workers."""
_MASK = (1 << 64) - 1


def keys_of(partitions: Iterable[int]) -> dict[int, str]:
    """The key of each partition of a topic, by its number."""
    return {number: key_at(place, str(number)) for place, number in enumerate(sorted(partitions, key=str))}


@cache
def key_at(place: int, name: str) -> str:
    """A key that begins with this name and is at that place."""
    return next(key for number in count() if place_of(key := f"{name}~{number}") % PLACES == place % PLACES)


@cache
def place_of(key: str) -> int:
    """Where the engine sees a key: SipHash-1-3 with an empty secret of its bytes and 0xff, as Rust hashes a string.

    Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), section 2, with one round per word and
    three to finish.
    """
    data = key.encode() + b"\xff"
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, whole, 8)]
    words.append(len(data) % 256 << 56 | int.from_bytes(data[whole:], "little"))
    state = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    for word in words:
        a, b, c, d = _round(*state[:3], state[3] ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = _round(state[0], state[1], state[2] ^ 0xFF, state[3])
    a, b, c, d = _round(*_round(a, b, c, d))
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a, c = (a + b) & _MASK, (c + d) & _MASK
    b, d = _turned(b, 13) ^ a, _turned(d, 16) ^ c
    a = _turned(a, 32)
    a, c = (a + d) & _MASK, (c + b) & _MASK
    d, b = _turned(d, 21) ^ a, _turned(b, 17) ^ c
    return a, b, _turned(c, 32), d


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
