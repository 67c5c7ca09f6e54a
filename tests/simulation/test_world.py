"""A virtual world as users have it: time advances, schedulers die, code really runs if asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import raysched as rs
from raysched.errors import InputError, InvalidParameter, NotRunning
from raysched.testing import Act, World


@rs.job(schedule="0 6 * * *", timezone="Europe/Berlin", retries=rs.Retry(1, delay="10m"))
def daily(region: str = "EU"):
    me = rs.current()
    print(me.day, region)
    if me.attempt == 1 and me.day and me.day.day == 2:
        raise ValueError("second of the month")
    return str(me.day)


def test_a_job_runs_day_after_day_and_its_code_only_if_asked():
    world = World("2026-01-01T00:00Z", run_code=True)
    world.deploy(daily)
    world.advance("3d")
    assert world.now == datetime(2026, 1, 4, tzinfo=UTC)
    assert world.decisions.decision.tolist() == ["fired"] * 3
    assert world.runs.result_json.tolist() == ['"2026-01-01"', '"2026-01-02"', '"2026-01-03"']
    assert world.attempts.status.tolist() == ["succeeded", "failed", "succeeded", "succeeded"]
    assert world.logs.line.tolist()[:2] == ["2026-01-01 EU", "2026-01-02 EU"]

    idle = World("2026-01-01T00:00Z")
    idle.deploy(daily)
    idle.advance("3d")
    assert idle.runs.status.tolist() == ["succeeded"] * 3
    assert idle.logs.empty


def test_a_scheduler_that_is_killed_catches_up_and_never_decides_a_slot_twice():
    world = World("2026-01-01T00:00Z")
    world.deploy(daily)
    world.advance("1d")
    world.kill_scheduler()
    world.advance("3d")
    with pytest.raises(NotRunning, match="start_scheduler"):
        world.trigger(daily)
    assert len(world.decisions) == 1
    world.start_scheduler()
    world.advance("1h")
    assert world.decisions.decision.tolist() == [
        "fired",
        "coalesced",
        "coalesced",
        "fired",
    ]
    assert world.decisions.slot.is_unique


def test_a_run_that_takes_long_is_seen_while_it_runs_and_outlives_the_scheduler():
    world = World("2026-01-01T00:00Z", run_code=True, takes="2h")
    world.deploy(daily)
    run = world.trigger(daily, region="US")
    world.advance("1h")
    assert world.runs.set_index("run_id").status[run] == "running"
    world.kill_scheduler()
    world.start_scheduler()
    world.finish(run)
    assert world.now == datetime(2026, 1, 1, 2, tzinfo=UTC)
    assert world.attempts.attempt.tolist() == [1]
    assert world.logs.line.tolist() == ["None US"]


def test_a_run_that_is_cancelled_while_it_runs_keeps_no_result():
    world = World("2026-01-01T00:00Z", run_code=True, takes="2h")
    world.deploy(daily)
    run = world.trigger(daily)
    world.advance("1h")
    world.cancel(run)
    world.finish(run)
    (row,) = world.runs.to_dict("records")
    assert row["status"] == "cancelled"
    assert pd.isna(row["result_kind"])


def test_what_a_client_asks_can_be_asked():
    world = World("2026-01-01T00:00Z")
    (told,) = world.deploy(daily)
    assert (told["job"], told["action"]) == ("daily", "created")
    world.pause(daily, note="holidays")
    assert "holidays" in world.explain("daily")
    world.advance("1d")
    world.resume("daily")
    world.advance("1d")
    assert world.decisions.decision.tolist() == ["skipped", "fired"]
    with pytest.raises(InvalidParameter):
        world.trigger(daily, regoin="US")


def test_a_script_and_running_code_exclude_each_other():
    with pytest.raises(InputError, match="exclude"):
        World(run_code=True, script=lambda order: Act())
    world = World(run_code=True)
    with pytest.raises(InputError, match="cannot run in this process"):
        world.deploy(rs.container("box", image="a"))


def test_attempts_of_two_jobs_take_the_virtual_time_that_each_is_given():
    ends = {}

    def takes(order):
        return {"short": "1m", "long": "1h"}[order.job]

    world = World("2026-01-01T00:00Z", run_code=True, takes=takes)
    for name in ("long", "short"):
        world.deploy(rs.job(name=name)(lambda: None))
        ends[name] = world.trigger(name)
    world.advance("2h")
    took = world.runs.set_index("job").duration_s
    assert took.to_dict() == {"long": 3600.0, "short": 60.0}
    assert timedelta(hours=2) == world.now - datetime(2026, 1, 1, tzinfo=UTC)


def test_a_worlds_history_is_written_into_a_home_and_read_back_by_raysched_and_by_pandas(tmp_path):
    world = World("2026-01-01T00:00Z", run_code=True)
    world.deploy(daily)
    world.advance("3d")
    world.write(tmp_path / "home")
    pd.testing.assert_frame_equal(
        rs.runs(tmp_path / "home").sort_values("run_id", ignore_index=True), world.runs
    )
    assert len(rs.attempts(tmp_path / "home")) == 4
    assert len(rs.decisions(tmp_path / "home")) == 3
    assert rs.logs(tmp_path / "home").line.tolist() == world.logs.line.tolist()
    assert pd.read_parquet(tmp_path / "home" / "runs").status.tolist() == ["succeeded"] * 3
    assert sorted(each.name for each in (tmp_path / "home" / "logs").iterdir()) == [
        f"date=2026-01-0{day}" for day in (1, 2, 3)
    ]


def test_a_run_keeps_the_code_that_it_was_made_with_when_its_job_is_redeployed():
    world = World(run_code=True)
    calls = []

    def fails():
        calls.append("old")
        raise ValueError("old")

    world.deploy(rs.job(name="j", retries=rs.Retry(1, delay="1h"))(fails))
    run = world.trigger("j")
    world.advance("1m")
    world.deploy(rs.job(name="j")(lambda: calls.append("new")))
    world.finish(run)
    world.finish(world.trigger("j"))
    assert calls == ["old", "old", "new"]
