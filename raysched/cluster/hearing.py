"""A worker's calls to its launcher: where that is, and whether it has heard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ray

from raysched.cluster import mail
from raysched.cluster.attempts import Setting
from raysched.cluster.mail import ReportLetter
from raysched.cluster.names import NAMESPACE

_PATIENCE_S = 10.0

_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def find_launcher(name: str) -> Any:
    """Return the launcher of that name. Raises: ValueError."""
    return ray.get_actor(name, namespace=NAMESPACE)


def tell(setting: Setting, serial: int, letters: Sequence[ReportLetter]) -> bool | None:
    """Tell the launcher of a task; whether it is the one to tell, None if it does not answer."""
    try:
        launcher = find_launcher(setting.launcher)
        answer = launcher.hear.remote(setting.incarnation, serial, mail.bag(letters))
        # Not by ray.get: Ray would take the job's processors away while it waits.
        return bool(answer.future().result(timeout=_PATIENCE_S))
    except Exception as error:
        _log.info("the launcher does not answer: %s", error)
        find_launcher.cache_clear()
        return None
