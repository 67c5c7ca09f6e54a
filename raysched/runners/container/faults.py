"""The few words for what can go wrong with the engine, and the patience with one that is away.

A call either gives an answer, or raises that the engine is away (`Away`, which a watcher
waits out), that the thing is not there (`Absent`), or that the engine refuses (`Refused`).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import docker.errors
import requests
import urllib3.exceptions

from raysched.errors import EngineLost

_AWAY_S = float(os.environ.get("RAYSCHED_ENGINE_PATIENCE_S", "60"))
_T = TypeVar("_T")


class Away(Exception):
    """Raised when the engine does not answer, or a stream of it breaks."""


class Quiet(Exception):
    """Raised when a stream has had nothing to say for as long as it was given."""


class Absent(Exception):
    """Raised when the engine knows no such container or image."""


class Refused(Exception):
    """Raised when the engine refuses a request; its words are the text.

    `unwell` says that the request was in order, as far as the engine can tell.
    """

    unwell = False


class NameTaken(Refused):
    """Raised when there is a container of that name already."""


def patiently(call: Callable[[], _T], patience_s: float | None = None) -> _T:
    """Return what a call answers, for which an engine that is away may come back.

    Raises:
        EngineLost: it stayed away.
    """
    patience, pause = _AWAY_S if patience_s is None else patience_s, 0.05
    end = time.monotonic() + patience
    while True:
        try:
            return call()
        except Away as error:
            if time.monotonic() >= end:
                raise EngineLost(
                    f"the container engine of node {socket.gethostname()} went away.",
                    why=f"it did not come back within {patience:g} s: {error}",
                    fix="start it again; a retry runs the job anew.",
                ) from error
            time.sleep(pause)
            pause = min(1.0, pause * 2)


@contextmanager
def speaking() -> Iterator[None]:
    """Turn whatever the client raises into these few words."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise Absent(_words(error)) from error
    except docker.errors.APIError as error:
        if error.status_code == 409 and "is already in use" in _words(error):
            raise NameTaken(_words(error)) from error
        refusal = Refused(_words(error))
        refusal.unwell = (error.status_code or 0) >= 500
        raise refusal from error
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise Quiet(str(error)) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if "Read timed out" in str(error):
            raise Quiet(str(error)) from error
        raise Away(f"{type(error).__name__}: {error}"[:300]) from error


def _words(error: docker.errors.APIError) -> str:
    return str(error.explanation or error).strip()[:2000]
