"""With mode shadow no order passes the gate, and what would have passed is written down once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from flows.domain.risk import Limits
from flows.shadow import Withholding
from schemas.clock import SECOND
from schemas.orders import Order, OrderIntent
from schemas.pairs import Proposal, Refused
from sinks.executor.journal import Journal

NOW = 1_000 * SECOND
INTENT = OrderIntent(
    intent_id="i", intent="emergency_close", pair="p", asset="BTC", cause="e", reason="LIQUIDATION_LIGHTER", policy="1",
    created=NOW, expires=None, detected=NOW, path="private_notice",
)  # fmt: skip
ORDER = Order(
    venue="aster", instrument="BTCUSDT", side="sell", quantity=Decimal("0.50"), price=Decimal("59900.5"),
    time_in_force="ioc", reduce_only=True, client_id="c1",
)  # fmt: skip
PROPOSAL = Proposal(
    order=ORDER, intent="emergency_close", root="i", intent_created=NOW, emergency=True, mark_price=Decimal(60_000),
    mark_time=NOW, pair_notional=Decimal(0), total_notional=Decimal(0), equity=Decimal(1_000),
    free_margin=Decimal(1_000), drawdown=Decimal(0), failures=0, control="ACTIVE", now=NOW,
)  # fmt: skip
WORDS = "would have sent: sell 0.50 BTCUSDT on aster at 59900.5, ioc, reduce-only"


@pytest.mark.parametrize("mode", ["off", "paper", "shadow", "live"])
def test_what_would_have_passed_is_refused_and_written_down_once(tmp_path: Path, mode: str) -> None:
    """Whatever the mode and the caps say: the gate itself lets nothing through."""
    with Journal(tmp_path / "j") as journal:
        journal.insert_intent(INTENT)
        gate = Withholding(journal, Limits(mode=mode))  # type: ignore[arg-type]  # one of them
        assert gate(PROPOSAL) == Refused("shadow", WORDS)
        dearer = replace(PROPOSAL, order=replace(ORDER, price=Decimal(59_800), client_id="c2"))
        assert isinstance(gate(dearer), Refused)
        (intent,) = journal.intents()
        assert (intent.state, intent.detail) == ("waiting", WORDS), "a price alone is no other order"
        smaller = replace(PROPOSAL, order=replace(ORDER, quantity=Decimal("0.1"), price=None))
        resting = replace(PROPOSAL, order=replace(ORDER, time_in_force="post_only", reduce_only=True))
        assert [gate(p).rule for p in (smaller, resting, PROPOSAL)] == ["collar", "shadow", "shadow"]  # type: ignore[union-attr]  # refused
        told = [(r.what, r.side, r.quantity, r.price) for r in journal.reports() if r.what == "withheld"]
        assert told == [("withheld", "sell", Decimal("0.50"), Decimal("59900.5"))] * 2


def test_what_would_have_been_refused_is_told_by_the_rule_that_would_have(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.insert_intent(INTENT)
        gate = Withholding(journal, Limits(mode="shadow"))
        far = gate(replace(PROPOSAL, order=replace(ORDER, price=Decimal(50_000))))
        hedge = gate(replace(PROPOSAL, intent="hedge", order=replace(ORDER, reduce_only=False)))
        assert isinstance(far, Refused)
        assert isinstance(hedge, Refused)
        assert (far.rule, hedge.rule) == ("collar", "caps"), "a cap of 0 bounds what adds risk"
        assert [r.what for r in journal.reports()] == ["intent"]
