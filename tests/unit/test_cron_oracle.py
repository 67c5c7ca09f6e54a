"""Other people's crons as oracles: cronsim around every clock change, croniter far from any.

A clock change is what a zone does at one instant: the instant, the offset before,
the offset after. Around it nothing else about the zone matters, so that each
change is walked once, however many zones share it, and only so far on either
side that the expression fires there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import croniter
from cronsim import CronSim

from raysched.spec.cron import CronExpression

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
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
    "every quarter of an hour": "*/15 * * * *",
    "every other hour": "0 */2 * * *",
    "every minute of one hour": "* 2 * * *",
    "hourly": "5 * * * *",
    "half-hourly by night": "*/30 0-3 * * *",
    "weekly on Sunday, all night": "*/20 1-2 * * SUN",
}


Change = tuple[datetime, timedelta, timedelta]
Window = tuple[ZoneInfo, datetime, datetime]


@cache
def changes() -> dict[Change, str]:
    """Return every change of offset in the sampled years, with one zone that makes it."""
    found: dict[Change, str] = {}
    for name in sorted(available_timezones()):
        for year in YEARS:
            for change in changes_of(ZoneInfo(name), year):
                found.setdefault(change, name)
    return found


def changes_of(zone: ZoneInfo, year: int) -> Iterator[Change]:
    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset()

    # Two changes never fall within three days; the unit tests say so, too.
    days = [datetime(year, 1, 1, tzinfo=UTC) + n * DAY for n in range(0, 369, 3)]
    offsets = [offset(day) for day in days]
    for n, (old, new) in enumerate(pairwise(offsets)):
        if old != new:
            seconds = bisect_left(
                range(3 * 86_400),
                True,
                key=lambda s: offset(days[n] + timedelta(seconds=s)) == new,
            )
            yield days[n] + timedelta(seconds=seconds), old, new


def windows(text: str) -> Iterator[tuple[Change, Window]]:
    """Yield every change with the stretch of time around it that `text` is walked through.

    What fires all day long has shown what it does within six hours, the rest within a day.
    """
    all_day = text.split()[1] in ("*", "*/2", "0-23")
    around = timedelta(hours=6 if all_day else 27)
    for change, name in changes().items():
        yield change, (ZoneInfo(name), change[0] - around, change[0] + around)


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


def walked_slots(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the minutes whose label matches, read off the zone's clock one by one."""
    sim = CronSim(text, datetime(2000, 1, 1))
    return [
        label.astimezone(UTC)
        for label in clock(zone, start, end)
        if label.minute in sim.minutes
        and label.hour in sim.hours
        and label.month in sim.months
        and sim.match_day(label.date())
    ]


