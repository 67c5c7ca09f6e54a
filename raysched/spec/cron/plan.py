"""A compiled expression: the nearest matching label on the calendar, up or down.

Pure search over naive local times; it knows no zone and no text. As in Debian's
crontab(5), day-of-month and day-of-week are ORed if both are restricted, ANDed if
either starts with `*`. Sets of numbers are the bits of an int.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Days(NamedTuple):
    """Which days of a month match; weekdays count from Sunday, as cron's do."""

    dates: int
    last: bool
    nearest: int
    weekdays: int
    nth: tuple[tuple[int, int | str], ...]
    both: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An expression compiled for search over labels."""

    seconds: int
    minutes: int
    hours: int
    months: int
    days: Days
    fixed: bool

    def seek(self, label: datetime, step: int) -> datetime:
        """Return the nearest matching label at or beyond `label`, upwards (1) or downwards (-1).

        It ends because a plan matches some day, and the calendar repeats within 40 years.
        """
        year, month, day = label.year, label.month, label.day
        days = self.days_of(year, month)
        if days >> day & 1 and (time := self._time(label, step)):
            return label.replace(hour=time[0], minute=time[1], second=time[2])
        day = _seek(days, day + step, step)
        while day < 0:
            month += step
            if not 1 <= month <= 12:
                year, month = year + step, 1 if step > 0 else 12
            day = _seek(self.days_of(year, month), 1 if step > 0 else 31, step)
        hour, minute, second = (_edge(s, step) for s in (self.hours, self.minutes, self.seconds))
        return label.replace(year, month, day, hour, minute, second)

    def days_of(self, year: int, month: int) -> int:
        """Return the matching days of one month."""
        if not self.months >> month & 1:
            return 0
        length = _LENGTHS[month] + (month == 2 and calendar.isleap(year))
        return _days_of(self.days, date(year, month, 1).isoweekday() % 7, length)

    def _time(self, label: datetime, step: int) -> tuple[int, int, int] | None:
        hour, minute = label.hour, label.minute
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                second = _seek(self.seconds, label.second, step)
                if second >= 0:
                    return hour, minute, second
            minute = _seek(self.minutes, minute + step, step)
            if minute >= 0:
                return hour, minute, _edge(self.seconds, step)
        hour = _seek(self.hours, hour + step, step)
        if hour >= 0:
            return hour, _edge(self.minutes, step), _edge(self.seconds, step)
        return None


def _seek(bits: int, start: int, step: int) -> int:
    """Return the nearest member at or beyond `start`, or -1."""
    if step > 0:
        rest = bits >> start
        return start + _edge(rest, 1) if rest else -1
    return _edge(bits & ((1 << (start + 1)) - 1), -1)


def _edge(bits: int, step: int) -> int:
    """Return the least (1) or the greatest (-1) member."""
    return (bits & -bits if step > 0 else bits).bit_length() - 1


@lru_cache(maxsize=8_192)
def _days_of(rule: Days, first: int, length: int) -> int:
    """Return the matching days of a month of `length` days that begins on weekday `first`."""
    month = (2 << length) - 2
    dates = rule.dates & month | rule.last << length
    if rule.nearest:
        dates |= 1 << _nearest(min(rule.nearest, length), first, length)
    weekdays = 0
    for weekday in range(7):
        those = range(1 + (weekday - first) % 7, length + 1, 7)
        if rule.weekdays >> weekday & 1:
            weekdays |= bits(those)
        for which, nth in rule.nth:
            if which == weekday:
                weekdays |= bits(those[-1:] if nth == "l" else those[int(nth) - 1 : int(nth)])
    return dates & weekdays if rule.both else dates | weekdays


def _nearest(day: int, first: int, length: int) -> int:
    """Return the working day nearest to `day` in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def bits(members: Iterable[int]) -> int:
    """Return the set of `members` as an int."""
    return sum(1 << member for member in set(members))
