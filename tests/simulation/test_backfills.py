"""Backfills in virtual time: their runs wait in a line of their own, and survive restarts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from raysched.core.backfill import SlotRun
from raysched.core.causes import Cause
from raysched.core.states import Event, State
from raysched.engine.messages import Backfill, Delete, Explain, Pause, TriggerRuns
from raysched.errors import Conflict, InvalidParameter, InvalidPolicy, InvalidUnit, NotFound
from raysched.spec.job import job
from raysched.spec.schedules import after_end, every
from raysched.spec.units import from_us, iso
from raysched.testing import Act, World

START = datetime(2026, 11, 22, tzinfo=UTC)
S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def a_job(name="etl", **options):
    return job(name=name, **{"schedule": every("1h"), **options})(lambda region="EU": None)


def a_world(*jobs, act=Act(), **options):  # noqa: B008 - frozen
    world = World(start=START, script=lambda order: act, **options)
    world.start_scheduler()
    world.deploy(*jobs)
    world.run_until(START + S)
    return world


def ask(**changes):
    """A backfill of the ten hours before the world began."""
    asked = Backfill(
        job="etl", start=START - 10 * H, end=START, moment=START + S, request="r", max_active=2
    )
    return replace(asked, **changes)


def known(world):
    """What the history has, as the scheduler's actor reads it."""
    return [
        SlotRun(
            run_id=row["run_id"],
            slot=from_us(row["slot"]),
            status=State(row["status"]),
            created_at=from_us(row["created_at"]),
        )
        for row in world.disk.dataset("runs")
        if row["slot"] is not None
    ]


def active(world):
    """The unfinished runs of backfills that have a place."""
    return [run for run in world.disk.runs.values() if run.line and run.attempt]


def finished(world, trigger="backfill"):
    return [row for row in world.disk.dataset("runs") if row["trigger"] == trigger]


def test_each_slot_of_the_past_runs_once_with_its_slot_the_oldest_first_and_two_at_a_time():
    world = a_world(a_job(), act=Act(takes=M))
    rows = world.ask(ask(params={"region": "US"}))
    assert [row["slot"] for row in rows] == [START - n * H for n in range(10, 0, -1)]
    assert {row["action"] for row in rows} == {"run"}
    while world.disk.runs:
        assert len(active(world)) <= 2
        world.run_until(world.clock.now() + S)
    done = finished(world)
    assert [(row["run_id"], from_us(row["slot"])) for row in done] == [
        (row["run_id"], row["slot"]) for row in rows
    ]
    assert {row["status"] for row in done} == {"succeeded"}
    assert {row["params"] for row in done} == {'{"region": "US"}'}
    assert len({row["backfill"] for row in done}) == 1
    assert world.clock.now() < START + 6 * M


def test_a_dry_run_shows_the_same_table_and_makes_nothing():
    world = a_world(a_job())
    shown = world.ask(ask(dry_run=True))
    assert world.disk.runs == {}
    made = world.ask(ask())
    assert [{**row, "run_id": None} for row in made] == shown
    assert None not in {row["run_id"] for row in made}


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace", "allow"])
def test_the_jobs_own_slots_go_on_beside_a_backfill_and_never_touch_it(overlap):
    act = Act(takes=40 * M)
    world = a_world(a_job(overlap=overlap), act=act)
    world.ask(ask(max_active=1))
    world.run_until(START + 5 * H + S)
    assert {row["decision"] for row in world.disk.dataset("decisions")} == {"fired"}
    own = finished(world, "schedule")
    assert [row["lag_s"] for row in own] == [0.0] * 4
    assert {row["status"] for row in own} == {"succeeded"}
    assert len(active(world)) == 1
    world.run_until(START + 20 * H)
    assert [row["status"] for row in finished(world)] == ["succeeded"] * 10


def test_a_crowd_of_backfill_runs_keeps_no_slot_out():
    world = a_world(a_job(schedule=every("1m"), overlap="queue"), act=Act(takes=30 * S))
    world.ask(ask(start=START - 2000 * M))
    world.run_until(START + 2 * M + S)
    assert {row["decision"] for row in world.disk.dataset("decisions")} == {"fired"}


def test_a_killed_scheduler_goes_on_with_the_same_limit_and_makes_none_twice():
    world = a_world(a_job(), act=Act(takes=M))
    rows = world.ask(ask())
    for n in range(8):
        world.run_until(START + 2 * S + n * 30 * S)
        world.start_scheduler()
        world.run_until(world.clock.now() + S)
        assert len(active(world)) == 2
    world.run_until(START + H)
    assert sorted(row["run_id"] for row in finished(world)) == sorted(row["run_id"] for row in rows)
    keys = [key for key, _ in world.launcher.executions]
    assert len(keys) == len(set(keys))


def test_a_backfill_that_is_asked_again_is_made_once_while_it_runs_and_when_it_is_over():
    world = a_world(a_job(), act=Act(takes=M))
    rows = world.ask(ask(reprocess="completed"))
    assert world.ask(ask(reprocess="completed", again=True)) == rows
    world.run_until(START + 59 * M)
    assert world.ask(ask(reprocess="completed", again=True)) == rows
    assert world.ask(ask(reprocess="completed", known=known(world))) == rows
    assert world.disk.runs == {}
    assert len(finished(world)) == 10


