"""Which Ray is meant, as far as it can be told without one."""

import json
import os
import socket
import subprocess
import sys

import pytest

from raysched.cluster import finding, mark


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "RAYSCHED_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()


@pytest.fixture
def record(tmp_path):
    """Write down, as `ray start` does, which cluster this machine is a node of."""

    def write(address):
        path = tmp_path / "ray" / "ray_current_cluster"
        path.write_text(address)
        return path

    return write


@pytest.fixture
def home(tmp_path):
    """A home with a record of a Ray whose process is alive."""
    found = {"address": "127.0.0.1:1", "temp_dir": "t", "token_path": "p"}
    (tmp_path / "home").mkdir()
    sleep = [sys.executable, "-c", "input()", "--temp-dir=t"]
    with subprocess.Popen(sleep, stdin=subprocess.PIPE) as process:
        (tmp_path / "home" / "ray.json").write_text(json.dumps({**found, "pid": process.pid}))
        yield tmp_path / "home"
        process.kill()


def test_what_is_named_goes_before_what_is_found(monkeypatch, home):
    assert finding.find(home, named=False, address="a:1") == finding.FoundRay(address="a:1")
    monkeypatch.setenv("RAY_ADDRESS", "b:2")
    assert finding.find(home, named=True).address == "b:2"
    assert finding.find(home, named=True, address="a:1").address == "a:1"


def test_the_ray_that_was_started_for_the_home_goes_before_the_machines(home, record):
    with socket.create_server(("127.0.0.1", 0)) as server:
        record(f"127.0.0.1:{server.getsockname()[1]}")
        found = finding.find(home, named=False)
    assert found.own is not None
    assert found.address == "127.0.0.1:1"


def test_a_home_without_a_living_ray_has_none(home, tmp_path):
    assert finding.find(tmp_path / "other", named=False) is None
    (home / "ray.json").write_text("{}")
    assert finding.find(home, named=False) is None


def test_a_cluster_that_does_not_answer_is_none(record, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    record(f"127.0.0.1:{port}")
    assert mark.recorded() == f"127.0.0.1:{port}"
    assert finding.find(tmp_path / "other", named=False) is None


@pytest.mark.parametrize("address", ["", "no port", "h:p", "h:99999999999", "\x00:1", "é" * 300])
def test_a_record_that_is_no_address_is_none(record, tmp_path, address):
    record(address)
    assert finding.find(tmp_path / "other", named=False) is None


def test_a_record_that_is_another_users_or_a_link_does_not_count(record, tmp_path):
    path = record("127.0.0.1:1")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert mark.recorded() is None
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    path.unlink()
    os.chown(record("127.0.0.1:1"), 12345, 12345)
    assert mark.recorded() is None
