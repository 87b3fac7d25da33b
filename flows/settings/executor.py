"""Who watches over two-venue positions, what it may risk, and what makes it act."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from flows.settings.accounts import AccountsSettings
from flows.settings.values import (
    CloseMode,
    Contract,
    Duration,
    Reaction,
    ReasonMode,
    Section,
    Share,
    listed,
    read_duration,
    unset,
)


class LimitSettings(Section):
    """What the executor may risk. Reducing what is held is not limited by these; adding to it, a hedge, is."""

    order_usd: NonNegativeFloat = 0.0
    """Largest order that adds risk, USD. 0: none is sent, and with mode live nothing is sent at all."""
    pair_usd: NonNegativeFloat = 0.0
    """Sum of one pair's orders that add risk, USD."""
    total_usd: NonNegativeFloat = 0.0
    """Sum of all orders that add risk, USD. 0 as above."""
    trade_size: Share = 0.5
    """Share of the venue's equity one of them may be worth."""
    exposure: Share = 0.8
    """Share of the venue's equity all of them may be worth."""
    free_margin: Share = 0.05
    """Share of the venue's equity that has to stay free."""
    drawdown: Share = 0.2
    """Loss from the highest equity seen beyond which nothing is added."""
    failures: PositiveInt = 3
    """Orders failed in a row at a venue after which nothing is added there."""
    collar: Share = 0.05
    """How much worse than the mark a limit price may be; 0.05 is 5 %. Of every order, emergencies included."""
    signal_age: Duration = read_duration("2s")
    """Risk is not added for an older cause."""
    halted_emergencies: bool = True
    """Whether a halted executor still reduces the leg that is left over when the other was taken away."""


class PolicySettings(Section):
    """Which signal does what to a pair: nothing, tighten (read positions more often), reduce both legs, or close."""

    alert: Reaction = "tighten"
    """A cascade of level ALERT in an asset held."""
    critical: Reaction = "tighten"
    """A cascade of level CRITICAL or EXTREME against a leg that is not in danger."""
    critical_danger: Reaction = "reduce"
    """The same against a leg in danger."""
    margin: Reaction = "reduce"
    """A margin call, or a leg as near as margin_danger, without any cascade."""
    danger: Share = 0.15
    """In a cascade, a leg nearer to its liquidation price than this is in danger (0.15 is 15 % of the mark)."""
    margin_danger: Share = 0.05
    """The same without a cascade."""
    reduce_share: Share = 0.5
    """How much of both legs `reduce` closes."""
    net_tolerance: Share = 0.01
    """Net exposure that counts as none, as a share of the larger leg."""
    net_patience: Duration = read_duration("2s")
    """Net exposure has to last so long before it is closed."""


class ExecutorSettings(Section):
    """Who watches over two-venue positions, and how it closes them."""

    mode: Literal["off", "paper", "shadow", "live"] = "paper"
    """off: nothing is sent. paper: simulated venues. shadow: real accounts, nothing is sent. live: orders, capped."""
    desk: str = "main"
    """Stands in every order id, so that two desks with one account keep apart."""
    journal: Path = Path("executor/journal.sqlite")
    """What was decided and sent; relative to data_dir. On a disk of this machine. Each of shadow and live has its own
    beside it, journal-shadow.sqlite and journal-live.sqlite: what happened on paper did not happen to an account."""
    close_mode: CloseMode = "limit_with_fallback"
    """How a healthy pair is closed: limit_only, limit_with_fallback, market_only or aggressive_limit."""
    close_modes: Annotated[tuple[ReasonMode, ...], BeforeValidator(listed)] = ("MARGIN=aggressive_limit",)
    """Other modes by reason, such as MANUAL=limit_only; a reason counts for all that begin with it."""
    limit_offset: Share = 0.0001
    """How far from the best price of its own side a waiting order stands."""
    reprice: Annotated[Duration, Field(gt=0)] = read_duration("3s")
    """A waiting order is replaced after so long."""
    fallback: Duration = read_duration("15s")
    """Waiting orders are given up for immediate ones after so long."""
    slippage: Annotated[tuple[PositiveFloat, ...], BeforeValidator(listed), Field(min_length=1)] = (
        0.003,
        0.006,
        0.012,
        0.025,
    )
    """Steps of an immediate order beyond the best price; the last is repeated."""
    hedges: Annotated[tuple[Contract, ...], BeforeValidator(listed)] = ()
    """Where a leg that cannot be closed may be hedged for a while, such as BTC=hyperliquid/BTC; first ones first."""
    hedge_usd: NonNegativeFloat = 0.0
    """Largest such hedge, USD. 0: none."""
    hedge_after: Duration = read_duration("3s")
    """The venue of the leg has answered nothing that helps for so long."""
    alarm_after: Duration = read_duration("5s")
    """A book not safe so long after it was noticed is an alarm."""
    dust_usd: NonNegativeFloat = 50.0
    """A remainder worth more is an alarm."""
    secrets: Annotated[Path | None, BeforeValidator(unset)] = None
    """Directory with a file for each secret of an account that the environment does not have: named like the variable,
    and readable by its owner alone (mode 600)."""
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()
    accounts: AccountsSettings = AccountsSettings()
