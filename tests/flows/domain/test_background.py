"""What open interest and funding say about a leg."""

from __future__ import annotations

import pytest

from flows.domain.background import Marks, OpenInterests, paid
from schemas.clock import SECOND
from schemas.records import Funding, OpenInterest


def interest(second: int, quantity: float | None, instrument: str = "BTCUSDT") -> OpenInterest:
    return OpenInterest(
        venue="aster", instrument=instrument, asset="BTC", quantity=quantity, notional_usd=1e6,
        event_time=second * SECOND, receive_time=second * SECOND,
    )  # fmt: skip


def rate(rate: float, hours: float) -> Funding:
    return Funding(
        venue="aster", instrument="BTCUSDT", asset="BTC", rate=rate, interval_hours=hours, annualised=0.0,
        next_time=None, event_time=0, receive_time=0,
    )  # fmt: skip


def test_a_fall_is_counted_from_the_most_of_the_last_minute() -> None:
    told = OpenInterests()
    falls = [told.fall(interest(at, quantity)) for at, quantity in [(0, 90), (10, 100), (20, 95), (71, 92), (131, 92)]]
    assert falls == pytest.approx([0, 0, 0.05, 1 - 92 / 95, 0])


def test_contracts_are_told_apart_and_dollars_alone_say_nothing() -> None:
    told = OpenInterests()
    told.fall(interest(0, 100))
    assert told.fall(interest(1, 50, "BTCUSDC")) == 0
    assert told.fall(interest(2, None)) == told.fall(interest(3, 0.0)) == 0
    assert told.fall(interest(4, 50)) == 0.5


@pytest.mark.parametrize(
    ("told", "long", "pays"),
    [
        (rate(0.001, 8), True, 0.001),
        (rate(0.001, 8), False, -0.001),
        (rate(0.000125, 1), True, 0.001),
        (rate(-0.0005, 4), False, 0.001),
        (rate(0.001, 0), True, 0.0),
    ],
)
def test_funding_is_compared_on_eight_hours_and_signed_by_side(told: Funding, long: bool, pays: float) -> None:
    assert paid(told, long=long) == pytest.approx(pays)


def test_a_move_is_what_lies_between_the_extremes_of_a_minute() -> None:
    marks = Marks()
    told = [(0, 100.0), (50, 101.0), (59, 101.0), (100, 100.5), (109, 100.5), (110, 100.5), (161, 100.5)]
    moves = [marks.move(("aster", "BTC"), price, at * SECOND) for at, price in told]
    assert moves == pytest.approx([0, 0.01, 0.01, 0.01, 0.01, 101 / 100.5 - 1, 0])
    assert marks.move(("lighter", "1"), 50.0, 0) == 0
