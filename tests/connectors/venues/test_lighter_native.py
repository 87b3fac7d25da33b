"""Lighter's own signer, through a stand-in with the same C interface: the library itself is the venue's."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.venues.lighter_native import NativeSigner, SignedTransaction, TextOrError, load
from flows.settings.accounts import LighterAccount
from schemas.errors import SettingsError, UsageError

KEY = "17" * 40
FRAME = {"AccountIndex": 77, "ApiKeyIndex": 4, "ExpiredAt": 1_790_000_600_000, "Nonce": 5}
NAMES = {
    14: ("MarketIndex", "ClientOrderIndex", "BaseAmount", "Price", "IsAsk", "Type", "TimeInForce", "ReduceOnly",
         "TriggerPrice", "OrderExpiry"),
    15: ("MarketIndex", "Index"),
    16: ("TimeInForce", "Time"),
    17: ("MarketIndex", "Index", "BaseAmount", "Price", "TriggerPrice"),
}  # fmt: skip


class Library:
    """Signs what it is asked to, but for ``changed``; texts live until they are given back."""

    def __init__(self, refuses: str = "", **changed: Any) -> None:
        self.refuses, self.changed = refuses, changed
        self.calls: list[tuple[Any, ...]] = []
        self.kept: dict[int, Any] = {}

    def give(self, text: str) -> int:
        buffer = ctypes.create_string_buffer(text.encode())
        self.kept[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def Free(self, pointer: int) -> None:  # noqa: N802 - the name is the library's
        del self.kept[pointer]

    def CreateClient(self, url: bytes, key: bytes, chain: int, api_key: int, account: int) -> int | None:  # noqa: N802 - likewise
        self.calls.append(("client", chain, api_key, account))
        return None if key.decode() == KEY else self.give(f"invalid byte in {key.decode()}")

    def CreateAuthToken(self, until: int, api_key: int, account: int) -> TextOrError:  # noqa: N802 - likewise
        if self.refuses:
            return TextOrError(None, self.give(self.refuses))
        return TextOrError(self.give(f"{until}:{account}:{api_key}:5ee1"), None)

    def _signed(self, kind: int, *arguments: int) -> SignedTransaction:
        self.calls.append((kind, *arguments))
        if self.refuses:
            return SignedTransaction(kind, None, None, None, self.give(self.refuses))
        told = dict(zip(NAMES[kind], arguments, strict=False))
        attributes = {"Sig": "c2ln", "L2TxAttributes": None}
        text = json.dumps({**FRAME, "ExpiredAt": 1_790_000_599_000, **told, **attributes, **self.changed})
        return SignedTransaction(kind, self.give(text), self.give("00ff"), None, None)

    def SignCreateOrder(self, *arguments: int) -> SignedTransaction:  # noqa: N802 - likewise
        return self._signed(14, *arguments)

    def SignCancelOrder(self, *arguments: int) -> SignedTransaction:  # noqa: N802 - likewise
        return self._signed(15, *arguments)

    def SignCancelAllOrders(self, *arguments: int) -> SignedTransaction:  # noqa: N802 - likewise
        return self._signed(16, *arguments)

    def SignModifyOrder(self, *arguments: int) -> SignedTransaction:  # noqa: N802 - likewise
        return self._signed(17, *arguments)


ORDER = {
    **FRAME, "MarketIndex": 3, "ClientOrderIndex": 9, "BaseAmount": 250, "Price": 29_991, "IsAsk": 1, "Type": 0,
    "TimeInForce": 0, "ReduceOnly": 1, "TriggerPrice": 0, "OrderExpiry": 0,
}  # fmt: skip
CANCEL = {**FRAME, "MarketIndex": 3, "Index": 9}


def signer(library: Library) -> NativeSigner:
    return NativeSigner(library, 77, 4, SecretStr(KEY))


@pytest.mark.parametrize(
    ("kind", "transaction", "call"),
    [
        (14, ORDER, (14, 3, 9, 250, 29_991, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 4, 77)),
        (15, CANCEL, (15, 3, 9, 0, 5, 4, 77)),
        (16, {**FRAME, "TimeInForce": 1, "Time": 123}, (16, 1, 123, 255, 0, 5, 4, 77)),
        (
            17, {**CANCEL, "BaseAmount": 250, "Price": 29_991, "TriggerPrice": 0},
            (17, 3, 9, 250, 29_991, 0, 0, 0, 0, 0, 0, 0, 5, 0, 4, 77),
        ),
    ],
)  # fmt: skip
def test_every_field_is_where_the_library_reads_it_and_no_integrator_is_named(
    kind: int, transaction: dict[str, Any], call: tuple[int, ...]
) -> None:
    library = Library()
    signed = json.loads(signer(library).sign(kind, transaction))
    assert library.calls == [("client", 304, 4, 77), call]
    assert {name: signed[name] for name in transaction if name != "ExpiredAt"} == {
        name: value for name, value in transaction.items() if name != "ExpiredAt"
    }
    assert library.kept == {}, "its memory is given back"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"Price": 1}, "Price"),
        ({"ReduceOnly": 0}, "ReduceOnly"),
        ({"IntegratorAccountIndex": 718}, "IntegratorAccountIndex"),
        ({"L2TxAttributes": {"1": 718}}, "its kind, attributes or signature"),
        ({"Sig": ""}, "its kind, attributes or signature"),
    ],
)
def test_what_a_library_of_another_interface_signs_is_not_given_away(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=rf"signed something else \({told}\)"):
        signer(Library(**changed)).sign(14, ORDER)


def test_what_the_library_refuses_is_told() -> None:
    library = Library()
    made = signer(library)
    assert made.token(123) == "123:77:4:5ee1"
    library.refuses = "nonce"
    with pytest.raises(UsageError, match="refused: nonce"):
        made.sign(15, CANCEL)
    with pytest.raises(UsageError, match="gave no token: nonce"):
        made.token(123)
    assert library.kept == {}


def test_a_wrong_key_is_told_by_name_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="LIGHTER_KEY_4 is no key of Lighter") as error:
        NativeSigner(Library(), 77, 4, SecretStr("hush"))
    assert "hush" not in str(error.value)
    assert repr(signer(Library())) == "NativeSigner(77, 4)"


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.so", tmp_path / "text.so"):
        if path.name == "text.so":
            path.write_text("no library")
        with pytest.raises(SettingsError, match="is no signer of Lighter for this machine"):
            load(path)
    with pytest.raises(SettingsError, match="is no signer of Lighter for this machine"):
        load(Path("libc.so.6"))


@pytest.mark.parametrize("good", ["", "/opt/lighter-signer-linux-amd64.so", "x.dylib", "desk.signing:lighter"])
def test_a_signer_is_a_library_or_a_function(good: str) -> None:
    assert LighterAccount(signer=good).signer == good
    with pytest.raises(ValidationError, match="names neither a library"):
        LighterAccount(signer="desk.signing")
