"""How a container ends, and what is told of it."""

from datetime import timedelta

import pytest

from raysched.runners.container import holds, stop
from support import until

HOG = "tail /dev/zero"  # keeps all it reads, as there is no newline


def texts(lines, *streams):
    return [line.text for line in lines if line.stream in (streams or ("stdout", "stderr"))]


def test_a_container_that_exits_with_0_succeeds_and_its_parquet_is_the_result(attempt):
    one = attempt(
        "echo told $RAYSCHED_PARAMS; echo 1 > /raysched/out/b.parquet; "
        "echo 1 > /raysched/out/a.parquet; echo 1 > /raysched/out/other.txt; "
        "echo 1 > /raysched/out/.half-written.parquet",
        params={"region": "US"},
    )
    ending = one.run()
    assert (ending.exit_code, ending.fault, ending.verdict, ending.oom) == (0, "", None, False)
    assert [path.name for path in ending.results] == ["a.parquet", "b.parquet"]
    assert ending.results[0].read_text() == "1\n"
    assert texts(one.tail()) == ['told {"region": "US"}']
    assert ending.image.startswith("sha256:")
    assert ending.started_at <= ending.finished_at
    one.close(b"done")
    assert not ending.results[0].exists()


def test_any_user_of_the_container_may_leave_results(ran):
    ending, _ = ran("id -u > /raysched/out/a.parquet", user="65534")
    assert ending.exit_code == 0
    assert ending.results[0].read_text() == "65534\n"


def test_a_link_among_the_results_is_no_result_and_the_log_says_so(ran):
    ending, lines = ran("ln -s /etc/shadow /raysched/out/a.parquet")
    assert ending.results == ()
    assert "no regular file" in texts(lines, "build")[-1]


@pytest.mark.parametrize("code", [1, 42, 255])
def test_an_exit_code_is_told(ran, code):
    ending, _ = ran(f"exit {code}")
    assert (ending.exit_code, ending.fault) == (code, "")


def test_what_runs_out_of_memory_is_told_from_a_plain_kill(ran):
    ending, _ = ran(f"exec {HOG}", memory_bytes=16 * 1024 * 1024)
    assert (ending.exit_code, ending.oom, ending.fault) == (137, True, "")


def test_a_child_out_of_memory_is_told_even_with_exit_0(ran):
    ending, _ = ran(f"{HOG}; exit 0", memory_bytes=16 * 1024 * 1024)
    assert (ending.exit_code, ending.oom) == (0, True)


def test_a_container_that_kills_itself_is_not_out_of_memory(ran):
    ending, _ = ran("kill -9 $$")
    assert (ending.exit_code, ending.oom, ending.verdict, ending.fault) == (137, False, None, "")


def test_a_command_that_is_not_there_fails_with_the_engines_reason(ran):
    ending, _ = ran(entrypoint=("/no/such",), command=())
    assert ending.exit_code in (127, None)
    assert ending.exit_code == 127 or "no such file" in ending.fault


def test_a_timeout_ends_in_a_kill_when_sigterm_is_ignored(ran):
    ending, lines = ran(
        "trap '' TERM; echo up; while :; do sleep 0.1; done",
        timeout_s=1,
        grace=timedelta(seconds=1),
    )
    assert (ending.verdict, ending.exit_code, ending.fault) == ("timed_out", 137, "")
    assert texts(lines) == ["up"]
    assert 1.5 < (ending.finished_at - ending.started_at).total_seconds() < 8


def test_a_timeout_lets_a_container_put_its_things_in_order(ran):
    ending, lines = ran("trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done", timeout_s=1)
    assert (ending.verdict, ending.exit_code) == ("timed_out", 0)
    assert texts(lines) == ["bye"]


def test_an_attempt_is_stopped_from_another_process(attempt, rooms, key, background):
    one = attempt("echo up; sleep 100", key=key)
    run = background(one.run)
    seen = []
    until(lambda: seen.extend(one.tail()) or seen)
    assert holds(rooms, key, "/home")
    assert stop(rooms, key, "cancelled", "/home")
    assert stop(rooms, key, "timed_out", "/home")
    ending = run.result()
    assert (ending.verdict, ending.exit_code) == ("cancelled", 143), "the first reason stands"
    one.close(b"over")
    assert not stop(rooms, key, "cancelled", "/home")


def test_nobody_stops_what_is_not_here(engine, rooms):
    assert not stop(rooms, "unknown", "cancelled", "/home")
    assert not holds(rooms, "unknown", "/home")


def test_a_container_that_somebody_else_stops_is_lost_whatever_it_exits_with(
    attempt, engine, background
):
    one = attempt("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    run = background(one.run)
    until(one.tail)
    engine.stop(one._task.name)
    ending = run.result()
    assert (ending.exit_code, ending.lost) == (0, True)
    assert ending.error_type == "StoppedFromOutside"
    assert "signal 15" in ending.fault


def test_a_signal_that_ends_nothing_does_not_spoil_a_success(attempt, engine, background):
    one = attempt("trap 'exit 0' USR1; echo up; while :; do sleep 0.1; done")
    run = background(one.run)
    until(one.tail)
    engine.kill(one._task.name, "USR1")
    assert run.result().fault == ""


def test_a_container_that_somebody_removes_is_lost(attempt, engine, background):
    one = attempt("echo up; sleep 100")
    run = background(one.run)
    until(one.tail)
    engine.remove_container(one._task.name, force=True)
    ending = run.result()
    assert ending.lost
    assert ending.error_type in ("ContainerLost", "StoppedFromOutside")


def test_cpu_time_and_memory_are_measured(ran):
    ending, _ = ran("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 0.7")
    assert ending.cpu_time_s > 0.1
    assert ending.peak_memory_bytes > 100_000


def test_an_engine_that_is_not_there_is_a_fault_that_says_where_and_why(attempt, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such.sock")
    ending = attempt("true").run()
    assert (ending.error_type, ending.lost) == ("EngineUnavailable", False)
    assert "there is no socket /no/such.sock" in ending.fault
