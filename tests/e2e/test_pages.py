"""README and the pages that need a cluster, followed on a real Ray.

Each page is a process of its own, in a folder of its own, with no options: the first
starts Ray and the scheduler in the reader's home, the others find them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pytest

import docker_engine
import pages
from raysched.cluster import local

pytestmark = pytest.mark.timeout(300)

PAGES = [page for page in pages.pages() if pages.needs_cluster(page)]
TUTORIAL = "docs/tutorial.md"
PAGES.sort(key=lambda page: page != TUTORIAL)  # it is the one that starts and ends Ray

THEN = {
    "README.md": """
assert "daily_delays" in client.jobs().job.tolist()
next_slot = client.jobs().set_index("job").next_slot["daily_delays"]
assert next_slot.tz_convert("America/New_York").hour == 6
assert run.result().region.tolist() == ["US", "US"]
""",
}
"""What a page leaves, beside what it says itself."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The address of a Docker engine that has the base image; None where there can be none."""
    own = None
    if not docker_engine.answers():
        if docker_engine.obstacle():
            yield None
            return
        own = docker_engine.Engine(Path(tempfile.mkdtemp(prefix="rs-docker-")))
        own.start()
    address = own.address if own else os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    client = docker.APIClient(base_url=address, version="auto")
    docker_engine.import_base(client)
    client.close()
    yield address
    if own:
        own.stop()


@pytest.fixture(scope="module")
def reader(tmp_path_factory, engine):
    """A home directory that all pages share, and its environment."""
    folder = tmp_path_factory.mktemp("reader")
    env = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(pages.ROOT)}
    for name in ("RAYSCHED_HOME", "RAY_ADDRESS"):
        env.pop(name, None)
    if engine:
        env["DOCKER_HOST"] = engine
    yield folder, env
    if local.find(folder / "raysched"):
        local.stop(folder / "raysched")


@pytest.fixture(scope="module")
def cluster(reader):
    """A scheduler that is up, for all pages but the one that starts it itself."""
    program = Path(sys.executable).with_name("raysched")
    subprocess.run([program, "up"], env=reader[1], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(reader, page, request):
    folder, env = reader
    if page != TUTORIAL:
        request.getfixturevalue("cluster")
    options = ["--folder", str(folder / Path(page).stem), "--then", THEN.get(page, "")]
    if "DOCKER_HOST" not in env:
        assert not os.environ.get("CI"), "there is no Docker engine"
        options.append("--no-docker")
    done = subprocess.run(
        pages.command(page, *options),
        check=False,  # the assertion below shows what it printed
        env=env,
        capture_output=True,
        text=True,
        timeout=280,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
