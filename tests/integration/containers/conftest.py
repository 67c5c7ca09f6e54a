"""One real engine for all tests of this folder: the one that answers, or one of our own."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import docker
import pytest

import docker_engine
from container_task import make_task
from raysched.runners.container import ContainerAttempt
from raysched.runners.container.options import LABEL


@pytest.fixture(scope="session")
def engine(docker_host):
    """A client of the engine; afterwards nothing of ours is left on it."""
    if docker_host:
        docker_engine.none(docker_host)
    client = docker.APIClient(base_url=os.environ.get("DOCKER_HOST"), version="auto")
    docker_engine.import_base(client)
    dangling = {image["Id"] for image in client.images(filters={"dangling": True})}
    try:
        yield client
        left = client.containers(all=True, filters={"label": LABEL})
        assert not left, f"containers are left: {[c['Names'] for c in left]}"
        now = {image["Id"] for image in client.images(filters={"dangling": True})}
        assert now <= dangling, "dangling images are left"
    finally:
        for image in client.images():
            for tag in image["RepoTags"] or ():
                if tag.startswith("raysched-build:"):
                    client.remove_image(tag, force=True)
        client.close()


@pytest.fixture
def rooms(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSCHED_ORPHAN_GRACE_S", "30")
    folder = tmp_path / "rooms"
    yield folder
    for pid in reapers(folder):
        os.kill(pid, signal.SIGTERM)


def reapers(rooms: Path) -> list[int]:
    """The reapers of these rooms, also those that have only just begun."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if str(rooms).encode() in words and b"raysched.runners.container.reaper" in words:
                found.append(int(path.parent.name))
    return found


@pytest.fixture
def attempt(engine, rooms):
    """Makes attempts, which are closed in the end."""
    made = []

    def make(script: str | None = None, **given) -> ContainerAttempt:
        attempt = ContainerAttempt(make_task(script, **given), rooms)
        made.append(attempt)
        return attempt

    yield make
    for one in made:
        one.close(b"over")


@pytest.fixture
def ran(attempt):
    """Runs a script in a container: how it ended, and its lines."""

    def run(script: str | None = None, **given):
        one = attempt(script, **given)
        ending = one.run()
        return ending, one.tail()

    return run


@pytest.fixture
def key():
    return uuid.uuid4().hex


@pytest.fixture
def background():
    """Runs a function in a thread; `result()` waits for what it returns."""

    class Background(threading.Thread):
        def __init__(self, function) -> None:
            super().__init__(daemon=True)
            self._function = function
            self._result = None
            self.start()

        def run(self) -> None:
            self._result = self._function()

        def result(self, timeout_s: float = 60):
            self.join(timeout_s)
            assert not self.is_alive(), "it never came back"
            return self._result

    return Background


@pytest.fixture
def watcher(engine, rooms):
    """Starts attempts in processes of their own, that can be killed."""
    started = []

    def start(script: str | None = None, **given) -> subprocess.Popen:
        program = (
            "import sys, pickle; from pathlib import Path;"
            "from raysched.runners.container import ContainerAttempt;"
            "given, rooms = pickle.load(sys.stdin.buffer);"
            "from container_task import make_task;"
            "one = ContainerAttempt(make_task(**given), Path(rooms));"
            "print('ending', one.run(), flush=True); sys.stdin.read()"
        )
        given.setdefault("key", uuid.uuid4().hex)
        tests = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        )
        process.stdin.write(pickle.dumps(({"script": script, **given}, str(rooms))))
        process.stdin.flush()
        started.append((process, given["key"]))
        return process

    yield start
    for process, key in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        ContainerAttempt(make_task(key=key), rooms).close(b"over")


@pytest.fixture
def context():
    """Makes a build context of files."""

    def pack(**files: str) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        return file.getvalue()

    return pack
