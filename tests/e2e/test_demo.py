"""The demo, as a newcomer runs it: with a Docker engine and without one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pandas as pd
import pytest

import docker_engine
from raysched.cli.demo.cleanup import processes


def demo(home, **environment):
    done = subprocess.run(
        [Path(sys.executable).with_name("raysched"), "demo", "--home", home],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert processes(home) == []
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def docker_host():
    """An engine that has the base image of the example."""
    own = None
    if not docker_engine.answers():
        if reason := docker_engine.obstacle():
            docker_engine.none(reason)
        own = docker_engine.Engine(Path(tempfile.mkdtemp(prefix="rs-docker-")))
        own.start()
    address = own.address if own else os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    client = docker.APIClient(base_url=address, version="auto")
    docker_engine.import_base(client)
    yield address
    assert client.containers(all=True, filters={"label": "raysched.container"}) == []
    client.close()
    if own:
        own.stop()


def test_the_demo_runs_a_container_on_schedule_beside_the_native_jobs(docker_host, tmp_path):
    told = demo(tmp_path / "home", DOCKER_HOST=docker_host)
    runs = pd.read_parquet(tmp_path / "home" / "runs")
    boxes = runs[runs.job == "carriers"]
    assert (boxes.trigger == "schedule").all()
    assert "succeeded" in set(boxes.status)
    assert boxes.image.str.startswith("sha256:").any()
    assert "2013-02-09: 684 flights, 393 cancelled" in told


def test_the_demo_goes_on_without_an_engine_and_says_so(tmp_path):
    told = demo(tmp_path / "home", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "container jobs are left out: no Docker engine answers here" in told
    runs = pd.read_parquet(tmp_path / "home" / "runs")
    assert "carriers" not in set(runs.job)
    assert {"succeeded", "failed", "cancelled"} <= set(runs.status)
