"""Makes the parts of a flow out of settings: the only bridge between what can be set and what takes plain arguments."""

from __future__ import annotations

from pathlib import Path

from connectors.exchange import Endpoints, Exchange
from connectors.exchanges import exchanges
from connectors.instruments import snapshot
from connectors.link import LinkTimings
from connectors.reader import Reader, ReaderLimits, ReaderTimings
from connectors.silence import SilenceRule
from connectors.spool import SpoolLimits
from connectors.venue_feeds import VenueFeeds
from flows.domain.measures import UnderCount
from flows.domain.model import CascadeModel, decoded, shipped
from flows.domain.rules import LevelRule, Rules
from flows.settings import Settings
from schemas.clock import Clock, seconds
from schemas.errors import UsageError

_MEGABYTE = 1_000_000


def rules(settings: Settings) -> Rules:
    """The numbers the thinking goes by."""
    windows, score, levels, likely = settings.windows, settings.score, settings.levels, settings.probability
    return Rules(
        window=levels.window,
        lateness=seconds(windows.allowed_lateness),
        snapshot=seconds(windows.snapshot),
        hold=seconds(levels.hold),
        velocity_full=score.velocity,
        acceleration_full=score.acceleration,
        volume_full=score.usd_per_second,
        volume_times=score.usd_times_usual,
        volume_floor=score.usd_at_least,
        capped_event=score.capped_event,
        capped_by_usual=score.capped_by_usual,
        funding_full=score.funding,
        open_interest_full=score.open_interest,
        boost_acceleration=score.boost_acceleration,
        boost=score.boost,
        weights=tuple(score.weights.by_component().values()),
        levels=tuple(
            LevelRule(rule.score, rule.rate, rule.acceleration, rule.probability)
            for rule in (levels.watch, levels.alert, levels.critical, levels.extreme)
        ),
        open_level=settings.cascade.open_level,
        models=(*(shipped().values() if likely.shipped else ()), *map(_model, likely.models)),
        horizon=seconds(likely.horizon),
        unusual=likely.unusual,
    )


def _model(path: Path) -> CascadeModel:
    """A model file of the settings.

    :raises UsageError: naming the file.
    """
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        raise UsageError(f"probability.models: cannot read {path}: {error.strerror}") from error
    except UsageError as error:
        raise UsageError(f"probability.models: {path}: {error}") from error


def under_count(settings: Settings) -> UnderCount | None:
    """What feeds that do not tell everything stand for; nothing where no measures are wanted."""
    said = settings.measures
    return UnderCount(said.sampled, said.partial) if said.enabled else None


def enabled(settings: Settings) -> list[Exchange]:
    """The venues to listen to."""
    known = exchanges()
    return [known[venue] for venue in settings.venues.enabled if venue in known]


def venue_feeds(settings: Settings, exchange: Exchange) -> VenueFeeds:
    """A venue at its production hosts, or at the gateway set for it."""
    assets = frozenset(settings.venues.assets) or None
    return VenueFeeds(exchange, endpoints(settings, exchange), snapshot(exchange.venue), assets)


def endpoints(settings: Settings, exchange: Exchange) -> Endpoints:
    """Where a venue is reached; of two gateways the later counts."""
    gateways = dict(gateway.split("=", 1) for gateway in settings.venues.gateways)
    address = gateways.get(exchange.venue)
    return Endpoints(address.replace("http", "ws", 1), address) if address else exchange.production


def reader(settings: Settings, venues: list[VenueFeeds], clock: Clock) -> Reader:
    """The thread that owns the sockets, not started."""
    feed = settings.feed
    limits = ReaderLimits(
        spool=SpoolLimits(feed.spool_frames, round(feed.spool_megabytes * _MEGABYTE)),
        frame=round(feed.max_frame_megabytes * _MEGABYTE),
    )
    proxy = settings.venues.proxy
    silence = SilenceRule(
        false_alarm_every=feed.silent_false_alarm, least=feed.silent_after, quiet_after=feed.quiet_after
    )
    timings = ReaderTimings(link=LinkTimings(stale_after=feed.stale_after or None, silence=silence))
    return Reader(venues, clock, timings, limits, proxy.get_secret_value() if proxy else None)
