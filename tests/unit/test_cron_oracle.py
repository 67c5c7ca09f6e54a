"""Other people's crons as oracles: cronsim around every clock change, croniter far from any.

A clock change is what a zone does at one instant: the instant, the offset before,
the offset after. Around it nothing else about the zone matters, so that each
change is walked once, however many zones share it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import croniter
from cronsim import CronSim

from raysched.spec.cron import CronExpression

DAY = timedelta(days=1)
YEARS = (1975, 1995, 2011, 2024, 2026)

FIXED = {
    "daily, in the hour that most zones skip": "30 2 * * *",
    "daily, in the hour that most zones repeat": "30 1 * * *",
    "daily at midnight": "0 0 * * *",
    "several labels inside one gap": "0,15,30,45 1-3 * * *",
    "every quarter of an hour, spelled without a star": "0-59/15 0-23 * * *",
    "the last minute of a gap, and the first after it": "0,59 0-3 * * *",
    "weekly on Sunday": "30 2 * * SUN",
    "the last day of the month": "15 2 L * *",
}
FOLLOWING = {
    "every ten minutes": "*/10 * * * *",
    "every other hour": "0 */2 * * *",
    "every minute of one hour": "* 2 * * *",
    "hourly": "5 * * * *",
    "half-hourly by night": "*/30 0-3 * * *",
    "weekly on Sunday, all night": "*/20 1-2 * * SUN",
}


Change = tuple[datetime, timedelta, timedelta]


@lru_cache
def changes() -> dict[Change, str]:
    """Every change of offset in the sampled years, with one zone that makes it."""
    found: dict[Change, str] = {}
    for name in sorted(available_timezones()):
        for year in YEARS:
            for change in changes_of(ZoneInfo(name), year):
                found.setdefault(change, name)
    return found


def changes_of(zone: ZoneInfo, year: int) -> Iterator[Change]:
    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset()

    days = [datetime(year, 1, 1, tzinfo=UTC) + n * DAY for n in range(366)]
    offsets = [offset(day) for day in days]
    for n, (old, new) in enumerate(pairwise(offsets)):
        if old != new:
            seconds = bisect_left(
                range(86_400),
                True,
                key=lambda s: offset(days[n] + timedelta(seconds=s)) == new,  # noqa: B023
            )
            yield days[n] + timedelta(seconds=seconds), old, new


def slots(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    cron, found = CronExpression.parse(text), []
    while (start := cron.after(start, zone)) and start < end:
        found.append(start)
    return found


def cronsim_slots(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    found = []
    for slot in CronSim(text, start.astimezone(zone)):
        if slot >= end:
            return found
        found.append(slot.astimezone(UTC))
    return found
