"""How a Ray of one's own is known again."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from raysched.cluster import local
from raysched.errors import StoreError


@pytest.fixture
def supervisor():
    """A process that is called as the one is that `start` leaves to supervise Ray."""
    sleep = [sys.executable, "-c", "input()", "start", "--head", "--temp-dir=/tmp/rs-ray-1/r"]
    with subprocess.Popen(sleep, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def record(tmp_path):
    """Write a home's record of its Ray, and return the home."""

    def write(pid, temp_dir="/tmp/rs-ray-1/r", **more):
        told = {"address": "127.0.0.1:1", "pid": pid, "temp_dir": temp_dir, "token_path": "p"}
        (tmp_path / "ray.json").write_text(json.dumps({**told, **more}))
        return tmp_path

    return write


def test_a_living_ray_is_known_again(record, supervisor):
    assert local.find(record(supervisor.pid)).pid == supervisor.pid


def test_a_ray_of_the_version_before_lives_on_though_the_clock_was_set(record, supervisor):
    created = psutil.Process(supervisor.pid).create_time()
    assert local.find(record(supervisor.pid, created=created)) is not None
    assert local.find(record(supervisor.pid, created=created - 3600)) is not None


def test_a_ray_that_nobody_has_reaped_is_dead(record, supervisor):
    home = record(supervisor.pid, created=psutil.Process(supervisor.pid).create_time())
    supervisor.kill()
    os.waitid(os.P_PID, supervisor.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(supervisor.pid).status() == psutil.STATUS_ZOMBIE
    assert local.find(home) is None


def test_another_process_of_the_same_number_is_not_taken_for_ray(record, supervisor):
    assert local.find(record(supervisor.pid, temp_dir="/tmp/rs-ray-2/r")) is None
    assert local.find(record(os.getpid())) is None
    assert local.find(record(2**22 - 1)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}'])
def test_a_record_that_is_none_tells_of_no_ray(tmp_path, text):
    (tmp_path / "ray.json").write_text(text)
    assert local.find(tmp_path) is None


def test_a_home_that_cannot_be_made_is_told_with_its_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made") as caught:
        local.start(tmp_path / "file" / "home")
    assert "Not a directory" in caught.value.why
