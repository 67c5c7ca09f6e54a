"""The launcher: a detached actor that owns the Ray tasks.

A Ray task dies with the process that owns it, so the scheduler must not: its runs
would die with it. The launcher decides nothing. It hands orders to Ray, keeps what
it hears of them until a scheduler has acknowledged it, and ends attempts on demand.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import ray

from raysched.cluster import burial, line, mail, placement, upward
from raysched.cluster.attempts import Setting
from raysched.cluster.codes import Codes, Unanswered
from raysched.cluster.mail import Kind, Launches, OrderLetter, Orders, ReportLetter, Stops
from raysched.cluster.names import LAUNCHER, SWITCH_S, line_of
from raysched.cluster.postman import Postman
from raysched.cluster.worker import run_orders
from raysched.core.model import Outcome
from raysched.core.orders import Ended, Started
from raysched.core.ports import StopOrder
from raysched.core.states import Event
from raysched.engine.messages import LauncherUp
from raysched.errors import RayschedError, StoreError

if TYPE_CHECKING:
    from raysched.store.dock import Dock

_log = logging.getLogger(__name__)

INLINE_BYTES = 64 * 1024
"""Code up to this size travels with each order; larger code is fetched once and lies in
Ray's store, which costs each task about a millisecond."""

GROUPS = {"attach": 1, "news": 4, "life": 4, "freight": 4}
"""The actor's threads. It has no event loop: a call reaches a thread in half the time."""

