"""Durations, sizes and instants as users write them.

A unit is spelled out or the value is refused: `"15m"`, `"512MiB"`, an aware
datetime. Nothing here knows what the quantity is used for.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from raysched.errors import InvalidUnit

Duration = str | timedelta
Size = str | int
Instant = str | datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_MICROSECONDS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d|w)", re.ASCII)
_BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**n for n, prefix in enumerate("kMGTP", start=1)},
    **{f"{prefix}iB": 1024**n for n, prefix in enumerate("KMGTP", start=1)},
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})", re.ASCII)
_LONGEST = timedelta(days=36_500)
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_SHOWN = 60


def shown(value: object) -> str:
    """Return a short, one-line, ASCII form of any value for an error message."""
    try:
        text = ascii(value)
    except Exception:  # a hostile __repr__ must not hide the error that it is quoted in
        text = f"<{type(value).__name__}>"
    text = "".join(mark if mark.isprintable() else " " for mark in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def shown_path(path: object) -> str:
    """Return a path for an error message: unlike `shown`, its end is what matters."""
    return ascii(str(path))[1:-1][-200:]


def duration(value: Duration, *, of: str = "duration", zero: bool = False) -> timedelta:
    """Return the length of time that `value` spells, such as `"1h30m"`.

    `of` names the option in the error. `zero` allows a length of nothing.

    Raises:
        InvalidUnit: no unit, an unknown unit, not finite, negative, or over a century.
    """
    if isinstance(value, timedelta):  # by the base class: pandas.Timedelta is one, too
        us = timedelta.__floordiv__(value, MICROSECOND)
    else:
        us = _parse_duration(value, of)
    if not (0 if zero else 1) <= us <= _LONGEST // MICROSECOND:
        raise InvalidUnit(
            f"{of}={shown(value)} is out of range.",
            why=f"a duration lies {'from 0' if zero else 'above 0'} and within 100 years.",
            fix=f'write for example {of}="15m".',
        )
    return us * MICROSECOND


def _parse_duration(value: object, of: str) -> int:
    text = value if type(value) is str and len(value) <= _SHOWN else ""
    if not re.fullmatch(f"(?:{_DURATION_PART.pattern})+", text, re.ASCII):
        raise InvalidUnit(
            f"{of}={shown(value)} is not a duration.",
            why="a duration spells its unit out: ms, s, m, h, d or w.",
            fix=f'write for example {of}="30s", "15m", "1h30m", "2d", or pass a timedelta.',
        )
    parts = _DURATION_PART.findall(text)
    sizes = [_MICROSECONDS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise InvalidUnit(
            f"{of}={shown(value)} is ambiguous.",
            why="each unit stands once, the largest first.",
            fix=f'write for example {of}="1h30m".',
        )
    return round(sum(Fraction(number) * _MICROSECONDS[unit] for number, unit in parts))


def size(value: Size, *, of: str = "size") -> int:
    """Return the number of bytes that `value` spells, such as `"512MiB"` or `"8GB"`.

    A fraction, as in `"1.1GiB"`, is rounded up to whole bytes.

    Raises:
        InvalidUnit: a string without its unit, negative, over 8 EiB, or neither str nor int.
    """
    if type(value) is int:
        number = value
    else:
        match = _SIZE.fullmatch(value) if type(value) is str and len(value) <= _SHOWN else None
        if match is None or match[2] not in _BYTES:
            raise InvalidUnit(
                f"{of}={shown(value)} is not a size.",
                why='"512M" may mean 512 000 000 or 536 870 912 bytes; the unit is spelled out.',
                fix=f'write for example {of}="512MiB", "8GB", or the bytes as an int.',
            )
        number = math.ceil(Fraction(match[1]) * _BYTES[match[2]])
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
        InvalidUnit: not a date, without a zone, or outside the years 1900 to 2199.
    """
    moment: object = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value) if _plain(value) else None
        except ValueError:
            moment = None
    try:  # through plain parts, for pandas.Timestamp and zones of the user's own
        assert isinstance(moment, datetime)
        moment = datetime.combine(datetime.date(moment), datetime.timetz(moment))
        offset = moment.utcoffset()
    except Exception:
        raise InvalidUnit(
            f"{of}={shown(value)} is not an instant.",
            why="an instant is an aware datetime or an ISO 8601 string with its offset.",
            fix=f'write for example {of}="2027-01-01T00:00Z".',
        ) from None
    if offset is None:
        raise InvalidUnit(
            f"{of}={shown(value)} has no time zone.",
            why="the same wall-clock time is a different instant in each zone.",
            fix='add one: "2027-01-01T00:00Z", or datetime(..., tzinfo=ZoneInfo("Europe/Berlin")).',
        )
    # Beyond these years neither zones nor `datetime` itself can be reckoned with.
    if not _FIRST.year <= moment.year <= _LAST.year or not _FIRST <= moment < _LAST:
        raise InvalidUnit(
            f"{of}={shown(value)} is out of range.",
            why="an instant lies within the years 1900 to 2199.",
            fix=f'write for example {of}="2027-01-01T00:00Z".',
        )
    return moment.astimezone(UTC)


def _plain(text: str) -> bool:
    # `fromisoformat` overlooks a NUL at the end.
    return len(text) <= _SHOWN and text.isascii() and text.isprintable()


def ago(value: Duration | Instant, now: datetime, *, of: str = "since") -> datetime:
    """Return the instant that `value` names: a duration counts back from `now`.

    Raises:
        InvalidUnit: neither a duration nor an instant.
    """
    if isinstance(value, timedelta) or (
        isinstance(value, str) and _DURATION_PART.match(value) and "-" not in value
    ):
        return now - duration(value, of=of)
    try:
        return instant(value, of=of)
    except InvalidUnit as error:
        fix = f'write for example {of}="24h" or {of}="2027-01-01T00:00Z".'
        raise InvalidUnit(error.what, why=error.why, fix=fix) from None


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
    """Return a duration as `duration` reads it, such as `1h30m` or `0.25ms`; `0s` for nothing."""
    left, text = length // MICROSECOND, ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _MICROSECONDS[unit])
        text += f"{count}{unit}" if count else ""
    text += f"{left / 1000:g}ms" if left else ""
    return text or "0s"


def spell_size(size_bytes: int) -> str:
    """Return a size as it would be declared: `512MiB`, or bytes where no unit divides it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes:,} bytes"


def us(length: timedelta | None) -> int | None:
    """Return a length of time as whole microseconds; None stays None."""
    return None if length is None else length // MICROSECOND


def span(microseconds: int | None) -> timedelta | None:
    """Return the length of time of whole microseconds; None stays None."""
    return None if microseconds is None else microseconds * MICROSECOND
