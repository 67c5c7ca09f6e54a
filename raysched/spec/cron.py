"""Cron expressions: which instants they name, and why a wrong one is refused.

Whose is what: croniter expands the fields (names, steps, `L`, `W`, `#`, the hash
behind `H`), once for each expression. The strict grammar before it, the search
over the calendar and the mapping onto a zone are ours: croniter takes `5-5` for
the whole field, `7/2` for Sunday onwards and a `1-5` written backwards for a wrap,
fires twice in a fold, and needs 30-115 us where this search needs about 5.

Two rules are Debian's, from its cron(8) and crontab(5):

- Day-of-month and day-of-week are ORed if both are restricted, ANDed if either
  starts with `*`.
- If neither the minute nor the hour starts with `*`, the time is *fixed*: a label
  that a zone's clock skips fires once, at the first instant after the gap, and a
  label that it repeats fires the first time only. Otherwise the expression follows
  the clock: every real instant that bears a matching label. The seconds field has
  no say in this. Debian stops at changes of three hours, to tell daylight saving
  from an operator who sets the clock; a zone's rules set no clock, so any gap counts.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from raysched.errors import InvalidSchedule, InvalidUnit

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SECOND = timedelta(seconds=1)
# No zone ever jumped by more than a day, nor changed its offset twice within three.
_REACH = timedelta(days=1)
_START, _END = datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LONGEST = 1_000  # every value of every field, spelled out, is shorter


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A cron expression that is known to be well formed and to match some day.

    `text` is as the user wrote it, blanks normalised. `seconds` says that there are
    six fields, seconds first. `name` seeds `H`, and is empty if no field has one.

    Raises:
        InvalidSchedule: malformed, out of range, or never matching; names the position.
    """

    text: str
    seconds: bool = False
    name: str = ""
    _plan: _Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = _normalised(self.text)
        name = self.name if _HASH.search(text) else ""
        plan = _compiled(text, bool(self.seconds), name)
        for slot, value in (("text", text), ("name", name), ("_plan", plan)):
            object.__setattr__(self, slot, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # What the user wrote outlives our compiled form, and is smaller.
        return type(self), (self.text, self.seconds, self.name)

    @classmethod
    def parse(cls, text: str, *, seconds: bool = False, name: str = "") -> CronExpression:
        """Return the expression that `text` spells; `name` is the job's and seeds `H`.

        Raises:
            InvalidSchedule: malformed, out of range, or never matching; names the position.
        """
        return cls(text, seconds, name)

    def after(self, instant: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first slot strictly after `instant`, in UTC; None from the year 2200 on.

        Raises:
            InvalidUnit: `instant` has no time zone.
        """
        now = max(_aware(instant), _START - _SECOND)
        if now >= _END:
            return None
        now = now.astimezone(UTC).replace(microsecond=0)
        if self._plan.fixed:
            label = _reached(now, zone) + _SECOND
            slot: datetime | None = _first_real(self._plan.seek(label, 1), zone)
        else:
            slot = self._follow(now + _SECOND, zone, 1)
        return slot if slot is not None and slot < _END else None

    def before(self, instant: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the last slot at or before `instant`, in UTC; None before the year 1800.

        Raises:
            InvalidUnit: `instant` has no time zone.
        """
        now = min(_aware(instant), _END - _SECOND)
        if now < _START:
            return None
        now = now.astimezone(UTC).replace(microsecond=0)
        if self._plan.fixed:
            slot: datetime | None = _first_real(self._plan.seek(_reached(now, zone), -1), zone)
        else:
            slot = self._follow(now, zone, -1)
        return slot if slot is not None and slot >= _START else None

    def _follow(self, start: datetime, zone: ZoneInfo, step: int) -> datetime | None:
        """Return the nearest instant with a matching label at or beyond `start`.

        Only a change of offset within `_REACH` of `start` can bring labels back that
        lie behind it; past one of those, the search starts again.
        """
        while _START <= start < _END:
            here = start.astimezone(zone)
            offset = _offset(here)
            label = self._plan.seek(here.replace(tzinfo=None, fold=0), step)
            slot = (label - offset).replace(tzinfo=UTC)
            near = abs(slot - start) <= _REACH
            probe = slot if near else start + step * _REACH
            if _offset(probe.astimezone(zone)) != offset:
                low, high = sorted((start, probe))
            elif near:
                return slot
            else:
                first, last = _offsets(label, zone)
                if first >= last:
                    return (label - (first if step > 0 else last)).replace(tzinfo=UTC)
                low, high = _around_gap(label, first, last)
            turn = _turn(low, high, zone)
            start = turn if step > 0 else turn - _SECOND
        return None


def _aware(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise InvalidUnit(
            f"instant={instant.isoformat()} has no time zone.",
            why="the same wall-clock time is a different instant in each zone.",
            fix="add one, for example datetime(..., tzinfo=UTC).",
        )
    return instant


# --- zones: labels are naive local times, slots are instants in UTC


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    assert offset is not None
    return offset


def _offsets(label: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Return the offsets before and after the change that `label` falls in, or twice the same.

    The first is the larger in a fold and the smaller in a gap (PEP 495).
    """
    first, last = zone.utcoffset(label), zone.utcoffset(label.replace(fold=1))
    assert first is not None
    assert last is not None
    return first, last


def _around_gap(label: datetime, first: timedelta, last: timedelta) -> tuple[datetime, datetime]:
    return (label - last).replace(tzinfo=UTC), (label - first).replace(tzinfo=UTC)


def _turn(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant in `(low, high]` that has the offset of `high`."""
    offset = _offset(high.astimezone(zone))
    between = range(1, (high - low) // _SECOND)
    steps = bisect_left(
        between, True, key=lambda n: _offset((low + n * _SECOND).astimezone(zone)) == offset
    )
    return low + (steps + 1) * _SECOND


def _reached(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the latest label whose first occurrence is at or before `now`."""
    here = now.astimezone(zone)
    label = here.replace(tzinfo=None, fold=0)
    if here.fold:
        first, last = _offsets(label, zone)
        label = _turn(now - (first - last), now, zone).replace(tzinfo=None) + first - _SECOND
    return label


def _first_real(label: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant that bears `label`, or that follows the gap it falls in."""
    first, last = _offsets(label, zone)
    if first < last:
        return _turn(*_around_gap(label, first, last), zone)
    return (label - first).replace(tzinfo=UTC)


# --- the calendar: sets of numbers are the bits of an int


class _Days(NamedTuple):
    """Which days of a month match; weekdays count from Sunday, as cron's do."""

    dates: int
    last: bool
    nearest: int
    weekdays: int
    nth: tuple[tuple[int, int | str], ...]
    both: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """An expression compiled for search over labels."""

    seconds: int
    minutes: int
    hours: int
    months: int
    days: _Days
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
def _days_of(rule: _Days, first: int, length: int) -> int:
    """Return the matching days of a month of `length` days that begins on weekday `first`."""
    month = (2 << length) - 2
    dates = rule.dates & month | rule.last << length
    if rule.nearest:
        dates |= 1 << _nearest(min(rule.nearest, length), first, length)
    weekdays = 0
    for weekday in range(7):
        those = range(1 + (weekday - first) % 7, length + 1, 7)
        if rule.weekdays >> weekday & 1:
            weekdays |= _bits(those)
        for which, nth in rule.nth:
            if which == weekday:
                weekdays |= _bits(those[-1:] if nth == "l" else those[int(nth) - 1 : int(nth)])
    return dates & weekdays if rule.both else dates | weekdays


def _nearest(day: int, first: int, length: int) -> int:
    """Return the working day nearest to `day` in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def _bits(members: Iterable[int]) -> int:
    return sum(1 << member for member in set(members))


# --- the grammar: what croniter may see


class _Field(NamedTuple):
    """One field: its least and greatest value, and `top`, where `*` and an open step end."""

    name: str
    low: int
    high: int
    top: int
    names: tuple[str, ...] = ()
    special: str = "(?!)"
    hint: str = ""

    def value(self, word: str) -> int:
        """Return the number that `word` names, or -1."""
        if word in self.names:
            return self.names.index(word) + self.low
        return int(word) if word.isdigit() and self.low <= int(word) <= self.high else -1


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_FIELDS = (
    _Field("second", 0, 59, 59),
    _Field("minute", 0, 59, 59),
    _Field("hour", 0, 23, 23),
    _Field("day-of-month", 1, 31, 31, (), f"L|{_DAY}W|W{_DAY}", ", 'L' or '15W'"),
    _Field("month", 1, 12, 12, _MONTHS, hint=", or JAN to DEC"),
    _Field(
        *("day-of-week", 0, 7, 6, _WEEKDAYS),
        special=rf"L[0-7]|(?:[0-7]|{'|'.join(_WEEKDAYS)})#[1-5]",
        hint=", SUN to SAT, 'MON#1' (the first) or 'L5' (the last Friday)",
    ),
)
_ILLEGAL = re.compile(r"[^A-Za-z0-9*/,#() @-]")
_HASH = re.compile(r"\bH\b", re.IGNORECASE)
_ITEM = re.compile(
    r"(?:\*|(?P<hash>H)(?:\((?P<from>\d+)-(?P<to>\d+)\))?"
    r"|(?P<low>\d+|[A-Z]{3})(?:-(?P<high>\d+|[A-Z]{3}))?)(?:/(?P<step>\d+))?"
)
_Fault = tuple[str, str]  # why, fix


def _normalised(text: object) -> str:
    if type(text) is not str:
        raise InvalidSchedule(
            f"cron takes a str, not {type(text).__name__}.",
            why="a cron expression is text.",
            fix="write for example '30 6 * * MON-FRI'.",
        )
    if len(text) > _LONGEST:
        raise InvalidSchedule(
            f"cron {_shown(text)} is refused: it has {len(text)} characters.",
            why=f"no expression needs more than {_LONGEST}.",
            fix="write ranges and steps in place of long lists.",
        )
    return " ".join(re.findall(r"[^ \t\r\n]+", text))


@lru_cache(maxsize=4_096)
def _compiled(text: str, seconds: bool, name: str) -> _Plan:
    fields = _FIELDS if seconds else _FIELDS[1:]
    parts = _split(text, fields)
    column, columns = 1, []
    for number, (kind, part) in enumerate(zip(fields, parts, strict=True)):
        columns.append(column)
        items = part.split(",")
        for item in items:
            if fault := _fault(kind, item) or _fault_among(kind, item, items, name):
                _refuse(text, number, kind.name, column, item, why=fault[0], fix=fault[1])
            column += len(item) + 1
    plan = _expanded(text, parts, name)
    # Every kind of month, by length and first weekday, occurs within these years.
    if not any(plan.days_of(year, month) for year in range(2000, 2028) for month in range(1, 13)):
        why = "it never matches: no date fits day-of-month, month and day-of-week together"
        fix = "write a day that the month has, such as 'L' for its last"
        at = len(parts) - 3
        _refuse(text, at, fields[at].name, columns[at], parts[at], why=why, fix=fix)
    return plan


def _split(text: str, fields: tuple[_Field, ...]) -> list[str]:
    """Return the upper-case fields of `text`, as many as `fields`."""
    if illegal := _ILLEGAL.search(text):
        number = text.count(" ", 0, illegal.start())
        kind = fields[number].name if number < len(fields) else "one too many"
        why = "only ASCII letters, digits and * / , - # ( ) have a meaning here"
        fix = "write '*' for any day" if illegal[0] == "?" else "remove or replace the character"
        _refuse(text, number, kind, illegal.start() + 1, illegal[0], why=why, fix=fix)
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            fix = f"write one of {', '.join(ALIASES)}"
            _refuse(text, 0, "shorthand", 1, text, why="there is no such shorthand", fix=fix)
        return ["0"] * (len(fields) - 5) + ALIASES[text.lower()].split()
    parts = text.upper().split()
    if len(parts) != len(fields):
        raise InvalidSchedule(
            f"cron {_shown(text)} is refused: it has {len(parts)} fields, not {len(fields)}.",
            why=f"the fields are {', '.join(kind.name for kind in fields)}.",
            fix=_fix_count(len(parts), len(fields)),
        )
    return parts


def _fix_count(given: int, wanted: int) -> str:
    if given == 6 and wanted == 5:
        return "pass seconds=True if the first field is the seconds."
    if given == 5 and wanted == 6:
        return "write the seconds first, such as '0', or leave out seconds=True."
    if given == 7:
        return "remove the year: a schedule has none; bound it with a start and an end."
    return f"write {wanted} fields, such as '{'0 ' * (wanted - 5)}30 6 * * MON-FRI'."


def _fault(kind: _Field, item: str) -> _Fault | None:
    """Return what is wrong with one entry of a field, on its own."""
    if re.fullmatch(kind.special, item):
        return None
    match = _ITEM.fullmatch(item)
    words = [word for word in match.group("low", "high", "from", "to") if word] if match else []
    values = [kind.value(word) for word in words]
    if match is None or -1 in values:
        return _unreadable(kind, item)
    low, high = (*values, kind.top)[:2] if values else (kind.low, kind.top)
    if len(values) == 2 and low >= high:
        return _fault_in_range(kind, low, high)
    if match["step"] and not int(match["step"]):
        return "a step of zero never moves on", f"write '{item.partition('/')[0]}/1' or more"
    if match["step"] and low + int(match["step"]) > high:
        only = item.partition("/")[0] if match["hash"] else str(low)
        return f"the step reaches beyond {high}, which leaves {only} alone", f"write '{only}'"
    return None


def _fault_in_range(kind: _Field, low: int, high: int) -> _Fault:
    if low == high:
        return "the range holds one value, and some crons read it as all", f"write '{low}'"
    if kind.high == 7 and high == 0:
        fix = f"write '{low}-7'" if low < 7 else "write '0'"
    else:
        wrapped = ((low, kind.top), (kind.low, high))
        spelled = ",".join(f"{a}-{b}" if a < b else f"{b}" for a, b in wrapped)
        fix = f"write '{high}-{low}', or '{spelled}'"
    return "the range runs backwards", fix


def _fault_among(kind: _Field, item: str, items: list[str], name: str) -> _Fault | None:
    """Return what is wrong with one entry beside the others of its field, or without a name."""
    if item[0] == "H" and not name:
        return "'H' is hashed from a job's name, and there is none", "give the name, or a value"
    if len(items) == 1:
        return None
    if item == "*" or item[0] == "H" or ("W" in item and kind.name == "day-of-month"):
        return f"'{item}' stands alone in its field", f"write '{item}', or the other values"
    special = {bool(re.fullmatch(kind.special, other)) for other in items}
    if kind.name == "day-of-week" and len(special) == 2 and re.fullmatch(kind.special, item):
        return "'#' and 'L' do not mix with plain days of the week", "make them two schedules"
    return None


def _unreadable(kind: _Field, item: str) -> _Fault:
    if not item:
        return "an entry of the list is empty", "remove the comma"
    if re.fullmatch(r"R(\(.*\))?(/\d+)?", item):
        return "'R' is drawn anew each time it is read", "write 'H', hashed from the job's name"
    if re.fullmatch("[0-7]L", item) and kind.name == "day-of-week":
        return "the last such day of the month has its 'L' in front", f"write 'L{item[0]}'"
    return (
        f"a {kind.name} is {kind.low} to {kind.high}{kind.hint}",
        f"write for example '*', '{kind.low}', '{kind.low}-{kind.low + 4}' or '*/2'",
    )


def _expanded(text: str, parts: list[str], name: str) -> _Plan:
    from croniter import croniter  # 90 ms to import

    # As in Jenkins: a hashed day that some months lack would skip them.
    spoken = [*parts[:-3], "H(1-28)" if parts[-3] == "H" else parts[-3], *parts[-2:]]
    try:
        cron = croniter(" ".join(spoken), 0.0, hash_id=name or None, second_at_beginning=True)
    except ValueError as error:
        raise InvalidSchedule(
            f"cron {_shown(text)} is refused.", why=str(error), fix="simplify the expression."
        ) from error
    minutes, hours, dates, months, weekdays, *seconds = cron.expanded
    days = _Days(
        dates=0 if cron.nearest_weekday else _members(dates, _FIELDS[3]),
        last="l" in dates,
        nearest=max(cron.nearest_weekday, default=0),
        weekdays=0 if cron.nth_weekday_of_month else _members(weekdays, _FIELDS[5]),
        nth=tuple((day, n) for day, which in cron.nth_weekday_of_month.items() for n in which),
        both=parts[-3].startswith("*") or parts[-1].startswith("*"),
    )
    return _Plan(
        seconds=_members(seconds[0], _FIELDS[0]) if seconds else 1,
        minutes=_members(minutes, _FIELDS[1]),
        hours=_members(hours, _FIELDS[2]),
        months=_members(months, _FIELDS[4]),
        days=days,
        fixed=not (parts[-5].startswith("*") or parts[-4].startswith("*")),
    )


def _members(values: list[int | str], kind: _Field) -> int:
    if "*" in values:
        return _bits(range(kind.low, kind.top + 1))
    return _bits(value for value in values if isinstance(value, int))


def _refuse(
    text: str, number: int, kind: str, column: int, part: str, *, why: str, fix: str
) -> NoReturn:
    raise InvalidSchedule(
        f"cron {_shown(text)} is refused at field {number + 1} ({kind}), "
        f"column {column}: {_shown(part)}",
        why=why,
        fix=fix,
    )


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= 60 else f"{ascii(text[:57])[:-1]}...'"
