"""What runs in a notebook's kernel before its first cell, so that `rs.current()` works there.

Progress and metrics travel as a display of a type of our own, which the worker takes out
of the outputs. The last of them leaves when its cell ends, the others at most ten a second.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from raysched.runners.current import Current, in_zone, set_current

MIME = "application/vnd.raysched.told+json"
_PAUSE_S = 0.1


def entry(run: Current) -> str:
    """Return the code that a kernel runs to know of its run, leaving no name behind."""
    told = json.dumps(
        {
            "run_id": run.run_id,
            "attempt": run.attempt,
            "job": run.job,
            "slot": None if run.slot is None else run.slot.isoformat(),
            "timezone": None if run.slot is None else str(run.slot.tzinfo),
        }
    )
    return f"__import__({__name__!r}, fromlist=['enter']).enter({told!r})"


def enter(told: str) -> None:
    """In the kernel: let `rs.current()` be the run that is told of."""
    from IPython.core.getipython import get_ipython

    facts = json.loads(told)
    timezone, slot = facts.pop("timezone"), facts.pop("slot")
    if slot is not None:
        slot = in_zone(datetime.fromisoformat(slot), timezone)
    run = _Relayed(**facts, slot=slot)
    set_current(run)
    get_ipython().events.register("post_run_cell", lambda _: run.flush())


class _Relayed(Current):
    """A run whose progress and metrics are told to the worker."""

    __slots__ = ("_said", "_said_at")

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self._said, self._said_at = self.told(), 0.0

    def progress(self, done: float, total: float) -> None:
        super().progress(done, total)
        self._tell()

    def metric(self, name: str, value: float) -> None:
        super().metric(name, value)
        self._tell()

    def flush(self) -> None:
        """Tell what has not been told."""
        if self.told() != self._said:
            self._say()

    def _tell(self) -> None:
        if time.monotonic() - self._said_at >= _PAUSE_S:
            self._say()

    def _say(self) -> None:
        from IPython.core.display_functions import publish_display_data

        self._said, self._said_at = self.told(), time.monotonic()
        progress, metrics = self._said
        publish_display_data({MIME: {"progress": progress, "metrics": metrics}})
