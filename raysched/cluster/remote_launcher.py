"""The scheduler's side of the launcher actor: the `Launcher` port over Ray calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray

from raysched.cluster.launcher import Launcher
from raysched.cluster.mail import Mailing, bag, seal_order
from raysched.cluster.names import LAUNCHER, detached
from raysched.core.orders import Order
from raysched.core.ports import StopOrder
from raysched.engine.messages import LauncherDown, LauncherUp

_log = logging.getLogger(__name__)
_AGAIN_S = 0.2


class RemoteLauncher:
    """Sends orders to the launcher actor, and tells of its coming and going.

    `tell` takes `LauncherUp` and `LauncherDown`; `code` gives a job's pickled function.
    Code and shapes are sent along once to each launcher.
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
        self._code = code
        self._epoch = 0
        self._actor: Any = None
        self._sent: set[str] = set()

    def attach(self, epoch: int) -> None:
        """Find or make the launcher, and keep watch over it as long as this epoch lasts."""
        self._epoch = epoch
        threading.Thread(
            target=self._watch, args=(epoch,), name="raysched-launcher-watch", daemon=True
        ).start()

    def launch(self, orders: Sequence[Order]) -> None:
        """Hand attempts over."""
        codes = {order.code_hash for order in orders} - self._sent
        shapes = {o.shape.key: o.shape.options for o in orders if o.shape.key not in self._sent}
        mailing = Mailing(
            orders=[seal_order(order) for order in orders],
            shapes=shapes,
            codes={code_hash: self._code(code_hash) for code_hash in codes},
        )
        self._actor.launch.remote(self._epoch, bag(mailing))
        self._sent |= codes | set(shapes)

    def stop(self, orders: Sequence[StopOrder]) -> None:
        """End attempts; without a launcher there are none, and the engine asks again."""
        if self._actor is not None:
            self._actor.stop.remote(self._epoch, orders)

    def _watch(self, epoch: int) -> None:
        while epoch == self._epoch:
            try:
                actor = ray.remote(Launcher).options(**detached(LAUNCHER)).remote(self._home)
                up = ray.get(actor.attach.remote(epoch))
                if up is None:
                    return  # a newer scheduler has it; the store will say so too
                self._actor, self._sent = actor, set()
                self._tell(up)
                ray.get(actor.live.remote())
            except ray.exceptions.RayError as error:
                _log.warning("the launcher does not answer: %s", str(error).splitlines()[0])
                self._tell(LauncherDown(reason=type(error).__name__))
                threading.Event().wait(_AGAIN_S)
