"""The scheduler's side of the launcher actor: the `Launcher` port over Ray calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache

import ray

from raysched.cluster.launcher import GROUPS, INLINE_BYTES, Launcher
from raysched.cluster.line import Line
from raysched.cluster.mail import Launches, Orders, Stops, seal_order
from raysched.cluster.names import LAUNCHER, detached, line_of
from raysched.cluster.shipping import BEACON
from raysched.core.orders import Order
from raysched.core.ports import StopOrder
from raysched.engine.messages import LauncherDown, LauncherUp
from raysched.errors import StoreError
from raysched.store import beacon

_log = logging.getLogger(__name__)
_AGAIN_S = 0.2
_CODES_KEPT = 256


class RemoteLauncher:
    """Sends orders to the launcher actor, and tells of its coming and going.

    `tell` takes `LauncherUp` and `LauncherDown`; `code` gives a job's pickled function.
    """

    def __init__(
        self,
        home: str,
        *,
        tell: Callable[[LauncherUp | LauncherDown], object],
        code: Callable[[str], bytes],
    ) -> None:
        self._home = home
        self._tell = tell
        self._small_code = lru_cache(_CODES_KEPT)(lambda code_hash: _small(code(code_hash)))
        self._epoch = 0
        self._watch: threading.Thread | None = None
        self._line: Line | None = None

    def attach(self, epoch: int) -> None:
        """Find or make the launcher, and keep watch over it as long as this epoch lasts."""
        self._epoch = epoch
        self._watch = threading.Thread(
            target=self._keep_watch, args=(epoch,), name="raysched-launcher-watch", daemon=True
        )
        self._watch.start()

    def launch(self, tasks: Sequence[Sequence[Order]]) -> None:
        """Hand attempts over."""
        letters = [
            [seal_order(order, self._small_code(order.code_hash)) for order in task]
            for task in tasks
        ]
        self._say(Launches(letters))

    def stop(self, orders: Sequence[StopOrder]) -> None:
        """End attempts; without a launcher there are none, and the engine asks again."""
        if self._line is not None:
            self._say(Stops(orders))

    def _say(self, orders: Orders) -> None:
        assert self._line is not None
        self._line.say((self._epoch, orders))

    def _keep_watch(self, epoch: int) -> None:
        """Attach to one launcher after the other, until another thread has taken over."""
        while self._on_watch:
            try:
                launcher = ray.remote(concurrency_groups=GROUPS)(Launcher)
                actor = launcher.options(**detached(LAUNCHER)).remote(self._home)
                up = ray.get(actor.attach.remote(self._home, epoch))
                if up is None:
                    _log.warning("the launcher serves a newer scheduler, or another home")
                elif self._on_watch:
                    self._mark_home(up.launcher)
                    self._line = Line(line_of(up.launcher))
                    self._tell(up)
                    ray.get(actor.live.remote(up.launcher))
            except Exception as error:  # whatever it is, without this thread nothing is launched
                _log.warning("the launcher does not answer: %s", error)
            if self._on_watch:
                self._tell(LauncherDown(reason="it does not answer"))
            threading.Event().wait(_AGAIN_S)

    def _mark_home(self, launcher: str) -> None:
        """Let workers know the home, before any order can lead to one that looks for it."""
        try:
            beacon.light(self._home, BEACON, launcher)
        except StoreError as error:  # results come by way of the launcher then
            _log.warning("%s", error)

    @property
    def _on_watch(self) -> bool:
        return threading.current_thread() is self._watch


def _small(code: bytes) -> bytes | None:
    return code if len(code) <= INLINE_BYTES else None
