"""Attempts that really run, in this process, behind the fake launcher.

The function is called as a worker calls it; what it returns is judged and kept as a
worker judges and keeps it. Only what a process of its own would give is missing: an
attempt is not killed, neither at its timeout nor are the processes that it leaves.
"""

from __future__ import annotations

import os
import shutil
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from raysched.cluster.attempts import Here
from raysched.cluster.attempts.native import current_of, perform
from raysched.core.model import Outcome
from raysched.core.orders import Order
from raysched.core.states import Event
from raysched.engine.messages import Deployment
from raysched.errors import InputError
from raysched.spec.declared import DeclaredJob
from raysched.spec.job import Job
from raysched.spec.units import Duration, duration
from raysched.testing.capture import Captured
from raysched.testing.clock import FakeClock
from raysched.testing.launcher import Act

if TYPE_CHECKING:
    from raysched.store.home import Staging

Takes = Duration | Callable[[Order], Duration]

_HERE = Here(node_id="node", node_ip="127.0.0.1", pid=os.getpid())


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an attempt's function left beside its outcome."""

    error: BaseException | None
    progress: tuple[float, float] | None
    metrics: Mapping[str, float] = field(default_factory=dict)


class InProcess:
    """A script for the fake launcher that calls each attempt's function.

    An attempt takes as much virtual time as `takes` says, plus as much as its function
    moved the clock. If that, or the time that it really took, is beyond the job's
    timeout, it counts as timed out once it has returned.
    """

    def __init__(self, clock: FakeClock, takes: Takes = "0s") -> None:
        self.takes = takes
        self.told: dict[str, Told] = {}
        self._clock = clock
        self._functions: dict[str, Callable[..., Any]] = {}

    @cached_property
    def home(self) -> Path:
        """Where the results lie that are tables; it goes with this object."""
        folder = mkdtemp(prefix="raysched-testing-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        """Make a result visible, as the scheduler does: this is its `Results` port, too."""
        from raysched.store import results

        final = results.result_path(job, run_id)
        results.publish(self.home, hidden, final)
        return final

    def publish_partial(self, run_id: str, job: str, attempt: int, hidden: str) -> str:
        """Make visible what an attempt leaves that has no result."""
        from raysched.store import results

        final = results.partial_path(job, run_id, attempt)
        results.publish(self.home, hidden, final)
        return final

    def discard(self, hidden: str) -> None:
        """Remove a file that is not to become visible."""
        from raysched.store import results

        results.discard(self.home, hidden)

    def deployment(self, job: DeclaredJob) -> Deployment:
        """Return a job as the engine takes it, and keep its function to be called.

        Raises:
            InputError: the job is no function.
        """
        if not isinstance(job, Job):
            raise InputError(
                f"job {job.name!r} cannot run in this process.",
                why="only the code of functions does; other kinds need what a worker has.",
                fix="simulate it without its code, or test it on a cluster.",
            )
        code_hash = f"in-process-{id(job.function)}"
        self._functions[code_hash] = job.function  # kept, so that no other gets its number
        return Deployment(spec=job.spec, code_hash=code_hash, code=b"")

    def __call__(self, order: Order) -> Act:
        """Run an attempt to its end, and say when in virtual time that is."""
        began, moment = time.monotonic(), self._clock.now()
        current = current_of(order)
        with Captured(self._clock.now) as captured:
            outcome, error = perform(
                lambda: self._functions[order.code_hash], order, current, _HERE, self._staging
            )
        if isinstance(error, KeyboardInterrupt):
            raise error  # who presses Ctrl-C means the test
        real = timedelta(seconds=time.monotonic() - began)
        takes = self._clock.now() - moment + self._length(order)
        limit = None if order.timeout_s is None else timedelta(seconds=order.timeout_s)
        if limit is not None and max(real, takes) > limit:
            outcome, error, takes = _timed_out(outcome), None, limit
        progress, metrics = current.told()
        self.told[order.key] = Told(error=error, progress=progress, metrics=metrics)
        return Act(
            wait=timedelta(0), takes=takes, event=outcome.event, outcome=outcome, log=captured.lines
        )

    def _staging(self) -> Staging:
        from raysched.store.home import open_home

        return open_home(self.home)

    def _length(self, order: Order) -> timedelta:
        takes = self.takes(order) if callable(self.takes) else self.takes
        return duration(takes, of="takes", zero=True)


def _timed_out(outcome: Outcome) -> Outcome:
    return Outcome(
        event=Event.TIME_OUT,
        cpu_time_s=outcome.cpu_time_s,
        peak_memory_bytes=outcome.peak_memory_bytes,
        metrics=outcome.metrics,
    )