@cache
def clock(zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return every full minute that the zone's clock shows after `start` and before `end`."""
    minutes = range(1, (end - start) // MINUTE + 1)
    first = start.replace(second=0, microsecond=0)
    labels = [(first + n * MINUTE).astimezone(zone) for n in minutes if first + n * MINUTE < end]
    return [label for label in labels if label.second == 0]


def cronsim_loses_its_way(change: Change) -> bool:
    """Say whether cronsim is known to be wrong for expressions that follow the clock.

    It steps from hour to hour by 3600 s of real time and sets the minute to zero, so
    that after a change off the full hour it skips matching minutes, or never ends
    (Goose Bay, 1995, at 00:01; Lord Howe's half-hour). It starts a day at a midnight
    that may not exist, and so skips the first hour after such a gap (Casablanca, 2011).
    """
    moment, old, new = change
    labels = [(moment + offset).replace(tzinfo=None) for offset in (old, new)]
    off_the_hour = any(label.minute or label.second for label in labels)
    return off_the_hour or (labels[0] < labels[1] and labels[0].hour == 0)


def test_the_sample_holds_gaps_folds_and_odd_changes():
    sizes = {(new - old) for _, old, new in changes()}
    assert len(changes()) > 300
    assert {timedelta(hours=1), timedelta(hours=-1), DAY, timedelta(minutes=30)} <= sizes


@pytest.mark.parametrize("text", FIXED.values(), ids=FIXED)
def test_a_fixed_time_fires_as_cronsim_says_around_every_change(text):
    for change, window in windows(text):
        assert slots(text, *window) == cronsim_slots(text, *window), (change, window)


@pytest.mark.parametrize("text", FOLLOWING.values(), ids=FOLLOWING)
def test_a_starred_time_follows_the_clock_as_cronsim_says_around_every_change(text):
    for change, window in windows(text):
        oracle = walked_slots if cronsim_loses_its_way(change) else cronsim_slots
        assert slots(text, *window) == oracle(text, *window), (change, window)


def test_cronsim_still_loses_its_way_after_a_missing_midnight():
    zone, moment = ZoneInfo("Africa/Casablanca"), datetime(2011, 4, 3, tzinfo=UTC)
    window = ("*/20 1-2 * * SUN", zone, moment - DAY, moment + DAY)
    assert slots(*window) == walked_slots(*window)
    assert cronsim_slots(*window) == slots(*window)[3:]


SIX_FIELDS = ("*/20 30 2 * * *", "15,45 */30 1-3 * * *", "0 0 2 * * SUN")


@pytest.mark.parametrize("text", SIX_FIELDS)
def test_six_fields_keep_the_five_fields_rule_where_cronsim_drops_it(text):
    """cronsim follows the clock with any six fields; the seconds have no say here."""
    start = datetime(2026, 3, 28, tzinfo=UTC)
    cron = CronExpression.parse(text, seconds=True)
    fixed = "*" not in " ".join(text.split()[1:3])
    for day in range(3):
        now = start + day * DAY
        expected = cronsim_slots(text, ZoneInfo("Europe/Berlin"), now, now + DAY)
        found = []
        while (now := cron.after(now, ZoneInfo("Europe/Berlin"))) and now < start + (day + 1) * DAY:
            found.append(now)
        if fixed and day == 1:  # the gap, 02:00 to 03:00, ends at 01:00 UTC
            assert (expected, found) == ([], [datetime(2026, 3, 29, 1, tzinfo=UTC)])
        else:
            assert found == expected


DAYS = (
    *("0 0 29 2 *", "0 0 31 * *", "0 0 L * *", "0 0 15,L 2 *", "0 0 1 */3 *", "0 0 1-7 * MON"),
    *("0 0 */2 * MON", "0 0 13 * */5", "0 0 * * 7", "0 0 * * 5-7", "0 0 * * MON#1,TUE#5"),
    *("0 0 * * 5L", "0 0 13 * FRI#2", "0 0 L * 1L", "*/7 */5 */9 */5 */3", "0 0 31 2 MON"),
)


@pytest.mark.parametrize("text", DAYS)
def test_calendar_days_are_those_of_cronsim(text):
    """cronsim writes the last Friday `5L`, croniter and this project `L5`."""
    ours = text.replace("5L", "L5").replace("1L", "L1")
    utc, start = ZoneInfo("UTC"), datetime(2023, 12, 31, 23, 59, tzinfo=UTC)
    end = start + 365 * 9 * DAY if "*/7" not in text else start + 400 * DAY
    assert slots(ours, utc, start, end) == cronsim_slots(text, utc, start, end)


@pytest.mark.parametrize("text", ["0 0 15W * *", "0 0 W1 * *", "0 0 31W * *", "30 6 30W 2,3 *"])
def test_the_nearest_working_day_is_that_of_croniter(text):
    """cronsim has no `W`."""
    start = datetime(2019, 12, 31, tzinfo=UTC)
    theirs = croniter(text, start, ret_type=datetime)
    ours = slots(text, ZoneInfo("UTC"), start, start + 365 * 9 * DAY)
    assert ours == [theirs.get_next() for _ in ours]
    assert len(ours) >= 18


@pytest.mark.parametrize("low", range(7))
@pytest.mark.parametrize("step", range(1, 7))
def test_steps_over_weekdays_count_sunday_as_seven_at_a_ranges_end(low, step):
    """`low/step` ends on Saturday, as in croniter; cronsim runs on to Sunday, the 7th."""
    utc, start = ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC)
    for written, last in ((f"{low}-7/{step}", 7), (f"{low}/{step}", 6)):
        if low + step <= last:
            found = slots(f"0 0 * * {written}", utc, start, start + 14 * DAY)
            weekdays = {slot.isoweekday() % 7 for slot in found}
            assert weekdays == {day % 7 for day in range(low, last + 1, step)}
