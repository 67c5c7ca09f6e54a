"""The launcher: a detached actor that owns the Ray tasks.

A Ray task dies with the process that owns it, so the scheduler must not: its runs
would die with it. The launcher decides nothing. It hands orders to Ray, keeps what
it hears of them until a scheduler has acknowledged it, and ends attempts on demand.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from raysched.cluster import burial, placement
from raysched.cluster.names import LAUNCHER, NAMESPACE, SCHEDULER, SWITCH_S
from raysched.cluster.worker import Setting, run_orders
from raysched.core.orders import Ended, Order, Report, Shape, Started
from raysched.engine.messages import LauncherUp, Reports
from raysched.engine.ports import StopOrder
from raysched.errors import RayschedError

_log = logging.getLogger(__name__)
_INLINE_BYTES = 64 * 1024  # in the task itself; an object in Ray's store costs each task 1 ms
_AGAIN_S = 0.2  # how soon to knock again at a scheduler that is being restarted


@dataclass(slots=True)
class _Attempt:
    """An attempt under way: its task, and where it runs once it has announced itself."""

    ref: Any
    started: Started | None = None
    stop: StopOrder | None = None



class Launcher:
    """Owns attempts. Ray restarts it after a crash, under a new incarnation and empty."""

    def __init__(self, home: str) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._incarnation = uuid.uuid4().hex[:12]
        self._epoch = 0
        self._setting = Setting(home=home, launcher=LAUNCHER, incarnation=self._incarnation)
        self._attempts: dict[str, _Attempt] = {}
        self._codes: dict[str, Any] = {}
        self._tasks: dict[str, Any] = {}
        self._outbox: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._scheduler: Any = None
        self._unsettled: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._report, name="raysched-reports", daemon=True).start()

    async def attach(self, epoch: int) -> LauncherUp | None:
        """Serve the scheduler of this epoch from now on; None if a newer one is served."""
        self._loop = asyncio.get_running_loop()
        if epoch < self._epoch:
            return None
        self._epoch = epoch
        return LauncherUp(
            launcher=self._incarnation, known=frozenset([*self._attempts, *self._unsettled])
        )

    async def live(self) -> None:
        """Never return: whoever waits for this is told when the launcher dies."""
        await asyncio.Event().wait()

    async def launch(
        self, epoch: int, orders: Sequence[Order], codes: Mapping[str, bytes]
    ) -> None:
        """Hand attempts to Ray; orders of an older epoch, or told twice, are passed over."""
        if epoch != self._epoch:
            return
        self._loop = asyncio.get_running_loop()
        for code_hash, code in codes.items():
            self._codes[code_hash] = code if len(code) <= _INLINE_BYTES else ray.put(code)
        for order in orders:
            if order.key not in self._attempts and order.key not in self._unsettled:
                self._submit(order)

    async def stop(self, epoch: int, orders: Sequence[StopOrder]) -> None:
        """End attempts: out of Ray's queue, or through the guard of the worker they run in."""
        if epoch != self._epoch:
            return
        for order in orders:
            attempt = self._attempts.get(order.key)
            if attempt is not None:
                attempt.stop = order
                self._end(order.key, attempt)

    async def hear(self, incarnation: str, reports: Sequence[Report]) -> None:
        """Take in what a worker tells of an attempt under way."""
        if incarnation != self._incarnation:
            return
        for report in reports:
            attempt = self._attempts.get(report.key)
            if attempt is None:
                continue
            if isinstance(report, Started):
                attempt.started = report
                if attempt.stop:
                    self._end(report.key, attempt)
            self._tell(report)

    def _submit(self, order: Order) -> None:
        task = self._task(order.shape)
        ref = task.remote(self._setting, [order], self._codes[order.code_hash])
        self._attempts[order.key] = _Attempt(ref)
        ref.future().add_done_callback(
            lambda done, key=order.key: self._loop.call_soon_threadsafe(self._over, key, done)
        )

    def _task(self, shape: Shape) -> Any:
        task = self._tasks.get(shape.key)
        if task is None:
            options = placement.ray_options(shape.options)
            task = self._tasks[shape.key] = ray.remote(run_orders).options(
                name="raysched", max_retries=0, **options
            )
        return task

    def _over(self, key: str, done: Any) -> None:
        """Take in the end of a task, as its worker returned it or as Ray knows it."""
        attempt = self._attempts[key]
        error = done.exception()
        if error is None:
            del self._attempts[key]
            for ended in done.result():
                self._tell(ended)
            return
        self._loop.create_task(self._bury(key, attempt, error))  # type: ignore[union-attr]

    async def _bury(self, key: str, attempt: _Attempt, error: BaseException) -> None:
        """Report an attempt whose worker died, with its last words if its node has them."""
        ended = await burial.last_report(key, attempt.started, error)
        del self._attempts[key]
        self._tell(ended)

    def _end(self, key: str, attempt: _Attempt) -> None:
        if attempt.started is None:
            ray.cancel(attempt.ref, force=False, recursive=False)
        else:
            burial.stop(key, attempt.started)

    def _tell(self, report: Report) -> None:
        if isinstance(report, Ended):
            self._unsettled[report.key] = None
        self._outbox.put(report)

    def _report(self) -> None:
        """Tell the scheduler what has gathered, again and again until it acknowledges."""
        while True:
            reports = [self._outbox.get()]
            while not self._outbox.empty() and len(reports) < 500:
                reports.append(self._outbox.get())
            while not self._acknowledged(reports):
                time.sleep(_AGAIN_S)
            settled = [report.key for report in reports if isinstance(report, Ended)]
            self._loop.call_soon_threadsafe(self._settle, settled)  # type: ignore[union-attr]

    def _acknowledged(self, reports: Sequence[Report]) -> bool:
        try:
            if self._scheduler is None:
                self._scheduler = ray.get_actor(SCHEDULER, namespace=NAMESPACE)
            message = Reports(launcher=self._incarnation, reports=reports)
            reply = ray.get(self._scheduler.tell.remote(message))
        except Exception as error:  # whatever it is, the reports are kept
            _log.info("the scheduler does not take reports: %s", error)
            self._scheduler = None
            return False
        if isinstance(reply, RayschedError):
            _log.warning("the scheduler refused reports: %s", reply)
            return False
        return True

    def _settle(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._unsettled.pop(key, None)


