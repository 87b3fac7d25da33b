"""Every exception Breakwater raises on purpose.

    BreakwaterError
    ├── SettingsError        a setting is unknown, malformed or contradicts another
    ├── UsageError           a command was called with something that cannot be
    ├── ExtraMissing         an optional dependency is not installed; says the install line
    ├── ConnectionLost       a socket or a poll failed; the reader decides retryable or fatal
    │   ├── Refused          the venue answered no to a subscription, and says why
    │   └── FrameTooLarge    a frame exceeds the limit of the edge
    ├── RecordingError       a recording or frame file cannot be read
    ├── HistoryError         the history on disk cannot be read or written
    ├── JournalError         the executor's journal cannot be read or written
    │   ├── Superseded       another executor has taken the journal over
    │   └── JournalLocked    another executor holds the journal
    ├── Unreadable           a message is none of its topic; its reader makes a dead letter of it
    └── BusError             Kafka cannot be used as it must
        ├── BusUnreachable   no broker answers
        ├── TopicMissing     a topic is not there, or is no longer the one that was read
        ├── OffsetLost       the place to read on from is no longer kept
        └── DeliveryFailed   the bus did not take a message in time, or at all

Bad *data* is never an exception outside a dialect: it is a dead letter (``schemas.records.DeadLetter``).
"""

from __future__ import annotations


class BreakwaterError(Exception):
    """The root: catching it catches everything raised on purpose and nothing else."""

    exit_code = 1


class SettingsError(BreakwaterError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class UsageError(BreakwaterError):
    """A command was called with something that cannot be."""

    exit_code = 2


class ExtraMissing(BreakwaterError):
    """An optional dependency is not installed."""

    exit_code = 3

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed: pip install 'breakwater[{extra}]'")


class ConnectionLost(BreakwaterError):
    """A socket or a poll failed."""


class Refused(ConnectionLost):
    """The venue answered no to a subscription."""

    def __init__(self, venue: str, reason: str) -> None:
        self.venue = venue
        self.reason = reason
        super().__init__(f"{venue} refused: {reason}")


class FrameTooLarge(ConnectionLost):
    """A frame exceeds the limit of the edge."""

    def __init__(self, venue: str, size: int, limit: int) -> None:
        self.venue = venue
        self.size = size
        self.limit = limit
        super().__init__(f"{venue} sent {size} bytes in one frame, the limit is {limit}")


class RecordingError(BreakwaterError):
    """A recording or frame file cannot be read."""


class HistoryError(BreakwaterError):
    """The history on disk cannot be read or written."""


class Unreadable(BreakwaterError):
    """A message is none of its topic."""


class BusError(BreakwaterError):
    """Kafka cannot be used as it must."""

    exit_code = 4


class BusUnreachable(BusError):
    """No broker answers."""


class TopicMissing(BusError):
    """A topic is not there, or is no longer the one that was read."""


class OffsetLost(BusError):
    """The place to read on from is no longer kept."""


class DeliveryFailed(BusError):
    """The bus did not take a message in time, or at all."""


class JournalError(BreakwaterError):
    """The executor's journal cannot be read or written, or would say something that cannot be."""


class Superseded(JournalError):
    """Another executor has taken the journal over: this one must not send."""


class JournalLocked(JournalError):
    """Another executor holds the journal."""
