"""What `--since` takes: a length of time, an instant, a day, a word.

Pure: the text and `now` go in, the instant comes out. Days begin at midnight UTC, as
the history's folders do.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from raysched.errors import InvalidUnit
from raysched.spec.units import ago, shown

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_BACK = re.compile(r"\s+ago$")


def since(text: str, now: datetime) -> datetime | None:
    """Return the instant that a text names; None for `all`.

    A weekday is its last beginning, today's among them.

    Raises:
        InvalidUnit: it names none.
    """
    word = _BACK.sub("", text.strip().lower())
    today = now.astimezone(UTC).date()
    if word == "all":
        return None
    if word in _DAYS:
        back = (today.weekday() - _DAYS.index(word)) % 7
        return _begin(today - timedelta(days=back))
    if word in ("today", "yesterday"):
        return _begin(today - timedelta(days=word == "yesterday"))
    try:
        return (
            _begin(date.fromisoformat(word))
            if _DATE.fullmatch(word)
            else ago(_BACK.sub("", text.strip()), now, of="--since")
        )
    except (ValueError, InvalidUnit):
        raise InvalidUnit(
            f"--since {shown(text)} names no instant.",
            why="it is a length of time back from now, an instant with its zone, a day, or one "
            "of the words all, today, yesterday and monday to sunday.",
            fix="write for example --since 2h, 7d, yesterday, 2026-11-22 (from midnight UTC on) "
            "or 2026-11-22T06:00-05:00.",
        ) from None


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
