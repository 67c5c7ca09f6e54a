"""Ends what nobody watches: containers whose watcher died and that nobody took over;
and removes the images that were built here and that no job uses any more.

One for each node's rooms, started by the first watcher, a process in a session of its
own. It takes a room's lock before it touches anything, so that it never races an
adopter, and goes when there is nothing left to watch.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from raysched.errors import AlreadyWatched, EngineUnavailable
from raysched.runners.container.room import Room
from raysched.runners.container.task import IMAGES

if TYPE_CHECKING:
    from raysched.runners.container.engine import Engine

_LOCK = ".reaper"
_LOG = ".reaper.log"
_PREFIX = "raysched-"
_KEPT_S = 24 * 3600.0
_IDLE_S = 10.0


def awaken(rooms: Path) -> None:
    """Start these rooms' reaper unless there is one. Call it once a room is there to watch."""
    lock = _try_lock(rooms)
    if lock is None:
        return
    os.close(lock)  # two who come here together start two, of which one goes at once
    with open(rooms / _LOG, "ab") as log:
        subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-W", "ignore:::runpy", "-m", __name__, str(rooms)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class Reaper:
    """Looks at rooms, again and again; remembers since when each has had no owner.

    A room whose attempt is over stays for a day, so that a node may have a hundred thousand
    of them: those are remembered, too, and not looked at before it is time to sweep them.
    """

    def __init__(self, rooms: Path, grace_s: float) -> None:
        self._rooms, self._grace_s = rooms, grace_s
        self._unowned: dict[str, float] = {}
        self._over: dict[str, float] = {}

    def look(self, now: float) -> int:
        """End what has been unowned for longer than the grace; returns what is left to watch."""
        left = 0
        seen = set()
        names = {name for name in os.listdir(self._rooms) if name.startswith(_PREFIX)}
        self._over = {name: at for name, at in self._over.items() if name in names}
        for name in names:
            if time.time() < self._over.get(name, 0.0):
                continue
            room = Room(self._rooms, name)
            if _settled(room):
                self._over[name] = _sweep(room)
                continue
            seen.add(room.name)
            left += 1
            if room.watched():
                self._unowned.pop(room.name, None)
            elif now - self._unowned.setdefault(room.name, now) >= self._grace_s:
                self._reap(room)
        left += self._strays(now, seen)
        self._unowned = {name: at for name, at in self._unowned.items() if name in seen}
        return left

    def _reap(self, room: Room) -> None:
        from raysched.runners.container.engine import Engine
        from raysched.runners.container.faults import Away, Quiet, Refused

        # Also a full disk, which may have room again the next time.
        with suppress(AlreadyWatched, EngineUnavailable, Away, Quiet, Refused, OSError):
            room.enter(patience_s=0)
            try:
                if room.farewell() is None:
                    self._condemn(room)
                    _say(f"{room.name}: nobody watches it; its container is stopped")
                _end(Engine.here(), room)
                room.clear()
                if room.out.exists():
                    _say(f"{room.out}: only root can remove it")
            finally:
                room.leave()

    def _condemn(self, room: Room) -> None:
        try:
            room.reap(f"nobody watched it for {self._grace_s:g} s; it was ended")
        except OSError:  # a full disk; what the container left may be what fills it
            room.clear()
            raise

    def _strays(self, now: float, seen: set[str]) -> int:
        """End containers whose room is gone or over; returns how many are left."""
        from raysched.runners.container.engine import Engine
        from raysched.runners.container.faults import Away, Quiet, Refused
        from raysched.runners.container.options import LABEL

        left = 0
        with suppress(EngineUnavailable, Away, Quiet, Refused, OSError):
            for found in Engine.here().labelled(LABEL):
                name = found["Names"][0].lstrip("/")
                ours = found["Labels"].get("raysched.rooms") == str(self._rooms)
                if not ours or name in seen:
                    continue
                seen.add(name)
                left += 1
                if now - self._unowned.setdefault(name, now) >= self._grace_s:
                    _say(f"{name}: its attempt is over; it is stopped")
                    _end(Engine.here(), Room(self._rooms, name))
        return left


def _prune(folder: Path) -> None:
    """Remove images that nothing uses any more, once an hour."""
    from raysched.runners.container import pruning
    from raysched.runners.container.engine import Engine
    from raysched.runners.container.faults import Away, Quiet, Refused

    with suppress(EngineUnavailable, Away, Quiet, Refused, OSError):
        if pruning.due(folder, time.time()):
            for tag in pruning.prune(Engine.here(), folder, time.time()):
                _say(f"{tag}: no job has used it for a day; it is removed")


def _end(engine: Engine, room: Room) -> None:
    from raysched.runners.container.faults import Absent
    from raysched.runners.container.options import LABEL
    from raysched.runners.container.reclaim import open_folders

    with suppress(Absent):
        labels = engine.inspect(room.name)["Config"]["Labels"] or {}
        if LABEL not in labels:
            return  # somebody else's, of a name of ours
        engine.stop(room.name, float(labels.get("raysched.grace", 10)))
        if room.out.exists():
            open_folders(engine, room.name, room.out)
        engine.remove(room.name)


def _settled(room: Room) -> bool:
    """Whether a room's attempt is over, and all is removed that can be."""
    over = room.farewell() is not None or room.reaped() is not None
    return over and room.cleared()


def _sweep(room: Room) -> float:
    """Remove a room that is over for long enough that no one asks any more.

    Return when to look at it again, in seconds of the epoch.
    """
    with suppress(AlreadyWatched, OSError):  # gone, or a full disk
        due = room.path.stat().st_mtime + _KEPT_S
        if time.time() < due:
            return due
        room.enter(patience_s=0)
        try:
            room.sweep()
        finally:
            room.leave()
    return 0.0


def _try_lock(rooms: Path) -> int | None:
    lock = os.open(rooms / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _say(text: str) -> None:
    with suppress(OSError):
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", flush=True)


def main(rooms: Path) -> None:
    """Look until there has been nothing to watch for a while."""
    grace_s = float(os.environ.get("RAYSCHED_ORPHAN_GRACE_S", "60"))
    pause_s = min(5.0, max(0.2, grace_s / 4))
    reaper = Reaper(rooms, grace_s)
    while (lock := _try_lock(rooms)) is not None:
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < min(_IDLE_S, max(1.0, grace_s)):
            if reaper.look(time.monotonic()):
                idle_since = time.monotonic()
            _prune(rooms / IMAGES)
            time.sleep(pause_s)
        os.close(lock)
        # Whoever made a room while this one held the lock started no other: look once more.
        if not reaper.look(time.monotonic()):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
