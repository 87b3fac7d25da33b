"""Ids are the same everywhere, fit every venue's rule, and differ wherever anything differs."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from schemas.orders import ClientIdRule
from sinks.executor.ids import client_id

ALPHANUMERIC = ClientIdRule(form="text", limit=32, unique="forever")
GATE = ClientIdRule(form="text", limit=28, prefix="t-", unique="open")
HEX = ClientIdRule(form="hex128", limit=128, unique="none")
LIGHTER = ClientIdRule(form="integer", limit=48, unique="open")
BITFINEX = ClientIdRule(form="integer", limit=45, unique="day")
RULES = (ALPHANUMERIC, GATE, HEX, LIGHTER, BITFINEX)

cause = st.tuples(
    st.text(max_size=9),
    st.text(max_size=9),
    st.text(max_size=9),
    st.text(max_size=9),
    st.integers(0, 9),
    st.integers(0, 9),
)


def test_an_id_once_given_never_changes() -> None:
    told = [client_id(rule, "main", "1f", "lighter", "1", 0, 0) for rule in RULES]
    assert told == [client_id(rule, "main", "1f", "lighter", "1", 0, 0) for rule in RULES]
    assert told[0] == "muclkg62ixonx77tux4kwgpcsi"


@given(cause, cause)
def test_ids_differ_where_anything_differs_and_fit_the_rule(
    one: tuple[str, str, str, str, int, int], other: tuple[str, str, str, str, int, int]
) -> None:
    for rule in RULES:
        first, second = client_id(rule, *one), client_id(rule, *other)
        # A name that holds the separator could be cut elsewhere; no venue's does.
        assert (first == second) == (one == other) or any("\x1f" in str(part) for part in (*one, *other))
        match rule.form:
            case "text":
                assert re.fullmatch(r"(t-)?[a-z2-7]+", first)
                assert len(first) <= rule.limit
            case "hex128":
                assert re.fullmatch("0x[0-9a-f]{32}", first)
            case "integer":
                assert 0 < int(first) < 1 << rule.limit
