"""Lighter's own signer, a shared library that comes with the venue's SDK and not with us, by its C interface.

The interface is that of lighter-sdk 1.1.8. A library with another one would sign something else, so what it signed is
read back and compared with what was asked, field by field, before it is given away.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from connectors.venues.lighter_wire import CANCEL, CANCEL_ALL, CREATE, MODIFY
from schemas.errors import SettingsError, UsageError

_MAINNET = 304
_ALL_MARKETS = 255
_NOWHERE = b"http://127.0.0.1"
"""The library wants an address; signing asks nobody."""
_KEEP_ORDER = 0
"""Nonces count one by one: none may be skipped."""
_Long, _Int, _Byte, _Text, _Pointer = ctypes.c_longlong, ctypes.c_int, ctypes.c_uint8, ctypes.c_char_p, ctypes.c_void_p


class SignedTransaction(ctypes.Structure):
    """What a signing function gives."""

    _fields_ = [
        ("kind", _Byte),
        ("info", _Pointer),
        ("hash", _Pointer),
        ("message", _Pointer),
        ("error", _Pointer),
    ]


class TextOrError(ctypes.Structure):
    """One of the two."""

    _fields_ = [("text", _Pointer), ("error", _Pointer)]


_NOBODY = (0, 0, 0, 0, 0)
"""No integrator with no fees, and the venue's own way with orders that would meet each other."""
_CALLS: Mapping[int, tuple[str, Callable[[Mapping[str, Any]], tuple[int, ...]]]] = {
    CREATE: (
        "SignCreateOrder",
        lambda t: (
            t["MarketIndex"], t["ClientOrderIndex"], t["BaseAmount"], t["Price"], t["IsAsk"], t["Type"],
            t["TimeInForce"], t["ReduceOnly"], t["TriggerPrice"], t["OrderExpiry"], *_NOBODY, _KEEP_ORDER, t["Nonce"],
        ),
    ),
    CANCEL: ("SignCancelOrder", lambda t: (t["MarketIndex"], t["Index"], _KEEP_ORDER, t["Nonce"])),
    CANCEL_ALL: (
        "SignCancelAllOrders", lambda t: (t["TimeInForce"], t["Time"], _ALL_MARKETS, _KEEP_ORDER, t["Nonce"]),
    ),
    MODIFY: (
        "SignModifyOrder",
        lambda t: (
            t["MarketIndex"], t["Index"], t["BaseAmount"], t["Price"], t["TriggerPrice"], *_NOBODY, _KEEP_ORDER,
            t["Nonce"], 0,
        ),
    ),
}  # fmt: skip
_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "SignCreateOrder": (_Long, _Long, _Long, *[_Int] * 6, _Long, _Long, _Int, _Int, _Byte, _Byte, _Byte, _Long),
    "SignCancelOrder": (_Long, _Long, _Byte, _Long),
    "SignCancelAllOrders": (_Int, _Long, _Long, _Byte, _Long),
    "SignModifyOrder": (*[_Long] * 6, _Int, _Int, _Byte, _Byte, _Byte, _Long, _Long),
}
"""Without the number of the API key and of the account, which come last."""


@cache
def load(path: Path) -> Any:
    """The library.

    :raises SettingsError: there is none, or none of this machine, or it lacks a function.
    """
    try:
        library = ctypes.CDLL(str(path))
        library.CreateClient.argtypes, library.CreateClient.restype = [_Text, _Text, _Int, _Int, _Long], _Pointer
        library.CreateAuthToken.argtypes, library.CreateAuthToken.restype = [_Long, _Int, _Long], TextOrError
        library.Free.argtypes, library.Free.restype = [_Pointer], None
        for name, types in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = [*types, _Int, _Long], SignedTransaction
    except (OSError, AttributeError) as error:
        raise SettingsError(f"signer {path} is no signer of Lighter for this machine: {error}") from None
    return library


class NativeSigner:
    """Signs for one account and API key.

    :arg library: of ``load``.
    :raises SettingsError: the key is none.
    """

    def __init__(self, library: Any, account: int, api_key: int, key: SecretStr) -> None:
        self._library, self._account, self._api_key = library, account, api_key
        refused = self._told(
            library.CreateClient(_NOWHERE, key.get_secret_value().encode(), _MAINNET, api_key, account)
        )
        if refused is not None:
            raise SettingsError(f"LIGHTER_KEY_{api_key} is no key of Lighter: 80 hex digits are")

    def sign(self, kind: int, transaction: dict[str, Any]) -> str:
        """See ``LighterSigner``. The library sets the end of validity by itself: ten minutes from now, less a second.

        :raises UsageError: it refused, or signed anything else than it was asked to.
        """
        name, arguments = _CALLS[kind]
        signed = getattr(self._library, name)(*arguments(transaction), self._api_key, self._account)
        text, error = self._told(signed.info), self._told(signed.error)
        self._told(signed.hash), self._told(signed.message)
        if error is not None or text is None:
            raise UsageError(f"Lighter's signer refused: {error}")
        _same(kind, transaction, signed.kind, msgspec.json.decode(text))
        return text

    def token(self, until: int) -> str:
        """See ``LighterSigner``.

        :raises UsageError: the library refused.
        """
        made = self._library.CreateAuthToken(until, self._api_key, self._account)
        text, error = self._told(made.text), self._told(made.error)
        if error is not None or text is None:
            raise UsageError(f"Lighter's signer gave no token: {error}")
        return text

    def __repr__(self) -> str:
        return f"NativeSigner({self._account}, {self._api_key})"

    def _told(self, pointer: int | None) -> str | None:
        """A text of the library's, which is given back to it."""
        if not pointer:
            return None
        text = ctypes.string_at(pointer).decode()
        self._library.Free(pointer)
        return text


def _same(kind: int, asked: Mapping[str, Any], made: int, signed: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in signed.items() if name not in {"Sig", "L2TxAttributes", "ExpiredAt"}}
    wanted = {name: value for name, value in asked.items() if name != "ExpiredAt"}
    wrong = sorted(name for name in plain.keys() | wanted.keys() if plain.get(name) != wanted.get(name))
    if made != kind or wrong or signed.get("L2TxAttributes") is not None or not signed.get("Sig"):
        what = ", ".join(wrong) or "its kind, attributes or signature"
        raise UsageError(f"Lighter's signer signed something else ({what}): is it that of lighter-sdk 1.1.8?")
