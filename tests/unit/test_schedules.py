"""Schedules: slots by arithmetic, bounds, jitter, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import Hostile
from raysched.errors import InvalidSchedule, InvalidUnit
from raysched.spec.schedules import (
    after_end,
    at,
    cron,
    every,
    last_slot,
    next_slot,
    schedule_from_json,
    schedules,
)

START = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("make", [lambda **o: every("1m", **o), lambda **o: cron("* * * * *", **o)])
def test_the_bounds_of_a_schedule_are_aware_and_in_order(make):
    for bad in (datetime(2027, 1, 1), "2027-01-01", "soon", 5, Hostile()):
        for name in ("start", "end"):
            with pytest.raises(InvalidUnit, match=f"^{name}="):
                make(**{name: bad})
    for last in ("2026-01-01T00:00Z", "2025-01-01T00:00Z"):
        with pytest.raises(InvalidSchedule, match="is not after start") as caught:
            make(start="2026-01-01T00:00Z", end=last)
        assert caught.value.fix
    with pytest.raises(InvalidUnit, match=r"^jitter="):
        make(jitter="5")


@pytest.mark.parametrize("bad", ["99ms", "0.001ms", timedelta(microseconds=1)])
def test_a_period_below_a_tenth_of_a_second_is_too_short(bad):
    with pytest.raises(InvalidSchedule, match="too short") as caught:
        every(bad)
    assert "ten a second" in caught.value.why


@pytest.mark.parametrize("bad", ["", "5", 5, "0s", "-1m", None, True, "1m1h", Hostile()])
def test_a_period_or_a_delay_is_a_duration(bad):
    for make in (every, after_end):
        with pytest.raises(InvalidUnit):
            make(bad)


@pytest.mark.parametrize(
    "bad", [datetime(2027, 1, 1), "2027-01-01", "0 6 * * *", 5, None, Hostile()]
)
def test_an_instant_of_its_own_is_aware(bad):
    with pytest.raises(InvalidUnit, match=r"^at="):
        at(bad)


@pytest.mark.parametrize(
    "bad", [5, True, {}, {"0 6 * * *"}, b"@daily", timedelta(1), [5], Hostile()]
)
def test_anything_else_is_no_schedule(bad):
    with pytest.raises(InvalidSchedule, match="is not a schedule") as caught:
        schedules(bad, name="job", zone="UTC")
    assert "rs.every" in caught.value.why
    assert "rs.every" in caught.value.fix


def test_a_length_of_time_is_told_to_be_a_period():
    with pytest.raises(InvalidSchedule, match="is not a schedule") as caught:
        schedules("15m", name="job", zone="UTC")
    assert caught.value.fix == 'write schedule=rs.every("15m").'


@pytest.mark.parametrize("bad", ["", "every day", "61 * * * *", "0 0 31 2 *", "* * * *"])
def test_a_string_is_a_cron_expression(bad):
    with pytest.raises(InvalidSchedule):
        schedules([bad], name="job", zone="UTC")


def test_a_declaration_is_none_one_or_a_list():
    assert schedules(None, name="job", zone="UTC") == schedules([], name="job", zone="UTC") == ()
    (daily,) = schedules("@daily", name="job", zone="Europe/Berlin")
    assert daily.after(START, START) == datetime(2026, 11, 22, 23, tzinfo=UTC)
    (own,) = schedules(cron("@daily", timezone="UTC"), name="job", zone="Europe/Berlin")
    assert own.after(START, START) == START + timedelta(days=1)


def test_slots_are_counted_from_the_epoch_and_not_from_a_deploy():
    quarter = every("15m")
    assert quarter.after(START + timedelta(minutes=7), START) == START + timedelta(minutes=15)
    assert quarter.after(START + timedelta(minutes=15), START) == START + timedelta(minutes=30)
    assert quarter.before(START + timedelta(minutes=15), START) == START + timedelta(minutes=15)


def test_slots_with_a_start_are_counted_from_it_and_end_before_the_end():
    odd = every("10m", start=START + timedelta(minutes=3), end=START + timedelta(minutes=23))
    assert odd.before(START, START) is None
    assert odd.after(START, START) == START + timedelta(minutes=3)
    assert odd.after(START + timedelta(minutes=3), START) == START + timedelta(minutes=13)
    assert odd.after(START + timedelta(minutes=13), START) is None
    assert odd.before(START + timedelta(days=9), START) == START + timedelta(minutes=13)


def test_an_after_end_slot_waits_for_the_start_of_its_schedule():
    late = after_end("1m", start=START + timedelta(hours=1))
    assert late.after(START, START) == START + timedelta(hours=1)
    assert late.before(START + timedelta(hours=2), START) == START + timedelta(hours=1)
    assert after_end("1m", end=START).after(START, START) is None


def test_one_instant_is_one_slot():
    once = at(START)
    assert once.after(START - timedelta(1), START) == once.before(START, START) == START
    assert once.after(START, START) is once.before(START - timedelta(1), START) is None


BOUNDED = st.sampled_from(
    [
        every("1s"),
        every("100ms"),
        every("7m", start=START - timedelta(days=1)),
        every("13h", end=START + timedelta(days=2), jitter="20h"),
        every("36500d"),
        every("36500d", start="2199-12-31T00:00Z"),
        cron("*/10 * * * *", jitter="5m"),
        cron("30 1 * * *", timezone="America/New_York"),
        cron("0 0 29 2 *", start=START, end=START + timedelta(days=9999)),
        after_end("36500d"),
        after_end("3h", start=START, end=START + timedelta(days=1)),
        at(START),
    ]
)


@given(BOUNDED, st.timedeltas(timedelta(days=-3), timedelta(days=3)), st.text("abc", min_size=1))
def test_the_slot_after_and_the_slot_before_fit_together(schedule, passed, name):
    moment, bound = START + passed, schedule.bound_to(name, "UTC")
    after, before = bound.after(moment, START), bound.before(moment, START)
    assert after is None or after > moment
    assert before is None or before <= moment
    if after is not None:
        assert bound.before(after, START) == after
    if before is not None:
        assert bound.after(before - timedelta(microseconds=1), START) == before
        assert bound.after(before, START) == after


@given(st.text("abcdefgh", min_size=1, max_size=20))
def test_jitter_moves_every_slot_of_a_job_by_one_amount_below_it(name):
    plain, shifted = every("1h"), every("1h", jitter="10m").bound_to(name, "UTC")
    shift = shifted.after(START, START) - START
    shift %= timedelta(hours=1)
    assert timedelta(0) <= shift < timedelta(minutes=10)
    assert shifted.after(START + timedelta(days=99), START) - START in (
        timedelta(days=99) + shift,
        timedelta(days=99, hours=1) + shift,
    )
    assert plain.bound_to(name, "UTC") == plain


def test_jitter_is_the_same_on_every_machine():
    assert every("1h", jitter="10m").bound_to("etl", "UTC").bounds.shift == timedelta(
        microseconds=int.from_bytes(hashlib.sha256(b"etl").digest()[:8], "big") % 600_000_000
    )


def test_the_first_and_the_last_slot_of_several_schedules_are_taken_together():
    each = (every("7m"), every("5m"), at(START + timedelta(seconds=1)))
    assert next_slot(each, START, START) == START + timedelta(seconds=1)
    assert last_slot(each, START + timedelta(minutes=36), START) == START + timedelta(minutes=35)
    assert next_slot((), START, START) is last_slot((), START, START) is None


@given(BOUNDED)
def test_a_schedule_comes_back_from_json_as_itself(schedule):
    bound = schedule.bound_to("etl", "Asia/Tokyo")
    assert schedule_from_json(bound.to_json(), "etl", "Asia/Tokyo") == bound
    assert bound.describe().isprintable()


@pytest.mark.parametrize("schedule", [cron("H H * * *"), cron("0 6 * * *", jitter="1h"),
                                      every("1h", jitter="10m")])  # fmt: skip
def test_jobs_with_one_schedule_are_hashed_and_shifted_apart_when_they_come_back(schedule):
    names = [f"job-{n}" for n in range(5)]
    bound = {name: schedule.bound_to(name, "UTC") for name in names}
    back = {name: schedule_from_json(bound[name].to_json(), name, "UTC") for name in names}
    assert back == bound
    assert len({each.after(START, START) for each in back.values()}) == 5


def test_jobs_with_one_schedule_share_it_when_they_come_back():
    data = cron("0 6 * * *").to_json()
    berlin, other, tokyo = (
        schedule_from_json(data, name, zone)
        for name, zone in [("a", "Europe/Berlin"), ("b", "Europe/Berlin"), ("a", "Asia/Tokyo")]
    )
    assert berlin is other
    assert berlin.after(START, START) != tokyo.after(START, START)


def test_an_unknown_kind_of_schedule_is_refused():
    with pytest.raises(InvalidSchedule, match="lunar"):
        schedule_from_json({"kind": "lunar"}, "etl", "UTC")


@pytest.mark.parametrize("name", ["AfterEnd", "At", "Bounds", "Cron", "Every"])
def test_code_that_was_stored_finds_its_schedules_where_they_were(name):
    """A job that is captured by another lies in the database as it was pickled, for years."""
    stored = f"craysched.spec.schedules\n{name}\n.".encode()
    assert pickle.loads(stored).__name__ == name
