"""A plan says what a deploy then does, and a deploy that prunes is one step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from raysched.engine.messages import Deploy, Deployment, ListJobs, Pause, Plan, TriggerRuns
from raysched.errors import InputError, StoreError
from raysched.spec.job import job
from raysched.spec.schedules import every
from raysched.testing import Act, World

START = datetime(2026, 11, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_job(name, **options):
    return job(name=name, **options)(lambda: None)


def a_world(*jobs, **options):
    world = World(start=START, script=lambda order: Act(takes=HOUR), **options)
    world.start_scheduler()
    world.deploy(*jobs)
    return world


def deployments(*jobs):
    return [Deployment(spec=each.spec, code_hash="simulated", code=b"") for each in jobs]


def by_name(rows):
    return {row["job"]: row for row in rows}


def test_a_plan_says_of_each_job_what_the_deploy_then_does():
    world = a_world(a_job("same"), a_job("old", schedule=every("2h")), a_job("gone"))
    world.ask(Pause(jobs=["old"], note="holidays"))
    wanted = deployments(a_job("same"), a_job("old", schedule=every("3h")), a_job("new"))
    plan = by_name(world.ask(Plan(deployments=wanted, prune=True)))
    done = by_name(world.ask(Deploy(deployments=wanted, delete=["gone"])))
    assert {name: row["action"] for name, row in plan.items()} == {
        "same": "unchanged",
        "old": "updated",
        "new": "created",
        "gone": "deleted",
    }
    for name in ("same", "old", "new"):
        for column in ("action", "version", "paused", "next_slot", "warnings"):
            assert plan[name][column] == done[name][column], (name, column)
    assert plan["old"]["changes"] == [
        {"field": "schedule", "before": "every 2h", "after": "every 3h"}
    ]
    assert plan["old"]["paused"]


def test_a_plan_changes_nothing():
    world = a_world(a_job("old", schedule=every("2h")))
    before = dict(world.disk.jobs)
    world.ask(Plan(deployments=deployments(a_job("old"), a_job("new")), prune=True))
    assert world.disk.jobs == before
    assert [row["job"] for row in world.ask(ListJobs())] == ["old"]


def test_without_prune_other_jobs_are_not_spoken_of():
    world = a_world(a_job("other"))
    rows = world.ask(Plan(deployments=deployments(a_job("new"))))
    assert [row["job"] for row in rows] == ["new"]


def test_a_plan_to_prune_names_the_runs_that_end_and_those_that_go_on():
    world = a_world(a_job("gone"))
    first, second = world.ask(
        TriggerRuns(job="gone", params=[{}, {}], moment=world.clock.now(), request="r")
    )
    (row,) = world.ask(Plan(deployments=[], prune=True))
    assert (row["go_on"], row["cancelled"]) == ([first], [second])
    (done,) = world.ask(Deploy(deployments=[], delete=["gone"]))
    assert done["warnings"] == [
        f"waiting run {second} is cancelled",
        f"run {first} goes on to its end",
    ]
    world.run_until(START + 2 * HOUR)
    ended = {row["run_id"]: row["status"] for row in world.disk.dataset("runs")}
    assert ended == {first: "succeeded", second: "cancelled"}


def test_a_job_that_is_gone_already_counts_as_deleted_as_a_message_may_be_told_twice():
    world = a_world(a_job("gone"))
    message = Deploy(deployments=deployments(a_job("new")), delete=["gone"])
    first, again = world.ask(message), world.ask(message)
    assert [row["action"] for row in first] == ["created", "deleted"]
    assert [row["action"] for row in again] == ["unchanged", "deleted"]


def test_a_job_cannot_be_deployed_and_deleted_in_one_step():
    world = a_world(a_job("one"))
    with pytest.raises(InputError, match="'one' is to be deployed and to be deleted"):
        world.ask(Deploy(deployments=deployments(a_job("one"), a_job("new")), delete=["one"]))
    assert list(world.disk.jobs) == ["one"]


def test_a_deploy_that_prunes_is_done_whole_or_not_at_all():
    class Full:
        """A store whose disk is full once there is a job `new` to write."""

        def __init__(self, inner):
            self.inner = inner

        def commit(self, changes):
            if "new" in changes.jobs:
                raise StoreError("no space left.")
            self.inner.commit(changes)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    world = a_world(a_job("gone"), store=Full)
    with pytest.raises(StoreError):
        world.ask(Deploy(deployments=deployments(a_job("new")), delete=["gone"]))
    world.start_scheduler()
    assert [row["job"] for row in world.ask(ListJobs())] == ["gone"]
