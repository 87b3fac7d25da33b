"""Venues that trade: order books, margin, liquidation, funding and everything that goes wrong, on a virtual clock."""

from connectors.simulator.trading.agenda import Agenda
from connectors.simulator.trading.book import Depth
from connectors.simulator.trading.faults import FaultKind, Faults, Window
from connectors.simulator.trading.port import SimulatedPort, contract_rules
from connectors.simulator.trading.profiles import PROFILES, Profile, profile
from connectors.simulator.trading.venue import SimulatedVenue
from connectors.simulator.trading.virtual_time import Pacemaker, StuckError, VirtualTime

__all__ = [
    "PROFILES",
    "Agenda",
    "Depth",
    "FaultKind",
    "Faults",
    "Pacemaker",
    "Profile",
    "SimulatedPort",
    "SimulatedVenue",
    "StuckError",
    "VirtualTime",
    "Window",
    "contract_rules",
    "profile",
]
