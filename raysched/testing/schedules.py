"""A check of when a schedule fires, whose failure shows what was expected beside what is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from itertools import islice, zip_longest
from typing import Any
from zoneinfo import ZoneInfo

from raysched.errors import InputError
from raysched.spec.declared import DeclaredJob
from raysched.spec.schedules import AfterEnd, Cron, Schedule, next_slot, schedules
from raysched.spec.units import Instant, instant, shown
from raysched.spec.zones import zone_name

_WALL = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
_MOST = 10_000


def assert_schedule(
    schedule: Any,
    expected: Sequence[Instant],
    *,
    timezone: str | None = None,
    start: Instant | None = None,
    until: Instant | None = None,
) -> None:
    """Check that a schedule's first slots are the expected ones, and no others lie between.

    `schedule` is a cron text, `rs.cron`, `rs.every`, `rs.at`, a list of those, or a job,
    whose zone it then has. Each expected slot is an instant, or a text without an offset,
    such as `"2026-03-08 03:00"`, which is the wall clock of the zone. Slots count from
    `start`, which is the midnight before the first expected one if left out; with
    `until`, those expected are all before that.

    Raises:
        AssertionError: the slots differ; shows both side by side.
        InputError: nothing says where to begin, or the schedule follows the job's own runs.
    """
    __tracebackhide__ = True
    each, zone = _parts(schedule, timezone)
    wanted = [_Expected(item, zone) for item in expected]
    if start is None and not wanted:
        raise InputError("assert_schedule needs a start.", why="no slot is expected.")
    first = wanted[0].midnight if start is None else _begin(start, zone, of="start")
    if until is None:
        found = list(islice(_slots(each, first), len(wanted)))
    else:
        last = _begin(until, zone, of="until")
        found = [slot for slot in islice(_slots(each, first), _MOST) if slot < last]
    if len(wanted) != len(found) or any(
        not want.is_(slot) for want, slot in zip(wanted, found, strict=True)
    ):
        what = "; ".join(one.describe() for one in each) or "no schedule"
        begins = f"{what}, from {_written(first, zone)}"
        raise AssertionError(
            f"{begins}, does not fire as expected:\n\n{_beside(wanted, found, zone)}"
        )


def _parts(schedule: Any, timezone: str | None) -> tuple[tuple[Schedule, ...], ZoneInfo]:
    if isinstance(schedule, DeclaredJob):
        if timezone is not None:
            raise InputError(
                "timezone is given beside a job.", why="a job has its own.", fix="leave it out."
            )
        zone, each = schedule.spec.timezone, schedule.spec.schedules
    else:
        zone = zone_name(timezone or "UTC")
        each = schedules(schedule, name="job", zone=zone)
    if any(isinstance(one, AfterEnd) for one in each):
        raise InputError(
            "rs.after_end has no slots of its own.",
            why="each follows the end of the job's last run.",
            fix="deploy the job to a World and look at its decisions.",
        )
    zones = {one.zone for one in each if isinstance(one, Cron) and one.zone}
    return each, ZoneInfo(zones.pop() if len(zones) == 1 else zone)


def _slots(each: tuple[Schedule, ...], start: datetime) -> Iterator[datetime]:
    at = start - timedelta(microseconds=1)
    while (slot := next_slot(each, at, at)) is not None:
        yield slot
        at = slot


def _begin(value: Instant, zone: ZoneInfo, *, of: str) -> datetime:
    wall = _wall(value)
    return instant(value, of=of) if wall is None else wall.replace(tzinfo=zone).astimezone(UTC)


def _wall(value: object) -> datetime | None:
    if isinstance(value, str) and _WALL.fullmatch(value):
        return datetime.fromisoformat(value)
    return None


class _Expected:
    """An expected slot: an instant, or a time on the wall of which any instant will do."""

    def __init__(self, value: Instant, zone: ZoneInfo) -> None:
        self._zone = zone
        self._wall = _wall(value)
        self._instant = None if self._wall else instant(value, of=f"expected slot {shown(value)}")

    @property
    def midnight(self) -> datetime:
        local = self._wall or self._local(self._instant)
        return datetime.combine(local.date(), datetime.min.time(), self._zone).astimezone(UTC)

    def is_(self, slot: datetime) -> bool:
        if self._wall is None:
            return slot == self._instant
        return self._local(slot).replace(tzinfo=None, fold=0) == self._wall

    def _local(self, moment: datetime | None) -> datetime:
        assert moment is not None
        return moment.astimezone(self._zone)

    def __str__(self) -> str:
        if self._wall is None:
            assert self._instant is not None
            return _written(self._instant, self._zone)
        return str(self._wall)


def _written(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local.replace(tzinfo=None)} {local:%Z}"


def _beside(wanted: Sequence[_Expected], found: Sequence[datetime], zone: ZoneInfo) -> str:
    """Return both lists side by side, equal slots on one line, with a mark where they differ."""
    names = [str(n) for n in range(len(found))]
    meant = []
    for n, want in enumerate(wanted):  # the name of the slot that is meant, if there is one
        same = (name for name, slot in zip(names, found, strict=True) if want.is_(slot))
        meant.append(next(same, f"missing {n}"))
    lines = [("", "expected", "actual")]
    matcher = SequenceMatcher(None, meant, names, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        left = [str(want) for want in wanted[a:b]]
        right = [_written(slot, zone) for slot in found[c:d]]
        mark = " " if kind == "equal" else "!"
        lines += [(mark, *pair) for pair in zip_longest(left, right, fillvalue="-")]
    width = max(len(left) for _, left, _ in lines)
    return "\n".join(f"  {mark:1} {left:{width}}   {right}" for mark, left, right in lines)
