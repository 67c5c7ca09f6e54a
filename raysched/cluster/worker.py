"""What runs in a Ray task: the attempts of one launch, one after the other.

The guard watches each attempt's output, time and processes; the herald tells the
launcher of an attempt that lasts. A Ray task gets a list of orders and returns a
list of ends, so that sharing a task among tiny runs is a matter of policy.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import ray

from raysched.cluster import mail
from raysched.cluster.names import NAMESPACE, guard_directory
from raysched.core.model import Outcome
from raysched.core.orders import Beat, Ended, LogLine, Order, Report, Started
from raysched.core.states import Event
from raysched.runners import native
from raysched.runners.current import Current, in_zone
from raysched.runners.watch import Guard, LastWords, Line

ANNOUNCE_AFTER_S = 0.1
BEAT_S = 0.5
LOG_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all attempts of a launcher have in common."""

    home: str
    launcher: str
    incarnation: str


def run_orders(piece: bytes, *references: Any) -> bytes:
    """Run attempts one after the other and return how each ended, as bagged letters.

    The bag holds the setting, and for each order its letter and its pinned function;
    functions that are too large for a bag lie in Ray's store under `references`, in
    the order in which they are missing.
    """
    setting, letters = mail.unbag(piece)
    worker, stored = _worker(setting), iter(references)
    return mail.bag(
        [
            mail.seal_report(worker.run(mail.open_order(order), code or next(stored)))
            for order, code in letters
        ]
    )


@lru_cache(maxsize=1)
def _worker(setting: Setting) -> _Worker:
    # ray.cancel interrupts the main thread even between a run's function and our own
    # bookkeeping. It is only used to take tasks out of Ray's queue; a run that has
    # begun is ended by its guard.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _Worker(setting, Guard.start(guard_directory()))


class _Worker:
    """This process, as a place where attempts run."""

    def __init__(self, setting: Setting, guard: Guard) -> None:
        context = ray.get_runtime_context()
        self._home = setting.home
        self._guard = guard
        self._node_id = context.get_node_id()
        self._node_ip = ray.util.get_node_ip_address()
        self._pid = os.getpid()
        self._herald = _Herald(setting, self)

    def run(self, order: Order, code: bytes) -> Ended:
        """Run one attempt and return how it ended."""
        run = Current(
            run_id=order.run_id,
            attempt=order.attempt,
            job=order.job,
            slot=in_zone(order.slot, order.timezone),
        )
        self._guard.watch(order.key, timeout_s=order.timeout_s, log_limit_bytes=LOG_LIMIT_BYTES)
        self._herald.begin(order, run)
        try:
            execution = native.execute(order.code_hash, code, order.params, order.env, run)
            outcome = self._outcome(order, run, execution)
        finally:
            self._herald.end()
            words = self._guard.release()
        return Ended(key=order.key, outcome=self._with(outcome, words), lines=_lines(words.lines))

    def started(self, order: Order, at: datetime) -> Started:
        """Return the announcement of an attempt."""
        return Started(
            key=order.key,
            started_at=at,
            node_id=self._node_id,
            node_ip=self._node_ip,
            worker_pid=self._pid,
            address=self._guard.address,
        )

    def tail(self) -> list[LogLine]:
        """Return the lines written since the last call."""
        return _lines(self._guard.tail())

    def _outcome(self, order: Order, run: Current, execution: native.Execution) -> Outcome:
        common = {
            "started_at": execution.started_at,
            "finished_at": execution.finished_at,
            "node_id": self._node_id,
            "node_ip": self._node_ip,
            "worker_pid": self._pid,
            "cpu_time_s": execution.cpu_time_s,
            "peak_memory_bytes": execution.peak_memory_bytes,
            "metrics": run.told()[1],
        }
        failure = execution.failure
        if failure is None:
            try:
                return Outcome(
                    event=Event.SUCCEED,
                    **common,
                    **_keep(self._home, order, execution.value),
                )
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

    def _with(self, outcome: Outcome, words: LastWords) -> Outcome:
        peak = max(outcome.peak_memory_bytes or 0, words.peak_children_bytes)
        return replace(outcome, peak_memory_bytes=peak)


class _Herald:
    """Tells the launcher of an attempt that lasts: its start, then its progress and lines.

    A thread that sleeps while no attempt is under way. A short attempt is told by its
    end alone, which keeps a thousand of them a second from costing a message each.
    """

    def __init__(self, setting: Setting, worker: _Worker) -> None:
        self._setting = setting
        self._worker = worker
        self._busy = threading.Condition()
        self._under_way: tuple[Order, Current, datetime] | None = None
        self._awake = False
        threading.Thread(target=self._run, name="raysched-herald", daemon=True).start()

    def begin(self, order: Order, run: Current) -> None:
        with self._busy:
            self._under_way = (order, run, datetime.now(UTC))
            if not self._awake:
                self._busy.notify()

    def end(self) -> None:
        # The lock keeps a beat that is being put together from taking lines of the next attempt.
        with self._busy:
            self._under_way = None

    def _run(self) -> None:
        announced = ""
        told: tuple[tuple[float, float] | None, dict[str, float]] = (None, {})
        while True:
            with self._busy:
                self._awake = self._under_way is not None
                if not self._awake:
                    self._busy.wait(timeout=60)
                    continue
                assert self._under_way is not None
                order, run, at = self._under_way
                due = (datetime.now(UTC) - at).total_seconds() >= ANNOUNCE_AFTER_S
                reports: list[Report] = []
                if due and announced != order.key:
                    reports.append(self._worker.started(order, at))
                    announced = order.key
                if due:
                    progress, metrics = run.told()
                    lines = self._worker.tail()
                    if lines or (progress, metrics) != told:
                        reports.append(
                            Beat(key=order.key, progress=progress, metrics=metrics, lines=lines)
                        )
                        told = (progress, metrics)
            if reports:
                self._tell(reports)
            time.sleep(BEAT_S if due else ANNOUNCE_AFTER_S / 2)

    def _tell(self, reports: list[Report]) -> None:
        launcher = ray.get_actor(self._setting.launcher, namespace=NAMESPACE)
        letters = [mail.seal_report(report) for report in reports]
        launcher.hear.remote(self._setting.incarnation, mail.bag(letters))


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
