"""One real Ray, the scheduler on it, and a Docker engine for a worker's tests of this folder."""

import os
import tempfile
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

import docker_engine
import raysched as rs

_OWN_ENGINE = pytest.StashKey[docker_engine.Engine]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have `$DOCKER_HOST` be an engine, if need be one of our own, for all workers of a session."""
    of_a_worker = hasattr(session.config, "workerinput")
    if not of_a_worker and not docker_engine.answers() and docker_engine.obstacle() is None:
        own = docker_engine.Engine(Path(tempfile.mkdtemp(prefix="rs-docker-")))
        own.start()
        os.environ["DOCKER_HOST"] = own.address
        session.stash[_OWN_ENGINE] = own


def pytest_sessionfinish(session: pytest.Session) -> None:
    if own := session.stash.get(_OWN_ENGINE, None):
        own.stop()


class _Sharing(LoadFileScheduling):
    """A file's tests, which tell of one another's runs, are one worker's, and so are all on Docker.

    Those look in the end whether anything is left on the engine.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "docker" if "container" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Sharing:
    return _Sharing(config, log)


@pytest.fixture(scope="session")
def docker_host():
    """Why there is no engine at `$DOCKER_HOST`, or None."""
    if docker_engine.answers():
        return None
    return docker_engine.obstacle() or "pytest starts one if it is told of tests/integration"


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
