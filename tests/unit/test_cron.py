"""What a cron expression names, in which zone, and how a wrong one is refused."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raysched.errors import InvalidSchedule, InvalidUnit
from raysched.spec.cron import ALIASES, CronExpression

TICK = timedelta(microseconds=1)
NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")


def check_complete(error: InvalidSchedule) -> None:
    assert error.what
    assert error.why
    assert error.fix


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def labels(
    text: str, zone: str, start: str, count: int, *, seconds: bool = False, name: str = ""
) -> list[str]:
    """Return the next slots after the local time `start`, as local times with their offset."""
    cron, info = CronExpression.parse(text, seconds=seconds, name=name), ZoneInfo(zone)
    now, found = datetime.fromisoformat(start).replace(tzinfo=info), []
    for _ in range(count):
        now = cron.after(now, info)
        found.append(now.astimezone(info).strftime("%m-%d %H:%M%z"))
    return found


# --- clock changes

CHANGES = [
    (
        "a fixed label in a gap fires once, right after the gap",
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00"),
        ["03-08 03:00-0400", "03-09 02:30-0400"],
    ),
    (
        "a fixed label in a fold fires the first time only",
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00"),
        ["11-01 01:30-0400", "11-02 01:30-0500"],
    ),
    (
        "several fixed labels in one gap collapse into one slot",
        ("0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00"),
        ["03-29 03:00+0200", "03-30 02:00+0200"],
    ),
    (
        "a label at the gap's end joins those inside the gap",
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00"),
        ["03-29 03:00+0200", "03-29 03:30+0200", "03-30 02:00+0200"],
    ),
    (
        "a starred hour drops the labels of a gap",
        ("0 */2 * * *", "Europe/Berlin", "2026-03-29T00:00"),
        ["03-29 04:00+0200", "03-29 06:00+0200"],
    ),
    (
        "a starred minute fires in both passes of a fold",
        ("*/30 1 * * *", "America/New_York", "2026-11-01T00:00"),
        ["11-01 01:00-0400", "11-01 01:30-0400", "11-01 01:00-0500", "11-01 01:30-0500"],
    ),
    (
        "a second pass is not passed over for next year's label at the same offset",
        ("*/30 2 25 10 *", "Europe/Berlin", "2026-10-25T02:20"),
        ["10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100", "10-25 02:00+0200"],
    ),
    (
        "an hourly alias follows the clock",
        ("@hourly", "America/New_York", "2026-11-01T00:30"),
        ["11-01 01:00-0400", "11-01 01:00-0500", "11-01 02:00-0500"],
    ),
    (
        "a daily alias is fixed, and Santiago has no midnight that day",
        ("@daily", "America/Santiago", "2026-09-05T12:00"),
        ["09-06 01:00-0300", "09-07 00:00-0300"],
    ),
    (
        "Apia has no 30th, and its midnight is the 31st's",
        ("0 0 * * *", "Pacific/Apia", "2011-12-28T12:00"),
        ["12-29 00:00-1000", "12-31 00:00+1400", "01-01 00:00+1400"],
    ),
    (
        "a morning that Apia skipped with its day is made up for, once",
        ("30 2 * * *", "Pacific/Apia", "2011-12-29T01:00"),
        ["12-29 02:30-1000", "12-31 00:00+1400", "12-31 02:30+1400"],
    ),
    (
        "a day that Kwajalein lived twice fires once if fixed",
        ("0 12 * * *", "Kwajalein", "1969-09-29T13:00"),
        ["09-30 12:00+1100", "10-01 12:00-1200"],
    ),
    (
        "a day that Kwajalein lived twice fires twice if starred",
        ("0 */12 * * *", "Kwajalein", "1969-09-30T06:00"),
        ["09-30 12:00+1100", "09-30 12:00-1200", "10-01 00:00-1200"],
    ),
    (
        "Lord Howe skips half an hour",
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00"),
        ["10-04 02:30+1100", "10-05 02:15+1100"],
    ),
    (
        "Lord Howe repeats half an hour",
        ("*/15 1 * * *", "Australia/Lord_Howe", "2026-04-05T01:20"),
        ["04-05 01:30+1100", "04-05 01:45+1100", "04-05 01:30+1030", "04-05 01:45+1030"],
    ),
    (
        "Troll skips two hours",
        ("30 1,2 * * *", "Antarctica/Troll", "2026-03-28T12:00"),
        ["03-29 03:00+0200", "03-30 01:30+0200"],
    ),
    (
        "a yearly expression that is starred skips the years whose label falls in a gap",
        ("* 2 29 3 *", "Europe/Berlin", "2025-12-01T00:00"),
        ["03-29 02:00+0200", "03-29 02:01+0200"],
    ),
]


@pytest.mark.parametrize(
    ("given_", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_clock_changes(given_, expected):
    assert labels(*given_, len(expected)) == expected


@pytest.mark.parametrize("minute", [0, 15, 40, 59])
def test_asked_within_the_second_pass_a_fixed_time_is_over_until_the_fold_ends(minute):
    cron = CronExpression.parse("0,30,45 1,2 * * *")
    now = utc("2026-11-01T06:00") + timedelta(minutes=minute)  # 01:00 to 01:59, again
    assert cron.after(now, NEW_YORK) == utc("2026-11-01T07:00")
    assert cron.before(now, NEW_YORK) == utc("2026-11-01T05:45")


def test_looking_back_a_second_pass_is_not_passed_over_for_last_years_label():
    cron = CronExpression.parse("*/30 2 25 10 *")
    slots = [utc(f"2026-10-25T0{text}") for text in ("0:00", "0:30", "1:00", "1:30")]
    for earlier, later in pairwise(slots):
        assert cron.before(later - TICK, BERLIN) == earlier


def test_seconds_collapse_in_a_gap_when_minute_and_hour_are_fixed():
    cron = CronExpression.parse("*/20 30 2 * * *", seconds=True)
    assert cron.after(utc("2026-03-29T00:59"), BERLIN) == utc("2026-03-29T01:00")
    assert cron.after(utc("2026-03-29T01:00"), BERLIN) == utc("2026-03-30T00:30")


def test_seconds_follow_the_clock_when_the_minute_is_starred():
    cron = CronExpression.parse("30 * * * * *", seconds=True)
    assert cron.after(utc("2026-03-29T00:59:30"), BERLIN) == utc("2026-03-29T01:00:30")


def test_every_zone_survives_offsets_with_seconds_and_the_line_that_a_date_crossed():
    crons = [CronExpression.parse(text) for text in ("30 2 * * *", "*/30 * * * *", "0 0 1 1 *")]
    for name in available_timezones():
        zone = ZoneInfo(name)
        for cron in crons:
            for moment in ("1844-12-31T15:00", "1867-10-18T20:00", "1883-11-18T17:00"):
                slot = cron.after(utc(moment), zone)
                assert cron.before(slot, zone) == slot
                assert cron.before(slot - TICK, zone) <= utc(moment)


def test_no_zone_breaks_what_the_search_assumes_of_clock_changes():
    """Two changes never fall within three days, and none moves a clock by over a day."""
    days = [datetime(2024, 1, 1) + timedelta(days=n) for n in range(6 * 365)]
    for name in available_timezones():
        zone, last = ZoneInfo(name), None
        offsets = [zone.utcoffset(day) for day in days]
        for day, (before, offset) in zip(days, pairwise(offsets), strict=False):
            if offset != before:
                assert abs(offset - before) <= timedelta(days=1), name
                assert last is None or day - last > timedelta(days=3), (name, day)
                last = day


# --- the calendar

CALENDAR = [
    ("leap years only", "0 0 29 2 *", "2026-01-01", ["2028-02-29", "2032-02-29"]),
    ("1900 is no leap year", "0 0 29 2 *", "1896-02-29", ["1904-02-29"]),
    ("nor is 2100", "0 0 29 2 *", "2096-02-29", ["2104-02-29"]),
    ("both days restricted are ORed", "0 0 13 * FRI", "2026-02-28", ["2026-03-06", "2026-03-13"]),
    ("a leap day or any Monday", "0 0 29 2 MON", "2028-02-27", ["2028-02-28", "2028-02-29"]),
    ("a starred day-of-week is ANDed", "0 0 13 * */5", "2026-02-13", ["2026-03-13", "2026-09-13"]),
    (
        "a starred day-of-month is ANDed",
        "0 0 */29 2 MON",
        "2026-01-01",
        ["2027-02-01", "2038-02-01"],
    ),
    ("a star later in a list does not AND", "0 0 1,*/30 * MON", "2026-01-01", ["2026-01-05"]),
    ("the last day", "0 0 L * *", "2028-01-31", ["2028-02-29", "2028-03-31"]),
    ("the first and the last day", "0 0 1,L * *", "2026-02-01", ["2026-02-28", "2026-03-01"]),
    ("the third Friday", "0 0 * * FRI#3", "2026-01-01", ["2026-01-16", "2026-02-20"]),
    ("a fifth Monday skips months", "0 0 * * 1#5", "2026-01-01", ["2026-03-30", "2026-06-29"]),
    ("the last Friday", "0 0 * * L5", "2026-01-01", ["2026-01-30", "2026-02-27"]),
    (
        "'#' is ORed with a restricted day",
        "0 0 1 * MON#2",
        "2026-01-01",
        ["2026-01-12", "2026-02-01"],
    ),
    ("the working day nearest the 15th", "0 0 15W * *", "2026-01-16", ["2026-02-16", "2026-03-16"]),
    ("'W' stays in its month", "0 0 1W 8 *", "2026-01-01", ["2026-08-03"]),
    (
        "a weekend that ends on the 7th day",
        "0 0 * * 6-7",
        "2026-01-01",
        ["2026-01-03", "2026-01-04"],
    ),
    ("names in any case", "0 0 * jan-Mar mOn", "2026-03-29", ["2026-03-30", "2027-01-04"]),
    (
        "a start with a step",
        "0 0 1 10/2 *",
        "2026-01-01",
        ["2026-10-01", "2026-12-01", "2027-10-01"],
    ),
]


@pytest.mark.parametrize(
    ("text", "start", "dates"), [c[1:] for c in CALENDAR], ids=[c[0] for c in CALENDAR]
)
def test_calendar(text, start, dates):
    zone, cron, now, found = ZoneInfo("UTC"), CronExpression.parse(text), utc(start), []
    for _ in dates:
        now = cron.after(now, zone)
        found.append(now.date().isoformat())
    assert found == dates


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_fires_as_its_five_fields_do_with_and_without_seconds(alias):
    now = utc("2026-05-05T05:05")
    expected = CronExpression.parse(ALIASES[alias]).after(now, BERLIN)
    assert CronExpression.parse(alias.upper(), name="ignored").after(now, BERLIN) == expected
    assert CronExpression.parse(alias, seconds=True).after(now, BERLIN) == expected


# --- hashed fields


def test_hashed_fields_differ_by_job_and_not_by_process():
    code = (
        "from raysched.spec.cron import CronExpression as C; from datetime import *; "
        "from zoneinfo import ZoneInfo as Z; "
        "print(C.parse('H H H * *', name='nightly').after(datetime(2026,1,1,tzinfo=UTC), Z('UTC')))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = CronExpression.parse("H H H * *", name="nightly").after(
        utc("2026-01-01"), ZoneInfo("UTC")
    )
    assert seen == {str(here)}


def test_hashed_minutes_spread_over_the_hour_and_keep_their_range():
    start = utc("2026-01-01")
    for text, low, high in (
        ("H * * * *", 0, 59),
        ("H(10-19) * * * *", 10, 19),
        ("H/15 * * * *", 0, 59),
    ):
        crons = [CronExpression.parse(text, name=f"job-{n}") for n in range(300)]
        minutes = {cron.after(start, ZoneInfo("UTC")).minute for cron in crons}
        assert minutes <= set(range(low, high + 1))
        assert len(minutes) >= min(high - low, 14)


def test_a_hashed_day_of_the_month_skips_no_month():
    for n in range(100):
        cron, now = CronExpression.parse("0 0 H * *", name=f"job-{n}"), utc("2026-01-01") - TICK
        for month in range(1, 13):
            now = cron.after(now, ZoneInfo("UTC"))
            assert now.month == month


# --- the value


def test_the_value_is_its_text_its_kind_and_its_seed():
    spaced = CronExpression.parse("  0\t6 * *   MON\n", name="a")
    assert spaced.text == "0 6 * * MON"
    assert spaced == CronExpression.parse("0 6 * * MON", name="b")
    assert (
        len({spaced, CronExpression.parse("0 6 * * MON"), CronExpression.parse("1 6 * * MON")}) == 2
    )
    assert CronExpression.parse("H 6 * * THU", name="a") != CronExpression.parse(
        "H 6 * * THU", name="b"
    )
    assert CronExpression.parse("@daily") != CronExpression.parse("@daily", seconds=True)
    for cron in (spaced, CronExpression.parse("0 H * * *", name="a")):
        again = pickle.loads(pickle.dumps(cron))
        assert (again, hash(again), repr(again)) == (cron, hash(cron), repr(cron))
        assert again.after(utc("2026-01-01"), BERLIN) == cron.after(utc("2026-01-01"), BERLIN)


def test_instants_in_any_zone_are_understood_and_fractions_do_not_matter():
    cron = CronExpression.parse("0 6 * * *")
    at = datetime(2026, 7, 1, 6, tzinfo=BERLIN)
    assert cron.before(at, BERLIN) == at
    assert cron.before(at, BERLIN).tzinfo is UTC
    assert cron.after(at - TICK, BERLIN) == at == cron.before(at + TICK, BERLIN)
    assert cron.after(at, BERLIN) == at + timedelta(days=1)
    assert cron.before(at - TICK, BERLIN) == at - timedelta(days=1)


@pytest.mark.parametrize("text", ["0 0 1 1 *", "* * * * *"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_nothing_lies_outside_1800_to_2200(text, zone):
    cron, info = CronExpression.parse(text), ZoneInfo(zone)
    east, west = timezone(timedelta(hours=23)), timezone(-timedelta(hours=23))
    for tz in (east, UTC, west):
        first, last = datetime.min.replace(tzinfo=tz), datetime.max.replace(tzinfo=tz)
        assert cron.after(last, info) is None
        assert cron.before(first, info) is None
        assert cron.after(first, info).year in (1800, 1801)
        assert cron.before(last, info).year in (2199, 2198)
        assert cron.after(cron.before(last, info), info) is None
        assert cron.before(cron.after(first, info) - TICK, info) is None


def test_a_naive_instant_is_refused():
    cron = CronExpression.parse("0 6 * * *")
    for ask in (cron.after, cron.before):
        with pytest.raises(InvalidUnit, match="no time zone") as refused:
            ask(datetime(2026, 1, 1), BERLIN)
        assert refused.value.why
        assert refused.value.fix


# --- refusals: text, field, column, a word of why, a word of fix

REFUSED = [
    ("a range that runs backwards", "5-1 * * * *", 1, 1, "backwards", "'1-5', or '5-59,0-1'"),
    ("a backward range in a list", "0 1,20-5 * * *", 2, 5, "backwards", "'5-20', or '20-23,0-5'"),
    ("a backward range from the top", "59-3 * * * *", 1, 1, "backwards", "'3-59', or '59,0-3'"),
    ("Friday to a Sunday that is 0", "0 0 * * FRI-SUN", 5, 9, "backwards", "'5-7'"),
    ("months backwards", "0 0 1 NOV-FEB *", 4, 7, "backwards", "'2-11', or '11-12,1-2'"),
    ("a range of one, which croniter reads as all", "5-5 * * * *", 1, 1, "one value", "'5'"),
    ("a step of zero", "*/0 * * * *", 1, 1, "zero", "'*/1'"),
    ("a step beyond the minutes", "*/60 * * * *", 1, 1, "leaves 0 alone", "'0'"),
    ("a step beyond the hours", "0 */24 * * *", 2, 3, "leaves 0 alone", "'0'"),
    ("a step beyond the days", "0 0 */31 * *", 3, 5, "leaves 1 alone", "'1'"),
    ("a step beyond the months", "0 0 1 */12 *", 4, 7, "leaves 1 alone", "'1'"),
    ("a step beyond the week", "0 0 * * */7", 5, 9, "leaves 0 alone", "'0'"),
    ("a step beyond its range", "10-12/5 * * * *", 1, 1, "beyond 12", "'10'"),
    ("a start with a step beyond", "50/15 * * * *", 1, 1, "beyond 59", "'50'"),
    ("a Sunday with a step", "0 0 * * 7/2", 5, 9, "beyond 6", "'7'"),
    ("an absurd step", "*/99999999999 * * * *", 1, 1, "beyond", "'0'"),
    ("a hashed step beyond", "H/60 * * * *", 1, 1, "beyond", "'H'"),
    ("a minute out of range", "60 * * * *", 1, 1, "0 to 59", "write"),
    ("an hour out of range", "0 24 * * *", 2, 3, "0 to 23", "write"),
    ("day zero", "0 0 0 * *", 3, 5, "1 to 31", "write"),
    ("month 13", "0 0 1 13 *", 4, 7, "1 to 12", "write"),
    ("weekday 8", "0 0 * * 8", 5, 9, "0 to 7", "write"),
    ("a range that ends out of range", "0 0 1-32 * *", 3, 5, "1 to 31", "write"),
    ("a hashed range out of range", "H(0-99) * * * *", 1, 1, "0 to 59", "write"),
    ("a hashed range backwards", "H(9-3) * * * *", 1, 1, "backwards", "'3-9'"),
    ("a weekday's name among the months", "0 0 1 MON *", 4, 7, "JAN to DEC", "write"),
    ("a name of neither", "0 0 * * FOO", 5, 9, "SUN to SAT", "write"),
    ("a negative value", "-5 * * * *", 1, 1, "0 to 59", "write"),
    ("an entry left empty", "0 1,,2 * * *", 2, 5, "empty", "comma"),
    ("a comma at the end", "1, * * * *", 1, 3, "empty", "comma"),
    ("a slash without a step", "*/ * * * *", 1, 1, "0 to 59", "write"),
    ("a step of a step", "*/2/3 * * * *", 1, 1, "0 to 59", "write"),
    ("a star in a list", "5,* * * * *", 1, 3, "alone", "write"),
    ("two stars", "** * * * *", 1, 1, "0 to 59", "write"),
    ("a star that begins a range", "*-5 * * * *", 1, 1, "0 to 59", "write"),
    ("Quartz's question mark", "0 0 ? * *", 3, 5, "ASCII", "'*'"),
    ("a decimal point", "1.5 * * * *", 1, 2, "ASCII", "replace"),
    ("Arabic-Indic digits", "0 \u0663 * * *", 2, 3, "ASCII", "replace"),
    ("full-width digits", "\uff15 * * * *", 1, 1, "ASCII", "replace"),
    ("a space that only looks like one", "0\u00a00 * * *", 1, 2, "ASCII", "replace"),
    ("a NUL", "0 0\x00 * * *", 2, 4, "ASCII", "replace"),
    ("a random value", "R * * * *", 1, 1, "drawn", "'H'"),
    ("a random step", "0 R(1-5)/2 * * *", 2, 3, "drawn", "'H'"),
    ("a hash with no name", "0 H * * *", 2, 3, "hashed", "name"),
    ("the last Friday, written behind", "0 0 * * 5L", 5, 9, "in front", "'L5'"),
    ("a last working day", "0 0 LW * *", 3, 5, "'15W'", "write"),
    ("a distance from the last day", "0 0 L-3 * *", 3, 5, "'L'", "write"),
    ("L in the minutes", "L * * * *", 1, 1, "0 to 59", "write"),
    ("a working day near the 32nd", "0 0 32W * *", 3, 5, "1 to 31", "write"),
    ("a working day in a list", "0 0 1,15W * *", 3, 7, "alone", "write"),
    ("a sixth Monday", "0 0 * * MON#6", 5, 9, "MON#1", "write"),
    ("a zeroth Monday", "0 0 * * MON#0", 5, 9, "MON#1", "write"),
    ("a nth day among plain ones", "0 0 * * 1,5#2", 5, 11, "mix", "two schedules"),
    ("the 31st of February", "0 0 31 2 *", 3, 5, "never matches", "'L'"),
    ("the 30th of February", "15 0 30 2 *", 3, 6, "never matches", "'L'"),
    ("the 31st of four short months", "0 0 31 4,6,9,11 *", 3, 5, "never matches", "'L'"),
    ("days that the weekday rules out", "0 0 */30 * MON#2", 3, 5, "never matches", "'L'"),
    ("an unknown shorthand", "@reboot", 1, 1, "no such shorthand", "@daily"),
]


@pytest.mark.parametrize(
    ("text", "number", "column", "why", "fix"),
    [r[1:] for r in REFUSED],
    ids=[r[0] for r in REFUSED],
)
def test_a_wrong_expression_is_refused_with_its_place_its_cause_and_its_cure(
    text, number, column, why, fix
):
    named = "" if why == "hashed" else "job"
    with pytest.raises(InvalidSchedule) as refused:
        CronExpression.parse(text, name=named)
    error = refused.value
    place = re.search(r"refused at field (\d+) \([a-z-]+\), column (\d+): '.*'$", error.what)
    assert place, error.what
    assert (int(place[1]), int(place[2])) == (number, column)
    assert why in error.why
    assert fix in error.fix
    assert str(error).isascii()


@pytest.mark.parametrize(
    ("text", "seconds", "what", "fix"),
    [
        ("", False, "0 fields, not 5", "write 5 fields"),
        ("  \t ", False, "0 fields, not 5", "write 5 fields"),
        ("* * * *", False, "4 fields, not 5", "write 5 fields"),
        ("0 * * * * *", False, "6 fields, not 5", "seconds=True"),
        ("* * * * *", True, "5 fields, not 6", "seconds first"),
        ("0 * * * * * 2026", True, "7 fields, not 6", "year"),
        ("0 0 1 1 * 0 2026", False, "7 fields, not 5", "year"),
        ("* " * 20, False, "20 fields, not 5", "write 5 fields"),
        ("1," * 5_000 + "1 * * * *", False, "10009 characters", "ranges"),
        ("*" * 10_000_000, False, "10000000 characters", "ranges"),
        (None, False, "not NoneType", "write"),
        (5, False, "not int", "write"),
        (b"* * * * *", False, "not bytes", "write"),
        (["* * * * *"], False, "not list", "write"),
    ],
)
def test_what_has_no_fields_to_point_at_is_refused_as_a_whole(text, seconds, what, fix):
    with pytest.raises(InvalidSchedule) as refused:
        CronExpression.parse(text, seconds=seconds)
    assert what in refused.value.what
    assert len(refused.value.what) < 200
    assert refused.value.why
    assert fix in refused.value.fix


def test_the_seconds_are_the_first_field_that_is_counted():
    with pytest.raises(InvalidSchedule, match=r"field 1 \(second\), column 1: '60'"):
        CronExpression.parse("60 0 * * * *", seconds=True)
    with pytest.raises(InvalidSchedule, match=r"field 4 \(day-of-month\), column 7: '31'"):
        CronExpression.parse("0 0 0 31 2 *", seconds=True)


@given(st.integers(0, 4), st.integers(0, 59), st.integers(0, 59))
def test_each_cure_for_a_backward_range_is_itself_accepted(index, a, b):
    fields = ["0", "0", "1", "1", "0"]
    fields[index] = f"{a}-{b}"
    try:
        CronExpression.parse(" ".join(fields))
    except InvalidSchedule as error:
        if "backwards" in error.why:
            for cure in re.findall("'(.*?)'", error.fix):
                fields[index] = cure
                CronExpression.parse(" ".join(fields))


@settings(max_examples=500, deadline=None)
@given(
    st.text(st.sampled_from("0123456789*/,-#LWHR?()@ \t\x00\u0663ABMONSUJ"), max_size=30)
    | st.lists(
        st.text(st.sampled_from("0123457*/,-#LWH()MON"), max_size=8), min_size=5, max_size=6
    ).map(" ".join)
    | st.text(max_size=40),
    st.booleans(),
)
@example("*/" + "9" * 900 + " * * * *", False)
@example("0" * 900 + "1 * * * *", False)
def test_any_text_is_either_a_schedule_that_fires_or_refused_in_full(text, seconds):
    try:
        cron = CronExpression.parse(text, seconds=seconds, name="job")
    except InvalidSchedule as error:
        check_complete(error)
    else:
        assert cron.after(utc("2026-01-01"), BERLIN)


# --- properties


def entries(low: int, high: int) -> st.SearchStrategy[str]:
    def fitted(draws: tuple[int, int, int]) -> tuple[int, int, int]:
        # Folded into place rather than filtered, which would draw most of them in vain.
        first = low + draws[0] % (high - low)
        last = first + 1 + draws[1] % (high - first)
        return first, last, 1 + draws[2] % min(last - first, max(high // 2, 1))

    value, draw = st.integers(low, high), st.integers(0, 59)
    parts = st.tuples(draw, draw, draw).map(fitted)
    entry = st.one_of(
        value.map(str),
        parts.map(lambda p: f"{p[0]}-{p[1]}"),
        parts.map(lambda p: f"{p[0]}-{p[1]}/{p[2]}"),
        parts.map(lambda p: f"*/{p[2]}"),
    )
    return st.just("*") | st.lists(entry, min_size=1, max_size=3).map(",".join)


FIELDS = (entries(0, 59), entries(0, 23), entries(1, 28), entries(1, 12), entries(0, 6))
EXPRESSIONS = st.one_of(
    st.tuples(*FIELDS).map(lambda parts: (" ".join(parts), False)),
    st.tuples(*FIELDS[:2], st.just("*"), st.just("*"), st.just("*")).map(
        lambda p: (" ".join(p), False)
    ),
    st.tuples(entries(0, 59), *FIELDS).map(lambda parts: (" ".join(parts), True)),
)
ZONES = st.sampled_from(
    [
        *("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"),
        *("America/Santiago", "Pacific/Apia", "Kwajalein", "America/Juneau", "Asia/Manila"),
        *("Africa/Casablanca", "America/St_Johns", "Africa/Monrovia", "Europe/Dublin", "Asia/Gaza"),
    ]
).map(ZoneInfo)
TURNS = ["2026-03-08T07:00", "2026-11-01T06:00", "2026-03-29T01:00", "2026-10-25T01:00"]
TURNS += ["2026-04-04T15:00", "2026-10-03T15:30", "2011-12-30T10:00", "1969-09-30T13:00"]
TURNS += ["1867-10-19T00:31", "1844-12-31T15:56", "1972-01-07T00:44", "2026-09-06T04:00"]
INSTANTS = st.one_of(
    st.datetimes(datetime(1830, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC)),
    st.builds(
        lambda turn, delta: utc(turn) + delta,
        st.sampled_from(TURNS),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30))
        | st.integers(-120, 120).map(lambda n: timedelta(minutes=15 * n)),
    ),
)


def parsed(expression: tuple[str, bool]) -> CronExpression:
    """Parse, or give up on a combination that no day satisfies."""
    try:
        return CronExpression.parse(expression[0], seconds=expression[1])
    except InvalidSchedule as error:
        if "never matches" not in error.why:
            raise
        return CronExpression.parse("30 2 * * *")


@settings(max_examples=600, deadline=None)
@given(EXPRESSIONS, ZONES, INSTANTS, st.floats(0, 1))
def test_after_and_before_are_two_views_of_one_list_of_slots(expression, zone, now, part):
    cron = parsed(expression)
    ahead, behind = cron.after(now, zone), cron.before(now, zone)
    assert behind is None or behind <= now
    if ahead is None:
        return
    assert ahead > now
    assert ahead.microsecond == 0
    assert cron.before(ahead, zone) == ahead
    assert cron.before(ahead - TICK, zone) == behind
    between = now + (ahead - now - TICK) * part
    assert cron.after(between, zone) == ahead
    assert cron.before(between, zone) == behind
    if behind is not None:
        assert cron.after(behind, zone) == ahead
        assert cron.after(behind - TICK, zone) == behind


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, ZONES, INSTANTS)
def test_walking_up_and_walking_down_meet_the_same_slots(expression, zone, now):
    cron, up, down = parsed(expression), [], []
    for _ in range(30):
        slot = cron.after(up[-1] if up else now, zone)
        if slot is None:
            break
        up.append(slot)
    now = up[-1] if up else now
    for _ in up:
        down.append(cron.before(now, zone))
        now = down[-1] - TICK
    assert down == up[::-1]
    assert up == sorted(set(up))


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, ZONES, INSTANTS)
def test_a_starred_slot_bears_a_label_that_matches_on_the_clock(expression, zone, now):
    cron = parsed(expression)
    parts = cron.text.split()[-5:]
    slot = cron.after(now, zone)
    if slot and (parts[0].startswith("*") or parts[1].startswith("*")):
        label = slot.astimezone(zone).replace(tzinfo=UTC)
        assert cron.before(label, ZoneInfo("UTC")) == label
