"""What calls for a closer look, until when, and who is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flows.domain.hints import Hints
from schemas.clock import SECOND
from schemas.pairs import Hint

NOW = 1_000 * SECOND
HINT = Hint(venue="aster", what="alert", source="signal", until=NOW + 30 * SECOND, reason="CASCADE_ALERT")


def test_a_hint_runs_out_by_itself() -> None:
    hints = Hints()
    hints.give(HINT, NOW)
    assert hints.reasons("aster", HINT.until - 1, "alert") == ["CASCADE_ALERT"]
    assert hints.reasons("aster", HINT.until - 1, "urgent") == hints.reasons("lighter", NOW) == []
    assert hints.reasons("aster", HINT.until) == []


def test_what_is_told_late_has_run_out_already() -> None:
    hints = Hints()
    hints.give(HINT, HINT.until)
    assert (hints.news(), hints.reasons("aster", NOW)) == ([], [])


def test_a_renewal_is_news_only_when_a_third_of_its_time_has_passed() -> None:
    hints = Hints()
    told = []
    for second in range(60):
        hints.give(replace(HINT, until=NOW + (30 + second) * SECOND), NOW + second * SECOND)
        told += [second] * len(hints.news())
    assert told == [0, 11, 22, 33, 44, 55]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=50))
def test_renewing_never_shortens(told: list[tuple[int, int]]) -> None:
    hints, latest = Hints(), 0
    for at, until in sorted(told):
        hints.give(replace(HINT, until=until), at)
        known = max((n for n in range(201) if hints.reasons("aster", n)), default=-1) + 1
        assert known >= latest
        latest = known


def test_the_source_takes_back_what_it_said_and_no_other_does() -> None:
    hints = Hints()
    hints.give(HINT, NOW)
    hints.give(replace(HINT, source="closes", reason="public closes"), NOW)
    hints.news()
    hints.lift("aster", "alert", "signal", NOW + 1, "over")
    assert hints.reasons("aster", NOW + 1) == ["public closes"]
    assert hints.news() == [replace(HINT, until=NOW + 1, reason="over")]
    hints.lift("aster", "alert", "signal", NOW + 2, "over")
    assert hints.news() == []


def test_who_begins_again_takes_back_what_was_said_before() -> None:
    hints = Hints()
    hints.restore([HINT])
    hints.lift("aster", "alert", "signal", NOW, "over")
    assert [hint.until for hint in hints.news()] == [NOW]


def test_only_what_is_closer_than_before_is_to_be_read_at_once() -> None:
    hints = Hints()
    hints.give(HINT, NOW)
    assert hints.replace([replace(HINT, source="closes")], NOW) == set()
    urgent = replace(HINT, what="urgent", venue="lighter")
    assert hints.replace([urgent], NOW) == {"lighter"}
    assert hints.replace([replace(urgent, until=NOW + 60 * SECOND)], NOW + SECOND) == set()
    assert hints.replace([], NOW) == set()
    assert hints.reasons("lighter", NOW) == []
