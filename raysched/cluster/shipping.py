"""Where a worker's results go: into the home if it is here, and otherwise to it by ferry.

The launcher lives beside the home and dies no later than its workers do, so it is who
takes the pieces in. Whoever writes a file waits for the network, and for the disk at its
other end.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial

import ray

from raysched.cluster.attempts import Setting
from raysched.cluster.hearing import find_launcher
from raysched.errors import RayschedError, StoreError
from raysched.store import beacon
from raysched.store.dock import Dropped, Step
from raysched.store.ferry import Ferry
from raysched.store.home import Staging

BEACON = "launcher"
"""The beacon in a home that bears the incarnation of its launcher."""

_PATIENCE_S = 60.0  # with a launcher that cannot be reached, and with the disk beside it
_AGAIN_S = 0.2


def staging(setting: Setting, key: str) -> Staging:
    """Return where the files of an attempt are staged."""
    return _home(setting.home, setting.incarnation) or Ferry(partial(_tell, setting, key))


@lru_cache(maxsize=1)
def _home(home: str, incarnation: str) -> Staging | None:
    """Return the home if this process sees it and may write it; a worker looks once."""
    found = beacon.seen(home, BEACON, incarnation)
    return found if found is not None and found.writable else None


def _tell(setting: Setting, key: str, hidden: str, step: Step) -> None:
    """Tell the launcher a step, again until it answers: a step told twice is harmless.

    Raises:
        StoreError: it refuses, or cannot be reached.
    """
    until = time.monotonic() + (0 if isinstance(step, Dropped) else _PATIENCE_S)
    while True:
        try:
            launcher = find_launcher(setting.launcher)
            call = launcher.receive.remote(setting.incarnation, key, hidden, step)
            # Not by ray.get: Ray would take the job's processors away while it waits.
            answer = call.future().result(timeout=_PATIENCE_S)
            break
        except (ray.exceptions.ActorUnavailableError, TimeoutError) as error:
            if time.monotonic() > until:
                raise _lost(error) from error
            time.sleep(_AGAIN_S)
        except Exception as error:  # without its launcher this attempt is lost anyway
            raise _lost(error) from error
    if isinstance(answer, RayschedError):
        raise answer


def _lost(error: Exception) -> StoreError:
    lines = str(error).strip().splitlines()
    return StoreError(
        "the result cannot be shipped to the home.",
        why=f"{type(error).__name__}: {lines[0][:300] if lines else 'no answer came'}",
        fix="see whether this node reaches the head node.",
    )
