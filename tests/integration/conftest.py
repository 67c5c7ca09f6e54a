"""One real local Ray, and the scheduler on it, for all tests of this folder."""

import os
import signal
from pathlib import Path

import psutil
import pytest

import raysched as rs


@pytest.fixture(scope="package")
def client(tmp_path_factory):
    import ray

    from raysched.cluster import local

    home = tmp_path_factory.mktemp("home")
    client = rs.connect(home, num_cpus=4)
    yield client
    ray.shutdown()
    local.stop(home)


@pytest.fixture
def marks(tmp_path):
    """A file to which jobs append a line each, so that the work itself keeps a record."""
    return Marks(tmp_path / "marks")


class Marks:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def lines(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().splitlines() if path.exists() else []


def kill_actor(client, name: str) -> int:
    """Kill the process of one of our actors as `kill -9` does, and return its pid."""
    raylet = psutil.Process(client.status()["pid"]).parent()
    (pid,) = [
        process.pid
        for process in raylet.children()
        if f"ray::{name}" in " ".join(process.cmdline())
    ]
    os.kill(pid, signal.SIGKILL)
    return pid
