"""The end of a Ray that was started for one home, and the proof that nothing of it is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from raysched.cli.cluster import disconnect
from raysched.cluster import local
from raysched.errors import ClusterError, NotRunning

_LEAVE_S = 5.0


def end(home: Path) -> None:
    """End the Ray of a home and wait until no process of it is left.

    Raises:
        ClusterError: one cannot be ended.
    """
    with _undisturbed():
        disconnect()
        with suppress(NotRunning):
            local.stop(home)
        # What reads the end of a pipe goes by itself; what was interrupted while starting
        # is on no record, and goes now.
        _, alive = psutil.wait_procs(processes(home), timeout=_LEAVE_S)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=_LEAVE_S)
        if left := processes(home):
            raise ClusterError(
                f"{len(left)} process(es) of Ray are still there.",
                why=", ".join(f"{process.pid} {process.name()}" for process in left),
                fix="end them by hand.",
            )


def processes(home: Path) -> list[psutil.Process]:
    """Return the processes of the Ray that was started for a home, this one aside.

    They are known by the path of its token, which all of them inherit in their environment.
    """
    token = str(home / "ray.token")
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("RAY_AUTH_TOKEN_PATH") == token:
                found.append(process)
    return found


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the cleaning up after the first."""
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.SIG_IGN) for each in wanted]
    try:
        yield
    finally:
        for each, handler in zip(wanted, before, strict=True):
            signal.signal(each, handler)
