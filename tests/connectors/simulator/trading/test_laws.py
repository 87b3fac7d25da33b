"""Whatever happens at a simulated venue: USD and contracts are conserved, reduce-only only reduces, seeds repeat."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connectors.simulator.trading import Agenda, Faults, SimulatedVenue, profile
from connectors.simulator.trading.accounts import Contract, Party
from connectors.simulator.trading.commands import Cancel, Envelope, Modify, Place
from connectors.simulator.trading.ledger import INSURANCE
from schemas.clock import HOUR, SECOND
from schemas.orders import Fill
from tests.connectors.simulator.trading.scenes import ETH, START, open_venue, order

NAMES = ("desk", "rival", "whale")
VENUES = ("aster", "lighter", "extended", "hyperliquid")


@dataclass(frozen=True)
class Step:
    """Something that happens."""

    kind: str
    who: str
    side: str
    quantity: str
    offset: int
    """Ticks from the mark."""
    client_id: str
    reduce_only: bool


STEPS = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(
            ["ioc", "ioc", "gtc", "post_only", "cancel", "modify", "mark", "wait", "adl", "force", "crash"]
        ),
        who=st.sampled_from(NAMES),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.sampled_from(["0.01", "0.7", "3", "20", "30"]),
        offset=st.integers(-1500, 1500),
        client_id=st.sampled_from(["a", "b", "c", "d"]),
        reduce_only=st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


def play(venue: SimulatedVenue, agenda: Agenda, step: Step) -> None:
    """Let one step happen and everything that follows from it at once."""
    contract = venue.contract(ETH)
    price = contract.mark + contract.rules.tick * step.offset
    wanted = order(
        step.side, step.quantity, str(price), step.kind if step.kind in {"ioc", "gtc", "post_only"} else "gtc",
        reduce_only=step.reduce_only, client_id=step.client_id,
    )  # fmt: skip
    match step.kind:
        case "cancel":
            venue.desk.cancel(step.who, step.client_id)
        case "modify":
            venue.desk.modify(step.who, wanted)
        case "mark":
            venue.set_mark(ETH, contract.mark * (1 + Decimal(step.offset) / 10_000))
        case "crash":
            venue.set_mark(ETH, contract.mark * (1 + Decimal(step.offset) / 9_000))
        case "wait":
            agenda.run_until(agenda.now + abs(step.offset) * SECOND // 100)
        case "adl":
            venue.deleverage(step.who, ETH, Decimal(step.quantity))
        case "force":
            venue.liquidate(step.who, ETH, Decimal("0.5"))
        case _:
            venue.desk.place(step.who, wanted)
    agenda.run_until(agenda.now + SECOND // 10)


HELD = st.tuples(*(st.sampled_from(["0", "25", "-25", "31.5", "-31.5"]) for _ in NAMES))


@given(st.sampled_from(VENUES), STEPS, HELD, st.integers(0, 99), st.sampled_from(["0", "500", "1000000"]))
def test_usd_and_contracts_are_conserved(
    name: str, steps: list[Step], held: tuple[str, ...], seed: int, insurance: str
) -> None:
    """Over fills, fees, funding, liquidations, backstops and deleveraging, with or without an insurance fund."""
    agenda = Agenda(START)
    venue = open_venue(agenda, name, style=profile(name), seed=seed, accounts=NAMES, insurance=insurance)
    venue.contract(ETH).funding_rate = Decimal("0.0007")
    for account, quantity in zip(NAMES, held, strict=True):
        venue.grant(account, ETH, Decimal(quantity))
    for step in steps:
        play(venue, agenda, step)
        assert venue.ledger.total() == venue.ledger.deposited
        assert venue.ledger.net(ETH) == 0
    agenda.run_until(agenda.now + 9 * HOUR)
    assert venue.ledger.total() == venue.ledger.deposited
    assert venue.ledger.net(ETH) == 0


@given(st.sampled_from(VENUES), STEPS, st.integers(0, 99))
def test_a_reduce_only_order_never_increases_exposure(name: str, steps: list[Step], seed: int) -> None:
    """Each fill of one leaves the account with less, on the same side of zero, than it had before."""
    agenda = Agenda(START)
    venue = open_venue(agenda, name, style=profile(name), seed=seed, accounts=NAMES)
    reducing: set[tuple[str, str]] = set()
    report = venue.accounts._report

    def check(contract: Contract, party: Party, price: Decimal, quantity: Decimal, fee: Decimal) -> None:
        held = venue.ledger.wallets[party.account].quantity(ETH)
        before = held - quantity if party.side == "buy" else held + quantity
        if party.order is not None and party.order.reduce_only:
            assert abs(held) < abs(before)
            assert held * before >= 0
            reducing.add((party.account, party.order.order_id))
        report(contract, party, price, quantity, fee)

    venue.accounts._report = check  # type: ignore[method-assign] # watched from inside
    for step in steps:
        play(venue, agenda, step)


@given(st.sampled_from(VENUES), STEPS, st.integers(0, 5))
def test_an_account_without_positions_is_never_in_debt(name: str, steps: list[Step], seed: int) -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda, name, style=profile(name), seed=seed, accounts=NAMES)
    for step in steps:
        play(venue, agenda, step)
    venue.set_mark(ETH, Decimal(600))
    agenda.run_until(agenda.now + 60 * SECOND)
    venue.set_mark(ETH, Decimal(9000))
    agenda.run_until(agenda.now + 60 * SECOND)
    for name_ in NAMES:
        if not venue.ledger.held(name_) and venue.ledger.wallets[name_].cash < 0:
            raise AssertionError(f"{name_} owes {venue.ledger.wallets[name_].cash}")
    assert venue.ledger.equity(INSURANCE) is not None


def life(seed: int, rates: dict[str, float]) -> list[str]:
    """Everything a venue with faults tells in a busy minute, as text."""
    agenda = Agenda(START)
    faults = Faults("lighter", seed, rates=rates)  # type: ignore[arg-type] # keys are fault kinds
    venue = open_venue(agenda, "lighter", style=profile("lighter"), seed=seed, faults=faults, accounts=NAMES)
    told: list[str] = []
    venue.accounts.streams["desk"].listen(lambda message: told.append(repr(message)))
    for number in range(40):
        who = NAMES[number % 3]
        wanted = order(
            "buy" if number % 2 else "sell", "2", "2999" if number % 2 else "3001", "gtc", client_id=str(number)
        )
        command = Place(wanted) if number % 5 else Cancel(ETH, str(number - 6))
        if number % 7 == 0:
            command = Modify(wanted)
        nonce = venue.next_nonce(who)
        venue.submit(Envelope(account=who, command=command, nonce=nonce), lambda reply: told.append(repr(reply)))
        agenda.run_until(agenda.now + SECOND)
        venue.set_mark(ETH, venue.contract(ETH).mark + (number % 9 - 4) * Decimal("0.7"))
    return [*told, *(repr(struck) for struck in faults.log)]


def test_the_same_seed_gives_the_same_life() -> None:
    rates = {"lost_after": 0.1, "late": 0.1, "duplicate": 0.1, "stream_reorder": 0.1, "stream_duplicate": 0.1}
    first, second, other = life(3, rates), life(3, rates), life(4, rates)
    assert first == second
    assert first != other
    assert any("late" in line for line in first)


@given(st.lists(st.sampled_from(["desk", "rival", "whale"]), min_size=2, max_size=6), st.integers(0, 30))
def test_at_one_price_whoever_came_first_is_filled_first(order_of: list[str], seed: int) -> None:
    """No order fills while one before it in the queue has anything left."""
    agenda = Agenda(START)
    venue = open_venue(agenda, "aster", seed=seed, usd=3000.0, accounts=NAMES)
    for place, who in enumerate(order_of):
        venue.desk.place(who, order("buy", "0.5", "2999.9", "post_only", client_id=f"{place}"))
    agenda.run_until(agenda.now + 20 * SECOND)
    queue = [venue.desk._orders[who][f"{place}"] for place, who in enumerate(order_of)]
    for first, second in pairwise(queue):
        assert first.left == 0 or second.filled == 0


def test_fills_told_add_up_to_the_position() -> None:
    agenda = Agenda(START)
    venue = open_venue(agenda)
    fills: list[Fill] = []
    venue.accounts.streams["desk"].listen(lambda m: fills.append(m) if isinstance(m, Fill) else None)
    venue.desk.place("desk", order("buy", "8", "3100", client_id="a"))
    venue.desk.place("desk", order("sell", "3", "2900", client_id="b"))
    agenda.run_until(agenda.now + SECOND)
    signed = sum((f.quantity if f.side == "buy" else -f.quantity for f in fills), Decimal(0))
    assert signed == venue.ledger.wallets["desk"].quantity(ETH) == Decimal(5)
