"""Ends attempts whose tasks are over, beside the worker's next one.

A container's lease ends with its last process. The engine takes a tenth of a second to deal
with that death, for which the next container need not wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from raysched.cluster import mail
from raysched.cluster.attempts import Attempt, Setting
from raysched.cluster.mail import ReportLetter
from raysched.core.orders import LogLine

AT_ONCE = 4
"""How many attempts of a worker may be ended beside the one that runs."""

_AGAIN_S = 0.2
_PATIENCE_S = 60.0  # with a launcher; then it asks this node what became of the attempt

_log = logging.getLogger(__name__)


class Closer:
    """The closer of this process.

    `tell` is called with a setting, a task's number and letters until it says whether they
    are taken; it returns None as long as nobody answers. `unfit` is called if an end fails.
    """

    def __init__(
        self,
        tell: Callable[[Setting, int, Sequence[ReportLetter]], bool | None],
        unfit: Callable[[], None],
        *,
        again_s: float = _AGAIN_S,
    ) -> None:
        self._tell, self._unfit, self._again_s = tell, unfit, again_s
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []

    @property
    def busy(self) -> bool:
        """Whether an attempt is being ended."""
        return any(thread.is_alive() for thread in self._threads)

    def rest(self, timeout_s: float) -> bool:
        """Wait until no attempt is being ended; whether that came within `timeout_s`."""
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not self.busy

    def take(
        self, setting: Setting, serial: int, attempt: Attempt, untold: Sequence[LogLine]
    ) -> None:
        """End an attempt, and tell the launcher; waits while as many are being ended as may be."""
        self._places.acquire()
        thread = threading.Thread(
            target=self._close,
            args=(setting, serial, attempt, untold),
            name="raysched-closer",
            daemon=True,
        )
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _close(
        self, setting: Setting, serial: int, attempt: Attempt, untold: Sequence[LogLine]
    ) -> None:
        try:
            letter = mail.seal_report(attempt.end(untold))
            until = time.monotonic() + _PATIENCE_S
            # A launcher that says no is another one, which finds the end here, on this node.
            while self._tell(setting, serial, [letter]) is None and time.monotonic() < until:
                time.sleep(self._again_s)
        except BaseException:
            _log.exception("an attempt could not be ended")
            self._unfit()
        finally:
            self._places.release()
