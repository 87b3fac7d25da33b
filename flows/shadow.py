"""Mode ``shadow``: everything is seen and decided as with real orders, and each order is written down instead."""

from __future__ import annotations

from dataclasses import replace

import structlog

from flows.domain.risk import Limits, check
from schemas.orders import Order
from schemas.pairs import Approved, Proposal, Refused, Verdict
from sinks.executor.journal import Journal

log = structlog.get_logger(__name__)


class Withholding:
    """A gate that lets nothing through, and says what it would have let through.

    It is not what keeps orders from leaving: a client with a ``ReadPermission`` has no way out for one.

    :arg bounds: what may be risked; caps on real orders are those of mode live.
    """

    def __init__(self, journal: Journal, bounds: Limits) -> None:
        self._journal = journal
        self._bounds = replace(bounds, mode="paper")
        self._told: set[tuple[object, ...]] = set()

    def __call__(self, proposal: Proposal) -> Verdict:
        """Refused, always: by the rule that would have refused it, or as what would have been sent."""
        verdict = check(proposal, self._bounds)
        if isinstance(verdict, Approved):
            verdict = Refused("shadow", worded(verdict.order))
            self._write(proposal, verdict.detail)
        return verdict

    def _write(self, proposal: Proposal, words: str) -> None:
        """Once for each order that differs in more than its price."""
        order = proposal.order
        key = (proposal.root, order.venue, order.instrument, order.side, order.quantity, order.time_in_force)
        if key not in self._told:
            self._told.add(key)
            self._journal.withhold(proposal.root, order, words)
            log.warning("not sent, only looking", intent=proposal.root, would=words)


def worded(order: Order) -> str:
    """An order in words."""
    price = "at the market" if order.price is None else f"at {order.price:f}"
    kind = order.time_in_force.replace("_", "-")
    only = ", reduce-only" if order.reduce_only else ""
    return f"would have sent: {order.side} {order.quantity:f} {order.instrument} on {order.venue} {price}, {kind}{only}"
