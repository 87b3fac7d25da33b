"""What is told a little at a time is told once, in its order, whatever the slices and the restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from flows.backlog import Backlog, Turns
from schemas.clock import MILLISECOND


class Number(Struct):
    value: int


def numbers(of: list[int]) -> list[Number]:
    return [Number(value) for value in of]


class Column(list[int]):
    """Numbers not yet spelled out."""

    asked = False

    def records(self) -> list[Number]:
        self.asked = True
        return numbers(self)


@given(
    st.lists(st.lists(st.integers(), max_size=6), max_size=6),
    st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=30),
)
def test_slices_and_restarts_change_nothing(made: list[list[int]], slices: list[int | None]) -> None:
    backlog, told = Backlog(), list[Struct]()
    for rows in made:
        backlog.add(Column(rows))
    for most in slices:
        if most is None:
            backlog = Backlog(backlog.rest())
        else:
            found = backlog.take(most)
            assert len(found) <= most
            told += found
    assert len(backlog) == sum(map(len, made)) - len(told)
    told += backlog.take(len(backlog))
    assert told == numbers([value for rows in made for value in rows])
    assert not backlog
    assert backlog.rest() == []


def test_what_waits_is_spelled_out_when_its_turn_comes_and_stays_after_a_look() -> None:
    first, second, backlog = Column([1, 2, 3]), Column([4]), Backlog()
    assert not backlog
    backlog.add(first)
    backlog.add(second)
    assert len(backlog) == 4
    assert not first.asked
    assert backlog.take(2) == numbers([1, 2])
    assert (first.asked, second.asked) == (True, False)
    assert backlog.take(0) == backlog.take(-3) == []
    assert backlog.rest() == numbers([3, 4])
    assert backlog.take(9) == numbers([3, 4])
    assert not backlog


def test_turns_come_one_at_a_time_and_a_clock_set_back_stops_nobody() -> None:
    now = 1_000 * MILLISECOND
    turns = Turns(2 * MILLISECOND, lambda: now)
    assert turns.mine()
    assert not turns.mine()
    now += 2 * MILLISECOND - 1
    assert not turns.mine()
    now += 1
    assert turns.mine()
    now -= 500 * MILLISECOND
    assert turns.mine()
