"""A node whose disk is full: a container's end is told all the same, and the disk gets free."""

from container_task import make_task
from raysched.runners.container import ContainerAttempt
from raysched.runners.container.frames import Message
from raysched.runners.container.output import Output
from raysched.runners.container.reaper import Reaper
from raysched.runners.container.room import Room
from support import full_disk


def lines(count: int) -> list[Message]:
    return [Message(n + 1, 0, b"%d\n" % n) for n in range(count)]


def test_lines_are_told_that_the_journal_does_not_take(tmp_path):
    output = Output(tmp_path / "log", 1_000_000)
    with full_disk(100):
        for line in lines(50):
            output.feed([line])
    assert [line.text for line in output.tail()] == [str(n) for n in range(50)]
    output.finish()
    output.hand_over()
    again = Output(tmp_path / "log", 1_000_000)  # one that takes over asks the engine for the rest
    again.resume()
    again.feed(lines(60))
    assert [(line.line_no, line.text) for line in again.tail()] == [
        (n + 1, str(n)) for n in range(60)
    ]


def test_an_end_is_told_that_the_room_does_not_take(tmp_path):
    one = ContainerAttempt(make_task("true"), tmp_path)
    with full_disk():
        one.close(b"over")
    assert one._room.farewell() is None
    assert not one._room.watched()


def test_the_reaper_gets_room_by_what_a_container_left_that_nobody_watches(tmp_path):
    room = Room(tmp_path, make_task("true").name)
    room.enter()
    (room.furnish() / "large").write_bytes(b"x" * 1000)
    reaper = Reaper(tmp_path, 0)
    with full_disk():
        reaper._reap(Room(tmp_path, room.name))
        assert room.out.exists()
        room.leave()
        reaper._reap(Room(tmp_path, room.name))
    assert room.reaped() is None
    assert not room.out.exists()
    assert [path.name for path in room.path.iterdir()] == ["owner"]
