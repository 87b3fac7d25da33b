"""What is believed of a position."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.clock import SECOND
from schemas.holdings import Holding, Trust, contradicts_itself
from schemas.orders import Account, Known

TRUST = Trust(first=SECOND, unexplained=30 * SECOND)
ONE, HALF, NOTHING = Decimal(1), Decimal("0.5"), Decimal(0)


def test_one_wrong_zero_is_no_position_gone() -> None:
    holding = Holding(ONE)
    assert not holding.read(NOTHING, 10 * SECOND, None, TRUST)
    assert (holding.quantity, holding.known_since(0)) == (ONE, False)
    assert not holding.read(ONE, 11 * SECOND, None, TRUST)
    assert holding.known_since(11 * SECOND)


def test_a_read_that_the_fills_account_for_is_believed_at_once() -> None:
    holding = Holding(ONE)
    assert holding.read(HALF, 10 * SECOND, HALF, TRUST)
    assert (holding.quantity, holding.known_since(10 * SECOND)) == (HALF, True)


def test_what_nobody_accounts_for_is_believed_after_half_a_minute_of_agreement() -> None:
    holding = Holding(ONE)
    changes = [holding.read(NOTHING, n * SECOND, None, TRUST) for n in range(10, 41)]
    assert changes == [False] * 30 + [True]
    assert holding.quantity == NOTHING


@given(st.lists(st.sampled_from([NOTHING, ONE]), min_size=1, max_size=100))
def test_a_venue_that_keeps_contradicting_itself_is_not_believed(reads: list[Decimal]) -> None:
    holding = Holding(ONE)
    for n, quantity in enumerate(reads):
        # Every tenth answer is the truth.
        holding.read(ONE if n % 10 == 9 else quantity, (n + 1) * SECOND, None, TRUST)
    assert holding.quantity == ONE


def test_a_forced_close_stands_against_reads_that_lag_behind_it() -> None:
    holding = Holding(ONE)
    assert holding.told(HALF, 10 * SECOND, SECOND)
    assert not holding.read(ONE, 10 * SECOND + 1, None, TRUST)
    assert (holding.quantity, holding.doubted) == (HALF, None)
    holding.read(ONE, 11 * SECOND, None, TRUST)
    assert holding.doubted == (ONE, 11 * SECOND)


def test_messages_that_overtake_each_other_never_make_a_position_larger() -> None:
    holding = Holding(-ONE)
    assert holding.told(-HALF, 10 * SECOND, SECOND)
    assert not holding.told(Decimal("-0.7"), 10 * SECOND, SECOND)
    assert holding.quantity == -HALF


def test_what_was_never_told_needs_two_reads() -> None:
    holding = Holding(None)
    assert not holding.read(ONE, SECOND, None, TRUST)
    assert holding.read(ONE, 2 * SECOND, None, TRUST)
    assert holding.quantity == ONE


@pytest.mark.parametrize(
    ("equity", "free", "held", "contradicts"),
    [
        ("100", "90", False, True),
        ("100", "90", True, False),
        ("100", "99.5", False, False),
        ("100", "101", False, False),
        ("0", "0", False, False),
        (None, "90", False, False),
        ("100", None, False, False),
    ],
)
def test_margin_in_use_without_a_position_contradicts_itself(
    equity: str | None, free: str | None, held: bool, contradicts: bool
) -> None:
    positions = {"BTC": Known(instrument="BTC", quantity=ONE)} if held else {}
    account = Account(
        venue="aster", positions=positions, time=0, equity=None if equity is None else Decimal(equity),
        free_margin=None if free is None else Decimal(free),
    )  # fmt: skip
    assert contradicts_itself(account, TRUST) is contradicts


def test_an_answer_that_contradicts_itself_has_to_be_repeated_for_minutes_unless_fills_account_for_it() -> None:
    holding = Holding(ONE)
    changes = [holding.read(NOTHING, n * SECOND, None, TRUST, contradicted=True) for n in range(10, 311)]
    assert changes == [False] * 300 + [True]
    gone = Holding(ONE)
    assert gone.read(NOTHING, 10 * SECOND, NOTHING, TRUST, contradicted=True)
    unknown = Holding(None)
    assert [unknown.read(NOTHING, n * SECOND, None, TRUST, contradicted=True) for n in range(2)] == [False, True]
