"""Watchers die; containers go on, are taken over, and end once."""

import os
import time
from pathlib import Path

import pytest

from container_task import make_task
from raysched.runners.container import ContainerAttempt
from raysched.runners.container.options import LABEL
from raysched.runners.container.room import Room
from raysched.runners.container.task import name_of
from raysched.spec.container import Build
from support import until


def kill(process):
    process.kill()
    process.wait()


def started(engine, key):
    found = engine.containers(all=True, filters={"label": f"raysched.key={key}"})
    return [one for one in found if one["State"] != "created"]


def logged(rooms, key, text):
    log = Room(rooms, name_of("/home", key)).log
    return log.exists() and text in log.read_bytes()


def test_an_adopter_finds_one_container_and_each_line_once(watcher, attempt, engine, rooms, key):
    script = (
        "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i; echo e$i >&2; usleep 50000; done; exit 5"
    )
    process = watcher(script, key=key)
    until(lambda: logged(rooms, key, b"e5\n"))
    kill(process)
    one = attempt(script, key=key)
    assert one.farewell() is None
    ending = one.run()
    assert (ending.exit_code, ending.fault) == (5, "")
    lines = one.tail()
    for stream, prefix in (("stdout", ""), ("stderr", "e")):
        assert [line.text for line in lines if line.stream == stream] == [
            f"{prefix}{i}" for i in range(1, 41)
        ]
    assert [line.line_no for line in lines] == list(range(1, 81))
    assert len(started(engine, key)) == 1


def test_an_adopter_waits_for_the_watcher_before_it(watcher, attempt, rooms, key, background):
    process = watcher("echo up; sleep 2; exit 4", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    one = attempt("false", key=key)
    run = background(one.run)
    time.sleep(0.3)
    assert run.is_alive()
    kill(process)
    assert run.result().exit_code == 4


def test_a_watcher_that_goes_on_living_is_not_disturbed(watcher, engine, rooms, key, monkeypatch):
    from raysched.runners.container import room

    process = watcher("echo up; sleep 3", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    with monkeypatch.context() as patch:
        patch.setattr(room.Room.enter, "__defaults__", (0.2,))
        ending = ContainerAttempt(make_task("true", key=key), rooms).run()
    assert (ending.error_type, ending.lost) == ("AlreadyWatched", True)
    assert b"exit_code=0" in process.stdout.readline()
    kill(process)
    ContainerAttempt(make_task("true", key=key), rooms).close(b"")


def test_a_container_that_ended_while_nobody_watched_is_a_success(
    watcher, attempt, rooms, key, engine
):
    process = watcher("echo up; sleep 1; echo 1 > /raysched/out/a.parquet", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    until(lambda: started(engine, key)[0]["State"] == "exited")
    ending = attempt("false", key=key).run()
    assert (ending.exit_code, ending.fault, len(ending.results)) == (0, "", 1)


def test_a_container_that_was_stopped_while_nobody_watched_is_lost(
    watcher, attempt, rooms, key, engine
):
    process = watcher("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    engine.stop(name_of("/home", key))
    ending = attempt("false", key=key).run()
    assert (ending.exit_code, ending.lost, ending.error_type) == (0, True, "StoppedFromOutside")


def test_a_timeout_counts_from_the_start_for_an_adopter_too(watcher, attempt, rooms, key):
    process = watcher("echo up; sleep 100", key=key, timeout_s=3)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    ending = attempt("false", key=key, timeout_s=3).run()
    assert ending.verdict == "timed_out"
    assert (ending.finished_at - ending.started_at).total_seconds() < 4.5


def test_killed_during_the_build_an_attempt_begins_again(
    watcher, attempt, rooms, key, context, engine
):
    import docker_engine

    files = context(Dockerfile=f"FROM {docker_engine.BASE}\nRUN sleep 1; echo {key}\n")
    process = watcher("echo ran", key=key, build=Build(), context=files)
    until(lambda: logged(rooms, key, b"Running in"))
    kill(process)
    one = attempt("echo ran", key=key, build=Build(), context=files)
    assert one.run().exit_code == 0
    lines = one.tail()
    assert [line.text for line in lines if line.stream == "stdout"] == ["ran"]
    assert [line.line_no for line in lines] == list(range(1, len(lines) + 1))
    assert len(started(engine, key)) == 1


def test_killed_between_the_end_and_the_farewell_an_attempt_ends_the_same(watcher, attempt, key):
    process = watcher("echo 1 > /raysched/out/a.parquet; echo x; exit 0", key=key)
    first = process.stdout.readline().decode()
    kill(process)
    one = attempt("false", key=key)
    assert one.farewell() is None
    ending = one.run()
    assert f"started_at={ending.started_at!r}" in first
    assert f"finished_at={ending.finished_at!r}" in first
    assert [line.text for line in one.tail()] == ["x"]


def test_after_the_farewell_an_attempt_is_over(attempt, key, rooms, engine):
    one = attempt("true", key=key)
    one.run()
    one.close(b"the report")
    late = ContainerAttempt(make_task("true", key=key), rooms)
    assert late.farewell() == b"the report"
    assert late.run().lost
    late.close(b"another")
    assert late.farewell() == b"the report"
    assert not started(engine, key)


def test_launched_twice_without_a_room_a_container_still_runs_once(
    attempt, key, rooms, engine, watcher
):
    process = watcher("echo up; sleep 1; exit 6", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    Room(rooms, name_of("/home", key)).path.rename(rooms / "away")
    ending = attempt("exit 7", key=key).run()
    assert ending.exit_code == 6
    assert len(started(engine, key)) == 1


def test_a_container_that_vanished_is_not_started_again(watcher, attempt, rooms, key, engine):
    process = watcher("echo up; sleep 100", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    engine.remove_container(name_of("/home", key), force=True)
    one = attempt("true", key=key)
    ending = one.run()
    assert (ending.lost, ending.error_type) == (True, "ContainerLost")
    assert [line.text for line in one.tail()] == ["up"]
    assert not started(engine, key)


@pytest.fixture
def short_grace(rooms, monkeypatch):
    monkeypatch.setenv("RAYSCHED_ORPHAN_GRACE_S", "1")


def test_what_nobody_watches_is_ended(short_grace, watcher, attempt, rooms, key, engine):
    process = watcher("trap '' TERM; echo up; sleep 100", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    time.sleep(1.5)
    assert started(engine, key), "what is watched is left alone"
    kill(process)
    until(lambda: not started(engine, key), 30)
    ending = attempt("true", key=key).run()
    assert ending.lost
    assert "nobody watched it" in ending.fault
    assert not started(engine, key)
    # The reaper has nothing more to do, and goes.
    until(lambda: not _reapers(rooms), 20)


def test_a_room_that_is_taken_over_in_time_is_not_reaped(short_grace, watcher, attempt, rooms, key):
    process = watcher("echo up; sleep 4; exit 3", key=key)
    until(lambda: logged(rooms, key, b"up\n"))
    kill(process)
    ending = attempt("true", key=key).run()
    assert (ending.exit_code, ending.fault) == (3, "")


def _reapers(rooms) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(rooms).encode() in words and b"raysched.runners.container.reaper" in words:
            found.append(int(path.parent.name))
    return found


def test_nothing_of_ours_is_on_the_engine_after_all_that(engine, rooms):
    assert engine.containers(all=True, filters={"label": LABEL}) == []
    in_memory = Path("/dev/shm") / f"raysched-{os.getuid()}"
    assert not in_memory.exists() or list(in_memory.iterdir()) == []
