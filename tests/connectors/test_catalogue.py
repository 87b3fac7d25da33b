"""The catalogue follows a venue that lists its contracts anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.catalogue import Catalogue
from connectors.intake import Intake
from schemas.instruments import Instrument


def listed(symbol: str, number: str) -> Instrument:
    return Instrument("hyperliquid", symbol, symbol, 1.0, "base", number=number)


def numbered(catalogue: Catalogue, numbers: str) -> dict[str, str | None]:
    intake = Intake(catalogue).venue("hyperliquid", "complete")
    return {number: intake.instrument_of(number) for number in numbers}


def test_a_number_belongs_to_the_contract_that_was_given_it_last() -> None:
    """A recording made when SOL was second is not read with today's list, where ATOM is."""
    catalogue = Catalogue([listed("BTC", "0"), listed("ATOM", "1"), listed("SOL", "2")])
    catalogue.add([listed("BTC", "0"), listed("SOL", "1")])
    assert numbered(catalogue, "012") == {"0": "BTC", "1": "SOL", "2": None}
    assert catalogue.contracts[catalogue.codes("hyperliquid")["ATOM"]].asset == "ATOM"


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("0123")), max_size=12))
def test_each_number_names_one_contract_and_each_contract_has_one(told: list[tuple[str, str]]) -> None:
    """The same as a table with a row per symbol, from which a new row takes its number away."""
    catalogue = Catalogue()
    expected: dict[str, str] = {}
    for symbol, number in told:
        catalogue.add([listed(symbol, number)])
        expected = {s: n for s, n in expected.items() if n != number} | {symbol: number}
    assert numbered(catalogue, "0123") == {
        n: next((s for s, has in expected.items() if has == n), None) for n in "0123"
    }
