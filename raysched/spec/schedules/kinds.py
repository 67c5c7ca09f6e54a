"""The kinds of schedule: frozen values that answer two questions by arithmetic.

They are which slot follows an instant, and which is the last at or before one. A schedule
knows no clock and no job state beyond the end of the job's last run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from raysched.errors import InvalidSchedule
from raysched.spec.cron import CronExpression, is_hashed
from raysched.spec.schedules.bounds import Bounds, bounds_from_json
from raysched.spec.units import EPOCH, MICROSECOND, from_us, iso, shown, spell, to_us


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
    bounds: Bounds = field(default_factory=Bounds)

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
        slot = _after(self.expression, self.bounds.floor(moment) - shift, self._tz)
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
            **self.bounds.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Every(_Shown):
    """Slots at whole multiples of a period since the epoch, or since `start`.

    Counted from a fixed instant and not from the deploy, so that a restart or a
    redeploy moves nothing.
    """

    period: timedelta
    bounds: Bounds = field(default_factory=Bounds)

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
            **self.bounds.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AfterEnd(_Shown):
    """One slot, a delay after the end of the job's last run; at first, after its deploy."""

    delay: timedelta
    bounds: Bounds = field(default_factory=Bounds)

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
            **self.bounds.to_json(),
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


def next_slot(each: Iterable[Schedule], after: datetime, last_end: datetime) -> datetime | None:
    """Return the first slot of any of the schedules strictly after an instant."""
    return min((slot for s in each if (slot := s.after(after, last_end)) is not None), default=None)


def last_slot(each: Iterable[Schedule], until: datetime, last_end: datetime) -> datetime | None:
    """Return the last slot of any of the schedules at or before an instant."""
    return max(
        (slot for s in each if (slot := s.before(until, last_end)) is not None), default=None
    )


def schedule_from_json(data: Mapping[str, Any], name: str, zone: str) -> Schedule:
    """Return the schedule that `to_json` wrote, bound to the job `name` in `zone`.

    Raises:
        InvalidSchedule: of a kind that this raysched does not know.
    """
    bounds = bounds_from_json(data)
    match data["kind"]:
        case "cron":
            text = data["expression"]
            seed = name if bounds.jitter or is_hashed(text) else ""
            return _cron(text, data["seconds"], data["zone"] or zone, bounds, seed)
        case "every":
            return _every(data["period_us"], bounds, name if bounds.jitter else "")
        case "after_end":
            return AfterEnd(delay=data["delay_us"] * MICROSECOND, bounds=bounds)
        case "at":
            return At(moment=from_us(data["moment_us"]))
        case kind:
            raise InvalidSchedule(f"schedule kind {shown(kind)} is unknown.")


# Of very many jobs most have a schedule that others have too: it is made, and kept, once.
@lru_cache(maxsize=4_096)
def _cron(text: str, seconds: bool, zone: str, bounds: Bounds, name: str) -> Cron:
    expression = CronExpression.parse(text, seconds=seconds, name=name)
    return Cron(expression=expression, zone=zone, bounds=bounds.bound_to(name))


# And they were decided up to the same slot: when a scheduler starts, it asks the same of each.
@lru_cache(maxsize=4_096)
def _after(expression: CronExpression, moment: datetime, zone: ZoneInfo) -> datetime | None:
    return expression.after(moment, zone)


@lru_cache(maxsize=4_096)
def _every(period_us: int, bounds: Bounds, name: str) -> Every:
    return Every(period=period_us * MICROSECOND, bounds=bounds.bound_to(name))
