"""What the gate lets through."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flows.domain.risk import Limits, check
from schemas.clock import SECOND
from schemas.orders import Order
from schemas.pairs import CONTROL_STATES, Approved, Proposal, Refused

USD = Decimal(50_000)
LIMITS = Limits(order_usd=USD, pair_usd=USD, total_usd=USD)
REDUCE = Order(
    venue="aster", instrument="BTCUSDT", side="sell", quantity=Decimal("0.5"), price=Decimal(59_900),
    time_in_force="ioc", reduce_only=True, client_id="a",
)  # fmt: skip
SOUND = Proposal(
    order=REDUCE, intent="emergency_close", intent_created=0, emergency=True, mark_price=Decimal(60_000),
    mark_time=100 * SECOND, pair_notional=Decimal(0), total_notional=Decimal(0), equity=Decimal(100_000),
    free_margin=Decimal(50_000), drawdown=Decimal(0), failures=0, control="ACTIVE", now=100 * SECOND,
)  # fmt: skip
HEDGE = replace(SOUND, order=replace(REDUCE, reduce_only=False), intent="hedge")


def rule(proposal: Proposal, **limits: Any) -> str:
    values = {"order_usd": USD, "pair_usd": USD, "total_usd": USD} | limits
    verdict = check(proposal, Limits(**values))
    return verdict.rule if isinstance(verdict, Refused) else "approved"


@given(
    control=st.sampled_from(CONTROL_STATES),
    drawdown=st.decimals(0, 1, places=2),
    failures=st.integers(0, 100),
    free=st.none() | st.decimals(-1000, 1000, places=0),
    age=st.integers(0, 10**15),
    caps=st.decimals(0, 1, places=2),
)
def test_nothing_stops_an_emergency_that_reduces(
    control: Any, drawdown: Decimal, failures: int, free: Decimal | None, age: int, caps: Decimal
) -> None:
    worst = replace(
        SOUND, control=control, drawdown=drawdown, failures=failures, free_margin=free, equity=free, intent_created=-age
    )
    assert check(worst, Limits(order_usd=caps, pair_usd=caps, total_usd=caps)) == Approved(REDUCE)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, "approved"),
        ({"control": "REDUCE_ONLY"}, "control"),
        ({"control": "HALTED"}, "control"),
        ({"emergency": False, "intent_created": 97 * SECOND}, "age"),
        ({"pair_notional": Decimal(30_000)}, "caps"),
        ({"total_notional": Decimal(30_000)}, "caps"),
        ({"equity": Decimal(40_000)}, "account"),
        ({"equity": None}, "account"),
        ({"free_margin": Decimal(4_000)}, "account"),
        ({"free_margin": None}, "account"),
        ({"drawdown": Decimal("0.21")}, "breaker"),
        ({"failures": 3}, "breaker"),
    ],
)
def test_what_adds_risk_needs_everything(change: dict[str, Any], refused: str) -> None:
    assert rule(replace(HEDGE, **change)) == refused


@pytest.mark.parametrize(
    ("proposal", "refused"),
    [
        (replace(SOUND, mark_price=None), "collar"),
        (replace(SOUND, now=111 * SECOND), "collar"),
        (replace(SOUND, order=replace(REDUCE, price=Decimal(56_000))), "collar"),
        (replace(SOUND, order=replace(REDUCE, price=None)), "collar"),
        (replace(SOUND, order=replace(REDUCE, quantity=Decimal(0))), "form"),
        (replace(SOUND, order=replace(REDUCE, reduce_only=False)), "form"),
        (replace(SOUND, intent="close_pair", emergency=False, control="HALTED"), "halted"),
        (replace(SOUND, intent="close_pair", emergency=False, control="REDUCE_ONLY", failures=9), "approved"),
    ],
)
def test_every_order_has_to_be_sound(proposal: Proposal, refused: str) -> None:
    assert rule(proposal) == refused


@pytest.mark.parametrize(("mode", "refused"), [("off", "mode"), ("shadow", "mode"), ("paper", "approved")])
def test_a_mode_that_only_looks_sends_nothing(mode: str, refused: str) -> None:
    assert rule(SOUND, mode=mode) == refused


def test_live_without_caps_sends_nothing_and_with_caps_does() -> None:
    assert rule(SOUND, mode="live", order_usd=Decimal(0)) == "mode"
    assert rule(SOUND, mode="live", total_usd=Decimal(0)) == "mode"
    assert rule(SOUND, mode="live") == "approved"


def test_halted_may_mean_halted() -> None:
    assert rule(replace(SOUND, control="HALTED"), halted_emergencies=False) == "halted"


def test_where_nobody_sees_the_market_only_an_emergency_may_hedge() -> None:
    blind = replace(HEDGE, closed="feed closes is silent", emergency=False, intent_created=HEDGE.now)
    assert check(blind, LIMITS) == Refused("blind", "feed closes is silent")
    assert check(replace(blind, emergency=True), LIMITS) == Approved(HEDGE.order)
    assert check(replace(blind, closed=""), LIMITS) == Approved(HEDGE.order)
