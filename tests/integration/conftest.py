"""One real local Ray, the scheduler on it, and a Docker engine, for all tests of this folder."""

import os
import tempfile
from pathlib import Path

import pytest

import docker_engine
import raysched as rs


@pytest.fixture(scope="session")
def docker_host():
    """Why there is no engine, or None: then `$DOCKER_HOST` is one, if need be one of our own."""
    own = None
    reason = None if docker_engine.answers() else docker_engine.obstacle()
    if not docker_engine.answers() and reason is None:
        own = docker_engine.Engine(Path(tempfile.mkdtemp(prefix="rs-docker-")))
        own.start()
        os.environ["DOCKER_HOST"] = own.address
    yield reason
    if own is not None:
        own.stop()
        del os.environ["DOCKER_HOST"]


@pytest.fixture(scope="package")
def client(tmp_path_factory, docker_host):
    import ray

    from raysched.cluster import local

    home = tmp_path_factory.mktemp("home")
    os.environ["RAYSCHED_NODE_DIR"] = str(tmp_path_factory.mktemp("node"))
    os.environ["RAYSCHED_SECRETS_DIR"] = str(tmp_path_factory.mktemp("secrets"))
    os.environ["RAYSCHED_ORPHAN_GRACE_S"] = "20"
    os.environ.update(RAY_health_check_period_ms="500")  # a node is dead after five of them
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # workers inherit it, and a kernel heeds it
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
