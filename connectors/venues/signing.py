"""Signatures the venues ask for. Keys go in as ``SecretStr`` and come out as nothing but signatures."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import SecretStr

from schemas.errors import ExtraMissing

try:
    from eth_account import Account
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak
except ImportError:  # the extra is not installed
    HAVE_ETH = False
else:
    HAVE_ETH = True

_NOWHERE = "0x0000000000000000000000000000000000000000"
_DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
ASTER_CHAIN = 1666
"""Of the signing domain; the venue's own number."""
_HYPERLIQUID_CHAIN = 1337


class EthKey:
    """A key that signs typed data (EIP-712).

    :raises ExtraMissing: the extra ``live`` is not installed.
    """

    def __init__(self, key: SecretStr) -> None:
        if not HAVE_ETH:
            raise ExtraMissing("eth-account", "live")
        self._account = Account.from_key(key.get_secret_value())

    @property
    def address(self) -> str:
        """Who signs."""
        return str(self._account.address)

    def sign(self, typed: dict[str, Any]) -> tuple[str, str, int]:
        """r, s and v of the signature."""
        signed = self._account.sign_message(encode_typed_data(full_message=typed))
        return f"0x{signed.r:064x}", f"0x{signed.s:064x}", int(signed.v)

    def __repr__(self) -> str:
        return f"EthKey({self.address})"


def signer_of(typed: dict[str, Any], r: str, s: str, v: int) -> str:
    """The address that signed ``typed``.

    :raises ExtraMissing: the extra ``live`` is not installed.
    """
    if not HAVE_ETH:
        raise ExtraMissing("eth-account", "live")
    return str(Account.recover_message(encode_typed_data(full_message=typed), vrs=(v, int(r, 16), int(s, 16))))


def aster_message(parameters: str) -> dict[str, Any]:
    """Typed data over the parameters of an Aster v3 request as they go over the wire."""
    return {
        "types": {"EIP712Domain": _DOMAIN, "Message": [{"name": "msg", "type": "string"}]},
        "primaryType": "Message",
        "domain": {
            "name": "AsterSignTransaction",
            "version": "1",
            "chainId": ASTER_CHAIN,
            "verifyingContract": _NOWHERE,
        },
        "message": {"msg": parameters},
    }


def hyperliquid_agent(
    action: dict[str, Any], nonce: int, expires_after: int | None, *, mainnet: bool
) -> dict[str, Any]:
    """Typed data over an exchange action of Hyperliquid: a phantom agent named by the hash of the action.

    :arg nonce: milliseconds.
    :arg expires_after: milliseconds UTC.
    """
    if not HAVE_ETH:
        raise ExtraMissing("eth-account", "live")
    raw = msgspec.msgpack.encode(action) + nonce.to_bytes(8, "big") + b"\x00"
    if expires_after is not None:
        raw += b"\x00" + expires_after.to_bytes(8, "big")
    return {
        "types": {
            "EIP712Domain": _DOMAIN,
            "Agent": [{"name": "source", "type": "string"}, {"name": "connectionId", "type": "bytes32"}],
        },
        "primaryType": "Agent",
        "domain": {
            "name": "Exchange",
            "version": "1",
            "chainId": _HYPERLIQUID_CHAIN,
            "verifyingContract": _NOWHERE,
        },
        "message": {"source": "a" if mainnet else "b", "connectionId": keccak(raw)},
    }
