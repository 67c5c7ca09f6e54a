"""A cron expression and its slots: matching labels, mapped onto a zone's clock.

Labels are naive local times, slots are instants in UTC. As in Debian's cron(8), an
expression is *fixed* if neither its minute nor its hour starts with `*`: a label that
the zone's clock skips fires once, at the first instant after the gap, and a label that
it repeats fires the first time only. Any other follows the clock: every real instant
that bears a matching label. The seconds field has no say in this. Debian stops at
changes of three hours, to tell daylight saving from an operator who sets the clock; a
zone's rules set no clock, so any gap counts.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from raysched.spec import units
from raysched.spec.cron.grammar import compiled, is_hashed, normalised
from raysched.spec.cron.plan import Plan

_SECOND = timedelta(seconds=1)
# No zone ever jumped by more than a day, nor changed its offset twice within three.
_REACH = timedelta(days=1)
_START, _END = datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


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
    _plan: Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = normalised(self.text)
        name = self.name if is_hashed(text) else ""
        plan = compiled(text, bool(self.seconds), name)
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


def _aware(moment: datetime) -> datetime:
    """Return `moment` as it is; without a zone, `units.instant` refuses it."""
    return units.instant(moment) if moment.utcoffset() is None else moment


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
