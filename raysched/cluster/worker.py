"""What runs in a Ray task: a batch of attempts, one after the other; mostly a batch of one.

The guard watches each attempt's output, time and processes; the herald tells the
launcher of an attempt that lasts, and the closer ends one that outlasts its task.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

import ray

from raysched.cluster import mail
from raysched.cluster.attempts import Attempt, Here, Rest, Setting
from raysched.cluster.attempts.native import NativeAttempt
from raysched.cluster.batch import Batch, Notes
from raysched.cluster.closer import Closer
from raysched.cluster.hearing import tell
from raysched.cluster.herald import Herald
from raysched.cluster.mail import Kind, OrderLetter, ReportLetter
from raysched.cluster.names import guard_directory
from raysched.cluster.warm import Warmth
from raysched.core.orders import Order, Started
from raysched.runners.watch import Guard

_REST_S = 2.0  # how long an attempt waits that needs the process for itself
_UNFIT = 70  # the exit code of a worker that cannot be trusted with another run

_log = logging.getLogger(__name__)


def run_orders(piece: bytes, *references: Any) -> bytes:
    """Run a batch of attempts and return what is left to tell of them, as bagged letters.

    The bag holds the setting, the task's number, the orders' letters, and the hashes of
    the functions that are too large for a letter and lie in Ray's store as `references`.
    """
    setting, serial, letters, hashes = mail.unbag(piece)
    large = dict(zip(hashes, references, strict=True))
    return mail.bag(_worker().run(setting, serial, letters, large))


@lru_cache(maxsize=1)
def _worker() -> _Worker:
    # ray.cancel interrupts the main thread even between a run's function and our own
    # bookkeeping. It is only used to take tasks out of Ray's queue; a run that has
    # begun is ended by its guard. A handler, as a job's children would inherit SIG_IGN,
    # and unblocked, as they inherit Ray's mask.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return _Worker(Guard.start(guard_directory()))


class _Worker:
    """This process, as a place where attempts run."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._here = Here(
            node_id=ray.get_runtime_context().get_node_id(),
            node_ip=ray.util.get_node_ip_address(),
            pid=os.getpid(),
        )
        self._herald = Herald()
        self._closer = Closer(tell, _end_unfit)
        self._warmth = Warmth(needed=lambda: self._closer.busy)
        self._notes: Notes | None = None

    def run(
        self,
        setting: Setting,
        serial: int,
        letters: Sequence[OrderLetter],
        large: Mapping[str, bytes],
    ) -> list[ReportLetter]:
        """Run a batch of attempts and return the reports that are left to tell."""
        try:
            batch = Batch(serial, letters, self._take_notes([each.key for each in letters]))
            while letter := batch.next():
                code = large[letter.code_hash] if letter.code is None else letter.code
                batch.over(self._run(setting, batch, mail.open_order(letter.body), code))
            self._warmth.renew()
            return batch.untold()
        except BaseException:
            # This is no fault of the job's, whose exceptions do not come here. A worker in an
            # unknown state is always free, and would fail run after run.
            _log.exception("the worker is unfit for more runs")
            _end_unfit()

    def _take_notes(self, keys: Sequence[str]) -> Notes | None:
        """Begin the notes of a task; an attempt that is alone in its task needs none."""
        if len(keys) == 1:
            return None
        if self._notes:
            # Only now: that worker's end between the last attempt's and Ray's taking its
            # return value would have made all of them lost.
            self._notes.remove()
        self._notes = Notes(guard_directory(), keys)
        return self._notes

    def _run(self, setting: Setting, batch: Batch, order: Order, code: bytes) -> ReportLetter:
        """Run an attempt, and return what is left to tell of it."""
        attempt: Attempt
        # What is measured, and killed, of a process is its function's; with GPUs it ends soon.
        alone = order.container is None or order.shape.options.get("num_gpus")
        if alone and not self._closer.rest(_REST_S):
            return ReportLetter(order.key, Kind.BACK, b"")
        if order.container is None:
            attempt = NativeAttempt(self._guard, self._here, setting, order, code)
        else:
            # Most workers never need the Docker client, which takes long to load.
            from raysched.cluster.attempts.contained import ContainedAttempt

            gpu_ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", ())
            attempt = ContainedAttempt(self._here, setting, order, code, tuple(gpu_ids))
            if ended := attempt.farewell():
                return mail.seal_report(ended)
        self._herald.begin(setting, batch, self._started(order, attempt), attempt)
        rest = attempt.run()
        untold = self._herald.end()
        if rest is Rest.END:
            return mail.seal_report(attempt.end(untold))
        if rest is Rest.END_BESIDE:
            self._closer.take(setting, batch.serial, attempt, untold)
        return mail.seal_over(order.key, self._here.node_id)

    def _started(self, order: Order, attempt: Attempt) -> Started:
        return Started(
            key=order.key,
            started_at=datetime.now(UTC),
            node_id=self._here.node_id,
            node_ip=self._here.node_ip,
            worker_pid=self._here.pid,
            address=attempt.address,
        )


def _end_unfit() -> NoReturn:
    os._exit(_UNFIT)
