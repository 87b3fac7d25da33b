"""The id an order carries: the same for the same attempt in every process, spelled as its venue wants it."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b

from schemas.errors import JournalError
from schemas.orders import ClientIdRule


def client_id(
    rule: ClientIdRule, desk: str, intent_id: str, venue: str, instrument: str, ordinal: int, salt: int
) -> str:
    """128 bits of a hash over what makes the attempt, as much of them as the venue's form holds.

    :arg desk: keeps the ids of two desks at one venue apart.
    :arg salt: raised where a form of few bits gave an id that another attempt already has.
    """
    whole = "\x1f".join((desk, intent_id, venue, instrument, str(ordinal), str(salt))).encode()
    digest = blake2b(whole, digest_size=16).digest()
    match rule.form:
        case "text":
            return _text(rule, digest)
        case "hex128":
            return f"{rule.prefix}0x{digest.hex()}"
        case "integer":
            # Zero means "no id" to the venues that want a number.
            return str(int.from_bytes(digest, "big") % ((1 << rule.limit) - 1) + 1)


def _text(rule: ClientIdRule, digest: bytes) -> str:
    # Lower-case letters and digits: every venue that takes a text takes these.
    room = rule.limit - len(rule.prefix)
    if room < 12:
        raise JournalError(f"a client id of {rule.limit} characters leaves no room for an id that cannot repeat")
    return rule.prefix + b32encode(digest).decode().rstrip("=").lower()[:room]
