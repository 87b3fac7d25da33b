"""What the connections to one Lighter account know together: its contracts, and its API keys with their numbering."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from connectors.venues.lighter_wire import LighterMarket, LighterSigner


@dataclass(slots=True)
class ApiKey:
    """A key that signs, and numbers what it signs one by one."""

    number: int
    signer: LighterSigner
    nonce: int | None = None
    """The next one; ``None``: the venue has to be asked."""


@dataclass(slots=True)
class Learned:
    """Given to every connection of an account, so that what one learns the others know."""

    markets: dict[str, LighterMarket] = field(default_factory=dict)
    keys: dict[int, ApiKey] = field(default_factory=dict)

    def signed(self, body: bytes) -> ApiKey | None:
        """The key a transaction was signed with, if it is still in use."""
        return self.keys.get(json.loads(dict(parse_qsl(body.decode()))["tx_info"])["ApiKeyIndex"])
