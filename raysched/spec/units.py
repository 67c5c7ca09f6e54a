"""Durations, sizes and instants as users write them.

A unit is spelled out or the value is refused: `"15m"`, `"512MiB"`, an aware
datetime. Nothing here knows what the quantity is used for.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from raysched.errors import InvalidUnit

Duration = str | timedelta
Size = str | int
Instant = str | datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d|w)", re.ASCII)
_BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**n for n, prefix in enumerate("kMGTP", start=1)},
    **{f"{prefix}iB": 1024**n for n, prefix in enumerate("KMGTP", start=1)},
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})", re.ASCII)
_LONGEST = timedelta(days=36_500)
_SHOWN = 60


def shown(value: object) -> str:
    """Return a short, one-line, ASCII form of any value for an error message."""
    try:
        text = ascii(value)
    except Exception:  # a hostile __repr__ must not hide the error that it is quoted in
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def duration(value: Duration, *, of: str = "duration", zero: bool = False) -> timedelta:
    """Return the length of time that `value` spells, such as `"1h30m"`.

    `of` names the option in the error. `zero` allows a length of nothing.

    Raises:
        InvalidUnit: no unit, an unknown unit, not finite, negative, or over a century.
    """
    length = value if isinstance(value, timedelta) else _parse_duration(value, of)
    if length < timedelta(0) or (length == timedelta(0) and not zero) or length > _LONGEST:
        raise InvalidUnit(
            f"{of}={shown(value)} is out of range.",
            why=f"a duration lies {'from 0' if zero else 'above 0'} and within 100 years.",
            fix=f'write for example {of}="15m".',
        )
    return length


def _parse_duration(value: object, of: str) -> timedelta:
    text = value if type(value) is str and len(value) <= _SHOWN else ""
    if not re.fullmatch(f"(?:{_DURATION_PART.pattern})+", text, re.ASCII):
        raise InvalidUnit(
            f"{of}={shown(value)} is not a duration.",
            why="a duration spells its unit out: ms, s, m, h, d or w.",
            fix=f'write for example {of}="30s", "15m", "1h30m", "2d", or pass a timedelta.',
        )
    parts = _DURATION_PART.findall(text)
    sizes = [_SECONDS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise InvalidUnit(
            f"{of}={shown(value)} is ambiguous.",
            why="each unit stands once, the largest first.",
            fix=f'write for example {of}="1h30m".',
        )
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def size(value: Size, *, of: str = "size") -> int:
    """Return the number of bytes that `value` spells, such as `"512MiB"` or `"8GB"`.

    Raises:
        InvalidUnit: a string without its unit, a fraction of a byte, negative, or not an int.
    """
    if type(value) is int:
        number = value
    else:
        match = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) <= _SHOWN else None
        if match is None or match[2] not in _BYTES:
            raise InvalidUnit(
                f"{of}={shown(value)} is not a size.",
                why='"512M" may mean 512 000 000 or 536 870 912 bytes; the unit is spelled out.',
                fix=f'write for example {of}="512MiB", "8GB", or the bytes as an int.',
            )
        number = math.ceil(float(match[1]) * _BYTES[match[2]])
    if not 0 <= number < 2**63:
        raise InvalidUnit(
            f"{of}={shown(value)} is out of range.",
            why="a size lies from 0 to 8 EiB.",
            fix=f'write for example {of}="2GiB".',
        )
    return number


def instant(value: Instant, *, of: str = "instant") -> datetime:
    """Return `value` as an aware datetime in UTC; a string is ISO 8601 with its offset.

    Raises:
        InvalidUnit: not a date, or without a zone.
    """
    moment: object = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value) if len(value) <= _SHOWN else None
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise InvalidUnit(
            f"{of}={shown(value)} is not an instant.",
            why="an instant is an aware datetime or an ISO 8601 string with its offset.",
            fix=f'write for example {of}="2027-01-01T00:00Z".',
        )
    if moment.utcoffset() is None:
        raise InvalidUnit(
            f"{of}={shown(value)} has no time zone.",
            why="the same wall-clock time is a different instant in each zone.",
            fix='add one: "2027-01-01T00:00Z", or datetime(..., tzinfo=ZoneInfo("Europe/Berlin")).',
        )
    return moment.astimezone(UTC)


def ago(value: Duration | Instant, now: datetime, *, of: str = "since") -> datetime:
    """Return the instant that `value` names: a duration counts back from `now`.

    Raises:
        InvalidUnit: neither a duration nor an instant.
    """
    if isinstance(value, timedelta) or (
        isinstance(value, str) and _DURATION_PART.match(value) and "-" not in value
    ):
        return now - duration(value, of=of)
    return instant(value, of=of)


def to_us(moment: datetime) -> int:
    """Return whole microseconds since the epoch of an aware datetime."""
    return (moment - EPOCH) // MICROSECOND


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)


def iso(moment: datetime) -> str:
    """Return the shortest exact ISO form in UTC: `2026-11-22T06:00:00Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def spell(length: timedelta) -> str:
    """Return a duration as a user would write it, such as `1h30m`; `0s` for nothing."""
    left, text = length / MICROSECOND, ""
    for unit, seconds in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        count, left = divmod(left, seconds * 1_000_000)
        text += f"{count:.0f}{unit}" if count and unit != "w" else ""
        if unit == "w":
            left += count * seconds * 1_000_000
    return text or "0s"
