"""The strict grammar of cron expressions, and the position of each error.

Only text that passes here reaches croniter, which expands the fields (names, steps,
`L`, `W`, `#`, the hash behind `H`), once for each expression. On its own it takes `5-5`
for the whole field, `7/2` for Sunday onwards and a `1-5` written backwards for a wrap.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, NoReturn

from raysched.errors import InvalidSchedule
from raysched.spec.cron.plan import Days, Plan, bits
from raysched.spec.units import shown

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_LONGEST = 1_000  # every value of every field, spelled out, is shorter


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


def normalised(text: object) -> str:
    """Return `text` with single blanks.

    Raises:
        InvalidSchedule: not a str, or too long to read.
    """
    if type(text) is not str:
        raise InvalidSchedule(
            f"cron takes a str, not {type(text).__name__}.",
            why="a cron expression is text.",
            fix="write for example '30 6 * * MON-FRI'.",
        )
    if len(text) > _LONGEST:
        raise InvalidSchedule(
            f"cron {shown(text)} is refused: it has {len(text)} characters.",
            why=f"no expression needs more than {_LONGEST}.",
            fix="write ranges and steps in place of long lists.",
        )
    return " ".join(re.findall(r"[^ \t\r\n]+", text))


def is_hashed(text: str) -> bool:
    """Say whether a field of `text` is hashed from the job's name."""
    return _HASH.search(text) is not None


@lru_cache(maxsize=4_096)
def compiled(text: str, seconds: bool, name: str) -> Plan:
    """Return the plan of a normalised text; `name` seeds `H`.

    Raises:
        InvalidSchedule: malformed, out of range, or never matching; names the position.
    """
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
            f"cron {shown(text)} is refused: it has "
            f"{len(parts)} field{'s' * (len(parts) != 1)}, not {len(fields)}.",
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
    article = "an" if kind.name == "hour" else "a"
    return (
        f"{article} {kind.name} is {kind.low} to {kind.high}{kind.hint}",
        f"write for example '*', '{kind.low}', '{kind.low}-{kind.low + 4}' or '*/2'",
    )


def _expanded(text: str, parts: list[str], name: str) -> Plan:
    from croniter import croniter  # 90 ms to import

    # As in Jenkins: a hashed day that some months lack would skip them.
    spoken = [*parts[:-3], "H(1-28)" if parts[-3] == "H" else parts[-3], *parts[-2:]]
    try:
        cron = croniter(" ".join(spoken), 0.0, hash_id=name or None, second_at_beginning=True)
    except ValueError as error:
        raise InvalidSchedule(
            f"cron {shown(text)} is refused.", why=str(error), fix="simplify the expression."
        ) from error
    minutes, hours, dates, months, weekdays, *seconds = cron.expanded
    days = Days(
        dates=0 if cron.nearest_weekday else _members(dates, _FIELDS[3]),
        last="l" in dates,
        nearest=max(cron.nearest_weekday, default=0),
        weekdays=0 if cron.nth_weekday_of_month else _members(weekdays, _FIELDS[5]),
        nth=tuple((day, n) for day, which in cron.nth_weekday_of_month.items() for n in which),
        both=parts[-3].startswith("*") or parts[-1].startswith("*"),
    )
    return Plan(
        seconds=_members(seconds[0], _FIELDS[0]) if seconds else 1,
        minutes=_members(minutes, _FIELDS[1]),
        hours=_members(hours, _FIELDS[2]),
        months=_members(months, _FIELDS[4]),
        days=days,
        fixed=not (parts[-5].startswith("*") or parts[-4].startswith("*")),
    )


def _members(values: list[int | str], kind: _Field) -> int:
    if "*" in values:
        return bits(range(kind.low, kind.top + 1))
    return bits(value for value in values if isinstance(value, int))


def _refuse(
    text: str, number: int, kind: str, column: int, part: str, *, why: str, fix: str
) -> NoReturn:
    raise InvalidSchedule(
        f"cron {shown(text)} is refused at field {number + 1} ({kind}), "
        f"column {column}: {shown(part)}",
        why=why,
        fix=fix,
    )
