"""What the scheduler does, in virtual time: each test says in one sentence what it shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from raysched.core.model import Outcome, Stop
from raysched.core.orders import Beat, Ended, LogLine, Started
from raysched.core.states import Event
from raysched.engine.messages import (
    Cancel,
    Delete,
    Deploy,
    Deployment,
    Explain,
    LauncherDown,
    LauncherUp,
    ListJobs,
    ListNext,
    ListUnfinished,
    Pause,
    Reports,
    Resume,
    Status,
    TriggerRuns,
)
from raysched.engine.runs import GUARD_SLACK, IMAGE_SLACK
from raysched.errors import InputError, InvalidParameter, NotFound, StaleEpoch, StoreError
from raysched.spec.container_job import container
from raysched.spec.job import job
from raysched.spec.policies import Retry
from raysched.spec.schedules import after_end, at, every
from raysched.testing import Act, MemoryStore, World

START = datetime(2026, 11, 22, tzinfo=UTC)
S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def a_world(*jobs, script=None, **options):
    world = World(start=START, script=script, **options)
    world.start_scheduler()
    world.deploy(*jobs)
    return world


def a_job(name="etl", **options):
    return job(name=name, **options)(lambda region="EU": None)


def acting(**acts):
    """A script by the number of the attempt: `_1` is the first; `always` the rest."""
    return lambda order: acts.get(f"_{order.attempt}", acts.get("always", Act()))


def long(seconds=600, **options):
    return acting(always=Act(takes=seconds * S, **options))


def pass_time(world, length):
    world.run_until(world.clock.now() + length)


def trigger(world, name="etl", n=1, request="r", **params):
    return world.ask(
        TriggerRuns(job=name, params=[params] * n, moment=world.clock.now(), request=request)
    )


def runs(world, *columns):
    columns = columns or ("run_id", "status")
    return [tuple(row[c] for c in columns) for row in world.disk.dataset("runs")]


def statuses(world):
    return [row["status"] for row in world.disk.dataset("runs")]


def decided(world):
    return [row["decision"] for row in world.disk.dataset("decisions")]


def states(world):
    return {run.run_id: run.state for run in world.disk.runs.values()}


def attempts(world):
    return [(row["attempt"], row["status"]) for row in world.disk.dataset("attempts")]


def began(world):
    return [key for key, _ in world.launcher.executions]


def why(world, run_id):
    return world.ask(Explain(name=run_id)).reason


# ------------------------------------------------------------------ slots and overlap


def test_each_slot_makes_one_run_named_after_it():
    world = a_world(a_job(schedule=every("15m")))
    pass_time(world, H)
    assert runs(world) == [(f"etl@2026-11-22T00:{m}:00Z", "succeeded") for m in (15, 30, 45)]
    assert list(states(world)) == ["etl@2026-11-22T01:00:00Z"]
    assert decided(world) == ["fired"] * 4


def test_a_slot_is_skipped_while_a_run_is_unfinished():
    world = a_world(a_job(schedule=every("1m"), overlap="skip"), script=long(90))
    pass_time(world, 5 * M)
    assert decided(world) == ["fired", "skipped", "fired", "skipped", "fired"]
    assert "etl@2026-11-22T00:01:00Z is unfinished" in world.disk.dataset("decisions")[1]["reason"]


def test_overlapping_runs_wait_for_their_turn():
    world = a_world(a_job(schedule=every("1m"), overlap="queue"), script=long(90))
    pass_time(world, 4 * M + S)
    assert decided(world) == ["fired"] * 4
    assert len(world.launcher.alive) == 1
    assert list(states(world).values()) == ["running", "queued"]
    assert why(world, "etl@2026-11-22T00:04:00Z") == (
        "waits for etl@2026-11-22T00:03:00Z: 1 at a time of this job"
    )


def test_a_slot_replaces_the_run_that_is_in_its_way():
    world = a_world(a_job(schedule=every("1m"), overlap="replace"), script=long(90))
    pass_time(world, 3 * M + S)
    assert statuses(world) == ["cancelled", "cancelled"]
    assert world.disk.dataset("runs")[0]["reason"] == "replaced by etl@2026-11-22T00:02:00Z"
    assert world.launcher.alive == {"etl@2026-11-22T00:03:00Z#1"}


def test_a_slot_that_replaces_a_run_whose_queue_timeout_ends_with_it_does_no_harm():
    world = a_world(
        a_job("etl", schedule=every("1m"), overlap="replace", queue_timeout="1m"),
        script=acting(always=Act(wait=H)),
        window=1,
    )
    pass_time(world, 5 * M)
    assert set(statuses(world)) <= {"cancelled", "timed_out"}
    assert decided(world) == ["fired"] * 5


def test_a_slot_that_replaces_a_run_whose_retry_comes_with_it_does_no_harm():
    world = a_world(
        a_job(schedule=every("1m"), overlap="replace", retries=Retry(9, delay="59.997s")),
        script=acting(always=Act(event=Event.FAIL)),
    )
    pass_time(world, 5 * M)
    assert decided(world) == ["fired"] * 5
    assert statuses(world) == ["cancelled"] * 4


def test_allowed_overlaps_run_side_by_side_up_to_max_active():
    world = a_world(
        a_job("free", schedule=every("1m"), overlap="allow"),
        a_job("pair", schedule=every("1m"), overlap="allow", max_active=2),
        script=long(),
    )
    pass_time(world, 4 * M + S)
    assert sum(key.startswith("free") for key in world.launcher.alive) == 4
    assert sum(key.startswith("pair") for key in world.launcher.alive) == 2


def test_every_schedule_of_a_job_counts_and_slots_that_coincide_are_one():
    world = a_world(a_job(schedule=[every("2m"), "*/3 * * * *", at(START + 30 * S)]))
    pass_time(world, 6 * M + S)
    slots = [row["slot"] / 1e6 - START.timestamp() for row in world.disk.dataset("decisions")]
    assert slots == [30, 120, 180, 240, 360]


def test_an_after_end_job_runs_again_a_delay_after_each_end():
    world = a_world(a_job(schedule=after_end("1m")), script=long(30, wait=0 * S))
    pass_time(world, 5 * M)
    starts = [(moment - START).total_seconds() for _, moment in world.launcher.executions]
    assert starts == [60, 150, 240]


def test_an_after_end_job_goes_on_after_a_pause_a_skip_a_downtime_and_a_cancel():
    world = a_world(a_job(schedule=after_end("1m"), catchup="none"), script=long(30))
    world.ask(Pause(jobs=["etl"]))
    pass_time(world, 5 * M)
    assert decided(world) == ["skipped"] * 5
    world.ask(Resume(jobs=["etl"]))
    pass_time(world, M + 10 * S)
    (run,) = states(world)
    world.ask(Cancel(run_id=run))
    pass_time(world, M + 31 * S)
    world.kill_scheduler()
    pass_time(world, H)
    world.start_scheduler()
    before = len(began(world))
    pass_time(world, 5 * M)
    assert len(began(world)) >= before + 3


def test_a_job_that_becomes_an_after_end_job_late_in_its_life_still_runs():
    world = a_world(a_job(schedule=every("1h")))
    pass_time(world, 10 * H + M)
    world.deploy(a_job(schedule=after_end("5m")))
    assert world.ask(ListJobs())[0]["next_slot"] == world.clock.now() + 5 * M
    pass_time(world, 6 * M)
    assert len(began(world)) == 11


@pytest.mark.parametrize("skew", [-H, D])
def test_a_worker_whose_clock_is_wrong_does_not_break_an_after_end_chain(skew):
    world = a_world(a_job(schedule=after_end("1s")), script=long(1000))
    pass_time(world, 5 * S)
    (run,) = states(world)
    told = Outcome(event=Event.SUCCEED, finished_at=world.clock.now() + skew)
    world.ask(Reports(launcher="launcher-1", reports=[Ended(key=f"{run}#1", outcome=told)]))
    pass_time(world, 5 * S)
    assert runs(world) == [(run, "succeeded")]
    assert len(began(world)) == 2


# ------------------------------------------------------------------ catching up


@pytest.mark.parametrize(
    ("catchup", "expected"),
    [
        ("none", ["missed"] * 4),
        ("latest", ["coalesced"] * 3 + ["fired"]),
        ("all", ["missed"] + ["fired"] * 3),
    ],
)
def test_slots_that_came_due_in_a_downtime_are_caught_up_by_policy(catchup, expected):
    world = a_world(a_job(schedule=every("1h"), catchup=catchup, max_catchup=3))
    world.kill_scheduler()
    pass_time(world, 4 * H + M)
    world.start_scheduler()
    pass_time(world, M)
    rows = world.disk.dataset("decisions")
    assert [row["decision"] for row in rows] == expected
    assert len(runs(world)) == expected.count("fired")


def test_a_scheduler_that_is_back_in_seconds_misses_nothing():
    world = a_world(a_job(schedule=every("1h"), catchup="none"))
    pass_time(world, H - S)
    world.kill_scheduler()
    pass_time(world, 6 * S)
    world.start_scheduler()
    pass_time(world, S)
    assert decided(world) == ["fired"]


def test_a_slot_later_than_its_grace_is_missed():
    world = a_world(a_job(schedule=every("1h"), misfire_grace="5s"))
    pass_time(world, H - S)
    world.kill_scheduler()
    pass_time(world, 6 * S + timedelta(microseconds=1))
    world.start_scheduler()
    pass_time(world, S)
    assert decided(world) == ["missed"]
    assert "misfire_grace=5s" in world.disk.dataset("decisions")[0]["reason"]


# ------------------------------------------------------------------ attempts and retries


def test_a_failed_attempt_is_tried_again_after_its_delay():
    world = a_world(
        a_job(retries=Retry(3, delay="30s", backoff=2)),
        script=acting(_1=Act(event=Event.FAIL, reason="boom"), _2=Act(event=Event.FAIL)),
    )
    (run,) = trigger(world)
    pass_time(world, S)
    assert states(world) == {run: "retrying"}
    assert why(world, run) == "attempt 1 of 4: boom; again in 30s, at 2026-11-22T00:00:30.003000Z"
    pass_time(world, 5 * M)
    assert attempts(world) == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    gaps = [moment - START for _, moment in world.launcher.executions]
    assert [round(gap.total_seconds()) for gap in gaps] == [0, 30, 90]
    assert runs(world, "status", "attempts") == [("succeeded", 3)]


def test_a_run_whose_retries_are_used_up_fails_with_the_last_reason():
    world = a_world(a_job(retries=2), script=acting(always=Act(event=Event.FAIL, reason="boom")))
    trigger(world)
    pass_time(world, M)
    assert attempts(world) == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert runs(world, "status", "reason", "attempts") == [("failed", "boom", 3)]


def test_a_retrying_run_keeps_its_place_and_other_slots_wait():
    world = a_world(
        a_job(retries=Retry(1, delay="10m"), overlap="queue", schedule=every("1m")),
        script=acting(_1=Act(event=Event.FAIL)),
    )
    pass_time(world, 3 * M + S)
    assert list(states(world).values()) == ["retrying", "queued", "queued"]


def test_a_run_in_line_past_its_queue_timeout_is_timed_out_and_says_what_it_waited_for():
    world = a_world(a_job(queue_timeout="30s", overlap="queue"), script=long(wait=S))
    first, second = trigger(world, n=2)
    pass_time(world, M)
    assert runs(world) == [(second, "timed_out")]
    assert world.disk.dataset("runs")[0]["reason"] == (
        f"not started within queue_timeout=30s: waits for {first}: 1 at a time of this job"
    )
    assert states(world) == {first: "running"}


def test_a_run_that_ray_does_not_start_in_time_is_timed_out_and_not_retried():
    world = a_world(a_job(queue_timeout="30s", retries=3), script=long(wait=H))
    (run,) = trigger(world)
    pass_time(world, S)
    assert why(world, run) == "with Ray, which has not started it"
    pass_time(world, M)
    assert runs(world) == [(run, "timed_out")]
    assert "which has not started it" in world.disk.dataset("runs")[0]["reason"]
    assert began(world) == []


def test_a_run_that_its_guard_does_not_end_is_ended_by_the_scheduler():
    world = a_world(a_job(timeout="1m", retries=1), script=acting(_1=Act(takes=H, wait=0 * S)))
    trigger(world)
    pass_time(world, M + GUARD_SLACK - timedelta(microseconds=1))
    assert attempts(world) == []
    pass_time(world, S)
    assert attempts(world) == [(1, "timed_out"), (2, "succeeded")]
    assert world.disk.dataset("attempts")[0]["reason"] == "ran longer than timeout=1m"


def test_a_timeout_is_counted_from_the_start_of_each_attempt_and_survives_a_restart():
    world = a_world(a_job(timeout="1m"), script=acting(always=Act(takes=H, wait=10 * S)))
    trigger(world)
    pass_time(world, 30 * S)
    world.start_scheduler()
    pass_time(world, 54 * S)
    assert statuses(world) == []
    pass_time(world, 2 * S)
    assert statuses(world) == ["timed_out"]


# ------------------------------------------------------------------ stopping


def test_a_run_is_cancelled_in_line_with_ray_running_and_between_attempts():
    world = a_world(
        a_job("etl", overlap="queue", schedule=None),
        a_job("slow", retries=Retry(1, delay="1h")),
        script=lambda order: Act(wait=M, takes=M, event=Event.FAIL),
    )
    first, second = trigger(world, n=2)
    (third,) = trigger(world, "slow")
    pass_time(world, S)
    assert world.ask(Cancel(run_id=second)) == "cancelled"
    assert world.ask(Cancel(run_id=first)) == "queued"
    pass_time(world, S)
    assert runs(world) == [(second, "cancelled"), (first, "cancelled")]
    assert began(world) == []
    pass_time(world, 5 * M)
    assert states(world) == {third: "retrying"}
    assert world.ask(Cancel(run_id=third)) == "cancelled"
    (fourth,) = trigger(world, "slow")
    pass_time(world, M + S)
    assert states(world) == {fourth: "running"}
    assert world.ask(Cancel(run_id=fourth)) == "running"
    pass_time(world, S)
    assert statuses(world) == ["cancelled"] * 4
    assert {row["reason"] for row in world.disk.dataset("runs")} == {"cancelled by a user"}
    assert world.launcher.alive == frozenset()


def test_a_cancelled_run_never_succeeds_even_if_its_function_returned():
    world = a_world(a_job(), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    result = Outcome(event=Event.SUCCEED, result_kind="json", result_json="1", result_path=".h")
    inbox = [Cancel(run_id=run)]
    world.engine.turn(inbox)
    told = Ended(key=f"{run}#1", outcome=result)
    world.engine.turn([Reports(launcher="launcher-1", reports=[told])])
    row = world.disk.dataset("runs")[0]
    assert row["status"] == "cancelled"
    assert (row["result_kind"], row["result_json"], row["result_path"]) == (None, None, None)


def test_a_second_cancel_and_a_timeout_change_nothing_of_the_first():
    world = a_world(a_job(timeout="1m"), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    world.engine.turn([Cancel(run_id=run)])
    world.engine.turn([Cancel(run_id=run)])
    (told,) = world.engine.turn([Explain(name=run)]).replies
    assert told.reason == "being ended: cancelled by a user"
    assert world.disk.runs[run].stop is Stop.CANCELLED
    pass_time(world, S)
    assert statuses(world) == ["cancelled"]
    with pytest.raises(NotFound, match="no unfinished run"):
        world.ask(Cancel(run_id=run))


def test_a_deleted_job_ends_what_waits_and_lets_what_runs_go_on_with_its_retries():
    world = a_world(
        a_job(overlap="queue", schedule=every("1m"), retries=1),
        script=acting(_1=Act(takes=150 * S, event=Event.FAIL)),
    )
    pass_time(world, 2 * M + S)
    reply = world.ask(Delete(job="etl"))
    assert reply["running"] == ["etl@2026-11-22T00:01:00Z"]
    assert reply["cancelled"] == ["etl@2026-11-22T00:02:00Z"]
    pass_time(world, S)
    world.start_scheduler()
    pass_time(world, H)
    ends = [("cancelled", "its job was deleted"), ("succeeded", "")]
    assert runs(world, "status", "reason") == ends
    assert attempts(world) == [(1, "failed"), (2, "succeeded")]
    assert decided(world) == ["fired", "fired"]
    with pytest.raises(NotFound, match="no job 'etl'"):
        world.ask(Delete(job="etl"))


# ------------------------------------------------------------------ pause, redeploy, trigger


def test_slots_of_a_paused_job_are_skipped_with_the_note_and_not_made_up_for():
    world = a_world(a_job(schedule=every("1h")))
    assert world.ask(Pause(jobs=["etl"], note="till Monday")) == ["etl"]
    pass_time(world, 2 * H)
    world.kill_scheduler()
    pass_time(world, 2 * H)
    world.start_scheduler()
    pass_time(world, M)
    assert decided(world) == ["skipped"] * 4
    assert world.disk.dataset("decisions")[0]["reason"] == "paused: till Monday"
    assert why(world, "etl") == "paused: till Monday"
    world.ask(Resume(jobs=["etl"]))
    pass_time(world, H)
    assert decided(world)[4:] == ["fired"]


def test_a_paused_job_can_be_triggered_and_its_run_in_line_goes_on():
    world = a_world(a_job())
    world.ask(Pause(jobs=["etl"], note="\ud800" * 2000))
    trigger(world)
    pass_time(world, S)
    assert statuses(world) == ["succeeded"]
    assert world.disk.jobs["etl"].pause == "?" * 1000


def test_pausing_or_resuming_several_jobs_is_all_or_none():
    world = a_world(a_job("a"), a_job("b"))
    with pytest.raises(NotFound):
        world.ask(Pause(jobs=["a", "nobody"]))
    assert world.disk.jobs["a"].pause is None
    world.ask(Pause(jobs=["a", "b"]))
    with pytest.raises(NotFound):
        world.ask(Resume(jobs=["b", "nobody"]))
    assert world.disk.jobs["b"].pause == ""


def test_a_redeploy_resets_nothing_unpauses_nothing_and_fires_nothing_again():
    world = a_world(a_job(schedule=every("1h")))
    pass_time(world, 3 * H + M)
    world.ask(Pause(jobs=["etl"], note="hold"))
    assert world.deploy(a_job(schedule=every("1h")))[0]["action"] == "unchanged"
    reply = world.deploy(a_job(schedule=every("20m")))[0]
    assert (reply["action"], reply["paused"]) == ("updated", True)
    world.ask(Resume(jobs=["etl"]))
    pass_time(world, 20 * M)
    slots = [row["slot"] for row in world.disk.dataset("decisions")]
    assert len(set(slots)) == len(slots) == 4
    assert decided(world) == ["fired"] * 4


def test_a_redeploy_settles_what_came_due_under_the_old_schedule_first():
    world = a_world(a_job(schedule=every("1h"), catchup="all"))
    world.kill_scheduler()
    pass_time(world, 2 * H)
    world.start_scheduler()
    world.deploy(a_job(schedule=every("7m"), catchup="all"))
    pass_time(world, S)
    assert decided(world) == ["fired", "fired"]
    assert {row["schedule"] for row in world.disk.dataset("decisions")} == {"every 1h"}


def test_an_instant_that_has_passed_is_not_fired_by_its_deploy():
    world = a_world()
    reply = world.deploy(a_job(schedule=at(START - S)))[0]
    assert reply["warnings"] == ["its schedule names no instant after 2026-11-22T00:00:00Z"]
    world.deploy(a_job("soon", schedule=at(START + S)))
    pass_time(world, M)
    world.deploy(a_job("soon", schedule=at(START + S), priority=1))
    pass_time(world, M)
    assert runs(world) == [("soon@2026-11-22T00:00:01Z", "succeeded")]


def test_runs_in_line_keep_the_version_they_were_made_for():
    world = a_world(a_job(overlap="queue", num_cpus=1), script=long(60))
    trigger(world, n=2)
    world.deploy(a_job(overlap="queue", num_cpus=4))
    trigger(world, request="new")
    pass_time(world, H)
    assert [row["num_cpus"] for row in world.disk.dataset("runs")] == [1, 1, 4]


def test_the_same_request_makes_one_run_however_often_it_is_asked():
    world = a_world(a_job(overlap="allow"))
    request = TriggerRuns(job="etl", params=[{}, {"region": "US"}], moment=START, request="r")
    first, again = world.ask(request), replace(request, again=True)
    assert world.ask(again) == first
    pass_time(world, M)
    assert world.ask(again) == first
    world.start_scheduler()
    assert world.ask(again) == first
    pass_time(world, M)
    assert sorted(runs(world)) == sorted((run, "succeeded") for run in first)
    assert len(began(world)) == 2


def test_a_request_that_is_cancelled_and_asked_again_in_one_turn_makes_one_run():
    world = a_world(a_job())
    request = TriggerRuns(job="etl", params=[{}], moment=START, request="r")
    (run,) = world.ask(request)
    replies = world.ask_all([Cancel(run_id=run), replace(request, again=True)])
    assert replies[1] == [run]
    pass_time(world, M)
    assert runs(world) == [(run, "cancelled")]


def test_thousands_of_runs_of_one_request_have_ids_of_their_own():
    world = a_world(a_job(overlap="allow"))
    ids = trigger(world, n=10_000)
    assert len(set(ids)) == 10_000
    assert trigger(world, n=10_000) == ids


def test_a_trigger_with_a_wrong_parameter_makes_no_run_at_all():
    world = a_world(a_job())
    for params, error in [({"regio": 1}, InvalidParameter), ({"region": {1}}, InvalidParameter)]:
        request = TriggerRuns(job="etl", params=[{}, params], moment=START, request="r")
        with pytest.raises(error):
            world.ask(request)
    with pytest.raises(InputError):
        world.ask(TriggerRuns(job="etl", params=[{}], moment=datetime(2026, 1, 1), request="r"))
    with pytest.raises(NotFound):
        trigger(world, "nobody")
    assert states(world) == {}


def test_params_of_a_run_are_those_of_the_job_and_of_the_trigger_over_them():
    world = a_world(a_job(params={"region": "EU"}))
    trigger(world)
    trigger(world, request="2", region="US")
    pass_time(world, S)
    assert runs(world, "params") == [('{"region": "EU"}',), ('{"region": "US"}',)]


# ------------------------------------------------------------------ deaths and restarts


def test_running_work_survives_the_scheduler_and_is_adopted():
    world = a_world(a_job(), script=long(60))
    (run,) = trigger(world)
    pass_time(world, 10 * S)
    world.kill_scheduler()
    pass_time(world, 10 * S)
    world.start_scheduler()
    pass_time(world, S)
    assert states(world) == {run: "running"}
    pass_time(world, M)
    assert runs(world) == [(run, "succeeded")]
    assert began(world) == [f"{run}#1"]


def test_a_restart_forgets_no_queue_timeout_and_no_retry():
    world = a_world(
        a_job("stuck", queue_timeout="1m"),
        a_job("lined", queue_timeout="1m", overlap="queue"),
        a_job("again", retries=Retry(1, delay="1m")),
        script=lambda order: Act(
            wait=H if order.job == "stuck" else 0 * S,
            takes=S if order.job == "again" else H,
            event=Event.FAIL,
        ),
    )
    (stuck,) = trigger(world, "stuck")
    _, lined = trigger(world, "lined", n=2)
    (again,) = trigger(world, "again")
    pass_time(world, 30 * S)
    world.start_scheduler()
    pass_time(world, 29 * S)
    assert statuses(world) == []
    pass_time(world, 2 * S)
    assert sorted(runs(world)) == [(lined, "timed_out"), (stuck, "timed_out")]
    assert f"{again}#2" in world.launcher.alive | set(began(world))


def test_work_that_ended_while_no_scheduler_was_up_is_told_to_the_next():
    world = a_world(a_job(), script=long(60))
    trigger(world)
    pass_time(world, 10 * S)
    world.kill_scheduler()
    pass_time(world, H)
    world.start_scheduler()
    pass_time(world, S)
    assert runs(world, "status", "duration_s") == [("succeeded", 60.0)]


def test_attempts_of_a_dead_launcher_are_lost_and_the_retry_policy_speaks():
    world = a_world(a_job("frail"), a_job("tough", retries=1), script=long(60))
    trigger(world, "frail")
    (tough,) = trigger(world, "tough")
    pass_time(world, 10 * S)
    world.launcher.die()
    pass_time(world, H)
    ends = [("frail", "lost", 1), ("tough", "succeeded", 2)]
    assert runs(world, "job", "status", "attempts") == ends
    assert world.disk.dataset("runs")[0]["reason"] == "the launcher that owned it died"
    assert began(world)[-1] == f"{tough}#2"


def a_container(name="box", **options):
    return container(name, image="busybox:1", command=["true"], **options)


def test_a_container_outlives_its_launcher_and_is_watched_again_by_the_next():
    world = a_world(a_container(), script=long(60))
    (run,) = trigger(world, "box")
    pass_time(world, 10 * S)
    world.launcher.die()
    pass_time(world, S)
    assert states(world) == {run: "running"}
    pass_time(world, H)
    assert runs(world, "status", "attempts", "duration_s") == [("succeeded", 1, 60.0)]
    assert began(world) == [f"{run}#1"]


def test_a_container_that_ended_while_nobody_watched_is_told_by_the_next_launcher():
    world = a_world(a_container(), script=long(60))
    trigger(world, "box")
    pass_time(world, 10 * S)
    world.kill_scheduler()
    world.launcher.die()
    pass_time(world, H)
    world.start_scheduler()
    pass_time(world, S)
    assert runs(world, "status", "attempts") == [("succeeded", 1)]
    assert len(began(world)) == 1


def test_a_container_that_had_not_begun_when_its_launcher_died_begins_with_the_next():
    world = a_world(a_container(), script=acting(always=Act(wait=M)))
    (run,) = trigger(world, "box")
    pass_time(world, 10 * S)
    world.launcher.die()
    pass_time(world, H)
    assert runs(world, "run_id", "status", "attempts") == [(run, "succeeded", 1)]
    assert began(world) == [f"{run}#1"]


def test_a_cancel_reaches_a_container_whose_launcher_died_before_it_heard_of_it():
    class Deaf:
        def __init__(self, inner):
            self.attach, self.launch, self.inner, self.deaf = (
                inner.attach,
                inner.launch,
                inner,
                True,
            )

        def stop(self, orders):
            if not self.deaf:
                self.inner.stop(orders)
            self.deaf = False

    world = a_world(a_container(), script=long(), launcher=Deaf)
    (run,) = trigger(world, "box")
    pass_time(world, S)
    world.ask(Cancel(run_id=run))
    world.launcher.die()
    pass_time(world, S)
    assert runs(world) == [(run, "cancelled")]


def test_a_container_is_given_time_for_its_image_before_the_scheduler_ends_it():
    world = a_world(a_container(timeout="1m", grace="20s"), script=long(100_000))
    (run,) = trigger(world, "box")
    pass_time(world, M + GUARD_SLACK + IMAGE_SLACK + 19 * S)
    assert states(world) == {run: "running"}
    pass_time(world, 5 * S)
    assert runs(world) == [(run, "timed_out")]


def test_nothing_is_launched_while_no_launcher_answers_and_the_reason_says_so():
    world = a_world(a_job(overlap="allow"), script=long())
    (first,) = trigger(world)
    pass_time(world, S)
    world.ask(LauncherDown(reason="it died"))
    (second,) = trigger(world, request="2")
    assert why(world, second) == "waits for a launcher: none answers"
    told = world.ask(Status())
    assert (told["launcher"], told["launcher_state"]) == (None, "lost")
    pass_time(world, M)
    assert began(world) == [f"{first}#1"]
    world.launcher.die()
    pass_time(world, M)
    assert began(world) == [f"{first}#1", f"{second}#1"]


def test_a_launcher_that_has_yet_to_come_up_is_said_to_be_starting_not_to_be_lost():
    class Slow:
        def __init__(self, inner):
            self.launch, self.stop = inner.launch, inner.stop

        def attach(self, epoch):
            pass  # it answers some time later

    world = a_world(a_job(), script=long(), launcher=Slow)
    (run,) = trigger(world)
    assert why(world, run) == "waits for the launcher, which is starting"
    told = world.ask(Status())
    assert (told["launcher"], told["launcher_state"]) == (None, "starting")
    world.launcher.attach(world.engine.epoch)
    pass_time(world, S)
    assert world.ask(Status())["launcher_state"] == "attached"
    assert began(world) == [f"{run}#1"]


def test_a_launcher_that_has_forgotten_a_running_attempt_does_not_run_it_twice():
    world = a_world(a_job(), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    world.ask(LauncherUp(launcher="launcher-1", known=frozenset()))
    assert runs(world) == [(run, "lost")]
    assert began(world) == [f"{run}#1"]


def test_an_order_that_was_lost_on_its_way_is_given_again_under_its_key():
    class Lossy:
        def __init__(self, inner):
            self.attach, self.stop, self.inner, self.lost = inner.attach, inner.stop, inner, []

        def launch(self, orders):
            if self.lost:
                self.inner.launch(orders)
            self.lost += orders

    world = a_world(a_job(), script=long(), launcher=Lossy)
    (run,) = trigger(world)
    pass_time(world, S)
    assert began(world) == []
    world.ask(LauncherUp(launcher="launcher-1", known=frozenset()))
    pass_time(world, 2 * M)
    assert began(world) == [f"{run}#1"]
    assert states(world) == {run: "running"}


def test_a_new_launcher_that_owns_an_attempt_takes_it_over():
    world = a_world(a_job(), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    world.ask(LauncherUp(launcher="heir", known=frozenset({f"{run}#1"})))
    done = Ended(key=f"{run}#1", outcome=Outcome(event=Event.SUCCEED))
    world.ask(Reports(launcher="launcher-1", reports=[done]))
    assert states(world) == {run: "running"}
    world.ask(Reports(launcher="heir", reports=[done]))
    assert runs(world) == [(run, "succeeded")]


def test_news_of_a_stale_attempt_or_launcher_are_refused():
    world = a_world(a_job(retries=Retry(5, delay="1m")), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    world.launcher.die()
    pass_time(world, S)
    assert states(world) == {run: "retrying"}
    line = LogLine(ts_us=0, stream="stdout", line_no=99, text="late")
    stale = [
        Started(key=f"{run}#1", started_at=START, node_id="n", node_ip="i", worker_pid=1),
        Beat(key=f"{run}#1", lines=[line], metrics={"rows": 1}),
        Ended(key=f"{run}#1", outcome=Outcome(event=Event.SUCCEED), lines=[line]),
    ]
    world.ask(Reports(launcher="launcher-1", reports=stale))
    assert states(world) == {run: "retrying"}
    pass_time(world, M + S)
    assert world.disk.runs[run].attempt == 2
    for launcher in ("launcher-1", "launcher-2", "nobody"):
        world.ask(Reports(launcher=launcher, reports=stale))
    unknown = [
        Ended(key=key, outcome=Outcome(event=Event.SUCCEED))
        for key in ("", "#", run, f"{run}#3", f"{run}#x", "nobody@then#1")
    ]
    world.ask(Reports(launcher="launcher-2", reports=unknown))
    assert states(world) == {run: "running"}
    assert world.disk.dataset("logs") == []
    assert attempts(world) == [(1, "lost")]


def test_news_told_twice_are_recorded_once():
    world = a_world(a_job(), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    key = f"{run}#1"
    lines = [LogLine(ts_us=n, stream="stdout", line_no=n, text=f"line {n}") for n in range(1, 6)]
    for told in (lines[:2], lines[:2], lines[:4], lines[1:3]):
        world.ask(Reports(launcher="launcher-1", reports=[Beat(key=key, lines=told)] * 2))
    world.start_scheduler()
    world.ask(Reports(launcher="launcher-1", reports=[Beat(key=key, lines=lines[:4])]))
    done = Ended(key=key, outcome=Outcome(event=Event.SUCCEED), lines=lines)
    world.ask(Reports(launcher="launcher-1", reports=[done, done]))
    world.ask(Reports(launcher="launcher-1", reports=[done]))
    assert [row["line_no"] for row in world.disk.dataset("logs")] == [1, 2, 3, 4, 5]
    assert attempts(world) == [(1, "succeeded")]
    assert world.disk.dataset("attempts")[0]["log_lines"] == 5


def test_a_scheduler_that_was_superseded_can_change_and_launch_nothing():
    world = a_world(a_job(), script=long())
    zombie = world.engine
    world.start_scheduler()
    pass_time(world, S)
    for message in (
        TriggerRuns(job="etl", params=[{}], moment=START, request="r"),
        Pause(jobs=["etl"]),
        Delete(job="etl"),
    ):
        with pytest.raises(StaleEpoch):
            zombie.turn([message])
    assert began(world) == []
    assert world.disk.jobs["etl"].pause is None


def test_a_turn_that_cannot_be_stored_lets_nothing_out():
    class FullDisk:
        def __init__(self, inner):
            self.open, self.has_any_run, self.has_job = inner.open, inner.has_any_run, inner.has_job

        def commit(self, changes):
            raise StoreError("the disk is full.")

    world = a_world(a_job())
    world._wrap_store = FullDisk
    world.start_scheduler()
    with pytest.raises(StoreError):
        trigger(world)
    assert world.launcher._acts == {}
    assert states(world) == {}


def test_a_restart_does_not_let_in_more_runs_than_the_job_may_have():
    world = a_world(a_job(overlap="queue"), script=long())
    first, second = trigger(world, n=2)
    world.deploy(a_job(overlap="queue", priority=9))
    (urgent,) = trigger(world, request="urgent")
    pass_time(world, S)
    world.ask(Cancel(run_id=first))
    pass_time(world, S)
    assert world.launcher.alive == {f"{urgent}#1"}
    world.start_scheduler()
    pass_time(world, M)
    assert world.launcher.alive == {f"{urgent}#1"}
    assert why(world, second) == f"waits for {urgent}: 1 at a time of this job"


def test_runs_in_line_keep_their_order_over_a_restart():
    world = a_world(a_job(overlap="queue"), script=long(60))
    ids = trigger(world, n=5)
    world.disk.runs = dict(reversed(world.disk.runs.items()))
    world.start_scheduler()
    pass_time(world, H)
    assert began(world) == [f"{run}#1" for run in ids]


def test_the_work_of_higher_priority_goes_first():
    world = a_world(
        *(a_job(f"p{n}", priority=n, overlap="allow") for n in range(3)), script=long(60), window=1
    )
    for n in (0, 1, 2):
        trigger(world, f"p{n}", n=2)
    pass_time(world, H)
    assert [key[:2] for key in began(world)] == ["p0", "p2", "p2", "p1", "p1", "p0"]


# ------------------------------------------------------------------ results


class StagedResults:
    """Staged files by name, each of which is published or removed."""

    def __init__(self, *staged, refuses=False):
        self.staged, self.published, self._refuses = set(staged), set(), refuses

    def publish(self, run_id, job, hidden):
        if self._refuses:
            raise StoreError("the file is damaged.")
        self.staged.remove(hidden)
        self.published.add(hidden)
        return hidden

    def publish_partial(self, run_id, job, attempt, hidden):
        self.publish(run_id, job, hidden)
        return f"{run_id}#{attempt}"

    def discard(self, hidden):
        self.staged.discard(hidden)


def test_the_result_of_an_attempt_that_was_cancelled_is_removed():
    results = StagedResults("hidden")
    world = a_world(a_job(), script=long(result="hidden"), results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    world.ask(Cancel(run_id=run))
    assert results.staged == {"hidden"}
    pass_time(world, S)
    assert statuses(world) == ["cancelled"]
    assert (results.staged, results.published) == (set(), set())


def test_the_result_of_a_stale_attempt_is_removed_and_that_of_the_current_one_is_not():
    results = StagedResults("stale", "current")
    script = acting(_1=Act(event=Event.FAIL), always=Act(takes=M, result="current"))
    world = a_world(a_job(retries=1), script=script, results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    stale = Ended(key=f"{run}#1", outcome=Outcome(event=Event.SUCCEED, result_path="stale"))
    for launcher in (world.launcher.name, "launcher-of-old"):
        world.ask(Reports(launcher=launcher, reports=[stale]))
        assert results.staged == {"current"}
    pass_time(world, M)
    assert statuses(world) == ["succeeded"]
    assert results.published == {"current"}


def test_a_result_that_cannot_be_published_is_removed_and_fails_its_run():
    results = StagedResults("damaged", refuses=True)
    world = a_world(a_job(), script=acting(always=Act(result="damaged")), results=results)
    trigger(world)
    pass_time(world, S)
    assert statuses(world) == ["failed"]
    assert results.staged == set()


def failing_with(hidden, **options):
    return Act(event=Event.FAIL, reason="cell 2", partial=hidden, **options)


def test_what_each_failed_attempt_leaves_is_named_by_its_row_and_the_last_ones_by_its_run():
    results = StagedResults("first", "second")
    script = acting(_1=failing_with("first"), _2=failing_with("second"))
    world = a_world(a_job(retries=1), script=script, results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    places = [row["partial_path"] for row in world.disk.dataset("attempts")]
    assert places == [f"{run}#1", f"{run}#2"]
    assert runs(world, "status", "partial_path") == [("failed", f"{run}#2")]
    assert (results.staged, results.published) == (set(), {"first", "second"})


def test_a_run_that_succeeds_at_last_names_nothing_but_its_result():
    results = StagedResults("first", "result")
    script = acting(_1=failing_with("first"), always=Act(result="result"))
    world = a_world(a_job(retries=1), script=script, results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    assert [row["partial_path"] for row in world.disk.dataset("attempts")] == [f"{run}#1", None]
    assert runs(world, "result_path", "partial_path") == [("result", None)]


def test_what_a_stale_attempt_leaves_is_removed_and_that_of_the_current_one_is_not():
    results = StagedResults("stale", "current")
    script = acting(_1=Act(event=Event.FAIL), always=failing_with("current", takes=M))
    world = a_world(a_job(retries=1), script=script, results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    stale = Ended(key=f"{run}#1", outcome=Outcome(event=Event.FAIL, partial_path="stale"))
    for launcher in (world.launcher.name, "launcher-of-old"):
        world.ask(Reports(launcher=launcher, reports=[stale]))
        assert results.staged == {"current"}
    pass_time(world, M)
    assert (results.staged, results.published) == (set(), {"current"})


def test_an_attempt_whose_notebook_cannot_be_kept_has_failed_for_its_own_reason():
    results = StagedResults("damaged", refuses=True)
    script = acting(always=failing_with("damaged"))
    world = a_world(a_job(), script=script, results=results)
    trigger(world)
    pass_time(world, S)
    assert runs(world, "status", "reason", "partial_path") == [("failed", "cell 2", None)]
    assert results.staged == set()


def test_a_scheduler_that_has_been_replaced_removes_no_result():
    results = StagedResults("stale")
    world = a_world(a_job(), results=results)
    (run,) = trigger(world)
    pass_time(world, S)
    MemoryStore(world.disk).open()  # a newer scheduler
    stale = Ended(key=f"{run}#1", outcome=Outcome(event=Event.SUCCEED, result_path="stale"))
    with pytest.raises(StaleEpoch):
        world.engine.turn([Reports(launcher=world.launcher.name, reports=[stale])])
    assert results.staged == {"stale"}


# ------------------------------------------------------------------ answers


def test_whatever_does_not_run_says_why_and_whatever_runs_tells_its_progress():
    world = a_world(
        a_job("etl", overlap="queue", schedule=every("1h"), retries=Retry(1, delay="1h")),
        a_job("full", overlap="allow"),
        script=lambda order: Act(wait=S if order.job == "etl" else H, takes=H, event=Event.FAIL),
        window=1,
    )
    trigger(world, n=2)
    trigger(world, "full", n=2)
    pass_time(world, S)
    world.engine.turn([Cancel(run_id=next(iter(states(world))))])
    for each in world.ask(ListUnfinished()):
        assert each["reason"] or each["status"] == "running"
    for name in ("etl", "full", *states(world)):
        assert world.ask(Explain(name=name)).reason
    with pytest.raises(NotFound, match="no job or unfinished run"):
        world.ask(Explain(name="nobody"))


def test_progress_and_metrics_of_a_running_attempt_are_seen_at_once():
    world = a_world(a_job(), script=long())
    (run,) = trigger(world)
    pass_time(world, S)
    beat = Beat(key=f"{run}#1", progress=(3, 10), metrics={"rows": 42})
    world.ask(Reports(launcher="launcher-1", reports=[beat]))
    (row,) = world.ask(ListUnfinished(prefix="etl@"))
    assert (row["progress"], row["metrics"], row["status"]) == ((3, 10), {"rows": 42}, "running")
    assert world.ask(ListUnfinished(prefix="other")) == []


def test_jobs_and_their_slots_to_come_are_listed_in_order():
    world = a_world(a_job("b", schedule=every("1h")), a_job("a", schedule=every("40m")), a_job("c"))
    world.ask(Pause(jobs=["b"]))
    assert [row["job"] for row in world.ask(ListJobs())] == ["a", "b", "c"]
    upcoming = world.ask(ListNext(until=START + 2 * H))
    assert [(row["job"], row["slot"] - START) for row in upcoming] == [
        ("a", 40 * M),
        ("b", H),
        ("a", 80 * M),
        ("a", 2 * H),
        ("b", 2 * H),
    ]
    assert [row["paused"] for row in upcoming[:2]] == [False, True]
    assert len(world.ask(ListNext(until=START + 900 * D, most=3))) == 3
    with pytest.raises(NotFound):
        world.ask(ListNext(until=START + H, job="nobody"))
    assert world.ask(Explain(name="c")).reason == "it has no schedule and runs when triggered"


def test_a_message_that_is_refused_does_not_spoil_the_others_of_its_turn():
    world = a_world(a_job())
    deploy = Deploy(deployments=[Deployment(spec=a_job("new").spec, code_hash="c", code=b"")])
    replies = world.engine.turn([Cancel(run_id="x"), deploy, Delete(job="x"), Status()]).replies
    assert isinstance(replies[0], NotFound)
    assert isinstance(replies[2], NotFound)
    assert replies[3]["jobs"] == 2
    assert "new" in world.disk.jobs


def test_a_message_of_a_kind_that_it_does_not_know_is_refused_and_changes_nothing():
    class FromAnotherVersion: ...

    world = a_world(a_job())
    with pytest.raises(InputError, match="no message of the kind FromAnotherVersion"):
        world.ask(FromAnotherVersion())
    assert trigger(world)


def test_a_message_with_a_value_of_a_wrong_type_costs_its_sender_alone():
    world = a_world(a_job())
    wrong = [
        Cancel(run_id=5),
        TriggerRuns(job="etl", params=[1], moment=START, request="r"),
        TriggerRuns(job=["etl"], params=[{}], moment=START, request="r"),
        Pause(jobs=[["etl"]]),
    ]
    right = TriggerRuns(job="etl", params=[{}], moment=START, request="s")
    *refused, ids = world.engine.turn([*wrong, right]).replies
    assert all(isinstance(each, InputError) for each in refused)
    assert list(states(world)) == ids
