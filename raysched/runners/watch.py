"""The worker's side of the guard, and what others on its node ask of it.

The guard itself is `raysched.runners.guard`; here the worker starts it, sends
its output there for the length of an attempt, and is told what was kept. Job
code never runs in this module, and nothing here waits for a job.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal, TextIO

from raysched.errors import RayschedError
from raysched.runners.guard import __file__ as guard_package
from raysched.runners.guard import wire
from raysched.runners.guard.wire import Frame, Inbox, Kind

_LOST = "the guard of this worker died; the last lines before this one may be missing"
_WORDS_KEPT_S = 24 * 3600  # for callers that never come
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # children of every kind, not only those that signal their end

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an attempt's output."""

    ts_us: int  # UTC microseconds at which the guard received it
    stream: Literal["stdout", "stderr"]
    line_no: int  # from 1 within an attempt, over both streams; lines left out count too
    text: str


@dataclass(frozen=True, slots=True)
class LastWords:
    """Everything that the guard knows at the end of an attempt."""

    lines: list[Line]  # those that `tail` has not handed out
    verdict: Literal["timed_out", "cancelled"] | None  # why the guard ended it, if it did
    peak_children_bytes: int  # highest sampled sum over all descendants, 0 if there were none


class Guard:
    """The guard of this process: one attempt at a time goes through `watch` and `release`."""

    address: str
    """The path of the guard's socket, for `stop`."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / f"{os.getpid()}.sock")
        self._directory = directory
        self._lock = threading.Lock()
        self._serial = 0
        self._terms: wire.Watch | None = None  # of the attempt under way
        self._pending: list[Line] = []  # what a tail that was interrupted would have returned
        # The read ends stay open here too: if the guard dies, the job's prints do not
        # fail, and what is in the pipes awaits the next guard.
        self._pipes = [os.pipe(), os.pipe()]
        self._outside = [_copy(1), _copy(2)]
        self._stdio = _Stdio()
        self._sock: socket.socket | None = None
        self._inbox = Inbox()

    @classmethod
    def start(cls, directory: Path) -> Guard:
        """Start the guard of this process, once, and adopt its orphans from now on.

        `directory` is local to the node; it is made if need be, for this user alone.

        Raises:
            RayschedError: when the directory is another user's, or the guard does not start.
        """
        _make_private(directory)
        sweep(directory)
        guard = cls(directory.absolute())
        guard._launch()
        return guard

    def watch(self, key: str, *, timeout_s: float | None, log_limit_bytes: int) -> None:
        """Begin an attempt: from now on its output, its time and its processes are watched.

        Raises:
            RayschedError: when an attempt is under way, or no guard can be started.
        """
        with self._lock:
            if self._terms:
                raise RayschedError("The worker already has an attempt under way")
            terms = wire.Watch(
                mark=mark_of(key),
                began=time.monotonic(),
                timeout_s=inf if timeout_s is None else timeout_s,
                log_limit=log_limit_bytes,
                look=_has_children(),
            )
            self._begin(terms)
            os.environ[wire.MARK_VARIABLE] = terms.mark.decode()
            self._stdio.enter()
            self._redirect([write for _, write in self._pipes])

    def tail(self) -> list[Line]:
        """Return the lines since the last call that are certain to stay; from any thread."""
        with self._lock:
            if self._terms is None or (answer := self._ask(Kind.TAIL)) is None:
                return []
            lines = read_lines(answer.body)
            if lines:
                self._terms = self._terms._replace(first_line=lines[-1].line_no + 1)
            return lines

    def release(self) -> LastWords:
        """End the attempt: give the worker its own output back, and return what was kept.

        Processes that the attempt left running are killed. If the guard itself has
        just decided to end the attempt, this does not return: the worker is dying.

        Raises:
            RayschedError: when no attempt is under way.
        """
        with self._lock:
            if self._terms is None:
                raise RayschedError("The worker has no attempt under way")
            self._stdio.leave()
            self._redirect(self._outside)
            os.environ.pop(wire.MARK_VARIABLE, None)
            children = _has_children()
            answer = self._ask(Kind.RELEASE, wire.pack_release(children=children))
            if answer is None:
                # The guard died. A new one takes the attempt over to end it in the same way.
                self._revive()
                answer = self._ask(Kind.RELEASE, wire.pack_release(children=children))
            first_line, self._terms = self._terms.first_line, None
            if answer is None:
                return LastWords([_lost_line(first_line)], None, 0)
            words = wire.Words.unpack(answer.body)
            _reap(words.zombies)
            return _last_words(words)

    # The guard's process

    def _begin(self, terms: wire.Watch) -> None:
        """Tell the guard that an attempt begins; start another guard if that one is dead."""
        if self._sock is None or not self._send(Kind.WATCH, terms.pack()):
            self._launch()
            self._send(Kind.WATCH, terms.pack())
        if terms.look:
            # Only with the answer is it certain that the job's children are not among them.
            answer = self._receive()
            known = wire.unpack_identities(answer.body) if answer else frozenset()
            terms = terms._replace(look=False, baseline=known)
        self._terms = terms

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        reads = [read for read, _ in self._pipes]
        program = os.path.join(os.path.dirname(guard_package), "__main__.py")
        fds = [theirs.fileno(), *reads]
        environment = {k: v for k, v in os.environ.items() if k != wire.MARK_VARIABLE}
        # For this moment not the adopter of orphans: the guard is to fall to another.
        _set_subreaper(False)
        try:
            code = subprocess.run(
                [sys.executable, "-I", "-S", program]
                + [str(os.getpid()), str(self._directory), *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._outside[1],
                pass_fds=fds,
                start_new_session=True,  # no signal to the worker's group reaches it
                env=environment,
                check=False,
            ).returncode
        except OSError as error:
            ours.close()
            raise RayschedError("The guard did not start", why=str(error)) from error
        finally:
            _set_subreaper(True)
            theirs.close()
        if code:
            ours.close()
            raise RayschedError("The guard did not start", why=f"it ended with {code}")
        self._sock, self._inbox = ours, Inbox()
        threading.Thread(target=self._mind, args=(ours,), name="raysched-guard", daemon=True).start()

    def _mind(self, sock: socket.socket) -> None:
        """Wait for the guard's death, and replace it if an attempt is under way."""
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        poll.poll()
        with self._lock:
            if self._sock is sock:
                self._sock = None
                if self._terms:
                    self._revive()
            sock.close()  # here alone, so that nobody polls a number that is used again

    def _revive(self) -> None:
        """Hand the attempt under way to a new guard, on the terms that are left of it."""
        assert self._terms
        try:
            if self._sock is None or _hung_up(self._sock):
                self._launch()
            self._send(Kind.WATCH, self._terms._replace(notice=_LOST.encode()).pack())
        except RayschedError:
            # Nobody would read the pipes, and the job would block once they are full.
            self._sock = None
            self._redirect(self._outside)

    # Messages

    def _ask(self, kind: Kind, body: bytes = b"") -> Frame | None:
        """Send a request and return its answer, None if the guard is dead."""
        return self._receive() if self._send(kind, body) else None

    def _send(self, kind: Kind, body: bytes) -> bool:
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        if self._sock is None:
            return False
        try:
            self._sock.sendall(wire.frame(kind, self._serial, body))
        except OSError:
            return False
        return True

    def _receive(self) -> Frame | None:
        assert self._sock
        while True:
            for frame in self._inbox.frames():
                # An answer to a request that an exception cut short is nobody's any more.
                if frame.serial == self._serial:
                    return frame
            try:
                chunk = self._sock.recv(1 << 18)
            except OSError:
                return None
            if not chunk:
                return None
            self._inbox.feed(chunk)

    @staticmethod
    def _redirect(targets: list[int]) -> None:
        os.dup2(targets[0], 1)
        os.dup2(targets[1], 2)
