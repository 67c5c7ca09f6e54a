"""`assert_schedule`: what it takes as equal, and what its failure shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import raysched as rs
from raysched.errors import InputError, InvalidSchedule, InvalidUnit
from raysched.testing import assert_schedule

NEW_YORK = "America/New_York"


def test_slots_are_given_as_the_wall_clock_of_the_zone_or_as_instants():
    assert_schedule(
        "30 2 * * *",
        [
            "2026-03-07 02:30",
            "2026-03-08T03:00",
            "2026-03-09T06:30Z",
            datetime(2026, 3, 10, 6, 30, tzinfo=UTC),
        ],
        timezone=NEW_YORK,
    )


def test_a_failure_shows_both_side_by_side_and_marks_what_differs():
    with pytest.raises(AssertionError) as raised:
        assert_schedule(
            "30 2 * * *",
            ["2026-03-07 02:30", "2026-03-08 02:30", "2026-03-09T06:30Z"],
            timezone=NEW_YORK,
        )
    assert str(raised.value) == (
        "cron 30 2 * * * America/New_York, from 2026-03-07 00:00:00 EST,"
        " does not fire as expected:\n\n"
        "    expected                  actual\n"
        "    2026-03-07 02:30:00       2026-03-07 02:30:00 EST\n"
        "  ! 2026-03-08 02:30:00       2026-03-08 03:00:00 EDT\n"
        "    2026-03-09 02:30:00 EDT   2026-03-09 02:30:00 EDT"
    )


def test_a_slot_too_many_marks_one_line_and_not_all_that_follow():
    with pytest.raises(AssertionError) as raised:
        assert_schedule(
            rs.every("6h"),
            ["2026-01-01 06:00", "2026-01-01 12:00", "2026-01-01 18:00"],
            until="2026-01-02 00:00",
        )
    marked = [line for line in str(raised.value).splitlines() if line.startswith("  !")]
    assert marked == ["  ! -                     2026-01-01 00:00:00 UTC"]


def test_in_the_fold_an_offset_says_which_of_the_two_is_meant():
    first, second = "2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00"
    until = "2026-11-02 00:00"
    assert_schedule("30 1 * * *", [first], timezone=NEW_YORK, until=until)
    assert_schedule("*/30 1 * * *", ["2026-11-01 01:00"] * 1, timezone=NEW_YORK)
    with pytest.raises(AssertionError):
        assert_schedule("30 1 * * *", [second], timezone=NEW_YORK, until=until)
    with pytest.raises(AssertionError):
        assert_schedule("30 1 * * *", ["2026-11-01 01:30"] * 2, timezone=NEW_YORK, until=until)


def test_a_job_is_taken_with_its_zone_its_name_and_all_its_schedules():
    @rs.job(schedule=["0 6 * * *", rs.at("2026-01-01T08:00Z")], timezone="Europe/Berlin")
    def daily(): ...

    assert_schedule(daily, ["2026-01-01 06:00", "2026-01-01 09:00"], until="2026-01-01 23:59")
    with pytest.raises(InputError, match="a job has its own"):
        assert_schedule(daily, [], timezone="UTC", start="2026-01-01 00:00")


def test_a_schedules_own_zone_counts():
    assert_schedule(rs.cron("0 6 * * *", timezone=NEW_YORK), ["2026-07-01T10:00Z"])
    assert_schedule(rs.cron("0 6 * * *", timezone=NEW_YORK), ["2026-07-01 06:00"])


def test_what_never_fires_again_is_seen():
    once = rs.at("2026-01-01T00:00Z")
    assert_schedule(once, ["2026-01-01 00:00"])
    assert_schedule(once, [], start="2026-01-01T00:01Z", until="2027-01-01T00:00Z")
    with pytest.raises(AssertionError):
        assert_schedule(once, ["2026-01-01 00:00", "2027-01-01 00:00"])
    with pytest.raises(AssertionError):
        assert_schedule(once, [], start="2026-01-01T00:00Z", until="2027-01-01T00:00Z")


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputError, match="needs a start"):
        assert_schedule("0 6 * * *", [])
    with pytest.raises(InputError, match="after_end"):
        assert_schedule(rs.after_end("5m"), ["2026-01-01 00:00"])
    with pytest.raises(InvalidSchedule):
        assert_schedule("61 * * * *", ["2026-01-01 00:00"])
    with pytest.raises(InvalidUnit, match="expected slot"):
        assert_schedule("0 6 * * *", ["tomorrow"])
