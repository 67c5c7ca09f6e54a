"""Workers that are not root, and containers that leave root's files: results, and no litter."""

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from container_task import make_task
from raysched.runners.container import ContainerAttempt, reaper
from support import until

WORKER = 1234
NESTED = "mkdir -p /raysched/out/a/b; echo 1 > /raysched/out/a/b/c; mkdir -m 0 /raysched/out/a/d"


@pytest.fixture
def as_worker(engine):
    """Makes this process another user's, who may use the engine's socket."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    socket = Path(address.removeprefix("unix://"))
    socket.parent.chmod(
        socket.parent.stat().st_mode | 0o011
    )  # that of an engine of our own is shut
    groups = os.getgroups()

    @contextmanager
    def become():
        os.setgroups([socket.stat().st_gid])
        os.seteuid(WORKER)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setgroups(groups)

    return become


@pytest.fixture
def attempt(as_worker):
    """Makes attempts whose rooms are the worker's, and no reaper's."""
    rooms = Path(tempfile.mkdtemp())  # pytest's own folders are shut to others
    made = []

    def make(script: str, **given) -> ContainerAttempt:
        made.append(ContainerAttempt(make_task(script, **given), rooms))
        return made[-1]

    with open(rooms / ".reaper", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in (rooms, rooms / ".reaper"):
            os.chown(path, WORKER, WORKER)
        yield make
    for one in made:
        one.close(b"over")
    shutil.rmtree(rooms)


@pytest.mark.parametrize(
    ("script", "given"),
    [
        (f"{NESTED}; umask 077; echo 1 > /raysched/out/a.parquet", {}),
        ("echo 1 > /raysched/out/a.parquet; chmod 0 /raysched/out", {"user": str(WORKER)}),
        (
            f"{NESTED}; echo 1 > /raysched/out/a.parquet; chown 5 /raysched/out; "
            "chmod 0 /raysched/out",
            {"cap_add": ("CHOWN", "FOWNER", "DAC_OVERRIDE")},
        ),
    ],
)
def test_what_a_container_shuts_is_read_and_removed(attempt, as_worker, script, given):
    one = attempt(script, **given)
    with as_worker():
        ending = one.run()
        assert ending.exit_code == 0, ending.fault
        assert [path.read_text() for path in ending.results] == ["1\n"]
        one.close(b"over")
    assert not one._room.out.exists()
    assert reaper._settled(one._room)


def test_the_reaper_removes_what_a_container_shut(attempt, as_worker, engine):
    one = attempt(f"{NESTED}; sleep 100")
    with as_worker():
        one._room.enter()
        one._room.launch({})
        one._room.furnish()
        made = engine.create_container(
            one._task.container.image,
            ["sh", "-c", f"{NESTED}; sleep 100"],
            name=one._task.name,
            labels={"raysched.container": "1", "raysched.grace": "1"},
            host_config=engine.create_host_config(binds=[f"{one._room.out}:/raysched/out"]),
        )
        engine.start(made)
        until((one._room.out / "a" / "d").exists)
        one._room.leave()
        reaper.Reaper(one._rooms, 0).look(0)
    assert one._room.reaped()
    assert not one._room.out.exists()


def test_what_cannot_be_removed_is_stuck_and_keeps_nobody_busy(
    attempt, as_worker, engine, background
):
    one = attempt(f"{NESTED}; echo up; sleep 100")
    with as_worker():
        run = background(one.run)
        until(one.tail)
        engine.remove_container(one._task.name, force=True)
        assert run.result().lost
        one.close(b"over")
        assert one._room.out.exists()
        assert reaper._settled(one._room)
        assert reaper.Reaper(one._rooms, 0).look(0) == 0
        one._room.sweep()
        assert one._room.farewell() == b"over"
    one._room.sweep()
    assert not one._room.path.exists()
