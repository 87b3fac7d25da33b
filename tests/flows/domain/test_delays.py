"""How soon things were noticed."""

from __future__ import annotations

from msgspec.structs import replace

from flows.domain.delays import Delay, delays
from schemas.clock import MILLISECOND
from schemas.orders import OrderIntent

NOTICED = OrderIntent(
    intent_id="i", intent="emergency_close", pair="p", asset="BTC", cause="c", reason="LIQUIDATION_ASTER", policy="1",
    created=0, expires=None, detected=0, path="private_notice",
)  # fmt: skip


def test_each_path_has_its_own_figures_and_what_was_asked_for_has_none() -> None:
    notices = [replace(NOTICED, detected=n * MILLISECOND) for n in range(100, 0, -1)]
    signal = replace(NOTICED, intent="reduce_pair", path="signal", created=5 * MILLISECOND, detected=7 * MILLISECOND)
    asked = replace(NOTICED, intent="close_pair", path="manual")
    hedge = replace(NOTICED, intent="hedge")
    assert delays([*notices, signal, asked, hedge]) == [
        Delay("private_notice", 100, 50.0, 99.0), Delay("signal", 1, 2.0, 2.0)
    ]  # fmt: skip
    assert delays([]) == []
