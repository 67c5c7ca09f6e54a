"""The names under which raysched's parts find one another on a cluster."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

NAMESPACE = "raysched"
SCHEDULER = "scheduler"
LAUNCHER = "launcher"

ON_HEAD = {"node:__internal_head__": 0.001}
"""Ray's mark of the head node: a 0-CPU actor elsewhere could be scaled away with its node."""


SWITCH_S = 0.0005
"""How long a thread of an actor may keep the others waiting; Python's default of 5 ms
is longer than a whole round trip between scheduler and launcher."""


def guard_directory() -> Path:
    """Return the folder, local to this node and user, where guards keep their sockets."""
    return Path(tempfile.gettempdir()) / f"raysched-{os.getuid()}"


def container_rooms() -> Path:
    """Return the folder, local to this node and user, where containers have their rooms.

    It holds what jobs leave as results, and must survive a restart of Ray.
    """
    return Path(os.environ.get("RAYSCHED_NODE_DIR") or f"/var/tmp/raysched-{os.getuid()}")  # noqa: S108


def line_of(launcher: str) -> str:
    """Return the name of the line by which an incarnation of the launcher takes orders."""
    return f"launcher-{launcher}"


def detached(name: str) -> dict[str, Any]:
    """Return the options of an actor that outlives its maker and is restarted for ever."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": ON_HEAD,
        "max_restarts": -1,
        "max_task_retries": 0,
        "enable_task_events": False,
    }
