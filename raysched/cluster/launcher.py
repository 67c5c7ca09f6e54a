"""The launcher: a detached actor that owns the Ray tasks.

A Ray task dies with the process that owns it, so the scheduler must not: its runs
would die with it. The launcher decides nothing. It hands orders to Ray, keeps what
it hears of them until a scheduler has acknowledged it, and ends attempts on demand.
"""

from __future__ import annotations

import asyncio
import json
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
from raysched.cluster.herald import Setting
from raysched.cluster.mail import OrderLetter, ReportLetter
from raysched.cluster.names import LAUNCHER, NAMESPACE, SCHEDULER, SWITCH_S
from raysched.cluster.worker import run_orders
from raysched.core.model import Outcome
from raysched.core.orders import Ended, Started
from raysched.core.ports import StopOrder
from raysched.core.states import Event
from raysched.engine.messages import LauncherUp
from raysched.errors import RayschedError

_log = logging.getLogger(__name__)

INLINE_BYTES = 64 * 1024
"""Code up to this size travels with each order; larger code is fetched once and lies in
Ray's store, which costs each task about a millisecond."""

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
        self._home = home
        self._setting = Setting(home=home, launcher=LAUNCHER, incarnation=self._incarnation)
        self._attempts: dict[str, _Attempt] = {}
        self._codes: dict[str, Any] = {}  # references to large code in Ray's store
        self._tasks: dict[str, Any] = {}
        self._lifeline = asyncio.Event()
        self._outbox: list[ReportLetter] = []
        self._mail = asyncio.Event()
        self._unsettled: dict[str, None] = {}
        self._postman: asyncio.Task[None] | None = None
        self._done = _Gathering(self._over)

    async def attach(self, home: str, epoch: int) -> LauncherUp | None:
        """Serve the scheduler of this epoch from now on.

        None if a newer one is served, or one of another home; if that one's work is done
        and told, this process makes room for a launcher of the other home.
        """
        if home != self._home:
            if not self._attempts and not self._unsettled:
                ray.actor.exit_actor()
            return None
        if epoch < self._epoch:
            return None
        self._epoch = epoch
        self._lifeline.set()
        self._lifeline = asyncio.Event()
        self._done.loop = asyncio.get_running_loop()
        self._postman = self._postman or asyncio.create_task(self._post())
        return LauncherUp(
            launcher=self._incarnation, known=frozenset([*self._attempts, *self._unsettled])
        )

    async def live(self, incarnation: str) -> None:
        """Return when another scheduler has attached; fail when this launcher dies.

        At once for one who attached to another incarnation.
        """
        if incarnation == self._incarnation:
            await self._lifeline.wait()

    async def launch(self, epoch: int, piece: bytes) -> None:
        """Hand attempts to Ray; orders of an older epoch, or told twice, are passed over."""
        for letter in mail.unbag(piece):
            try:
                reference = None if letter.code else await self._fetched(letter.code_hash)
                if epoch == self._epoch and not self._knows(letter.key):
                    self._submit(letter, reference)
            except ray.exceptions.RayActorError:
                # The scheduler died before it gave the code. The next one will not find
                # this order among those that are known here, and gives it again.
                _log.info("no scheduler gives the code of %s", letter.key)
            except Exception as error:  # one order's fault is its own
                _log.warning("Ray refuses %s: %s", letter.key, error)
                self._tell(mail.seal_report(_refused(letter.key, error)))

    async def stop(self, epoch: int, orders: Sequence[StopOrder]) -> None:
        """End attempts: out of Ray's queue, or through the guard of the worker they run in."""
        if epoch != self._epoch:
            return
        for order in orders:
            attempt = self._attempts.get(order.key)
            if attempt is not None:
                attempt.stop = order
                self._end(order.key, attempt)

    async def hear(self, incarnation: str, piece: bytes) -> bool:
        """Take in what a worker tells of an attempt under way; say whether it was taken."""
        if incarnation != self._incarnation:
            return False
        for letter in mail.unbag(piece):
            if letter.key not in self._attempts:
                return False
            self._note_start(letter)
            self._tell(letter)
        return True

    def _note_start(self, letter: ReportLetter) -> None:
        attempt = self._attempts[letter.key]
        if attempt.started is None:
            report = mail.open_report(letter)
            if isinstance(report, Started):
                attempt.started = report
                if attempt.stop:
                    self._end(letter.key, attempt)

    def _knows(self, key: str) -> bool:
        return key in self._attempts or key in self._unsettled

    async def _fetched(self, code_hash: str) -> Any:
        if code_hash not in self._codes:
            self._codes[code_hash] = ray.put(await _scheduler().code.remote(code_hash))
        return self._codes[code_hash]

    def _submit(self, letter: OrderLetter, reference: Any) -> None:
        if letter.shape not in self._tasks:
            options = placement.ray_options(json.loads(letter.shape))
            self._tasks[letter.shape] = ray.remote(run_orders).options(
                name="raysched",
                max_retries=0,
                enable_task_events=False,  # the history is ours; Ray keeps 100,000 and no more
                **options,
            )
        piece = mail.bag((self._setting, [(letter.body, letter.code)]))
        ref = self._tasks[letter.shape].remote(piece, *([reference] if reference else []))
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
        try:
            ended = await burial.last_report(key, self._attempts[key].started, error)
        except Exception as fault:
            _log.warning("nothing more is known of %s: %s", key, fault)
            ended = Ended(key=key, outcome=Outcome(event=Event.LOSE, reason="its worker died"))
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
        except Exception as error:  # whatever it is, the letters are kept
            _log.info("no scheduler takes reports: %s", error)
            _scheduler.cache_clear()  # there may be another one by the next try
            return False
        if isinstance(reply, RayschedError):
            _log.warning("the scheduler could not record reports: %s", reply)
            return False
        return True


def _refused(key: str, error: Exception) -> Ended:
    outcome = Outcome(
        event=Event.FAIL,
        reason=f"Ray refuses it: {type(error).__name__}: {str(error)[:300]}",
        error_type=type(error).__name__,
        error_message=str(error)[:4000],
    )
    return Ended(key=key, outcome=outcome)


@lru_cache(maxsize=1)
def _scheduler() -> Any:
    return ray.get_actor(SCHEDULER, namespace=NAMESPACE)
