"""What a container left to a worker that is not root: read and opened, and nothing else touched."""

import io
import os
import shutil
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from raysched.runners.container.engine import Engine
from raysched.runners.container.reaper import _end
from raysched.runners.container.reclaim import reclaim
from raysched.runners.container.room import Room
from support import full_disk

WORKER = 1234


class OneContainer(Engine):
    """An engine that has one container, which has left one file."""

    def __init__(self, content: bytes = b"theirs") -> None:
        self._content = content
        self.done: list[str] = []

    def inspect(self, _container):
        return {"Config": {"Labels": {"raysched.container": "1"}}}

    def stop(self, _container, _grace_s):
        self.done.append("stop")

    def remove(self, _container):
        self.done.append("remove")

    def put(self, _container, _folder, archive):
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            self.done += [f"open {name}" for name in tar.getnames()]

    @contextmanager
    def stream(self, *_request, **_options):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo("a.parquet")
            entry.size = len(self._content)
            tar.addfile(entry, io.BytesIO(self._content))
        file.seek(0)
        self.done.append("copy")
        yield SimpleNamespace(raw=file)


@pytest.fixture
def room():
    """A room of a worker that is not root, with a result that it may not read."""
    root = os.geteuid() == 0
    rooms = Path(tempfile.mkdtemp())  # pytest's own folders are shut to others
    if root:
        os.chown(rooms, WORKER, WORKER)
        os.seteuid(WORKER)
    try:
        room = Room(rooms, "raysched-one")
        room.enter()
        room.furnish()
        (room.out / "a.parquet").touch(mode=0)
        yield room
        room.leave()
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(rooms)


@pytest.mark.parametrize("name", [".{pid}.copy", "copy", ".copy"])
def test_a_planted_link_leads_no_copy_out_of_the_room(room, name):
    ours = room.path / "ours"
    ours.write_bytes(b"ours")
    (room.out / name.format(pid=os.getpid())).symlink_to(ours)
    reclaim(OneContainer(), "one", room)
    assert ours.read_bytes() == b"ours"
    assert (room.out / "a.parquet").read_bytes() == b"theirs"


def test_a_copy_is_never_written_where_a_container_can_have_planted_something(room):
    class Looks(OneContainer):
        def copy(self, container, path, to):
            assert Path(to.name).parent == room.path
            assert os.listdir(room.out) == ["a.parquet"]
            super().copy(container, path, to)

    reclaim(Looks(), "one", room)
    assert not room.copy.exists()


def test_neither_links_nor_pipes_are_copied(room):
    (room.out / "a.parquet").unlink()
    secret = room.path / "secret"
    secret.touch(mode=0)
    (room.out / "b.parquet").symlink_to(secret)
    os.mkfifo(room.out / "c.parquet", 0)
    engine = OneContainer()
    reclaim(engine, "one", room)
    assert "copy" not in engine.done
    assert (room.out / "b.parquet").is_symlink()
    assert (room.out / "c.parquet").is_fifo()


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_full_disk_is_told_and_no_half_copy_stays(room, size):
    before = set(room.path.rglob("*"))
    with full_disk(10), pytest.raises(OSError, match="too large"):
        reclaim(OneContainer(b"x" * size), "one", room)
    assert set(room.path.rglob("*")) == before


def test_what_a_killed_worker_had_copied_is_removed(room):
    room.copy.write_bytes(b"half")
    room.clear()
    assert not room.copy.exists()


def test_the_reaper_opens_and_removes_and_copies_nothing(room):
    (room.out / "shut").mkdir(mode=0)
    engine = OneContainer()
    with full_disk():
        _end(engine, room)
    assert engine.done == ["stop", "open shut", "remove"]


def test_folders_of_any_depth_are_removed_and_stop_nobody(room):
    above = os.open(room.out, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=above)
        below = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    engine = OneContainer()
    _end(engine, room)
    assert engine.done == ["stop", "remove"]
    room.clear()
    assert not room.out.exists()
