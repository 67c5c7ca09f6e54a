"""A schedule in words, for the eye; what has no short wording is given as it was written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raysched.spec.cron.grammar import ALIASES
from raysched.spec.schedules import Cron, Schedule

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_NUMBERS = re.compile(r"\d+(?:,\d+)*", re.ASCII)
_STEP = re.compile(r"\*/(\d+)", re.ASCII)
_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)
_MOST_TIMES = 4


def in_words(schedule: Schedule) -> str:
    """Return a schedule as a sentence's part: `at 06:00 every day, UTC (0 6 * * *)`."""
    if not isinstance(schedule, Cron) or schedule.expression.seconds:
        return schedule.describe()
    text = schedule.expression.text
    fields = ALIASES.get(text.lower(), text).upper().split()
    times, days, months = _times(*fields[:2]), _days(fields[2], fields[4]), _months(fields[3])
    if times is None or days is None or months is None:
        return schedule.describe()
    if days == "every day" and not times.startswith("at "):
        days = ""
    words = " ".join(word for word in (times, days, months) if word)
    return f"{words}, {schedule.zone or 'UTC'} ({text}){schedule.bounds.describe()}"


def _times(minute: str, hour: str) -> str | None:
    minutes, hours = _numbers(minute), _numbers(hour)
    if minutes and hours:
        each = [f"{h:02}:{m:02}" for h in hours for m in minutes]
        return f"at {_listed(each)}" if len(each) <= _MOST_TIMES else None
    if minutes:
        return _hourly(minutes, hour)
    pace = "every minute" if minute == "*" else _stepped(minute, "minutes")
    if pace is None or hour == "*":
        return pace
    span = _RANGE.fullmatch(hour)
    return f"{pace} from {int(span[1]):02}:00 to {int(span[2]):02}:59" if span else None


def _hourly(minutes: Sequence[int], hour: str) -> str | None:
    span = _RANGE.fullmatch(hour)
    if span and len(minutes) == 1:
        first, last = (f"{int(each):02}:{minutes[0]:02}" for each in span.groups())
        return f"every hour from {first} to {last}"
    pace = "every hour" if hour == "*" else _stepped(hour, "hours")
    if pace is None or len(minutes) > _MOST_TIMES:
        return None
    past = f"at {_listed([f':{minute:02}' for minute in minutes])}"
    return pace if minutes == [0] else f"{pace} {past}"


def _stepped(field: str, unit: str) -> str | None:
    step = _STEP.fullmatch(field)
    # Steps that do not divide the whole begin anew with it, which no short wording says.
    whole = 60 if unit == "minutes" else 24
    return f"every {int(step[1])} {unit}" if step and whole % int(step[1]) == 0 else None


def _days(date: str, weekday: str) -> str | None:
    if date == "*" and weekday == "*":
        return "every day"
    if date == "*":
        return _named(weekday, _WEEKDAYS, first=0, preposition="on")
    if weekday != "*":
        return None
    if date == "L":
        return "on the last day of the month"
    dates = _numbers(date)
    return f"on day {_listed([str(each) for each in dates])} of the month" if dates else None


def _months(field: str) -> str | None:
    return "" if field == "*" else _named(field, _MONTHS, first=1, preposition="in")


def _named(field: str, names: Sequence[str], *, first: int, preposition: str) -> str | None:
    """Return the names of a field of numbers or names, single, listed or one range."""
    for number, name in enumerate(names, start=first):
        field = re.sub(rf"\b{name[:3].upper()}\b", str(number), field)

    def of(number: int) -> str:
        return names[(number - first) % len(names)]

    if span := _RANGE.fullmatch(field):
        return f"{preposition} {of(int(span[1]))} to {of(int(span[2]))}"
    numbers = _numbers(field)
    return f"{preposition} {_listed([of(each) for each in numbers])}" if numbers else None


def _numbers(field: str) -> list[int]:
    return sorted({int(n) for n in field.split(",")}) if _NUMBERS.fullmatch(field) else []


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
