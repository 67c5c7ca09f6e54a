"""A scheduler whose process is there and does nothing, as one that is stopped."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import raysched as rs
from raysched.cli import main
from raysched.client import Client
from raysched.cluster.handle import SchedulerHandle
from raysched.errors import ClusterError

PATIENCE_S = 3.0


@contextmanager
def stopped(pid):
    """Have a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def impatient(client):
    """The same client, if it waited less long."""
    actor = SchedulerHandle.find()._actor
    return Client(SchedulerHandle(actor, patience_s=PATIENCE_S))


def test_a_scheduler_that_hangs_is_given_up_and_what_it_acknowledged_stays(client, impatient):
    @rs.job(num_cpus=0.1)
    def noop(): ...

    client.deploy(noop)
    acknowledged = client.trigger(noop)
    impatient.archive.summary()  # makes the archivist, should it not see the home
    questions = (
        impatient.status,
        lambda: impatient.trigger(noop),
        lambda: impatient.wait_for("noop@", 600.0),
    )
    with stopped(client.status()["pid"]), ThreadPoolExecutor() as threads:
        begin = time.monotonic()
        for error in threads.map(given_up, questions):
            assert "no sign of life for 3s" in error.why
            assert "raysched up --renew" in error.fix
        assert time.monotonic() - begin < 3 * PATIENCE_S
    assert acknowledged.wait("60s").status == "succeeded"


def given_up(ask):
    """Return the error with which a question is given up."""
    with pytest.raises(ClusterError, match="does not answer") as told:
        ask()
    return told.value


def test_what_takes_long_is_waited_for_as_long_as_the_scheduler_lives(client, impatient):
    @rs.job(num_cpus=0.1)
    def lasts():
        time.sleep(1.5 * PATIENCE_S)

    client.deploy(lasts)
    run = client.trigger(lasts)
    begin = time.monotonic()
    assert impatient.wait_for(run.id, 60.0)["status"] == "succeeded"
    assert time.monotonic() - begin > PATIENCE_S


def test_status_and_down_tell_that_it_hangs_and_no_ray_is_stopped_unasked(
    client, monkeypatch, capsys
):
    monkeypatch.setenv("RAYSCHED_HOME", str(client.home))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    commands = (["status", "-o", "json"], ["down"], ["down", "--with-ray"])
    with stopped(client.status()["pid"]), ThreadPoolExecutor() as threads:
        assert list(threads.map(main.run, commands)) == [1, 2, 2]
    told = capsys.readouterr()
    assert '"state": "not answering"' in told.out
    assert told.err.count("whether runs are under way is not known") == 2
    assert client.status()["pid"]


def test_down_for_another_home_leaves_a_scheduler_that_hangs_alone(
    client, monkeypatch, capsys, tmp_path
):
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    pid = client.status()["pid"]
    with stopped(pid):
        assert main.run(["down", "--force", "--home", str(tmp_path)]) == 2
    assert f"keeps its home at {client.home}" in " ".join(capsys.readouterr().err.split())
    assert client.status()["pid"] == pid
