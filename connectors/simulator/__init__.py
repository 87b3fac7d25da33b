"""Seventeen venues on one loopback port, each speaking its own protocol, with the truth of what they told."""

from connectors.simulator.load import Load, Poured
from connectors.simulator.market import Close, Market, simulate
from connectors.simulator.process import SimulatorProcess
from connectors.simulator.server import Simulator
from connectors.simulator.truth import Telling, Truth, tell

__all__ = ["Close", "Load", "Market", "Poured", "Simulator", "SimulatorProcess", "Telling", "Truth", "simulate", "tell"]
