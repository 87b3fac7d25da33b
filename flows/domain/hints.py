"""What calls for watching a venue more closely, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.pairs import Hint, HintKind

_Key = tuple[str, HintKind, str]


class Hints:
    """Hints of this process, and those another one left in the journal. Each runs out by itself."""

    def __init__(self) -> None:
        self._ours: dict[_Key, Hint] = {}
        self._others: dict[_Key, Hint] = {}
        self._news: dict[_Key, Hint] = {}

    def give(self, hint: Hint, now: int) -> None:
        """Take one in. A renewal counts once a third of the time has passed: a cascade would write without end."""
        known = self._ours.get(_key(hint))
        worth = known is None or known.until <= now or 3 * (hint.until - known.until) > hint.until - now
        if hint.until > now and worth:
            self._ours[_key(hint)] = self._news[_key(hint)] = hint

    def lift(self, venue: str, what: HintKind, source: str, now: int, reason: str) -> None:
        """What the source said does not hold any more."""
        hint = Hint(venue=venue, what=what, source=source, until=now, reason=reason)
        if self._ours.pop(_key(hint), None) is not None:
            self._news[_key(hint)] = hint

    def restore(self, hints: Iterable[Hint]) -> None:
        """What this process, or the one before it, has said already."""
        self._ours = {_key(hint): hint for hint in hints}

    def replace(self, others: Iterable[Hint], now: int) -> set[str]:
        """All that the journal holds now; the venues that are to be watched more closely than before."""
        before = {(hint.venue, hint.what) for hint in self._living(now)}
        self._others = {_key(hint): hint for hint in others}
        return {hint.venue for hint in self._living(now) if (hint.venue, hint.what) not in before}

    def news(self) -> list[Hint]:
        """What was given or lifted since this was last asked."""
        found, self._news = list(self._news.values()), {}
        return found

    def reasons(self, venue: str, now: int, *kinds: HintKind) -> list[str]:
        """Why the venue is watched so; of any kind where none is named."""
        found = (hint for hint in self._living(now) if hint.venue == venue and (not kinds or hint.what in kinds))
        return list(dict.fromkeys(hint.reason for hint in found))

    def _living(self, now: int) -> list[Hint]:
        return [hint for known in (self._ours, self._others) for hint in known.values() if hint.until > now]


def _key(hint: Hint) -> _Key:
    return hint.venue, hint.what, hint.source