def test_a_repeated_backfill_asks_the_database_once_for_all_of_its_runs():
    asked = []

    class Asked:
        def __init__(self, inner):
            self.open, self.commit, self._inner = inner.open, inner.commit, inner

        def has_any_run(self, run_ids):
            asked.append(len(run_ids))
            return self._inner.has_any_run(run_ids)

    world = a_world(a_job())
    world._wrap_store = Asked
    world.start_scheduler()
    world.ask(ask())
    assert asked == []
    world.run_until(START + 59 * M)
    world.ask(ask(again=True))
    assert asked == [10]
    assert len(finished(world)) == 10


def test_what_has_a_run_already_is_chosen_by_reprocess():
    ends = iter([Event.FAIL, *[Event.SUCCEED] * 100])
    world = World(start=START, script=lambda order: Act(event=next(ends)))
    world.deploy(a_job())
    world.ask(ask(moment=START, start=START - 3 * H))
    world.run_until(START + M)
    chosen = {
        reprocess: [
            row["action"]
            for row in world.ask(
                ask(
                    start=START - 4 * H,
                    reprocess=reprocess,
                    known=known(world),
                    dry_run=True,
                    request="later",
                )
            )
        ]
        for reprocess in ("none", "failed", "completed")
    }
    assert chosen == {
        "none": ["run", "leave", "leave", "leave"],
        "failed": ["run", "run", "leave", "leave"],
        "completed": ["run"] * 4,
    }


def test_slots_whose_runs_are_unfinished_are_left_whatever_the_history_knew():
    world = a_world(a_job(), act=Act(takes=H))
    first = world.ask(ask())
    second = world.ask(ask(request="second", reprocess="completed"))
    assert {row["action"] for row in second} == {"leave"}
    assert [row["last_run"] for row in second] == [row["run_id"] for row in first]
    world.run_until(START + 65 * M)
    assert len(finished(world, "schedule")) == 0
    after = world.ask(ask(end=START + 2 * H, request="third", dry_run=True))
    assert [(row["action"], row["last_status"]) for row in after[-2:]] == [
        ("run", None),
        ("leave", "running"),
    ]


def test_a_slot_that_is_not_due_yet_is_left():
    world = a_world(a_job())
    rows = world.ask(ask(start=START, end=START + 3 * H))
    assert [(row["action"], row["reason"][:17]) for row in rows] == [
        ("run", "it has no run"),
        ("leave", "it is not due yet"),
        ("leave", "it is not due yet"),
    ]


def test_a_paused_job_is_backfilled_and_stays_paused():
    world = a_world(a_job())
    world.ask(Pause(jobs=["etl"]))
    world.ask(ask())
    world.run_until(START + 3 * H)
    assert len(finished(world)) == 10
    assert {row["decision"] for row in world.disk.dataset("decisions")} == {"skipped"}


def test_a_backfills_runs_wait_for_each_other_longer_than_queue_timeout():
    world = a_world(a_job(queue_timeout="10s"), act=Act(takes=M))
    world.ask(ask(max_active=1))
    world.run_until(START + 30 * S)
    world.start_scheduler()
    world.run_until(START + H)
    assert [row["status"] for row in finished(world)] == ["succeeded"] * 10


def test_a_waiting_run_names_those_of_its_backfill_that_it_waits_for():
    world = a_world(a_job(), act=Act(takes=H))
    first, second, third, *_ = (row["run_id"] for row in world.ask(ask()))
    found = world.ask(Explain(name=third))
    assert (found.cause, found.waits_for) == (Cause.MAX_ACTIVE, (first, second))
    assert found.reason == f"waits for {first}: 2 at a time of this backfill"


def test_two_backfills_of_one_job_have_a_line_each_and_a_manual_run_waits_for_neither():
    world = a_world(a_job(), act=Act(takes=H))
    world.ask(ask())
    world.ask(ask(start=START - 30 * H, end=START - 10 * H, request="second"))
    (run,) = world.ask(TriggerRuns(job="etl", params=[{}], moment=START, request="by hand"))
    world.run_until(START + M)
    assert len(active(world)) == 4
    assert world.disk.runs[run].state is State.RUNNING


def test_a_backfill_that_is_over_leaves_nothing_in_memory():
    world = a_world(a_job())
    world.ask(ask())
    world.run_until(START + M)
    book = world.engine._book
    assert not book.lines
    assert not book.dispatch._lines


def test_deleting_the_job_cancels_what_waits_of_its_backfill():
    world = a_world(a_job(), act=Act(takes=H))
    world.ask(ask())
    world.run_until(START + M)
    assert len(world.ask(Delete(job="etl"))["cancelled"]) == 8
    world.run_until(START + 3 * H)
    assert world.disk.runs == {}


REFUSED = {
    "no job": ({"job": "nobody"}, NotFound),
    "a parameter": ({"params": {"colour": "red"}}, InvalidParameter),
    "no places": ({"max_active": 0}, InvalidPolicy),
    "a policy": ({"reprocess": "all"}, InvalidPolicy),
    "naive": ({"start": datetime(2026, 11, 1)}, InvalidUnit),
    "follows itself": ({"job": "chain"}, Conflict),
}


@pytest.mark.parametrize(("changes", "error"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_and_makes_no_run(changes, error):
    world = a_world(a_job(), a_job("chain", schedule=after_end("1h")))
    with pytest.raises(error):
        world.ask(ask(**changes))
    assert world.disk.runs == {}


def test_a_schedule_that_names_no_slot_in_the_range_gives_an_empty_table():
    world = a_world(a_job())
    assert world.ask(ask(start=START - H + S, end=START - M)) == []


def test_a_run_of_a_backfill_bears_an_id_by_which_the_files_are_found():
    world = a_world(a_job())
    rows = world.ask(ask())
    assert all(row["run_id"].startswith(f"etl@{iso(START + S)}-") for row in rows)
