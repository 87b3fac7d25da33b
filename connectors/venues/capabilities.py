"""What each venue offers to who trades there, from the vendors' pages; what is *assumed* nobody has confirmed.

| venue | client id, unique among | reduce-only too large | replay guard | a lost request can run for |
|---|---|---|---|---|
| Aster v3 | 1 to 36 of ``.A-Z:/a-z0-9_-``; open orders | cut (*assumed*, as in the grammar it shares) | microsecond nonce within 10 s, last 100 kept; ``noop`` | 10 s |
| Lighter | integer below 2^48, 0 is none; open orders (*assumed*) | dropped, without report on the wrong side | nonce per key, one by one | 10 min |
| Extended | text; forever (code 1134) | refused (1136, 1137, 1138) | the signed expiry | 30 s, ours |
| Hyperliquid | 128 bits in hex; nothing documented | cut (*assumed*) | millisecond nonce, highest 100 kept; ``noop`` | 10 s, ours: ``expiresAfter`` |

The venues ccxt signs for have theirs in ``ccxt_*.py``. ``visibility`` is *assumed* everywhere. None of it was tried against a real venue.
"""  # noqa: E501 - a table

from __future__ import annotations

from schemas.clock import MINUTE, SECOND
from schemas.orders import Capabilities, ClientIdRule

_TEXT = ClientIdRule(form="text", limit=36, unique="open")

ASTER = Capabilities(
    venue="aster",
    client_id=_TEXT,
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=True,
    reduce_only="trim",
    post_only=True,
    modify=True,
    fence="noop",
    validity=10 * SECOND,
    visibility=SECOND,
    deadman=True,
    funding_hours=8.0,
    requests_per_minute=1200,
)
LIGHTER = Capabilities(
    venue="lighter",
    client_id=ClientIdRule(form="integer", limit=48, unique="open"),
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=False,
    reduce_only="drop",
    post_only=True,
    modify=True,
    fence="transaction",
    validity=10 * MINUTE,
    visibility=SECOND,
    deadman=True,
    funding_hours=1.0,
    requests_per_minute=60,
)
EXTENDED = Capabilities(
    venue="extended",
    client_id=ClientIdRule(form="text", limit=36, unique="forever"),
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=False,
    reduce_only="refuse",
    post_only=True,
    modify=False,
    fence="none",
    validity=30 * SECOND,
    visibility=SECOND,
    deadman=True,
    funding_hours=1.0,
    requests_per_minute=1000,
)
HYPERLIQUID = Capabilities(
    venue="hyperliquid",
    client_id=ClientIdRule(form="hex128", limit=128, unique="none"),
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=True,
    fence="noop",
    validity=10 * SECOND,
    visibility=SECOND,
    deadman=True,
    funding_hours=1.0,
    requests_per_minute=1200,
)
"""Validity is that of the ``expiresAfter`` our client puts into each order. Uniqueness of the id is *assumed* none."""
