"""The guard itself: it reads output, keeps time, and ends what must end.

One thread, and it sleeps until a pipe, a socket, the worker's death or the next
deadline wakes it. The law that keeps it free of races: what the worker said
comes before any decision about the worker, and once the guard has condemned an
attempt, the worker gets no further answer.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import NamedTuple

from raysched.runners.guard import kin, procs, wire
from raysched.runners.guard.attempt import Attempt, now_us
from raysched.runners.guard.callers import Callers
from raysched.runners.guard.caplog import LINE_MAX
from raysched.runners.guard.loop import Loop
from raysched.runners.guard.mail import Mail
from raysched.runners.guard.pipes import hung_up, waiting
from raysched.runners.guard.procs import Worker
from raysched.runners.guard.sockets import Connection, listen
from raysched.runners.guard.wire import Frame, Inbox, Kind

SAMPLE_SHARE = 50  # sampling takes no more than one part in this many of a core
PATIENCE_S = 5.0  # for processes that do not die of SIGKILL, and pipes that do not end
LOOK_S = 0.25  # how often the worker is looked for on kernels without pidfd


class Inherited(NamedTuple):
    """The descriptors that the worker gives its guard."""

    control: int  # a socket: frames both ways
    mailbox: int  # memory that holds the terms of the attempt under way
    timer: int  # set by the worker, to have the mailbox looked at
    stdout: int  # pipes
    stderr: int


class Program:
    """One guard, from its start to the death of its worker."""

    def __init__(
        self, worker: Worker, directory: str, listener: socket.socket, given: Inherited
    ) -> None:
        self._worker = worker
        self._directory = directory
        self._control = Connection(socket.socket(fileno=given.control), Inbox())
        self._mail = Mail(given.mailbox)
        self._begun = 0  # how many attempts have begun so far
        self._timer = given.timer
        self._pipes = (given.stdout, given.stderr)
        self._pipe_files = frozenset(os.readlink(f"/proc/self/fd/{fd}") for fd in self._pipes)
        self._attempt: Attempt | None = None
        self._said: tuple[bytes, bytes] | None = None  # mark and words of the attempt before
        self._done = False
        self._loop = Loop()
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.on(pipe, lambda pipe=pipe: self._read(pipe))  # type: ignore[misc]
        self._loop.on(given.control, self._hear_worker)
        self._callers = Callers(listener, self._loop, self._serve)
        self._loop.on(given.timer, self._look_up)
        if worker.handle >= 0:
            self._loop.on(worker.handle, self._worker_died)

    def run(self) -> None:
        """Watch until the worker is dead and its last words are written."""
        while not self._done:
            for handle in self._loop.ready(self._until_next()):
                handle()
                if self._done:
                    return
            self._keep_time()

    # Time

    def _until_next(self) -> float | None:
        attempt, now = self._attempt, time.monotonic()
        next_look = inf if self._worker.handle >= 0 else now + LOOK_S
        if attempt and not attempt.condemned:
            next_look = min(next_look, attempt.deadline, attempt.sample_at)
        return None if next_look == inf else max(0.0, next_look - now)

    def _keep_time(self) -> None:
        if self._worker.handle < 0 and not self._worker.alive():
            self._worker_died()
            return
        attempt = self._attempt
        if attempt is None or attempt.condemned:
            return
        now = time.monotonic()
        if now >= attempt.deadline:
            # A release that was sent before this moment still counts.
            self._hear_worker()
            if self._attempt is attempt:
                attempt.timed_out()
                self._condemn(attempt)
        elif now >= attempt.sample_at:
            self._sample(attempt)

    def _sample(self, attempt: Attempt) -> None:
        began = time.thread_time()
        below = kin.below(self._worker, attempt)
        attempt.seen = frozenset(process.identity for process in below)
        attempt.peak = max(attempt.peak, sum(procs.resident(process.pid) for process in below))
        cost = time.thread_time() - began
        attempt.sample_at = time.monotonic() + max(wire.SAMPLE_S, SAMPLE_SHARE * cost)

    # Output

    def _read(self, pipe: int) -> None:
        most = LINE_MAX
        if self._attempt is None:
            # The output may have overtaken the word that an attempt begins. Counted before
            # the worker is heard: what comes later may be of an attempt not known here yet.
            count, begun = waiting(pipe), self._begun
            self._hear_worker()
            if self._attempt is None:
                if not count or self._begun != begun:  # its release has taken what waited
                    if hung_up(pipe):
                        self._loop.off(pipe)
                    return
                most = min(count, LINE_MAX)
        try:
            chunk = os.read(pipe, most)
        except BlockingIOError:
            return
        if not chunk:  # the worker and all that it started are gone, or have closed their ends
            self._loop.off(pipe)
        elif self._attempt:
            self._attempt.log.feed(self._pipes.index(pipe), chunk, now_us())

    def _drain(self) -> None:
        """Read what is in the pipes at this moment, and no more: a flood has no end."""
        for pipe in self._pipes:
            for _ in range(0, waiting(pipe), LINE_MAX):
                self._read(pipe)

    # The worker's words

    def _look_up(self) -> None:
        with suppress(BlockingIOError):  # set anew since
            os.read(self._timer, 8)
        self._hear_worker()

    def _hear_worker(self) -> None:
        there = self._control.receive()
        # In this order: whatever attempt a frame is about, its terms were laid down before.
        if terms := self._mail.take():
            self._begin(Attempt(terms))
        for frame in self._control.inbox.frames():
            self._obey(frame)
        if not there:
            self._loop.off(self._control.sock.fileno())
            # With an attempt under way the worker is dying, or has become another program
            # by exec: its death, the deadline or a stop will tell.
            if self._attempt is None and self._said is None:
                self._done = True

    def _obey(self, frame: Frame) -> None:
        attempt = self._attempt
        if frame.kind is Kind.WATCH:
            self._watch(frame)
        elif attempt is None:
            if frame.kind is Kind.RELEASE and self._said:  # asked again: the answer was not read
                self._answer(wire.frame(Kind.WORDS, frame.serial, self._said[1]))
        elif attempt.condemned:
            return
        elif frame.kind is Kind.TAIL:
            self._answer(wire.frame(Kind.LINES, frame.serial, attempt.log.take()))
        elif frame.kind is Kind.RELEASE:
            self._release(attempt, frame)

    def _watch(self, frame: Frame) -> None:
        terms = wire.Watch.unpack(frame.body)
        if terms.look:
            below = procs.descendants(self._worker.pid, procs.table(), frozenset())
            baseline = frozenset(process.identity for process in below)
            self._answer(wire.frame(Kind.BASELINE, frame.serial, wire.pack_identities(baseline)))
            terms = terms._replace(baseline=baseline)
        self._begin(Attempt(terms))

    def _begin(self, attempt: Attempt) -> None:
        self._said = None
        self._begun += 1
        self._attempt = attempt

    def _release(self, attempt: Attempt, frame: Frame) -> None:
        if wire.unpack_release(frame.body):
            self._end_leftovers(attempt, lambda: kin.below(self._worker, attempt))
            below = kin.below(self._worker, attempt)
            attempt.zombies = [it.pid for it in below if it.dead and it.parent == self._worker.pid]
        self._drain()
        attempt.log.close(now_us())
        words = attempt.words()
        self._attempt = None
        # If the worker dies before it has passed them on, they are still here.
        self._said = attempt.mark, words
        self._answer(wire.frame(Kind.WORDS, frame.serial, words))

    def _answer(self, data: bytes) -> None:
        # The worker may hold its GIL and read nothing for long; the guard must not wait for it.
        self._control.push(data)
        fd = self._control.sock.fileno()
        if self._control.outbox and self._loop.has(fd):
            self._loop.on(fd, self._answer_rest, select.EPOLLIN | select.EPOLLOUT)

    def _answer_rest(self) -> None:
        self._control.push()
        if not self._control.outbox:
            self._loop.on(self._control.sock.fileno(), self._hear_worker)
        self._hear_worker()

    # Others' words

    def _serve(self, caller: Connection, frame: Frame) -> None:
        if frame.kind not in (Kind.STOP, Kind.AWAIT):
            raise wire.FrameError(frame.kind)
        mark, grace_s = wire.unpack_stop(frame.body)
        # Whatever the worker said first comes first: it may have moved on to another attempt.
        self._hear_worker()
        attempt = self._attempt
        if attempt is None or attempt.mark != mark:
            # Words that were said already are written only if the worker dies too.
            held = self._said is not None and self._said[0] == mark
            if not (frame.kind is Kind.AWAIT and held and not self._worker.alive()):
                caller.push(wire.frame(Kind.NO))
        elif frame.kind is Kind.STOP:
            caller.push(wire.frame(Kind.YES))
            self._cancel(attempt, grace_s)

    # Endings

    def _cancel(self, attempt: Attempt, grace_s: float) -> None:
        if attempt.condemned:
            return
        attempt.cancelled()
        if grace_s > 0:
            attempt.deadline = min(attempt.deadline, time.monotonic() + grace_s)
            for process in kin.below(self._worker, attempt):
                procs.send(process, signal.SIGTERM)
        else:
            self._condemn(attempt)

    def _condemn(self, attempt: Attempt) -> None:
        """End the worker and all below it.

        The worker is stopped first and killed last: while it lives, whatever its
        descendants leave behind falls to it, and so stays within reach; while it
        stands still, it neither starts more of them nor moves on.
        """
        attempt.condemned = True
        self._worker.send(signal.SIGSTOP)
        procs.end_all(lambda: kin.below(self._worker, attempt), PATIENCE_S)
        self._worker.send(signal.SIGKILL)

    def _worker_died(self) -> None:
        self._hear_worker()  # its last frames may say that an attempt began, or ended
        if self._attempt:
            self._finish(self._attempt)
        elif self._said:
            self._write(*self._said)
        self._done = True

    def _finish(self, attempt: Attempt) -> None:
        def left() -> list[procs.Process]:
            return kin.orphans(self._worker, attempt, self._pipe_files)

        if attempt.condemned:
            procs.end_all(left, PATIENCE_S)
        else:
            self._end_leftovers(attempt, left)
        # Nothing of the attempt writes any more; what the kernel still holds are its last words.
        self._drain()
        attempt.zombies = []
        attempt.log.close(now_us())
        self._write(attempt.mark, attempt.words())

    def _end_leftovers(self, attempt: Attempt, find: Callable[[], list[procs.Process]]) -> None:
        if killed := procs.end_all(find, PATIENCE_S):
            self._drain()
            attempt.mourn(killed)

    def _write(self, mark: bytes, words: bytes) -> None:
        name = f"{self._directory}/{mark.decode()}.words"
        hidden = f"{self._directory}/.{mark.decode()}.{os.getpid()}"
        try:
            fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(words)
            # No fsync: this outlives a process, and a dead node's files are gone anyway.
            os.replace(hidden, name)
        except OSError as error:
            sys.stderr.write(f"raysched: the last words could not be written: {error}\n")


def main(argv: list[str]) -> None:
    """Become a guard, given the worker's pid, the directory, and what is `Inherited`.

    The first process makes everything ready, forks the guard proper and ends, so
    that the guard is nobody's child and whoever started it may go on.
    """
    pid, directory = int(argv[1]), argv[2]
    given = Inherited(*(int(fd) for fd in argv[3:]))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # it ends with its worker, not with a farewell
    worker = Worker(pid)
    if os.getppid() != pid:
        return  # the worker is dead already
    listener = listen(directory, pid)
    if os.fork():
        return
    _spare_from_oom()
    try:
        Program(worker, directory, listener, given).run()
    finally:
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{pid}.sock")


def _spare_from_oom() -> None:
    # Ray marks its workers as the first to go; the guard is small and holds their last words.
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("0")
    except OSError:
        pass
