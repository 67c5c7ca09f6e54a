"""What a user writes for a schedule, checked: `rs.cron`, `rs.every`, `rs.after_end`, `rs.at`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from raysched.errors import InvalidSchedule, InvalidUnit
from raysched.spec.cron import CronExpression
from raysched.spec.schedules.bounds import Bounds
from raysched.spec.schedules.kinds import AfterEnd, At, Cron, Every, Schedule
from raysched.spec.units import Duration, Instant, duration, instant, iso, shown
from raysched.spec.zones import zone_name

_SHORTEST = timedelta(milliseconds=100)


def cron(
    expression: str,
    *,
    timezone: str | None = None,
    seconds: bool = False,
    start: Instant | None = None,
    end: Instant | None = None,
    jitter: Duration | None = None,
) -> Cron:
    """Return a schedule whose slots match a cron expression; five fields, or six with `seconds`.

    Raises:
        InvalidSchedule: a malformed or never-matching expression, an unknown zone, or
            an end before its start.
        InvalidUnit: a naive instant or an ambiguous duration.
    """
    parsed = CronExpression.parse(expression, seconds=seconds, name="job")
    return Cron(
        expression=parsed,
        zone=None if timezone is None else zone_name(timezone),
        bounds=_bounds(start, end, jitter),
    )


def every(
    period: Duration,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    jitter: Duration | None = None,
) -> Every:
    """Return a schedule with a slot at each whole multiple of `period`, at least 100 ms.

    Raises:
        InvalidSchedule: a period that is too short, end before start.
        InvalidUnit: a naive instant or an ambiguous duration.
    """
    length = duration(period, of="every")
    if length < _SHORTEST:
        raise InvalidSchedule(
            f"every({shown(period)}) is too short.",
            why="a slot is a decision on record; ten a second is the most for one job.",
            fix='use every("100ms") or longer, or loop inside the job.',
        )
    return Every(period=length, bounds=_bounds(start, end, jitter))


def after_end(
    delay: Duration, *, start: Instant | None = None, end: Instant | None = None
) -> AfterEnd:
    """Return a schedule with one slot, `delay` after the end of the job's last run.

    Raises:
        InvalidSchedule: end before start.
        InvalidUnit: a naive instant or an ambiguous duration.
    """
    return AfterEnd(delay=duration(delay, of="after_end"), bounds=_bounds(start, end, None))


def at(moment: Instant) -> At:
    """Return a schedule with one slot.

    Raises:
        InvalidUnit: a naive or malformed instant.
    """
    return At(moment=instant(moment, of="at"))


def schedules(declared: Any, *, name: str, zone: str) -> tuple[Schedule, ...]:
    """Return the bound schedules of a declaration: a cron string, a schedule, or a list of them.

    Raises:
        InvalidSchedule: none of these, or a cron expression that is refused.
    """
    if declared is None:
        return ()
    each = list(declared) if isinstance(declared, list | tuple) else [declared]
    return tuple(_one(item).bound_to(name, zone) for item in each)


def _one(declared: object) -> Schedule:
    if isinstance(declared, str):
        if _is_length(declared):
            raise InvalidSchedule(
                f"schedule={shown(declared)} is not a schedule.",
                why="a text is a cron expression, and this is a length of time.",
                fix=f'write schedule=rs.every("{declared}").',
            )
        return cron(declared)
    if isinstance(declared, Cron | Every | AfterEnd | At):
        return declared
    raise InvalidSchedule(
        f"schedule={shown(declared)} is not a schedule.",
        why="a schedule is a cron string, rs.cron, rs.every, rs.after_end, rs.at, or a list.",
        fix='write for example schedule="0 6 * * *" or schedule=rs.every("15m").',
    )


def _is_length(text: str) -> bool:
    try:
        return bool(duration(text))
    except InvalidUnit:
        return False


def _bounds(start: Instant | None, end: Instant | None, jitter: Duration | None) -> Bounds:
    first = None if start is None else instant(start, of="start")
    last = None if end is None else instant(end, of="end")
    if first and last and last <= first:
        raise InvalidSchedule(
            f"end={iso(last)} is not after start={iso(first)}.",
            why="slots lie from start up to, and without, end.",
            fix="swap them.",
        )
    length = timedelta(0) if jitter is None else duration(jitter, of="jitter", zero=True)
    return Bounds(start=first, end=last, jitter=length)
