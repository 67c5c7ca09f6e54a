"""Keeps a worker for the runs to come, which would else start one anew.

Ray ends an idle worker within 0.2 s once the process that made the launcher has gone, as
`raysched up` has, and after a second if there are more of them than CPUs. A new one costs
half a second of processor time. But Ray spares a worker that owns an object, which others
may ask for: so a worker owns one for as long as it pays to wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import ray

WARM_S = 60.0
"""How long a worker outlasts its last run."""

_NEEDED_S = 1.0  # how soon to look again at a worker that is needed

_log = logging.getLogger(__name__)


class Warmth:
    """What keeps this process alive between runs, and longer while it is `needed`.

    Not once another raysched is installed.
    """

    def __init__(
        self, lasting_s: float = WARM_S, *, needed: Callable[[], bool] = lambda: False
    ) -> None:
        self._lasting_s = lasting_s
        self._needed = needed
        self._installed = _installed()
        self._lock = threading.Lock()
        self._until = 0.0
        self._owned: ray.ObjectRef[None] | None = None

    def renew(self) -> None:
        """Have it last from now on."""
        with self._lock:
            self._until = time.monotonic() + self._lasting_s
            if _installed() != self._installed:
                self._owned = None
            elif self._owned is None:
                try:
                    self._owned = ray.put(None)
                    fade = threading.Thread(target=self._fade, name="raysched-warmth", daemon=True)
                    fade.start()
                except Exception as error:  # no room, no thread: the next run starts a worker
                    self._owned = None
                    _log.info("Ray may end this worker as soon as it is idle: %s", error)

    def _fade(self) -> None:
        while True:
            with self._lock:
                left = self._until - time.monotonic()
                if left <= 0 and self._needed():
                    left = _NEEDED_S
                if left <= 0:
                    self._owned = None
                    return
            time.sleep(left)


def _installed() -> tuple[int, int] | None:
    """Return what tells the files of this installation from those of an upgrade."""
    try:
        found = os.stat(__file__)
    except OSError:  # an upgrade is under way
        return None
    return found.st_ino, found.st_mtime_ns
