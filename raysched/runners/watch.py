"""The worker's side of its guard: an attempt's beginning, its lines, its end.

The guard itself is `raysched.runners.guard`; here the worker has it started, sends its
output there for the length of an attempt, and is told what was kept. Job code never
runs in this module, and nothing here waits for a job. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from raysched.errors import RayschedError
from raysched.runners.calls import sweep
from raysched.runners.guard import __file__ as guard_package
from raysched.runners.guard import wire
from raysched.runners.guard.attempt import now_us
from raysched.runners.guard.caplog import CappedLog
from raysched.runners.guard.pipes import waiting
from raysched.runners.guard.wire import Frame, Inbox, Kind
from raysched.runners.mailbox import Mailbox
from raysched.runners.private import make_private
from raysched.runners.stdio import Stdio
from raysched.runners.words import LastWords, Line, mark_of, read_lines, read_words

_LOST = "the guard of this worker died: lines just before this one may be missing"
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # children of every kind, not only those that signal their end


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
        self._stdio = Stdio()
        # The read ends stay open here too: if the guard dies, the job's prints do not
        # fail, and what is in the pipes awaits the next guard.
        self._pipes = [os.pipe(), os.pipe()]
        self._sock: socket.socket | None = None
        self._inbox = Inbox()
        self._mailbox = Mailbox()
        self._posted: int | None = None  # the number of the terms that lie in the mailbox

    @classmethod
    def start(cls, directory: Path) -> Guard:
        """Start the guard of this process, once, and adopt its orphans from now on.

        `directory` is local to the node; it is made if need be, for this user alone.

        Raises:
            RayschedError: when the directory is another user's, or the guard does not start.
        """
        make_private(directory)
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
            self._terms = self._begin(terms)
            os.environ[wire.MARK_VARIABLE] = terms.mark.decode()
            self._stdio.divert([write for _, write in self._pipes])

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

        Processes that the attempt left running are killed. If the guard has just
        decided to end the attempt, this does not return: the worker is dying.

        Raises:
            RayschedError: when no attempt is under way.
        """
        # Without the lock: if the guard is dead and the pipes are full, this blocks until
        # the thread that waits for the lock has brought the next guard.
        self._stdio.flush_back()
        with self._lock:
            if self._terms is None:
                raise RayschedError("The worker has no attempt under way")
            self._stdio.point(self._stdio.outside)
            os.environ.pop(wire.MARK_VARIABLE, None)
            # Orphans fall to this process, so without children it has no descendants.
            children = _has_children()
            if not children and self._was_silent():
                self._terms = None
                return LastWords([], None, 0)
            body = wire.pack_release(children=children)
            try:
                answer = self._ask(Kind.RELEASE, body)
                while answer is None:
                    # The guard died. Another takes the attempt over, to end it in the same way.
                    self._take_over()
                    answer = self._ask(Kind.RELEASE, body)
            except RayschedError as error:
                # The job is done all the same: it must not fail for the loss of its output.
                log = CappedLog(0, self._terms.first_line)
                log.note(f"{_LOST}, and no other could be started: {error.why}", now_us())
                self._terms = None
                return LastWords(read_lines(log.rest()), None, 0)
            self._terms = None  # not before: a release that an exception cut short may be repeated
            words = wire.Words.unpack(answer.body)
            _reap(words.zombies)
        return read_words(words)

    def _was_silent(self) -> bool:
        """Whether the guard knows nothing of the attempt under way, and never will.

        The pipes are looked at first: if they are empty because the guard has emptied
        them, it had taken the terms up before. Most attempts end here, and their guard
        is not woken at all.
        """
        posted, self._posted = self._posted, None
        return (
            posted is not None
            and not any(waiting(read) for read, _ in self._pipes)
            and self._mailbox.withdraw(posted)
        )

    # The guard's process

    def _begin(self, terms: wire.Watch) -> wire.Watch:
        """Tell the guard that an attempt begins; start another guard if that one is dead."""
        if self._sock is None:
            self._launch()
        if not terms.look:
            # If the guard is dying at this moment, `_mind` hands these terms to another.
            look_at = terms.began + min(terms.timeout_s, wire.SAMPLE_S)
            self._posted = self._number()
            self._mailbox.post(self._posted, terms, look_at)
            return terms
        # Only with the answer is it certain that none of the job's children is among them.
        while (answer := self._ask(Kind.WATCH, terms.pack())) is None:
            self._launch()
        return terms._replace(look=False, baseline=wire.unpack_identities(answer.body))

    def _take_over(self) -> None:
        """Hand the attempt under way to a new guard, on the terms that are left of it."""
        assert self._terms
        self._launch(self._terms._replace(notice=_LOST.encode()))

    def _launch(self, terms: wire.Watch | None = None) -> None:
        """Start a guard, which finds that an attempt is under way if there are terms."""
        try:
            self._launch_or_fail(terms)
        except OSError as error:
            raise RayschedError("The guard did not start", why=str(error)) from error

    def _launch_or_fail(self, terms: wire.Watch | None) -> None:
        ours, theirs = socket.socketpair()
        if terms:
            # Before the guard is there: it must not see output that it knows no attempt for.
            ours.sendall(wire.frame(Kind.WATCH, body=terms.pack()))
        mailbox = Mailbox()  # a new guard must not find what another one has read already
        fds = [theirs.fileno(), mailbox.memory, mailbox.timer]
        fds += [read for read, _ in self._pipes]
        try:
            _run_guard(self._directory, fds, errors=self._stdio.outside[1])
        except BaseException:
            ours.close()
            mailbox.close()
            raise
        finally:
            theirs.close()
        self._mailbox.close()
        self._sock, self._inbox, self._mailbox, self._posted = ours, Inbox(), mailbox, None
        threading.Thread(target=self._mind, args=[ours], name="raysched-guard", daemon=True).start()

    def _mind(self, sock: socket.socket) -> None:
        """Wait for the guard's death; an attempt under way must not be without one."""
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        poll.poll()
        with self._lock:
            if self._sock is sock:
                self._sock = None
                if self._terms:
                    self._take_over_or_let_go()
            sock.close()  # only here, so that nobody polls a number that is in use again

    def _take_over_or_let_go(self) -> None:
        try:
            self._take_over()
        except RayschedError:
            # Nobody would read the pipes, and the job would block once they are full.
            self._stdio.point(self._stdio.outside)

    # Messages

    def _ask(self, kind: Kind, body: bytes = b"") -> Frame | None:
        """Send a request and return its answer, None if the guard is dead."""
        return self._receive() if self._send(kind, body) else None

    def _send(self, kind: Kind, body: bytes) -> bool:
        if self._sock is None:
            return False
        frame = wire.frame(kind, self._number(), body)
        try:
            # A job may have given SIGPIPE its deadly meaning back.
            self._sock.sendall(frame, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def _number(self) -> int:
        self._serial = self._serial % 0xFFFFFFFF + 1  # never wire.NO_TERMS
        return self._serial

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


def _run_guard(directory: Path, fds: list[int], errors: int) -> None:
    """Run the guard's first process, which ends once the guard proper answers."""
    program = os.path.join(os.path.dirname(guard_package), "__main__.py")
    command = [sys.executable, "-I", "-S", program, str(os.getpid()), str(directory)]
    # For this moment this process adopts no orphans: the guard is to fall to another.
    _adopt_orphans(False)
    try:
        code = subprocess.run(  # noqa: S603 - this Python and our own file
            [*command, *map(str, fds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=fds,
            cwd="/",
            start_new_session=True,  # no signal to the worker's group reaches it
            env={k: v for k, v in os.environ.items() if k != wire.MARK_VARIABLE},
            check=False,
        ).returncode
    finally:
        _adopt_orphans(True)
    if code:
        raise OSError(f"its program ended with {code}")


def _adopt_orphans(adopt: bool) -> None:
    # Refused only where there is no such call; then the mark alone finds orphans.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(adopt), 0, 0, 0)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True


def _reap(zombies: list[int]) -> None:
    for pid in zombies:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
