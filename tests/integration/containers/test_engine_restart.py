"""The engine stops, is killed, comes back: what a container's exit code is worth then.

Each test has an engine of its own, so that the others' is left alone.
"""

import signal
import tempfile
from pathlib import Path

import docker
import pytest

import docker_engine
from container_task import make_task
from raysched.runners.container import ContainerAttempt
from raysched.runners.container.room import Room
from raysched.runners.container.task import name_of
from support import until

POLITE = (
    "trap 'exit 0' TERM; echo up; i=0; while [ $i -lt {} ]; do sleep 0.1; i=$((i+1)); done; exit 0"
)


@pytest.fixture
def private():
    reason = docker_engine.obstacle()
    if reason:
        docker_engine.none(reason)
    own = docker_engine.Engine(
        Path(tempfile.mkdtemp(prefix="rs-own-")), "--bridge=none", "--iptables=false", alone=True
    )
    yield own
    own.stop()


@pytest.fixture
def begin(private, rooms, monkeypatch, background):
    """Starts an engine, and an attempt on it of which the container is up."""

    made = []

    def begin(script, *arguments):
        private.start(*arguments)
        monkeypatch.setenv("DOCKER_HOST", private.address)
        client = docker.APIClient(base_url=private.address, version="auto")
        docker_engine.import_base(client)
        client.close()
        one = ContainerAttempt(make_task(script, network="none"), rooms)
        made.append(one)
        run = background(one.run)
        until(one.tail)
        return one, run

    yield begin
    for one in made:
        one.close(b"over")


def test_an_engine_that_stops_takes_its_containers_along_and_they_are_lost(private, begin):
    _, run = begin(POLITE.format(300))
    private.kill(signal.SIGTERM)
    private.start()
    ending = run.result()
    assert (ending.exit_code, ending.lost) == (0, True)
    assert ending.error_type == "StoppedFromOutside"


def test_with_live_restore_a_container_goes_on_and_its_success_is_one(private, begin):
    _, run = begin(POLITE.format(60).replace("exit 0'", "exit 9'"), "--live-restore")
    private.kill(signal.SIGTERM)
    private.start("--live-restore")
    ending = run.result()
    assert (ending.exit_code, ending.fault) == (0, "")


def test_with_live_restore_lines_go_on_over_the_restart(private, begin):
    script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.1; done"
    one, run = begin(script, "--live-restore")
    private.kill(signal.SIGKILL)
    private.start("--live-restore")
    ending = run.result()
    assert (ending.exit_code, ending.fault) == (0, "")
    assert one.tail()[-1].text == "60"


def test_an_engine_killed_without_live_restore_ends_its_containers_as_it_returns(private, begin):
    _, run = begin(POLITE.format(300))
    private.kill(signal.SIGKILL)
    private.start()
    ending = run.result()
    assert ending.lost
    assert ending.error_type in ("StoppedFromOutside", "ContainerLost")


def test_an_engine_that_stays_away_loses_the_attempt(private, begin, monkeypatch):
    from raysched.runners.container import faults

    monkeypatch.setattr(faults, "_AWAY_S", 2.0)
    _, run = begin(POLITE.format(300))
    private.kill(signal.SIGTERM)
    ending = run.result()
    assert ending.lost
    assert ending.error_type in ("EngineLost",)
    assert "went away" in ending.fault


def test_an_adopter_does_not_trust_what_ended_over_a_restart(
    private, watcher, rooms, key, monkeypatch
):

    private.start()
    monkeypatch.setenv("DOCKER_HOST", private.address)
    docker_engine.import_base(docker.APIClient(base_url=private.address, version="auto"))
    process = watcher(POLITE.format(300), key=key, network="none")
    log = Room(rooms, name_of("/home", key)).log
    until(lambda: log.exists() and b"up" in log.read_bytes())
    process.kill()
    process.wait()
    private.kill(signal.SIGTERM)
    private.start()
    one = ContainerAttempt(make_task("true", key=key, network="none"), rooms)
    ending = one.run()
    one.close(b"over")
    assert (ending.exit_code, ending.lost, ending.error_type) == (0, True, "ContainerLost")
    assert "live-restore" in ending.fault
