"""The launcher: a detached actor that owns the Ray tasks.

A Ray task dies with the process that owns it, so the scheduler must not: its runs
would die with it. The launcher decides nothing. It hands orders to Ray, keeps what
it hears of them until a scheduler has acknowledged it, and ends attempts on demand.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray

from raysched.cluster import burial, mail, placement
from raysched.cluster.mail import Mailing, OrderLetter, ReportLetter
from raysched.cluster.names import LAUNCHER, NAMESPACE, SCHEDULER, SWITCH_S
from raysched.cluster.worker import Setting, run_orders
from raysched.core.orders import Started
from raysched.core.ports import StopOrder
from raysched.engine.messages import LauncherUp
from raysched.errors import RayschedError

_log = logging.getLogger(__name__)

INLINE_BYTES = (
    64 * 1024
)  # code up to this size travels in the task, larger code through Ray's store
_AGAIN_S = 0.2  # how soon to knock again at a scheduler that is being restarted
_COMPANY_S = 0.01  # how long a report waits for others to travel with, at most
_MOST_LETTERS = 500


@dataclass(slots=True)
class _Attempt:
    """An attempt under way: its task, where it runs once that is known, and its end if wanted."""

    ref: Any
    started: Started | None = None
    stop: StopOrder | None = None


class _Gathering:
    """Brings what other threads put in to a loop, in one waking for all that has gathered."""

    def __init__(self, take: Callable[[str, Any], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._take = take
        self._items: deque[tuple[str, Any]] = deque()
        self._woken = False

    def put(self, key: str, value: Any) -> None:
        self._items.append((key, value))
        if not self._woken:
            self._woken = True
            assert self.loop is not None
            self.loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._woken = False  # before the last look: what comes after it wakes the loop again
        while self._items:
            self._take(*self._items.popleft())


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
        self._outbox: list[ReportLetter] = []
        self._mail = asyncio.Event()
        self._unsettled: dict[str, None] = {}
        self._postman: asyncio.Task[None] | None = None
        self._done = _Gathering(self._over)

    async def attach(self, epoch: int) -> LauncherUp | None:
        """Serve the scheduler of this epoch from now on; None if a newer one is served."""
        if epoch < self._epoch:
            return None
        self._epoch = epoch
        self._done.loop = asyncio.get_running_loop()
        self._postman = self._postman or asyncio.create_task(self._post())
        return LauncherUp(
            launcher=self._incarnation, known=frozenset([*self._attempts, *self._unsettled])
        )

    async def live(self) -> None:
        """Never return: whoever waits for this is told when the launcher dies."""
        await asyncio.Event().wait()

    async def launch(self, epoch: int, piece: bytes) -> None:
        """Hand attempts to Ray; orders of an older epoch, or told twice, are passed over."""
        if epoch != self._epoch:
            return
        mailing: Mailing = mail.unbag(piece)
        for shape, options in mailing.shapes.items():
            self._tasks[shape] = ray.remote(run_orders).options(
                name="raysched", max_retries=0, **placement.ray_options(options)
            )
        for code_hash, code in mailing.codes.items():
            self._codes[code_hash] = code if len(code) <= INLINE_BYTES else ray.put(code)
        for letter in mailing.orders:
            if letter.key not in self._attempts and letter.key not in self._unsettled:
                self._submit(letter)

    async def stop(self, epoch: int, orders: Sequence[StopOrder]) -> None:
        """End attempts: out of Ray's queue, or through the guard of the worker they run in."""
        if epoch != self._epoch:
            return
        for order in orders:
            attempt = self._attempts.get(order.key)
            if attempt is not None:
                attempt.stop = order
                self._end(order.key, attempt)

    async def hear(self, incarnation: str, piece: bytes) -> None:
        """Take in what a worker tells of an attempt under way."""
        if incarnation != self._incarnation:
            return
        for letter in mail.unbag(piece):
            if letter.key in self._attempts:
                self._note_start(letter)
                self._tell(letter)

    def _note_start(self, letter: ReportLetter) -> None:
        attempt = self._attempts[letter.key]
        if attempt.started is None:
            report = mail.open_report(letter)
            if isinstance(report, Started):
                attempt.started = report
                if attempt.stop:
                    self._end(letter.key, attempt)

    def _submit(self, letter: OrderLetter) -> None:
        code = self._codes[letter.code_hash]
        inline = code if isinstance(code, bytes) else None
        piece = mail.bag((self._setting, [(letter.body, inline)]))
        ref = self._tasks[letter.shape].remote(piece, *([] if inline else [code]))
        self._attempts[letter.key] = _Attempt(ref)
        ref.future().add_done_callback(lambda done, key=letter.key: self._done.put(key, done))

    def _over(self, key: str, done: Any) -> None:
        """Take in the end of a task, as its worker returned it or as Ray knows it."""
        error = done.exception()
        if error is None:
            del self._attempts[key]
            for letter in mail.unbag(done.result()):
                self._tell(letter)
        else:
            asyncio.ensure_future(self._bury(key, error))  # noqa: RUF006 - ends with its report

    async def _bury(self, key: str, error: BaseException) -> None:
        """Report an attempt whose worker died, with its last words if its node has them."""
        ended = await burial.last_report(key, self._attempts[key].started, error)
        del self._attempts[key]
        self._tell(mail.seal_report(ended))

    def _end(self, key: str, attempt: _Attempt) -> None:
        if attempt.started is None:
            ray.cancel(attempt.ref, force=False, recursive=False)
        else:
            burial.stop(key, attempt.started)

    def _tell(self, letter: ReportLetter) -> None:
        if letter.final:
            self._unsettled[letter.key] = None
        self._outbox.append(letter)
        self._mail.set()

    async def _post(self) -> None:
        """Tell the scheduler what has gathered, again and again until it acknowledges."""
        while True:
            await self._mail.wait()
            await self._company()
            letters, self._outbox = self._outbox[:_MOST_LETTERS], self._outbox[_MOST_LETTERS:]
            if not self._outbox:
                self._mail.clear()
            while not await self._acknowledged(letters):
                await asyncio.sleep(_AGAIN_S)
            for letter in letters:
                if letter.final:
                    self._unsettled.pop(letter.key, None)

    async def _company(self) -> None:
        """Let reports wait for others to travel with: a quarter of what is under way.

        With one attempt under way its report leaves at once; with many, those that end
        within a few ms share a journey, and its cost.
        """
        until = time.monotonic() + _COMPANY_S
        while len(self._outbox) < len(self._attempts) // 4 and time.monotonic() < until:
            await asyncio.sleep(_COMPANY_S / 5)

    async def _acknowledged(self, letters: Sequence[ReportLetter]) -> bool:
        try:
            scheduler = _scheduler()
            # Awaited, not got: an actor that blocks in ray.get tells its raylet each time.
            reply = await scheduler.report.remote(self._incarnation, mail.bag(letters))
        except (ray.exceptions.RayError, ValueError) as error:
            _log.info("no scheduler takes reports: %s", error)
            _scheduler.cache_clear()  # there may be another one by the next try
            return False
        if isinstance(reply, RayschedError):
            _log.warning("the scheduler could not record reports: %s", reply)
            return False
        return True


@lru_cache(maxsize=1)
def _scheduler() -> Any:
    return ray.get_actor(SCHEDULER, namespace=NAMESPACE)
