"""Tells the scheduler what the launcher hears, in batches, until it has acknowledged it.

One thread does this, in the order in which it is given things, and so what follows from
the end of a task is done by it, too.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from raysched.cluster.mail import ReportLetter

_AGAIN_S = 0.2  # how soon to knock again at a scheduler that is being restarted
_COMPANY_S = 0.01  # how long a report waits for others to travel with, at most
_MOST_LETTERS = 500

_log = logging.getLogger(__name__)


class Postman:
    """A thread that delivers letters, and works off what is to be done between them."""

    def __init__(
        self,
        *,
        deliver: Callable[[Sequence[ReportLetter]], bool],
        delivered: Callable[[Sequence[ReportLetter]], None],
        under_way: Callable[[], int],
        again_s: float = _AGAIN_S,
    ) -> None:
        """Start the thread.

        `deliver` says whether letters were acknowledged, and is called with them until they
        are; then `delivered` is. `under_way` is how many attempts there may soon be news of.
        """
        self._deliver = deliver
        self._delivered = delivered
        self._under_way = under_way
        self._again_s = again_s
        self._items: queue.SimpleQueue[ReportLetter | Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="raysched-postman", daemon=True).start()

    def post(self, letter: ReportLetter) -> None:
        """Have a letter delivered."""
        self._items.put(letter)

    def do(self, work: Callable[[], None]) -> None:
        """Have something done that may post letters."""
        self._items.put(work)

    def _run(self) -> None:
        while True:
            letters = self._gather()
            while not self._deliver(letters):
                time.sleep(self._again_s)
            self._delivered(letters)

    def _gather(self) -> list[ReportLetter]:
        """Return the letters that travel together: of a quarter of what is under way.

        With one attempt under way its letter leaves at once; with many, those that come
        within a few ms share a journey, and its cost.
        """
        letters: list[ReportLetter] = []
        until = None
        while len(letters) < _MOST_LETTERS:
            left = None if until is None else until - time.monotonic()
            enough = until is not None and len(letters) >= self._under_way() // 4
            try:
                item = (
                    self._items.get_nowait()
                    if enough or (left is not None and left <= 0)
                    else self._items.get(timeout=left)
                )
            except queue.Empty:
                break
            if isinstance(item, ReportLetter):
                letters.append(item)
                until = until or time.monotonic() + _COMPANY_S
            else:
                _do(item)
        return letters


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # who tells nothing any more would leave every run without an end
        _log.exception("what follows from the end of a task cannot be done")
