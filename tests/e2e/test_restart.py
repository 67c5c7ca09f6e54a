"""The whole of Ray goes down and comes up again over the same home."""

import os
import shutil
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psutil
import pytest
import ray

import raysched
import raysched as rs
from raysched.cli import main
from raysched.cluster import local
from raysched.cluster.handle import SchedulerHandle
from raysched.cluster.installed import code_hash
from raysched.cluster.patience import hurry
from raysched.cluster.scheduler import SystemClock
from raysched.errors import ClusterError, NotRunning, RayschedError
from raysched.store.sql import SqlStore
from support import until


@contextmanager
def locked(state):
    """Keep everybody from writing to a SQLite database until what this yields is called."""
    options = {"isolation_level": None, "check_same_thread": False}
    with closing(sqlite3.connect(state, timeout=60, **options)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield holder.rollback


def test_a_restart_of_ray_resumes_the_timetable_and_judges_what_was_running(tmp_path):
    home, marks = tmp_path / "home", tmp_path / "marks"

    @rs.job(schedule=rs.every("1s"), catchup="all", num_cpus=0.1)
    def tick():
        with marks.open("a") as file:
            file.write(f"{rs.current().run_id}\n")

    @rs.job(num_cpus=0.1)
    def paused():
        raise AssertionError("it is paused")

    @rs.job(retries=1, num_cpus=0.1)
    def interrupted():
        if rs.current().attempt == 1:
            time.sleep(1000)
        return "second try"

    @rs.job(num_cpus=0.1)
    def unlucky():
        time.sleep(1000)

    try:
        client = rs.connect(home, num_cpus=2)
        client.deploy(tick, paused, interrupted, unlucky)
        client.pause(paused, note="over the weekend")
        client.deploy(paused.options(schedule=rs.every("1s")))  # which has no slot before that
        retried, lost = client.trigger(interrupted), client.trigger(unlucky)
        until(lambda: retried.status == lost.status == "running" and len(client.runs(job="tick")))
    finally:
        ray.shutdown()
        local.stop(home)

    before = rs.decisions(home, job="tick")  # the scheduler is down, the history is not
    assert len(before) >= 1

    try:
        client = rs.connect(home)
        assert client.run(retried.id).result("60s") == "second try"
        assert client.run(lost.id).wait("60s").status == "lost"
        jobs = client.jobs().set_index("job")
        assert bool(jobs.loc["paused"].paused)
        assert jobs.loc["paused"].pause_note == "over the weekend"
        client.pause(tick)
        until(lambda: set(client.runs(job="tick").status) == {"succeeded"})
        client.seal()
    finally:
        ray.shutdown()
        local.stop(home)

    decisions = rs.decisions(home, job="tick")
    steps = decisions.slot.diff().dropna().unique()
    assert list(steps) == [timedelta(seconds=1)]
    assert decisions.slot.is_unique
    fired = decisions[decisions.decision == "fired"].run_id
    assert sorted(marks.read_text().split()) == sorted(fired)
    assert sorted(pd.read_parquet(home / "runs").query("job == 'tick'").run_id) == sorted(fired)
    assert set(rs.decisions(home, job="paused").decision) == {"skipped"}
    assert rs.attempts(home, run_id=retried.id).status.tolist() == ["lost", "succeeded"]


def test_a_scheduler_whose_home_was_taken_over_ends_for_good(tmp_path):
    home = tmp_path / "home"

    @rs.job(num_cpus=0.1)
    def noop():
        pass

    try:
        client = rs.connect(home, num_cpus=1)
        client.deploy(noop)
        overtaker = SqlStore(f"{home}/state.db", SystemClock())
        overtaker.open()
        with pytest.raises(RayschedError):
            client.trigger(noop)
        until(lambda: not is_there())
        overtaker.close()
        again = rs.connect(home)
        assert again.trigger(noop).wait("30s").status == "succeeded"
        assert again.status()["epoch"] == 3
    finally:
        ray.shutdown()
        local.stop(home)


def is_there():
    try:
        SchedulerHandle.find()
    except NotRunning:
        return False
    return True


def test_up_replaces_a_scheduler_of_other_code_and_one_that_hangs_and_down_ends_it(
    tmp_path, monkeypatch, capsys
):
    home, installed = tmp_path / "home", Path(raysched.__file__).parent
    large = bytes(range(256)) * 1000  # too much to travel with an order

    @rs.job(num_cpus=0.1)
    def small(): ...

    @rs.job(num_cpus=0.1)
    def heavy():
        return len(large)

    @rs.job(num_cpus=0.1)
    def lasts():
        time.sleep(1000)

    # What the Ray of this home has installed is this raysched, and at first another one.
    there = shutil.copytree(installed, tmp_path / "site" / "raysched")
    (there / "installed_before.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(there.parent))
    monkeypatch.chdir(tmp_path)  # of which Ray tells its workers, too
    monkeypatch.setenv("RAYSCHED_HOME", str(home))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        client = rs.connect(home, num_cpus=2)
        client.deploy(small, lasts)
        client.trigger(small).wait("60s")
        under_way = client.trigger(lasts)
        until(lambda: under_way.status == "running")
        before = client.status()
        assert main.run(["up"]) == 0
        assert client.status()["pid"] == before["pid"]

        (there / "installed_before.py").unlink()
        assert main.run(["up", "--renew"]) == 0
        assert "runs the code that is installed" in capsys.readouterr().err
        client = rs.connect(home)
        renewed = client.status()
        assert (renewed["code"], renewed["epoch"]) == (code_hash(), before["epoch"] + 1)
        client.deploy(heavy)  # whose code the launcher has from the scheduler that is new
        assert client.trigger(heavy).result("60s") == len(large)
        assert main.run(["up", "--renew"]) == 0
        assert client.status()["pid"] == renewed["pid"]

        with ThreadPoolExecutor() as threads, locked(home / "state.db") as release:
            with hurry(2):
                with pytest.raises(ClusterError):
                    client.trigger(small)  # its commit waits, and so does the engine
                gone = threads.submit(psutil.Process(renewed["pid"]).wait, 60)
                gone.add_done_callback(lambda _: release())
                assert main.run(["up", "--renew"]) == 0
            gone.result()
        client = rs.connect(home)
        assert client.status()["epoch"] == renewed["epoch"] + 1
        renewed = client.status()

        os.kill(renewed["pid"], signal.SIGSTOP)
        with hurry(8):
            assert main.run(["up", "--renew"]) == 0
        client = rs.connect(home)
        hung = client.status()
        assert hung["epoch"] == renewed["epoch"] + 1
        assert client.run(under_way.id).details()["attempts"] == 1

        assert main.run(["down"]) == 2
        assert "1 run(s) are under way" in capsys.readouterr().err
        assert client.run(under_way.id).status == "running"
        os.kill(hung["pid"], signal.SIGSTOP)
        assert main.run(["down", "--force"]) == 0
        assert local.find(home) is None
        assert not psutil.pid_exists(hung["pid"])
        assert rs.runs(home, since=None).set_index("run_id").status[under_way.id] == "running"
    finally:
        ray.shutdown()
        with suppress(NotRunning):
            local.stop(home)
