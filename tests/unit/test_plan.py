"""What a deploy does to a job, decided over values: what changes, and what is carried over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import raysched as rs
from raysched.core.plan import Action, Difference, change, differences
from raysched.core.ports import JobRecord, Version
from raysched.spec.container_job import container

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def a_version(code="c" * 64, **options):
    declared = {"name": "etl", "schedule": "0 6 * * *", **options}
    spec = rs.job(**declared)(lambda region="EU": None).spec
    return Version(spec=spec, code_hash=code, version=spec.version(code))


def a_record(version, **changed):
    known = {"deployed_at": NOW - DAY, "decided": NOW - DAY, "last_end": NOW - DAY, "pause": None}
    return JobRecord(current=version, **{**known, **changed})


def test_a_new_job_counts_its_slots_from_now_on():
    done = change(None, a_version(), (), NOW)
    assert (done.action, done.slots) == (Action.CREATED, (None, NOW + timedelta(hours=18)))
    assert done.differences == []
    assert (done.after.decided, done.after.last_end, done.after.pause) == (NOW, NOW, None)


def test_an_unchanged_job_keeps_everything():
    old = a_record(a_version(), pause="holidays")
    done = change(old, a_version(), ("etl@x",), NOW)
    assert done.action is Action.UNCHANGED
    assert done.after is old


def test_a_changed_job_keeps_its_pause_its_decided_slots_and_its_last_end():
    later = NOW + DAY
    old = a_record(a_version(), pause="holidays", decided=later)
    done = change(old, a_version(schedule="0 7 * * *"), (), NOW)
    assert done.action is Action.UPDATED
    assert (done.after.pause, done.after.decided) == ("holidays", later)
    assert done.after.last_end == old.last_end
    assert done.slots == (
        datetime(2026, 11, 24, 6, tzinfo=UTC),
        datetime(2026, 11, 24, 7, tzinfo=UTC),
    )


def test_a_slot_of_the_new_schedule_that_has_passed_is_never_fired():
    old = a_record(a_version(schedule="0 6 * * *"))
    done = change(old, a_version(schedule="0 11 * * *"), (), NOW)  # it is twelve
    assert done.after.decided == NOW
    assert done.slots[1] == datetime(2026, 11, 23, 11, tzinfo=UTC)


def test_a_job_that_comes_to_follow_itself_has_a_next_slot():
    old = a_record(a_version())
    done = change(old, a_version(schedule=rs.after_end("15m")), (), NOW)
    assert done.slots[1] == NOW + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        (
            {"schedule": "0 6 * * *"},
            {"schedule": "@daily"},
            [("schedule", "cron 0 6 * * * UTC", "cron @daily UTC")],
        ),
        ({"schedule": None}, {"schedule": None, "tags": ["a"]}, [("tags", "[]", '["a"]')]),
        ({"memory": "1GiB"}, {"memory": "512MiB"}, [("memory", "1GiB", "512MiB")]),
        ({}, {"timeout": "1h30m"}, [("timeout", None, "1h30m")]),
        ({"retries": 1}, {"retries": 2}, [("retries", "1", "2")]),
        (
            {"params": {"region": "EU"}},
            {"params": {"region": None}},
            [("params.region", "EU", None)],
        ),
        ({"resources": {"a": 1}}, {}, [("resources.a", "1", None)]),
        (
            {"env": {"A": "secret", "B": "1"}},
            {"env": {"A": "other", "B": "1"}},
            [("env.A", "(hidden)", "(hidden)")],
        ),
        ({"code": "a" * 64}, {"code": "b" * 64}, [("code", "a" * 12, "b" * 12)]),
    ],
)
def test_the_fields_that_change_are_named_as_they_are_declared(before, after, told):
    found = differences(a_version(**before), a_version(**after))
    assert found == [Difference(field=f, before=b, after=a) for f, b, a in told]


def test_a_job_that_becomes_a_container_says_so():
    spec = container("etl", image="acme/etl:1", schedule="0 6 * * *").spec
    new = Version(spec=spec, code_hash="c" * 64, version=spec.version("c" * 64))
    fields = {each.field: each.after for each in differences(a_version(), new)}
    assert fields["container.image"] == "acme/etl:1"


def test_versions_that_differ_tell_at_least_one_field():
    one = a_version()
    for option in (
        {"timezone": "Europe/Berlin"},
        {"num_cpus": 2},
        {"num_gpus": 1},
        {"placement": "spread"},
        {"label_selector": {"a": "b"}},
        {"retries": rs.Retry(1, delay="1s")},
        {"queue_timeout": "1s"},
        {"overlap": "queue"},
        {"catchup": "all"},
        {"max_catchup": 7},
        {"misfire_grace": "1s"},
        {"max_active": 3},
        {"priority": 1},
        {"runtime_env": {"pip": ["a"]}},
        {"env": {"A": ""}},
    ):
        other = a_version(**option)
        assert other.version != one.version
        assert differences(one, other), option
