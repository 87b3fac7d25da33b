"""Kafka as a source: of dataflows (``KafkaSource``) and of commands (``BusConsumer``)."""

from connectors.kafka.consumer import BusConsumer, Lag, Place, Reading, Run, Start
from connectors.kafka.metadata import PATIENCE, admin, partition_names, waited
from connectors.kafka.source import Arrivals, KafkaSource

__all__ = [
    "PATIENCE",
    "Arrivals",
    "BusConsumer",
    "KafkaSource",
    "Lag",
    "Place",
    "Reading",
    "Run",
    "Start",
    "admin",
    "partition_names",
    "waited",
]
