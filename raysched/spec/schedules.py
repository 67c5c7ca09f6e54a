"""When a job runs: cron, every, after-end, at.

A schedule is a frozen value that answers two questions by arithmetic, the slot
after an instant and the slot at or before one. It knows no clock and no job
state beyond the end of the job's last run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from raysched.errors import InvalidSchedule
from raysched.spec.cron import CronExpression
from raysched.spec.units import (
    EPOCH,
    MICROSECOND,
    Duration,
    Instant,
    duration,
    from_us,
    instant,
    iso,
    shown,
    spell,
    to_us,
)

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_SHORTEST = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The part of time in which a schedule is alive, and its shift within a period.

    Slots lie in `[start, end)`. `jitter` moves every slot of a job later by one
    constant below it, hashed from the job's name with SHA-256, so that jobs with
    the same schedule do not all fire at once.
    """

    start: datetime | None = None
    end: datetime | None = None
    jitter: timedelta = timedelta(0)
    shift: timedelta = timedelta(0)

    def bound_to(self, name: str) -> Bounds:
        """Return the bounds with the shift that the job's name gives."""
        if not self.jitter:
            return self
        draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return replace(self, shift=(draw % (self.jitter // MICROSECOND)) * MICROSECOND)

    def floor(self, after: datetime) -> datetime:
        """Return the instant after which to look, given one and the start."""
        return after if self.start is None else max(after, self.start - MICROSECOND)

    def within(self, slot: datetime | None) -> datetime | None:
        """Return the slot if it lies inside, else None."""
        if slot is None or (self.start and slot < self.start) or (self.end and slot >= self.end):
            return None
        return slot

    def describe(self) -> str:
        """Return the bounds as a suffix for a schedule's description."""
        text = f" from {iso(self.start)}" if self.start else ""
        text += f" until {iso(self.end)}" if self.end else ""
        return text + (f" jitter {spell(self.jitter)}" if self.jitter else "")


class _Shown:
    """How schedules of every kind are shown."""

    __slots__ = ()

    def describe(self) -> str:
        """Return the schedule as a user would read it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<Schedule {self.describe()}>"

    def _repr_html_(self) -> str:
        from raysched.show.html import html
        from raysched.spec.cards import schedule_card

        return html(schedule_card(self, datetime.now(UTC)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cron(_Shown):
    """Slots where the wall clock of a zone matches a cron expression."""

    expression: CronExpression
    zone: str | None = None
    bounds: Bounds = Bounds()

    def bound_to(self, name: str, zone: str) -> Cron:
        """Return the schedule for the job `name`, in `zone` unless it has its own."""
        text, seconds = self.expression.text, self.expression.seconds
        return Cron(
            expression=CronExpression.parse(text, seconds=seconds, name=name),
            zone=self.zone or zone,
            bounds=self.bounds.bound_to(name),
        )

    def after(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the first slot strictly after `moment`, or None."""
        shift = self.bounds.shift
        slot = self.expression.after(self.bounds.floor(moment) - shift, self._tz)
        return self.bounds.within(None if slot is None else slot + shift)

    def before(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the last slot at or before `moment`, or None."""
        shift = self.bounds.shift
        if self.bounds.end:
            moment = min(moment, self.bounds.end - MICROSECOND)
        slot = self.expression.before(moment - shift, self._tz)
        return self.bounds.within(None if slot is None else slot + shift)

    @property
    def _tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone or "UTC")

    def describe(self) -> str:
        """Return the schedule as a user would read it."""
        return f"cron {self.expression.text} {self.zone or 'UTC'}{self.bounds.describe()}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `schedule_from_json` reads."""
        return {
            "kind": "cron",
            "expression": self.expression.text,
            "seconds": self.expression.seconds,
            "zone": self.zone,
            **_bounds_to_json(self.bounds),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Every(_Shown):
    """Slots at whole multiples of a period since the epoch, or since `start`.

    Counted from a fixed instant and not from the deploy, so that a restart or a
    redeploy moves nothing.
    """

    period: timedelta
    bounds: Bounds = Bounds()

    def bound_to(self, name: str, zone: str) -> Every:
        """Return the schedule for the job `name`."""
        return replace(self, bounds=self.bounds.bound_to(name))

    @property
    def _origin(self) -> datetime:
        return (self.bounds.start or EPOCH) + self.bounds.shift

    def after(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the first slot strictly after `moment`, or None."""
        steps = (self.bounds.floor(moment) - self._origin) // self.period + 1
        return self.bounds.within(self._origin + steps * self.period)

    def before(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the last slot at or before `moment`, or None."""
        if self.bounds.end:
            moment = min(moment, self.bounds.end - MICROSECOND)
        return self.bounds.within(
            self._origin + (moment - self._origin) // self.period * self.period
        )

    def describe(self) -> str:
        """Return the schedule as a user would read it."""
        return f"every {spell(self.period)}{self.bounds.describe()}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `schedule_from_json` reads."""
        return {
            "kind": "every",
            "period_us": self.period // MICROSECOND,
            **_bounds_to_json(self.bounds),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AfterEnd(_Shown):
    """One slot, a delay after the end of the job's last run; at first, after its deploy."""

    delay: timedelta
    bounds: Bounds = Bounds()

    def bound_to(self, name: str, zone: str) -> AfterEnd:
        """Return the schedule for the job `name`."""
        return self

    def after(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the slot that follows the last end, or None while a run is under way."""
        slot = self._slot(last_end)
        return self.bounds.within(slot) if slot > moment else None

    def before(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the slot that follows the last end if it has come, or None."""
        slot = self._slot(last_end)
        return self.bounds.within(slot) if slot <= moment else None

    def _slot(self, last_end: datetime) -> datetime:
        slot = last_end + self.delay
        return slot if self.bounds.start is None else max(slot, self.bounds.start)

    def describe(self) -> str:
        """Return the schedule as a user would read it."""
        return f"{spell(self.delay)} after the end of the last run{self.bounds.describe()}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `schedule_from_json` reads."""
        return {
            "kind": "after_end",
            "delay_us": self.delay // MICROSECOND,
            **_bounds_to_json(self.bounds),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class At(_Shown):
    """One slot, at one instant."""

    moment: datetime

    def bound_to(self, name: str, zone: str) -> At:
        """Return the schedule for the job `name`."""
        return self

    def after(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the instant if it lies strictly after `moment`."""
        return self.moment if self.moment > moment else None

    def before(self, moment: datetime, last_end: datetime) -> datetime | None:
        """Return the instant if it lies at or before `moment`."""
        return self.moment if self.moment <= moment else None

    def describe(self) -> str:
        """Return the schedule as a user would read it."""
        return f"at {iso(self.moment)}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `schedule_from_json` reads."""
        return {"kind": "at", "moment_us": to_us(self.moment)}


Schedule = Cron | Every | AfterEnd | At


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
        return cron(declared)
    if isinstance(declared, Cron | Every | AfterEnd | At):
        return declared
    raise InvalidSchedule(
        f"schedule={shown(declared)} is not a schedule.",
        why="a schedule is a cron string, rs.cron, rs.every, rs.after_end, rs.at, or a list.",
        fix='write for example schedule="0 6 * * *" or schedule=rs.every("15m").',
    )


def next_slot(each: Iterable[Schedule], after: datetime, last_end: datetime) -> datetime | None:
    """Return the first slot of any of the schedules strictly after an instant."""
    return min((slot for s in each if (slot := s.after(after, last_end)) is not None), default=None)


def last_slot(each: Iterable[Schedule], until: datetime, last_end: datetime) -> datetime | None:
    """Return the last slot of any of the schedules at or before an instant."""
    return max(
        (slot for s in each if (slot := s.before(until, last_end)) is not None), default=None
    )


_zones = lru_cache(maxsize=1)(available_timezones)


def zone_name(value: object) -> str:
    """Return `value` if it is the IANA name of a time zone.

    Raises:
        InvalidSchedule: a path, an abbreviation, or no such zone.
    """
    text = value if type(value) is str and len(value) <= 64 and _ZONE.fullmatch(value) else ""
    if text in _zones() and text != "localtime":
        return text
    near = get_close_matches(text, _zones(), n=1)
    raise InvalidSchedule(
        f"timezone={shown(value)} is not a time zone.",
        why="a zone has a name of the IANA database.",
        fix=f'write for example timezone="{near[0] if near else "Europe/Berlin"}".',
    )


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


def _bounds_to_json(bounds: Bounds) -> dict[str, Any]:
    return {
        "start_us": None if bounds.start is None else to_us(bounds.start),
        "end_us": None if bounds.end is None else to_us(bounds.end),
        "jitter_us": bounds.jitter // MICROSECOND,
    }


def schedule_from_json(data: Mapping[str, Any]) -> Schedule:
    """Return the schedule that `to_json` wrote; it is bound to its job by the caller."""
    bounds = Bounds(
        start=None if data.get("start_us") is None else from_us(data["start_us"]),
        end=None if data.get("end_us") is None else from_us(data["end_us"]),
        jitter=data.get("jitter_us", 0) * MICROSECOND,
    )
    match data["kind"]:
        case "cron":
            parsed = CronExpression.parse(data["expression"], seconds=data["seconds"], name="job")
            return Cron(expression=parsed, zone=data["zone"], bounds=bounds)
        case "every":
            return Every(period=data["period_us"] * MICROSECOND, bounds=bounds)
        case "after_end":
            return AfterEnd(delay=data["delay_us"] * MICROSECOND, bounds=bounds)
        case "at":
            return At(moment=from_us(data["moment_us"]))
        case kind:
            raise InvalidSchedule(f"schedule kind {shown(kind)} is unknown.")
