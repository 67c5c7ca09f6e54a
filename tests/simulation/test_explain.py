"""Whatever does not run says why: the production engine is brought into each case and asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from raysched.core.capacity import Cluster, Node
from raysched.core.causes import Cause
from raysched.core.dispatch import Wait
from raysched.core.explain import (
    RunView,
    explain_finished,
    explain_run,
    explain_unattended,
    with_last_slot,
)
from raysched.core.model import NODE_DIED, Outcome, Run, Tried, Trigger, run_from_json, run_to_json
from raysched.core.orders import Ended
from raysched.core.slots import MOST_QUEUED
from raysched.core.states import Event, State
from raysched.engine.messages import (
    Cancel,
    Delete,
    Explain,
    LauncherDown,
    ListUnfinished,
    Pause,
    Reports,
    TriggerRuns,
)
from raysched.errors import NotFound
from raysched.spec.definition import JobSpec
from raysched.spec.job import job
from raysched.spec.policies import Retry
from raysched.spec.schedules import at, every
from raysched.spec.units import from_us
from raysched.testing import Act, World

START = datetime(2026, 11, 22, tzinfo=UTC)
S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def a_job(name="etl", **options):
    return job(name=name, **options)(lambda: None)


LONG = Act(takes=H)


def a_world(*jobs, act=LONG, **options):
    world = World(start=START, script=lambda order: act, **options)
    world.start_scheduler()
    world.deploy(*jobs)
    world.run_until(START + S)
    return world


def trigger(world, name="etl", n=1):
    runs = world.ask(TriggerRuns(job=name, params=[{}] * n, moment=START, request="r"))
    world.run_until(world.clock.now() + S)
    return runs


def cluster(free_cpus=4.0, ip="10.0.0.4"):
    total = {"CPU": 4.0, "memory": 2.0**33}
    return Cluster(
        nodes=[Node(node_id="node", ip=ip, total=total, free={**total, "CPU": free_cpus})]
    )


def explained(world, name, nodes=None):
    return world.ask(Explain(name=name, cluster=nodes))


def last_slot(world, name="etl"):
    """Explain a job as the client does: with the decisions since its last decided slot."""
    found = explained(world, name)
    rows = [
        {**row, "slot": from_us(row["slot"]), "last_slot": from_us(row["last_slot"])}
        for row in world.disk.dataset("decisions")
        if row["job"] == name and from_us(row["decided_at"]) >= found.decided
    ]
    return with_last_slot(found, rows)


# ------------------------------------------------------------------ jobs


def test_a_paused_job_says_so_with_the_note_and_how_to_resume_it():
    world = a_world(a_job(schedule=every("1h")))
    world.ask(Pause(jobs=["etl"], note="db upgrade"))
    found = explained(world, "etl")
    assert (found.cause, found.status) == (Cause.PAUSED, "paused")
    assert (found.reason, found.next_slot) == ("paused: db upgrade", None)
    assert "raysched resume etl" in found.fix


def test_a_job_whose_slot_has_not_come_names_it_in_its_own_zone():
    world = a_world(a_job(schedule="0 6 * * *", timezone="America/New_York"))
    found = explained(world, "etl")
    assert (found.cause, found.status) == (Cause.NOT_DUE, "waiting")
    assert found.next_slot == datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert found.reason == "its next slot is 2026-11-22 06:00:00 EST"


def test_a_job_without_a_schedule_one_that_is_exhausted_and_one_that_was_deleted_differ():
    world = a_world(a_job("hand"), a_job("once", schedule=at(START + M)), a_job("gone"))
    world.run_until(START + 2 * H)
    world.ask(Delete(job="gone"))
    assert explained(world, "hand").cause is Cause.NO_SCHEDULE
    assert explained(world, "once").cause is Cause.EXHAUSTED
    gone = explained(world, "gone")
    assert (gone.cause, gone.status, gone.fix) == (Cause.DELETED, "deleted", "deploy it again.")
    with pytest.raises(NotFound):
        explained(world, "never")


def test_a_slot_skipped_by_overlap_names_the_run_that_was_in_its_way():
    world = a_world(a_job(schedule=every("10m")))
    world.run_until(START + 25 * M)
    found = last_slot(world)
    assert (found.cause, found.status) == (Cause.RUNNING, State.RUNNING)
    assert found.waits_for == ["etl@2026-11-22T00:10:00Z"]
    assert found.last_slot["cause"] == Cause.OVERLAP
    assert (
        "its last slot, 2026-11-22 00:20:00 UTC, was skipped: "
        "etl@2026-11-22T00:10:00Z is unfinished; overlap=skip" in found.reason
    )


MISSES = {
    "grace": ({"misfire_grace": "1m"}, 95 * M, "misfire_grace=1m"),
    "catchup": ({"catchup": "none"}, 95 * M, "catchup=none"),
}


@pytest.mark.parametrize(("options", "down", "words"), MISSES.values(), ids=MISSES)
def test_a_missed_slot_says_when_it_was_and_by_which_policy(options, down, words):
    world = a_world(a_job(schedule=every("1h"), **options))
    world.kill_scheduler()
    world.run_until(START + down)
    world.start_scheduler()
    world.run_until(START + down + S)
    found = last_slot(world)
    assert (found.cause, found.last_slot["cause"]) == (Cause.NOT_DUE, Cause.MISFIRE)
    assert found.last_slot["slot"] == START + H
    assert "2026-11-22 01:00:00 UTC, was missed" in found.reason
    assert words in found.reason


def test_a_slot_that_fired_is_not_told_of_and_one_that_a_crowd_kept_out_is():
    world = a_world(a_job(schedule=every("1h"), overlap="queue"), act=Act(takes=D))
    world.run_until(START + H + S)
    assert last_slot(world).last_slot is None
    trigger(world, n=MOST_QUEUED)
    world.run_until(START + 2 * H + S)
    found = last_slot(world)
    assert found.last_slot["cause"] == Cause.QUEUE_LIMIT
    assert "1,000 runs of the job are unfinished" in found.reason
    assert f"and {MOST_QUEUED + 1 - 3} more runs" in found.reason


def test_a_job_that_no_node_could_hold_says_so_before_its_slot_comes():
    world = a_world(a_job(schedule=every("1h"), num_gpus=1))
    found = explained(world, "etl", cluster())
    assert found.cause is Cause.NO_CAPACITY_EVER
    assert "asks num_gpus=1" in found.reason
    assert "its next slot is" in found.reason


# ------------------------------------------------------------------ runs


def test_a_run_without_a_place_names_the_runs_that_have_them():
    world = a_world(a_job(), a_job("many", max_active=2))
    first, second = trigger(world, n=2)
    found = explained(world, second)
    assert (found.cause, found.waits_for) == (Cause.OVERLAP, (first,))
    assert f"raysched cancel {first}" in found.fix
    one, two, three = trigger(world, "many", n=3)
    found = explained(world, three)
    assert (found.cause, found.waits_for) == (Cause.MAX_ACTIVE, (one, two))
    assert found.reason == f"waits for {one}: 2 at a time of this job"


def test_a_run_that_ray_has_says_what_is_free_and_who_runs_there():
    world = a_world(a_job(overlap="allow"), a_job("wide", num_cpus=4))
    (running,) = trigger(world)
    (waiting,) = world.ask(TriggerRuns(job="wide", params=[{}], moment=START, request="w"))
    found = explained(world, waiting, cluster(free_cpus=3))
    assert (found.cause, found.status) == (Cause.NO_CAPACITY_NOW, State.QUEUED)
    assert f"node 10.0.0.4 has 3 of 4 CPUs free, taken by {running}" in found.reason
    assert found.nodes[0]["runs"] == [running]
    assert explained(world, waiting, cluster()).cause is Cause.STARTING
    assert explained(world, waiting).cause is Cause.STARTING
    assert explained(world, running, cluster()).cause is Cause.RUNNING
    assert "attempt 1 of 1 runs on node 127.0.0.1 since" in explained(world, running).reason


def test_a_run_that_waits_for_its_turn_says_what_the_turn_waits_for():
    act = Act(wait=H, takes=H)
    world = a_world(a_job(overlap="allow", num_gpus=2), act=act, window=2)
    *_, last = trigger(world, n=3)
    found = explained(world, last, cluster())
    assert found.cause is Cause.NO_CAPACITY_EVER
    assert "asks num_gpus=2; the largest node offers 0" in found.reason
    assert "2 runs of this shape are with Ray" in found.reason


def test_a_run_between_attempts_says_which_failed_why_and_when_the_next_one_comes():
    act = Act(takes=S, event=Event.FAIL, reason="ValueError: no data")
    world = a_world(a_job(retries=Retry(2, delay="10m")), act=act)
    (run,) = trigger(world)
    world.run_until(START + 5 * S)
    found = explained(world, run)
    assert (found.cause, found.status) == (Cause.RETRY_DELAY, State.RETRYING)
    assert found.retry_at == from_us(world.disk.dataset("attempts")[0]["finished_at"]) + 10 * M
    assert "attempt 1 of 3: ValueError: no data; again in 10m, at 2026-11-22T00:10:0" in (
        found.reason
    )
    (tried,) = found.attempts
    assert (tried["attempt"], tried["status"]) == (1, "failed")
    assert (found.attempt, found.most_attempts) == (1, 3)


def test_a_node_that_was_lost_is_named_before_and_after_the_retry_and_over_a_restart():
    world = a_world(a_job(retries=Retry(1, delay="10m"), num_cpus=2))
    (run,) = trigger(world)
    lost = Outcome(
        event=Event.LOSE, reason="its node died", error_type=NODE_DIED, node_ip="10.0.0.7"
    )
    report = Ended(key=f"{run}#1", outcome=lost)
    world.engine.turn([Reports(launcher=world.launcher.name, reports=[report])])
    world.start_scheduler()
    world.run_until(world.clock.now() + S)
    found = explained(world, run)
    assert found.cause is Cause.NODE_LOST
    assert found.reason.startswith("attempt 1 of 2 was lost with node 10.0.0.7 at 2026-11-22T00:00")
    assert "; again in 10m, at 2026-11-22T00:10:0" in found.reason
    world.launcher._script = lambda order: Act(wait=H)
    world.run_until(START + 11 * M)
    found = explained(world, run, cluster(free_cpus=0))
    assert found.cause is Cause.NO_CAPACITY_NOW
    assert "; attempt 1 was lost with node 10.0.0.7 at" in found.reason


def test_a_run_without_a_launcher_one_being_ended_and_one_of_a_deleted_job_say_so():
    world = a_world(a_job(), a_job("gone"))
    (ending,) = trigger(world)
    _, found = world.engine.turn([Cancel(run_id=ending), Explain(name=ending)]).replies
    assert (found.cause, found.reason) == (Cause.STOPPING, "being ended: cancelled by a user")
    (orphan,) = trigger(world, "gone")
    world.ask(Delete(job="gone"))
    assert explained(world, orphan).reason.endswith("; its job was deleted")
    world.ask(LauncherDown(reason="gone"))
    (alone,) = world.engine.turn(
        [TriggerRuns(job="etl", params=[{}], moment=START + M, request="x")]
    ).replies[0]
    (found,) = world.engine.turn([Explain(name=alone)]).replies
    assert found.cause is Cause.NO_LAUNCHER


def test_a_running_run_lists_no_reason_and_every_other_unfinished_one_does():
    world = a_world(a_job(max_active=1))
    trigger(world, n=2)
    assert [bool(row["reason"]) for row in world.ask(ListUnfinished())] == [False, True]


# ------------------------------------------------------------------ from the history


def attempt(n, status="failed", reason="boom", error_type="ValueError"):
    return {
        "attempt": n,
        "status": status,
        "reason": reason,
        "finished_at": START + n * M,
        "node_ip": "10.0.0.4",
        "error_type": error_type,
    }


def row(status, reason=None, attempts=1, **more):
    return {
        "run_id": "etl@x",
        "job": "etl",
        "status": status,
        "reason": reason,
        "attempts": attempts,
        **more,
    }


def test_a_finished_run_tells_how_each_of_its_attempts_ended():
    found = explain_finished(
        row("succeeded", attempts=3), [attempt(2, "lost", "x"), attempt(1), attempt(3, "succeeded")]
    )
    assert found.cause is Cause.FINISHED
    assert found.reason == "it succeeded; before: attempt 1 failed: boom; attempt 2 was lost: x"
    assert [each["attempt"] for each in found.attempts] == [1, 2, 3]
    assert found.fix is None
    assert found.what == "run etl@x succeeded."


def test_a_run_cancelled_between_attempts_tells_of_all_of_them():
    found = explain_finished(row("cancelled", "by a user"), [attempt(1)])
    assert found.reason == "by a user; before: attempt 1 failed: boom"


def test_a_run_of_one_attempt_tells_its_reason_alone():
    assert explain_finished(row("failed", "boom"), [attempt(1)]).reason == "boom"
    assert explain_finished(row("failed", None, error_message="bang")).reason == "bang"


def test_a_run_that_left_its_notebook_as_far_as_it_came_has_it_opened_first():
    found = explain_finished(row("failed", "boom", partial_path="partial/etl/x#1.ipynb"))
    assert found.fix.startswith("open partial/etl/x#1.ipynb, below the home, in Jupyter, or look")
    assert "Jupyter" not in explain_finished(row("failed", "boom", partial_path=None)).fix


def test_a_run_that_ended_with_its_node_says_whether_retries_are_left():
    lost = attempt(1, "lost", "its node died", NODE_DIED)
    found = explain_finished(row("lost", "its node died"), [lost])
    assert found.cause is Cause.NODE_LOST
    assert found.reason == (
        "attempt 1 was lost with node 10.0.0.4 at 2026-11-22T00:01:00Z; it has no retries"
    )
    again = [lost, attempt(2, "lost", "its node died", NODE_DIED)]
    found = explain_finished(row("lost", "its node died", attempts=2), again)
    assert "its retries are used up; before: attempt 1 was lost with node" in found.reason


def test_of_very_many_attempts_the_last_are_told():
    found = explain_finished(row("failed", "end"), [attempt(n) for n in range(1, 100)])
    assert found.reason.count("attempt") == 3
    assert found.reason.endswith("and 95 earlier")


def test_an_unfinished_run_without_a_scheduler_says_what_is_missing():
    found = explain_unattended(row("queued", "waits"))
    assert found.cause is Cause.NO_SCHEDULER
    assert "raysched up" in found.fix


def test_what_was_tried_survives_the_database():
    tried = Tried(attempt=1, status=State.LOST, reason="r", ended_at=START, node_lost=True)
    run = Run(
        run_id="etl@x",
        job="etl",
        version="v",
        trigger=Trigger.MANUAL,
        created_at=START,
        queued_at=START,
        tried=tried,
    )
    assert run_from_json(run_to_json(run)) == run
    old = {name: value for name, value in run_to_json(run).items() if name != "tried"}
    assert run_from_json(old).tried is None


def test_a_wait_in_the_window_of_an_unknown_cluster_is_a_start():
    run = Run(
        run_id="etl@x",
        job="etl",
        version="v",
        trigger=Trigger.MANUAL,
        created_at=START,
        queued_at=START,
    )
    found = explain_run(RunView(run=run, spec=JobSpec(name="etl"), wait=Wait(ahead=7)))
    assert (found.cause, found.nodes) == (Cause.STARTING, ())
    assert "7 runs of this shape" in found.reason
