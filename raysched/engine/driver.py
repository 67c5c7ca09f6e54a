"""The one thread that owns an engine.

It sleeps until the engine's next alarm or the next message, gives the engine all
messages that have gathered, and hands the replies back. An engine that fails is
dropped and a new one started from the store: nothing of the failed turn was
durable, and nobody was told that it was.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from raysched.core.ports import Clock
from raysched.engine.engine import Engine
from raysched.engine.messages import Message
from raysched.errors import RayschedError, StaleEpoch, StoreError

_LONGEST_SLEEP_S = 30.0  # a wall clock that is stepped forward must not delay a slot for long
_MOST_MESSAGES = 512  # a turn: commits stay short, so that a slot never waits long for one
_PAUSE_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_log = logging.getLogger(__name__)

_Envelope = tuple[Message, "Future[Any]"]


class Driver:
    """Runs engines made by `make_engine`, one after the other, in a thread of its own.

    `on_finished` is called in that thread with the rows of runs that have just
    finished; `on_stale` when another scheduler has taken the home over.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        clock: Clock,
        *,
        on_finished: Callable[[Sequence[Mapping[str, Any]]], None] = lambda rows: None,
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        self._make_engine = make_engine
        self._clock = clock
        self._on_finished = on_finished
        self._on_stale = on_stale
        self._inbox: queue.SimpleQueue[_Envelope | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failures = 0  # in a row
        self._thread = threading.Thread(target=self._run, name="raysched-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the turn under way, and wait for that."""
        self._stopping.set()
        self._inbox.put(None)
        self._thread.join()

    def submit(self, message: Message) -> Future[Any]:
        """Hand a message to the engine; the future gives its reply once that is durable."""
        future: Future[Any] = Future()
        self._inbox.put((message, future))
        return future

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._drive(self._make_engine())
            except StaleEpoch:
                _log.warning("a newer scheduler has taken over this home; this one stops")
                self._on_stale()
                return
            except Exception:
                _log.exception("the engine failed; a new one starts from the store")
                self._stopping.wait(_PAUSE_S[min(self._failures, len(_PAUSE_S) - 1)])
                self._failures += 1

    def _drive(self, engine: Engine) -> None:
        while not self._stopping.is_set():
            envelopes = self._gather(self._sleep_s(engine))
            try:
                turn = engine.turn([message for message, _ in envelopes])
            except BaseException as error:
                for _, future in envelopes:
                    _resolve(future, _as_store_error(error))
                raise
            self._failures = 0
            for (_, future), reply in zip(envelopes, turn.replies, strict=True):
                _resolve(future, reply)
            if turn.finished:
                self._on_finished(turn.finished)

    def _sleep_s(self, engine: Engine) -> float:
        wake = engine.next_wake()
        if wake is None:
            return _LONGEST_SLEEP_S
        seconds = (wake - self._clock.now()).total_seconds()
        return max(0.0, min(seconds, _LONGEST_SLEEP_S))

    def _gather(self, timeout_s: float) -> list[_Envelope]:
        envelopes: list[_Envelope] = []
        try:
            item = self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
            while item is not None:
                envelopes.append(item)
                if len(envelopes) == _MOST_MESSAGES:
                    break
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        return envelopes


def _resolve(future: Future[Any], reply: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(reply, RayschedError):
        future.set_exception(reply)
    else:
        future.set_result(reply)


def _as_store_error(error: BaseException) -> RayschedError:
    if isinstance(error, RayschedError):
        return error
    return StoreError(
        f"the scheduler failed on this request: {type(error).__name__}.",
        why="nothing of it was recorded; the scheduler has started anew from its store.",
        fix="try again; its log has the details.",
    )
