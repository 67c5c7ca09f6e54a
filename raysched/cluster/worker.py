"""What runs in a Ray task: a batch of attempts, one after the other; mostly a batch of one.

The guard watches each attempt's output, time and processes; the herald tells the
launcher of an attempt that lasts.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import ray

from raysched.cluster import mail
from raysched.cluster.batch import Batch, Notes
from raysched.cluster.herald import Herald, Setting
from raysched.cluster.mail import OrderLetter, ReportLetter
from raysched.cluster.names import guard_directory
from raysched.core.model import Outcome
from raysched.core.orders import Ended, LogLine, Order, Started
from raysched.core.states import Event
from raysched.runners import native
from raysched.runners.current import Current, in_zone
from raysched.runners.watch import Guard, Line

LOG_LIMIT_BYTES = 8 * 1024 * 1024
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
        self._node_id = ray.get_runtime_context().get_node_id()
        self._node_ip = ray.util.get_node_ip_address()
        self._herald = Herald(lambda: _lines(guard.tail()))
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
                code = letter.code or large[letter.code_hash]
                ended = self._run(setting, batch, mail.open_order(letter.body), code)
                batch.over(mail.seal_report(ended))
            return batch.untold()
        except BaseException:
            # This is no fault of the job's, whose exceptions do not come here. A worker in an
            # unknown state is always free, and would fail run after run.
            _log.exception("the worker is unfit for more runs")
            os._exit(_UNFIT)

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

    def _run(self, setting: Setting, batch: Batch, order: Order, code: bytes) -> Ended:
        run = Current(
            run_id=order.run_id,
            attempt=order.attempt,
            job=order.job,
            slot=in_zone(order.slot, order.timezone),
        )
        self._guard.watch(order.key, timeout_s=order.timeout_s, log_limit_bytes=LOG_LIMIT_BYTES)
        self._herald.begin(setting, batch, self._started(order), run)
        execution = native.execute(order.code_hash, code, order.params, order.env, run)
        outcome = self._outcome(setting.home, order, run, execution)
        untold = self._herald.end()
        words = self._guard.release()
        peak = max(outcome.peak_memory_bytes or 0, words.peak_children_bytes)
        return Ended(
            key=order.key,
            outcome=replace(outcome, peak_memory_bytes=peak),
            lines=[*untold, *_lines(words.lines)],
        )

    def _started(self, order: Order) -> Started:
        return Started(
            key=order.key,
            started_at=datetime.now(UTC),
            node_id=self._node_id,
            node_ip=self._node_ip,
            worker_pid=os.getpid(),
            address=self._guard.address,
        )

    def _outcome(
        self, home: str, order: Order, run: Current, execution: native.Execution
    ) -> Outcome:
        common = {
            "started_at": execution.started_at,
            "finished_at": execution.finished_at,
            "node_id": self._node_id,
            "node_ip": self._node_ip,
            "worker_pid": os.getpid(),
            "cpu_time_s": execution.cpu_time_s,
            "peak_memory_bytes": execution.peak_memory_bytes,
            "metrics": run.told()[1],
        }
        failure = execution.failure
        if failure is None:
            try:
                kept = _keep(home, order, execution.value)
                return Outcome(event=Event.SUCCEED, **common, **kept)
            except BaseException as error:  # a hostile result may raise anything
                failure = native.describe(error)
        return Outcome(
            event=Event.FAIL,
            **common,
            reason=failure.reason,
            error_type=failure.error_type,
            error_message=failure.error_message,
            traceback=failure.traceback,
            exit_code=failure.exit_code,
        )


def _keep(home: str, order: Order, value: object) -> dict[str, Any]:
    """Return the result columns of a value, with its Parquet file durable but hidden."""
    if value is None:
        return {"result_kind": "none"}
    from raysched.store import results, returned  # pyarrow, which most no-op jobs never need

    result = returned.classify(value)
    if result.batches is None:
        return {"result_kind": result.kind, "result_json": result.json}
    written = results.write_result(home, order.job, order.run_id, order.attempt, result)
    return {
        "result_kind": result.kind,
        "result_rows": written.rows,
        "result_path": written.hidden_path,
    }


def _lines(lines: Sequence[Line]) -> list[LogLine]:
    return [
        LogLine(ts_us=line.ts_us, stream=line.stream, line_no=line.line_no, text=line.text)
        for line in lines
    ]
