"""Partitions that arrive unevenly are handed on in their common order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.alignment import Alignment


def told(*times: int) -> list[int]:
    return list(times)


def test_what_is_ahead_waits_until_the_others_have_told_as_far() -> None:
    alignment: Alignment[int] = Alignment(int)
    alignment.put("a", told(1, 5, 9))
    assert alignment.take({"a", "b"}) == {}, "nobody knows what b will tell"
    alignment.put("b", told(2, 6))
    assert alignment.take({"a", "b"}) == {"a": [1, 5], "b": [2, 6]}
    assert alignment.held("a") == 1
    assert alignment.take({"a"}) == {"a": [9]}, "b has told everything"


def test_a_partition_that_was_emptied_holds_the_others_at_what_it_told_last() -> None:
    alignment: Alignment[int] = Alignment(int)
    alignment.put("b", told(4))
    alignment.put("a", told(1, 4, 5))
    assert alignment.take({"b"}) == {"b": [4], "a": [1, 4]}
    assert alignment.take({"b"}) == {}
    assert alignment.take(()) == {"a": [5]}


def test_nothing_is_kept_back_once_nobody_is_behind() -> None:
    alignment: Alignment[int] = Alignment(int)
    alignment.put("a", told(7, 3, 8))
    assert alignment.take(()) == {"a": [7, 3, 8]}
    assert alignment.take(()) == {}


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=12).map(sorted), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=40),
)
def test_partitions_in_order_come_out_in_order_and_whole(
    parts: list[list[int]], arrivals: list[tuple[int, int]]
) -> None:
    alignment: Alignment[int] = Alignment(int)
    left = {str(number): list(times) for number, times in enumerate(parts)}
    out: list[int] = []
    by_part: dict[str, list[int]] = {name: [] for name in left}
    for which, count in [*arrivals, *((number, 99) for number in range(4))]:
        name = str(which % len(parts))
        alignment.put(name, told(*left[name][:count]))
        del left[name][:count]
        taken = alignment.take([part for part, rest in left.items() if rest])
        for part, times in taken.items():
            by_part[part] += times
        out += sorted(time for times in taken.values() for time in times)
    assert out == sorted(time for times in parts for time in times)
    assert by_part == {str(number): times for number, times in enumerate(parts)}
