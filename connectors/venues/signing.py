"""Signatures the venues ask for. Keys go in as ``SecretStr`` and come out as nothing but signatures."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from pydantic import SecretStr

from schemas.errors import ExtraMissing, SettingsError

try:
    from eth_account import Account
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak
except ImportError:  # the extra is not installed
    HAVE_ETH = False
else:
    HAVE_ETH = True
try:
    import fast_stark_crypto
except ImportError:  # the extra is not installed
    HAVE_STARK = False
else:
    HAVE_STARK = True

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
_TWO_WEEKS = 14 * 24 * 3600


class EthKey:
    """A key that signs typed data (EIP-712).

    :raises ExtraMissing: the extra ``live`` is not installed.
    :raises SettingsError: it is no private key.
    """

    def __init__(self, key: SecretStr) -> None:
        if not HAVE_ETH:
            raise ExtraMissing("eth-account", "live")
        try:
            self._account = Account.from_key(key.get_secret_value())
        except Exception:  # noqa: BLE001 - its own words may hold the key
            raise SettingsError("the key is no private key: 32 bytes in hex are, such as 0x0123...") from None

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


class StarkKey:
    """A key that signs Extended's settlements (Stark curve).

    :raises ExtraMissing: the extra ``live`` is not installed.
    :raises SettingsError: it is no private key.
    """

    def __init__(self, key: SecretStr) -> None:
        if not HAVE_STARK:
            raise ExtraMissing("fast-stark-crypto", "live")
        try:
            self._key = int(key.get_secret_value(), 16)
            self.public = fast_stark_crypto.get_public_key(self._key)
        except Exception:  # noqa: BLE001 - its own words may hold the key
            raise SettingsError("the key is no private Stark key: a number in hex is, such as 0x0123...") from None

    def sign(self, digest: int) -> tuple[int, int]:
        """r and s of the signature."""
        return fast_stark_crypto.sign(self._key, digest)

    def __repr__(self) -> str:
        return f"StarkKey({self.public:#x})"


class Settlement(Struct, frozen=True, kw_only=True):
    """What an order of Extended may move at most, in the smallest units of the chain: bought is positive."""

    position: int
    """The account's number on the chain (vault)."""
    synthetic: str
    """Id of the contract's asset, hex."""
    synthetic_amount: int
    collateral: str
    collateral_amount: int
    fee_amount: int
    expires: int
    """Milliseconds UTC."""
    salt: int
    public: int

    def digest(self, chain: str) -> int:
        """What is signed. The chain holds an order valid for two weeks more than the venue does.

        :arg chain: ``SN_MAIN`` or ``SN_SEPOLIA``.
        """
        if not HAVE_STARK:
            raise ExtraMissing("fast-stark-crypto", "live")
        return fast_stark_crypto.get_order_msg_hash(
            self.position,
            int(self.synthetic, 16),
            self.synthetic_amount,
            int(self.collateral, 16),
            self.collateral_amount,
            int(self.collateral, 16),
            self.fee_amount,
            -(-self.expires // 1000) + _TWO_WEEKS,
            self.salt,
            self.public,
            "Perpetuals",
            "v0",
            chain,
            "1",
        )


def stark_signed(public: int, digest: int, r: int, s: int) -> bool:
    """Whether the key of ``public`` signed ``digest``."""
    return fast_stark_crypto.verify(public, digest, r, s)
