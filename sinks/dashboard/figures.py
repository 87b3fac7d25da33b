"""How numbers, times, levels and states are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from schemas.cascades import MARKET, Level, Side
from schemas.records import Coverage, FeedState

_LEVELS: Final[dict[Level, tuple[str, str]]] = {
    "NONE": ("▁", "dim"),
    "WATCH": ("▃", "cyan"),
    "ALERT": ("▅", "yellow"),
    "CRITICAL": ("▇", "bold red"),
    "EXTREME": ("█", "bold white on red"),
}
_STATES: Final[dict[FeedState, tuple[str, str]]] = {
    "unreachable": ("✖", "bold red"),
    "refused": ("✖", "bold red"),
    "gap": ("▲", "yellow"),
    "silent": ("▲", "yellow"),
    "connecting": ("◌", "dim"),
    "connected": ("◌", "dim"),
    "closed": ("■", "dim"),
    "quiet": ("○", "cyan"),
    "subscribed": ("●", "green"),
}
"""Glyph and style, the state that needs most attention first."""
ATTENTION: Final[tuple[FeedState, ...]] = tuple(_STATES)
_SIDES: Final[dict[Side, str]] = {"long": "▼ long", "short": "▲ short", "mixed": "◆ mixed"}
_THOUSANDS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))
NOTHING = "–"


def asset(name: str) -> str:
    """The asset, or MARKET for all of them."""
    return "MARKET" if name == MARKET else name


def usd(value: float, *, floor: bool = False) -> str:
    """At most four characters below 1000 T: ``812``, ``1.2k``, ``34M``; ``≥`` before a floor."""
    mark = "≥" if floor else ""
    for size, letter in _THOUSANDS:
        if value >= size * 0.9995:
            scaled = value / size
            return f"{mark}{scaled:.1f}{letter}" if scaled < 9.95 else f"{mark}{scaled:.0f}{letter}"
    return f"{mark}{value:.0f}"


def dollars(value: float, *, floor: bool = False) -> str:
    """``≥$1.2M``."""
    mark = "≥" if floor else ""
    return f"{mark}${usd(value)}"


def age(seconds: float | None) -> str:
    """``0.3s``, ``12s``, ``4m``, ``3h``, ``2d``; a dash for never."""
    if seconds is None:
        return NOTHING
    for size, letter in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f}{letter}"
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def milliseconds(value: float | None) -> str:
    """``0.21 ms``, ``13 ms``, ``1.2 s``; a dash where unknown."""
    if value is None:
        return NOTHING
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.2f} ms" if value < 9.995 else f"{value:.0f} ms"


def time_of_day(nanoseconds: int) -> str:
    """``14:03:22.410`` UTC."""
    return f"{datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC):%H:%M:%S.%f}"[:-3]


def elapsed(seconds: float) -> str:
    """``0:05``, ``12:34``, ``1:02:03``."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def share(score: float) -> str:
    """A score as ``.81``, ``1.0`` when full."""
    return f"{score:.2f}"[1:] if score < 0.995 else "1.0"


def heat(times: float) -> str:
    """How much faster than usual, as ``×3.2``, ``×41``; nothing where it is not."""
    if times < 1.05:
        return ""
    return f"×{times:.1f}" if times < 9.95 else f"×{min(times, 999):.0f}"


def chance(probability: float | None) -> str:
    """A probability as ``12 %``; nothing where no model says one."""
    return "" if probability is None else f"{probability:.0%}".replace("%", " %")


def level(name: Level) -> Text:
    """Glyph, word and colour; the word suffices."""
    glyph, style = _LEVELS[name]
    return Text(f"{glyph} {name}", style)


def state(name: FeedState) -> Text:
    """Glyph, word and colour; the word suffices."""
    glyph, style = _STATES[name]
    return Text(f"{glyph} {name}", style)


def side(name: Side) -> str:
    """Whose positions were closed, with the way that pushes the price."""
    return _SIDES[name]


def coverage(name: Coverage) -> str:
    """The word, marked where sums over the feed are floors."""
    return name if name == "complete" else f"{name} ≥"
