"""Reading the contracts a user passes, and the built-in snapshot."""

from __future__ import annotations

import pytest

from connectors.exchanges import exchanges
from connectors.instruments import read_instruments, snapshot
from schemas.errors import UsageError
from schemas.instruments import Instrument, canonical, scale


def test_four_keys_are_enough() -> None:
    """The quote and the settlement follow from the unit."""
    lines = [
        b'{"instrument":"BTC-USDT-SWAP","asset":"BTC","contract_size":0.01,"contract_unit":"base"}',
        b'{"instrument":"BTC-USD-SWAP","asset":"BTC","contract_size":"100","contract_unit":"usd","listed":2020}',
        b"",
        b'{"instrument":"BTCUSDT","asset":"BTC","contract_size":1,"contract_unit":"base","venue":"bybit"}',
    ]
    assert read_instruments("okx", lines, "mine.jsonl") == [
        Instrument("okx", "BTC-USDT-SWAP", "BTC", 0.01, "base", "USDT", "USDT"),
        Instrument("okx", "BTC-USD-SWAP", "BTC", 100.0, "usd", "USD", "BTC"),
    ]


def test_a_wrong_line_is_named() -> None:
    """File, line, and what is missing."""
    with pytest.raises(UsageError, match=r"mine.jsonl, line 2: .*contract_unit"):
        read_instruments("okx", [b"", b'{"instrument":"X","asset":"X","contract_size":1}'], "mine.jsonl")


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ("BTC", ("BTC", 1.0)),
        ("XBT", ("BTC", 1.0)),
        ("1000PEPE", ("PEPE", 1000.0)),
        ("1MBABYDOGE", ("BABYDOGE", 1e6)),
        ("kPEPE", ("PEPE", 1000.0)),
        ("1INCH", ("1INCH", 1.0)),
        ("1000000MOG", ("MOG", 1e6)),
    ],
)
def test_scaled_names_are_one_asset(asset: str, expected: tuple[str, float]) -> None:
    """``1INCH`` is a name, ``1000PEPE`` a thousand PEPE."""
    assert canonical(asset) == expected


@pytest.mark.parametrize(("asset", "size"), [("1000PEPE", 1.0), ("PEPE", 1000.0), ("PEPE", 1.0)])
def test_a_scaled_contract_may_be_written_in_three_ways(asset: str, size: float) -> None:
    """One contract is a thousand PEPE, its price divides by a thousand."""
    name, units, divisor = scale(Instrument("binance_usdm", "1000PEPEUSDT", asset, size, "base"))
    assert (name, size * units, divisor) == ("PEPE", 1000.0, 1000.0)


def test_every_venue_with_a_dialect_has_a_snapshot_of_the_largest_assets() -> None:
    """BTC and ETH are known everywhere without asking."""
    for venue in exchanges():
        known = {canonical(instrument.asset)[0] for instrument in snapshot(venue)}
        assert {"BTC", "ETH"} <= known, venue
