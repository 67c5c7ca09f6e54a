"""Which processes are an attempt's: those below its worker, or what a dead worker's has left."""

from __future__ import annotations

import os
from collections.abc import Iterable

from raysched.runners.guard import procs
from raysched.runners.guard.attempt import Attempt
from raysched.runners.guard.procs import Process, Worker


def below(worker: Worker, attempt: Attempt) -> list[Process]:
    """Return what descends from a worker that is there, but for what it had before."""
    return procs.descendants(worker.pid, procs.table(), attempt.baseline)


def orphans(worker: Worker, attempt: Attempt, pipes: Iterable[str]) -> list[Process]:
    """Return what a dead worker's attempt left, wherever it has been reparented to.

    Those that were started by exec carry the mark. Those that were only forked have the
    worker's environment, but also its `pipes`. Those that shed both were seen, if they
    lived long enough, while the worker was there.
    """
    everyone = procs.table()
    found = {
        process.pid: process
        for process in everyone.values()
        if process.start >= attempt.start
        and process.identity not in attempt.baseline
        and process.pid not in (os.getpid(), worker.pid)
        and not process.dead
        and (
            process.identity in attempt.seen
            or procs.marked(process, attempt.variable)
            or procs.holds(process, pipes)
        )
    }
    for pid in list(found):
        under = procs.descendants(pid, everyone, attempt.baseline)
        found.update((process.pid, process) for process in under)
    return list(found.values())
