"""The process table: who descends from whom, who carries a mark, and ending them.

It reads `/proc/<pid>/stat` of every process rather than `task/*/children`,
which not every kernel has. A process is its pid *and* its start time, so that a
pid that is used again is never taken for the process that had it before.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from raysched.runners.guard.wire import Identity

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One row of the process table."""

    pid: int
    parent: int
    start: int  # clock ticks since boot
    dead: bool
    name: str

    @property
    def identity(self) -> Identity:
        """The pid and the start time."""
        return self.pid, self.start


class Worker:
    """The process under guard."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = look(pid)
        try:
            self.handle = os.pidfd_open(pid)
        except OSError:
            self.handle = -1

    def alive(self) -> bool:
        """Return whether the process is still there."""
        now = look(self.pid)
        return bool(self._process and now and now.start == self._process.start and not now.dead)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process and to no later one of its pid."""
        if self._process:
            send(self._process, number)


def table() -> dict[int, Process]:
    """Return every process that is to be seen, dead ones that nobody waited for included."""
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process}


def look(pid: int) -> Process | None:
    """Return a process, or None if there is none of that pid."""
    stat = _read(f"/proc/{pid}/stat", 4096)
    opening, closing = stat.find(b"("), stat.rfind(b")")
    fields = stat[closing + 2 :].split()
    if len(fields) < 20:
        return None
    # A dead leader's threads may live on: such a process is not dead.
    dead = fields[0] in b"ZX" and int(fields[17]) <= 1
    name = stat[opening + 1 : closing].decode("utf-8", "backslashreplace")
    return Process(pid, int(fields[1]), int(fields[19]), dead, name)


def descendants(of: int, everyone: dict[int, Process], but: frozenset[Identity]) -> list[Process]:
    """Return those below a process, dead ones included, without those in `but` and below."""
    children: dict[int, list[Process]] = {}
    for process in everyone.values():
        if process.identity not in but:
            children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = [of]
    while parents:
        below = children.pop(parents.pop(), [])
        found += below
        parents += [process.pid for process in below]
    return found


def marked(process: Process, variable: bytes) -> bool:
    """Return whether a process was started with this `NAME=value` in its environment."""
    variables = _read(f"/proc/{process.pid}/environ", 4 * 1024 * 1024)
    return variable in variables.split(b"\0")


def holds(process: Process, files: Iterable[str]) -> bool:
    """Return whether a process has one of these files open (`pipe:[1234]`)."""
    folder = f"/proc/{process.pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{fd}") in files for fd in os.listdir(folder))
    except OSError:  # gone, or another user's
        return False


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if it is gone."""
    fields = _read(f"/proc/{pid}/statm", 256).split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def ticks_at(monotonic: float) -> int:
    """Return the start time of a process that started at that instant, or a little before."""
    ago = time.monotonic() - monotonic
    return int((time.clock_gettime(time.CLOCK_BOOTTIME) - ago) * _TICKS) - 2


def end_all(find: Callable[[], list[Process]], patience_s: float) -> dict[Identity, str]:
    """Kill what `find` finds until it finds nothing; return the names of the killed.

    One that forks faster than it can be found is found in the next pass, and
    so is what it left: killed processes fork no more. `patience_s` bounds it,
    as one that waits on a dead disk dies only when the disk answers.
    """
    killed: dict[Identity, str] = {}
    deadline = time.monotonic() + patience_s
    pause = 0.0005
    while True:
        beyond = 0
        living = [process for process in find() if not process.dead]
        for process in living:
            if send(process, signal.SIGKILL):
                killed[process.identity] = process.name
            else:
                beyond += 1  # another user's: set-uid programs
        if len(living) == beyond or time.monotonic() > deadline:
            return killed
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; return False if that is not allowed."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    except OSError:
        handle = -1  # a kernel before 5.3
    try:
        # The handle is taken first and the identity checked after: the signal cannot go astray.
        now = look(process.pid)
        if now is None or now.start != process.start:
            return True
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


def _read(path: str, limit: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        chunks = []
        while limit > 0 and (chunk := os.read(fd, min(limit, 65536))):
            chunks.append(chunk)
            limit -= len(chunk)
        return b"".join(chunks)
    except OSError:  # it went while it was read
        return b""
    finally:
        os.close(fd)
