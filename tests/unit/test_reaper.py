"""The reaper on a node that has run many containers."""

import os
import time

from raysched.runners.container.reaper import Reaper
from raysched.runners.container.room import Room

DAY_S = 24 * 3600


def over(rooms, name):
    room = Room(rooms, name)
    room.enter()
    room.bid(b"the end")
    room.clear()
    room.leave()
    return room


def age(room, seconds):
    then = time.time() - seconds
    os.utime(room.path, (then, then))


def test_a_room_that_is_over_is_swept_after_a_day(tmp_path):
    old, new = over(tmp_path, "raysched-old"), over(tmp_path, "raysched-new")
    age(old, DAY_S + 60)
    reaper = Reaper(tmp_path, 60)
    assert reaper.look(0) == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_a_room_that_was_seen_to_be_over_is_looked_at_when_it_is_time_to_sweep_it(tmp_path):
    room = over(tmp_path, "raysched-a")
    age(room, DAY_S - 5)
    reaper = Reaper(tmp_path, 60)
    reaper.look(0)
    (room.path / "farewell").unlink()  # would count as unwatched if it were looked at
    age(room, DAY_S - 5)
    assert reaper.look(0) == 0
    room.bid(b"the end")
    age(room, DAY_S + 60)
    until = time.monotonic() + 10
    while room.exists():
        reaper.look(0)
        assert time.monotonic() < until


def test_a_room_that_is_not_over_is_looked_at_each_time(tmp_path):
    room = Room(tmp_path, "raysched-a")
    room.enter()
    reaper = Reaper(tmp_path, 60)
    assert reaper.look(0) == 1
    room.leave()
    assert reaper.look(0) == 1
    room.enter()
    room.bid(b"the end")
    room.leave()
    assert reaper.look(0) == 0