_SHAPES_KEPT = 256
_UNDERTAKERS = 8
_ASK_AGAIN_S = 0.2  # how soon after a scheduler has not given code
_END_S = 5.0  # how long an end may take that its worker tells after its task
_MOST_DOUBTS = 12  # how often a node may not tell whether somebody is at it
_MOST_WORKERS = 5  # may lose an attempt whose container lives; then it is lost for good


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A Ray task and the attempts that share it; the number tells it from their other tasks."""

    serial: int
    keys: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    """An attempt whose task is over, and when to ask for its end if it has not come by then."""

    key: str
    task: _Task
    due: float = 0.0
    doubts: int = 0


@dataclass(slots=True)
class _Attempt:
    """An attempt under way: its task, where it runs once that is known, and its end if wanted.

    It has no task while its code is fetched, or the node is sought on which its container
    may be running. Code that is too large for its letter is kept in Ray's store by `code`,
    the reference to it.
    """

    letter: OrderLetter
    code: Any = None
    task: _Task | None = None
    ref: Any = None
    started: Started | None = None
    stop: StopOrder | None = None
    workers: int = 0

    @property
    def node_id(self) -> str | None:
        """The node that it runs on, or is to go on upon, if that is known."""
        return self.started.node_id if self.started else self.letter.node_id


class Launcher:
    """Owns attempts. Ray restarts it after a crash, under a new incarnation and empty.

    One lock guards its state. What is to be told goes to the postman.
    """

    def __init__(self, home: str) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._incarnation = uuid.uuid4().hex[:12]
        self._epoch = 0
        self._home = home
        self._setting = Setting(home=home, launcher=LAUNCHER, incarnation=self._incarnation)
        self._lock = threading.Lock()
        self._attempts: dict[str, _Attempt] = {}
        self._unsettled: dict[str, None] = {}
        self._serial = 0
        self._codes = Codes(fetch=partial(upward.ask, "code"), put=ray.put)
        self._docked: Dock | None = None
        self._lifeline = threading.Event()
        self._fetcher = ThreadPoolExecutor(1, "raysched-fetcher")
        self._undertakers = ThreadPoolExecutor(_UNDERTAKERS, "raysched-undertaker")
        self._awaited: queue.SimpleQueue[_Awaited] = queue.SimpleQueue()
        threading.Thread(target=self._await_ends, name="raysched-ends", daemon=True).start()
        self._postman = Postman(
            deliver=self._report,
            delivered=self._settled,
            under_way=lambda: len(self._attempts),
        )
        line.answer(line_of(self._incarnation), self._order)

    @ray.method(concurrency_group="attach")
    def attach(self, home: str, epoch: int) -> LauncherUp | None:
        """Serve the scheduler of this epoch from now on.

        None if a newer one is served, or one of another home; if that one's work is done
        and told, this process makes room for a launcher of the other home.
        """
        with self._lock:
            if home != self._home:
                if not self._attempts and not self._unsettled:
                    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
                return None
            if epoch < self._epoch:
                return None
            self._epoch = epoch
            upward.look_again()  # whoever attaches may be another actor than the last one
            self._lifeline.set()
            self._lifeline = threading.Event()
            known = frozenset([*self._attempts, *self._unsettled])
            return LauncherUp(launcher=self._incarnation, known=known)

    @ray.method(concurrency_group="life")
    def live(self, incarnation: str) -> None:
        """Return when another scheduler has attached; fail when this launcher dies.

        At once for one who attached to another incarnation.
        """
        if incarnation == self._incarnation:
            self._lifeline.wait()

    @ray.method(concurrency_group="news")
    def hear(self, incarnation: str, serial: int, piece: bytes) -> bool:
        """Take in what a worker tells of its task; say whether this is who it should tell."""
        if incarnation != self._incarnation:
            return False
        with self._lock:
            self._take_in(serial, mail.unbag(piece))
        return True

    @ray.method(concurrency_group="freight")
    def receive(self, incarnation: str, key: str, hidden: str, step: Any) -> StoreError | None:
        """Take a step with a result file of an attempt under way; the error, if it is refused."""
        if incarnation != self._incarnation or key not in self._attempts:
            return StoreError(
                "a result is refused on its way to the home.",
                why=f"the attempt {key} is not under way here.",
            )
        try:
            self._dock().take(key, hidden, step)
        except StoreError as error:
            return error
        return None

    def _dock(self) -> Dock:
        """Return where results arrive; most launchers never need it, nor pyarrow."""
        from raysched.store.dock import Dock

        with self._lock:
            if self._docked is None:
                self._docked = Dock(self._home)
            return self._docked

    # What comes by the line

    def _order(self, message: tuple[int, Orders]) -> None:
        epoch, orders = message
        match orders:
            case Launches(tasks=tasks):
                self._launch(epoch, tasks)
            case Stops(orders=stops):
                self._stop(epoch, stops)

    def _launch(self, epoch: int, tasks: Sequence[Sequence[OrderLetter]]) -> None:
        """Hand tasks to Ray; orders of an older epoch, or told twice, are passed over."""
        for letters in tasks:
            with self._lock:
                if epoch != self._epoch:
                    return
                fresh = [_Attempt(each) for each in letters if not self._knows(each.key)]
                self._attempts.update({each.letter.key: each for each in fresh})
                if all(each.letter.code is not None for each in fresh):
                    self._begin(fresh)
                else:
                    self._fetcher.submit(self._fetch, fresh)

    def _stop(self, epoch: int, orders: Sequence[StopOrder]) -> None:
        """End attempts: out of Ray's queue, or through the guard of the worker they run in."""
        with self._lock:
            if epoch != self._epoch:
                return
            for order in orders:
                attempt = self._attempts.get(order.key)
                if attempt is not None:
                    attempt.stop = order
                    self._end(order.key, attempt)

    # Under the lock

    def _knows(self, key: str) -> bool:
        return key in self._attempts or key in self._unsettled

    def _begin(self, attempts: Sequence[_Attempt]) -> None:
        fresh = [each for each in attempts if not each.letter.resumed]
        try:
            if fresh:
                self._submit(fresh)
        except Exception as error:  # one task's fault is its own
            self._refuse(fresh, error)
        for attempt in attempts:
            if attempt.letter.resumed:
                key = attempt.letter.key
                self._undertake([key], partial(self._seek, key, attempt))

    def _refuse(self, attempts: Sequence[_Attempt], error: Exception) -> None:
        for attempt in attempts:
            _log.warning("Ray refuses %s: %s", attempt.letter.key, error)
            self._tell(mail.seal_report(_refused(attempt.letter.key, error)))

    def _wanted(self, attempts: Sequence[_Attempt]) -> Sequence[_Attempt]:
        return [each for each in attempts if self._attempts.get(each.letter.key) is each]

    def _submit(self, attempts: Sequence[_Attempt]) -> None:
        """Give attempts a task; on its node one whose container may be running there."""
        letters = [each.letter for each in attempts]
        self._serial += 1
        task = _Task(serial=self._serial, keys=[each.key for each in letters])
        large = {each.letter.code_hash: each.code for each in attempts if each.code is not None}
        piece = mail.bag((self._setting, task.serial, letters, list(large)))
        ref = _task_of(letters[0].shape, letters[0].node_id).remote(piece, *large.values())
        for attempt in attempts:
            attempt.task, attempt.ref, attempt.workers = task, ref, attempt.workers + 1
            self._attempts[attempt.letter.key] = attempt
        ref.future().add_done_callback(
            lambda done: self._postman.do(partial(self._over, task, done))
        )

    def _take_in(self, serial: int, letters: Sequence[ReportLetter]) -> None:
        """Take in what the task of this number tells; what it has told before is passed over."""
        for letter in letters:
            attempt = self._attempts.get(letter.key)
            if attempt is None or attempt.task is None or attempt.task.serial != serial:
                continue
            if letter.kind is Kind.BACK:
                self._again(letter.key, attempt)
                continue
            if letter.kind is Kind.OVER:
                attempt.letter = attempt.letter._replace(node_id=letter.body.decode())
                self._await(_Awaited(key=letter.key, task=attempt.task))
                continue
            if letter.kind is Kind.NEWS:
                self._note_start(letter, attempt)
            self._tell(letter)

    def _note_start(self, letter: ReportLetter, attempt: _Attempt) -> None:
        report = None if attempt.started else mail.open_report(letter)
        if isinstance(report, Started):
            attempt.started = report
            if attempt.stop:
                self._end(letter.key, attempt)

    def _end(self, key: str, attempt: _Attempt) -> None:
        """End an attempt where it runs, or take its task out of Ray's queue.

        Others of that task are given another. If the task has begun, the attempt ends, is
        given back or announces itself within a moment.
        """
        assert attempt.stop is not None
        if attempt.letter.resumable and attempt.node_id:
            burial.stop_container(attempt.node_id, key, attempt.stop.stop, self._home)
        elif attempt.started:
            burial.stop(key, attempt.started)
        elif attempt.ref:
            ray.cancel(attempt.ref, force=False, recursive=False)
        elif not attempt.workers and not attempt.letter.resumed:  # its code is not there yet
            self._again(key, attempt)

    def _again(self, key: str, attempt: _Attempt) -> None:
        """Give an attempt that has not begun a task of its own, unless it is not to begin."""
        if attempt.stop:
            outcome = Outcome(event=Event.CANCEL, reason="taken out of the queue")
            self._tell(mail.seal_report(Ended(key=key, outcome=outcome)))
        else:
            self._submit([attempt])

    def _resumes(self, key: str, attempt: _Attempt, error: BaseException) -> bool:
        """Whether an attempt goes on that has lost its worker but perhaps not its container."""
        if not attempt.letter.resumable or isinstance(error, burial.NO_CONTAINER):
            return False
        if attempt.workers >= _MOST_WORKERS:
            return False
        attempt.task = attempt.ref = None
        self._undertake([key], lambda: self._seek(key, attempt))
        return True

    def _tell(self, letter: ReportLetter) -> None:
        if letter.kind is Kind.END:
            self._attempts.pop(letter.key, None)
            self._unsettled[letter.key] = None
        self._postman.post(letter)

    # Threads of its own

    def _fetch(self, attempts: Sequence[_Attempt]) -> None:
        """Begin attempts once their code is there; any scheduler may give it, now or later."""
        with self._lock:
            attempts = self._wanted(attempts)
        hashes = {each.letter.code_hash for each in attempts if each.letter.code is None}
        try:
            codes = {each: self._codes.reference(each) for each in hashes}
        except Unanswered as error:
            _log.info("no scheduler gives the code of %s: %s", attempts[0].letter.key, error)
            upward.look_again()
            time.sleep(_ASK_AGAIN_S)
            self._fetcher.submit(self._fetch, attempts)  # behind those that may have better luck
        except Exception as error:
            with self._lock:
                self._refuse(self._wanted(attempts), error)
        else:
            for attempt in attempts:
                attempt.code = codes.get(attempt.letter.code_hash)
            with self._lock:
                self._begin(self._wanted(attempts))

    def _undertake(self, keys: Sequence[str], work: Callable[[], None]) -> None:
        """Have a thread see to attempts that lost their worker; they end, whatever happens."""

        def settle() -> None:
            try:
                work()
            except Exception as error:
                _log.exception("%s cannot be settled", keys[0])
                with self._lock:
                    for key in keys:
                        if key in self._attempts:
                            self._tell(mail.seal_report(burial.report(key, None, error, None)))

        self._undertakers.submit(settle)

    def _bury(self, task: _Task, error: BaseException) -> None:
        """Settle the attempts of a task that Ray knows to have failed."""
        with self._lock:
            known = {key: self._attempts[key] for key in task.keys if key in self._attempts}
            mine = {key: each for key, each in known.items() if each.task is task}
            mine = {k: each for k, each in mine.items() if not self._resumes(k, each, error)}
        if not mine:
            return
        started = next((each.started for each in mine.values() if each.started), None)
        try:
            remains = burial.remains(task.keys, started, error)
        except Exception as fault:
            _log.warning("nothing more is known of %s: %s", task.keys[0], fault)
            remains = burial.Remains(ends=[], begun=frozenset(task.keys), words=None)
        with self._lock:
            self._take_in(task.serial, remains.ends)
            for key, attempt in mine.items():
                if self._attempts.get(key) is not attempt:
                    continue
                if key in remains.begun:
                    ended = burial.report(key, started, error, remains.words)
                    self._tell(mail.seal_report(ended))
                else:
                    self._again(key, attempt)

    def _await(self, awaited: _Awaited) -> None:
        self._awaited.put(replace(awaited, due=time.monotonic() + _END_S))

    def _await_ends(self) -> None:
        """See to the attempts whose task is over and whose end has not come.

        Ray tells of no worker that dies after its task: whether there is one is asked.
        """
        while True:
            awaited = self._awaited.get()
            time.sleep(max(0.0, awaited.due - time.monotonic()))
            with self._lock:
                attempt = self._attempts.get(awaited.key)
                if attempt is not None and attempt.task is awaited.task and attempt.node_id:
                    inquiry = partial(self._inquire, awaited, attempt.node_id)
                    self._undertake([awaited.key], inquiry)

    def _inquire(self, awaited: _Awaited, node_id: str) -> None:
        """Await an end for longer if somebody on its node is at it, and else have it sought."""
        try:
            at_it, doubts = burial.watched(node_id, awaited.key, self._home), 0
        except burial.NO_CONTAINER as error:
            self._bury(awaited.task, error)
            return
        except Exception as error:
            _log.info("node %s cannot tell who is at %s: %s", node_id, awaited.key, error)
            at_it, doubts = awaited.doubts < _MOST_DOUBTS, awaited.doubts + 1
        if at_it:
            self._await(replace(awaited, doubts=doubts))
        else:
            self._bury(awaited.task, ray.exceptions.WorkerCrashedError())

    def _seek(self, key: str, attempt: _Attempt) -> None:
        """Have an attempt go on where its container may be; if it is nowhere, it never began."""
        node_id = attempt.node_id or burial.holder(key, self._home)
        with self._lock:
            if self._attempts.get(key) is not attempt:
                return
            attempt.letter = attempt.letter._replace(node_id=node_id)
            if node_id is None:
                self._again(key, attempt)
                return
            self._submit([attempt])
            if attempt.stop:
                self._end(key, attempt)

    def _over(self, task: _Task, done: Future[bytes]) -> None:
        """Take in the end of a task, as its worker returned it or as Ray knows it."""
        try:
            letters = mail.unbag(done.result())
        except Exception as error:
            self._undertake(task.keys, partial(self._bury, task, error))
            return
        with self._lock:
            self._take_in(task.serial, letters)

    def _report(self, letters: Sequence[ReportLetter]) -> bool:
        """Tell the scheduler; whether it has acknowledged what it was told."""
        try:
            reply = upward.ask("report", self._incarnation, mail.bag(letters))
        except Exception as error:  # whatever it is, the letters are kept
            _log.info("no scheduler takes reports: %s", error)
            upward.look_again()
            return False
        if isinstance(reply, RayschedError):
            _log.warning("the scheduler could not record reports: %s", reply)
            return False
        return True

    def _settled(self, letters: Sequence[ReportLetter]) -> None:
        """Forget the attempts whose end is acknowledged."""
        with self._lock:
            for letter in letters:
                if letter.kind is Kind.END:
                    self._unsettled.pop(letter.key, None)


@lru_cache(_SHAPES_KEPT)
def _task_of(shape: str, node_id: str | None) -> Any:
    """Return what makes a Ray task of orders, given the shape's key."""
    asked = json.loads(shape)
    if node_id is None:
        options = placement.ray_options(asked)
    else:
        options = placement.taking_over(node_id, asked)
    # A library holds the memory of GPUs until its process ends: of the next run on them it
    # would be missing. Ray does this itself only for tasks that are declared with GPUs.
    return _run_orders(max_calls=1 if options.get("num_gpus") else 0).options(
        name="raysched",
        max_retries=0,
        enable_task_events=False,  # the history is ours; Ray keeps 100,000 and no more
        **options,
    )


@lru_cache(maxsize=2)
def _run_orders(*, max_calls: int) -> Any:
    # Once each, as Ray keeps what it is made of.
    return ray.remote(max_calls=max_calls)(run_orders)


def _refused(key: str, error: Exception) -> Ended:
    outcome = Outcome(
        event=Event.FAIL,
        reason=f"Ray refuses it: {type(error).__name__}: {str(error)[:300]}",
        error_type=type(error).__name__,
        error_message=str(error)[:4000],
    )
    return Ended(key=key, outcome=outcome)
