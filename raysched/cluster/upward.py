"""The launcher's calls to its scheduler, whichever that is at the time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ray

from raysched.cluster.names import NAMESPACE, SCHEDULER

_PATIENCE_S = 60.0  # with a call that the scheduler has taken, before it is made again


def ask(method: str, *arguments: Any) -> Any:
    """Return what a method of the scheduler answers; raises whatever keeps it from answering."""
    # Without ray.get, with which an actor's thread tells its raylet each time.
    answer = getattr(_scheduler(), method).remote(*arguments)
    return answer.future().result(timeout=_PATIENCE_S)


def look_again() -> None:
    """Look the scheduler up at the next call: it may be another actor by then."""
    _scheduler.cache_clear()


@lru_cache(maxsize=1)
def _scheduler() -> Any:
    return ray.get_actor(SCHEDULER, namespace=NAMESPACE)
