"""A job's code in this process: what `raysched.testing.LocalRunner` says is what a run would be."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

import raysched as rs
from raysched.errors import InputError, InvalidParameter, RunFailed, UnsupportedResult
from raysched.runners.native import Failed
from raysched.spec.notebook import LARGEST, ExecutedNotebook
from raysched.store import results
from raysched.testing import LocalRunner


@pytest.fixture
def runner():
    return LocalRunner()


def test_a_run_has_what_its_function_returned_reported_and_wrote(runner):
    @rs.job(params={"n": 2})
    def load(n, region="EU"):
        me = rs.current()
        me.progress(1, 2)
        me.progress(2, 2)
        me.metric("rows", 42)
        print("loading", region)
        print("a warning", file=sys.stderr)
        return {"n": n}

    run = runner.run(load, region="US")
    assert (run.status, run.reason, run.error) == ("succeeded", "", None)
    assert run.result() == {"n": 2}
    assert run.output == "loading US\na warning\n"
    assert run.metrics == {"rows": 42.0}
    assert run.progress == (2.0, 2.0)
    assert run.details()["params"] == '{"n": 2, "region": "US"}'
    assert run.logs()[["stream", "line"]].values.tolist() == [
        ["stdout", "loading US"],
        ["stderr", "a warning"],
    ]


def test_output_of_children_and_descriptors_is_kept_and_lines_are_cut_as_in_a_worker(runner):
    @rs.job
    def talk():
        subprocess.run(["sh", "-c", "echo child"], check=True)
        os.write(1, b"raw \xff\r\n")
        sys.stdout.write("x" * 70_000)

    lines = runner.run(talk).logs().line.tolist()
    assert lines[:2] == ["child", "raw \\xff"]
    assert [len(line) for line in lines[2:]] == [64 * 1024, 70_000 - 64 * 1024]


def test_standard_output_is_the_tests_own_again(runner, capfd):
    @rs.job
    def talk():
        print("of the job")

    os.write(1, b"before\n")
    runner.run(talk)
    os.write(1, b"after\n")
    print("printed")
    assert capfd.readouterr().out == "before\nafter\nprinted\n"


def test_a_process_that_keeps_the_output_open_is_not_waited_for(runner):
    @rs.job
    def leave():
        return subprocess.Popen(["sleep", "60"]).pid

    run = runner.run(leave)
    os.kill(run.result(), 9)
    os.waitpid(run.result(), 0)


def test_a_table_comes_back_as_the_history_would_give_it(runner):
    @rs.job
    def table():
        return pd.DataFrame({"city": ["Łódź", "NYC"], "n": [1, 2]})

    run = runner.run(table)
    pd.testing.assert_frame_equal(run.result(), table())
    assert run.details()["result_rows"] == 2


def test_a_failure_is_the_exception_itself_and_result_raises_from_it(runner):
    @rs.job
    def fail():
        raise ValueError("no such region")

    run = runner.run(fail)
    assert run.status == "failed"
    assert isinstance(run.error, ValueError)
    with pytest.raises(RunFailed, match="ValueError: no such region") as raised:
        run.result()
    assert raised.value.__cause__ is run.error
    assert "no such region" in repr(run)


def test_sys_exit_and_results_that_cannot_be_kept_fail_as_on_a_cluster(runner):
    @rs.job
    def leave():
        sys.exit(0)

    @rs.job
    def a_set():
        return {1, 2}

    assert runner.run(leave).details()["exit_code"] == 0
    assert runner.run(leave).status == "failed"
    run = runner.run(a_set)
    assert isinstance(run.error, UnsupportedResult)
    assert run.details()["error_type"] == "UnsupportedResult"
    assert "fix: " in run.reason  # what to return instead


@pytest.mark.parametrize("size", [2, LARGEST + 1])
def test_what_a_failure_leaves_is_staged_and_its_loss_changes_no_reason(runner, size):
    @rs.job(retries=1)
    def fails():
        raise Failed(
            "cell 2",
            error_type="ValueError",
            error_message="x",
            traceback="",
            notebook=ExecutedNotebook(bytes(size)),
        )

    run = runner.run(fails)
    assert (run.status, run.reason) == ("failed", "cell 2")
    left = [each.row["partial_path"] for each in run.attempts]
    if size > LARGEST:
        assert left == [None, None]
        assert "is not kept: the executed notebook has 67,108,865 bytes" in run.output
        return
    home = runner._world.in_process.home
    assert [results.read_notebook(home, path) for path in left] == [bytes(size)] * 2
    assert left[0] != left[1] == run.details()["partial_path"]


def test_parameters_are_checked_before_anything_runs(runner):
    @rs.job
    def load(region):
        raise AssertionError("it ran")

    with pytest.raises(InvalidParameter, match="takes no parameter 'regoin'"):
        runner.run(load, regoin="EU")
    with pytest.raises(InvalidParameter, match="needs the parameter 'region'"):
        runner.run(load)
    with pytest.raises(InvalidParameter, match="type 'datetime'"):
        runner.run(load, region=datetime.now(UTC))


def test_retries_follow_the_policy_and_their_delays_pass_in_no_time(runner):
    calls = []

    @rs.job(schedule="* * * * *", overlap="allow", retries=rs.Retry(3, delay="10m", backoff=2))
    def flaky():
        attempt = rs.current().attempt
        calls.append(attempt)
        print("attempt", attempt)
        if attempt < 3:
            raise ConnectionError(f"refused {attempt}")
        return attempt

    run = runner.run(flaky)
    assert run.result() == 3
    assert [each.status for each in run.attempts] == ["failed", "failed", "succeeded"]
    assert [str(each.error) for each in run.attempts] == ["refused 1", "refused 2", "None"]
    assert [each.output for each in run.attempts] == ["attempt 1\n", "attempt 2\n", "attempt 3\n"]
    assert runner.clock.now() - run.details()["created_at"] == timedelta(minutes=30)
    assert run.logs().attempt.tolist() == [1, 2, 3]
    assert calls == [1, 2, 3]  # and no slot of its schedule has fired meanwhile


def test_an_attempt_longer_than_its_timeout_is_timed_out_and_tried_again(runner):
    @rs.job(timeout="1h", retries=1)
    def long():
        return "kept by nobody"

    runner.takes = lambda order: "2h" if order.attempt == 1 else "30m"
    run = runner.run(long)
    assert [each.status for each in run.attempts] == ["timed_out", "succeeded"]
    assert run.attempts[0].reason == "ran longer than timeout=1h"
    assert run.details()["duration_s"] == 90 * 60


def test_a_function_that_moves_the_clock_takes_that_long(runner):
    @rs.job(timeout="1h")
    def long(minutes):
        runner.clock.advance(f"{minutes}m")

    assert runner.run(long, minutes=60).details()["duration_s"] == 3600
    assert runner.run(long, minutes=61).status == "timed_out"


def test_an_attempt_that_really_takes_too_long_is_timed_out_once_it_returns(runner):
    @rs.job(timeout="5ms")
    def slow():
        import time

        time.sleep(0.01)

    assert runner.run(slow).status == "timed_out"


def test_a_run_for_a_slot_knows_it_in_the_jobs_zone(runner):
    @rs.job(timezone="America/New_York")
    def daily():
        me = rs.current()
        return [str(me.slot), str(me.day), me.run_id, me.job]

    run = runner.run_slot(daily, "2026-03-09T03:00Z")
    assert run.result() == ["2026-03-08 23:00:00-04:00", str(date(2026, 3, 8)), run.id, "daily"]
    assert rs.current().run_id == ""


def test_the_environment_and_the_folder_are_the_tests_own_again(runner, tmp_path):
    @rs.job(env={"REGION": "EU"})
    def move():
        os.chdir(tmp_path)
        os.environ["LEFT"] = "behind"
        return os.environ["REGION"]

    before = os.getcwd()
    assert runner.run(move).result() == "EU"
    assert os.getcwd() == before
    assert not {"REGION", "LEFT"} & set(os.environ)


def test_the_function_itself_is_called_so_that_tests_can_change_what_it_uses(runner, monkeypatch):
    @rs.job
    def ask():
        return os.path.expanduser("~")

    monkeypatch.setattr(os.path, "expanduser", lambda path: "patched")
    assert runner.run(ask).result() == "patched"


def test_who_interrupts_a_test_ends_it(runner):
    @rs.job(retries=3)
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupted)


def test_a_changed_job_of_the_same_name_runs_its_own_code(runner):
    one = rs.job(name="same")(lambda: 1)
    two = rs.job(name="same")(lambda: 2)
    assert [runner.run(each).result() for each in (one, two, one)] == [1, 2, 1]


def test_what_is_no_function_is_refused(runner):
    with pytest.raises(InputError, match="not a function"):
        runner.run(rs.container("box", image="a"))
    with pytest.raises(InputError, match="not a function"):
        runner.run(lambda: None)


def test_logging_goes_where_it_went(runner, caplog):
    @rs.job
    def log():
        logging.getLogger("mine").warning("seen by the test")

    runner.run(log)
    assert caplog.messages == ["seen by the test"]
