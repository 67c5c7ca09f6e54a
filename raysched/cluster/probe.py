"""A short look at a node from a process on it: its versions, its clock, its engine.

Law: asks, changes nothing, keeps nothing. It takes no CPU, so that a busy cluster answers.
"""

from __future__ import annotations

import os
import time
from importlib import metadata
from platform import python_version
from typing import Any

from raysched.cluster.placement import on_node

_ENGINE_S = 3
_SOCKET = "unix:///var/run/docker.sock"


def versions() -> dict[str, str]:
    """Return the versions that this process runs."""
    return {
        "raysched": metadata.version("raysched"),
        "ray": metadata.version("ray"),
        "python": python_version(),
    }


def engine() -> tuple[str | None, str | None]:
    """Return the version of this machine's container engine, or why it does not answer."""
    path = os.environ.get("DOCKER_HOST", _SOCKET).removeprefix("unix://")
    if path.startswith("/") and not os.path.exists(path):
        return None, f"there is no socket {path}"
    import docker

    try:
        client = docker.DockerClient.from_env(timeout=_ENGINE_S)
        try:
            return str(client.version()["Version"]), None
        finally:
            client.close()
    except Exception as error:  # of docker, requests, urllib3 or the system
        return None, _short(error)


class Probe:
    """Lives on a node for two questions."""

    def now(self) -> float:
        """Return the node's time, in seconds since 1970."""
        return time.time()

    def look(self) -> dict[str, Any]:
        """Return what the node has."""
        answer, problem = engine()
        return {"versions": versions(), "engine": answer, "engine_problem": problem}


def ask_nodes(limit_s: float) -> list[dict[str, Any]]:
    """Return what each living node tells of itself, `problem` if it does not in time."""
    import ray

    until = time.monotonic() + limit_s
    probes = [
        (_name(node), ray.remote(Probe).options(num_cpus=0, **on_node(node["NodeID"])).remote())
        for node in ray.nodes()
        if node["Alive"]
    ]
    looks = [(name, probe, probe.look.remote()) for name, probe in probes]
    return [_told(name, probe, look, until) for name, probe, look in looks]


def _told(name: str, probe: Any, look: Any, until: float) -> dict[str, Any]:
    import ray

    try:
        found = ray.get(look, timeout=max(0.1, until - time.monotonic()))
        return {"name": name, **found, "ahead_s": _ahead(probe)}
    except ray.exceptions.GetTimeoutError:
        return {"name": name, "problem": "no process there has answered in time"}
    except Exception as error:  # whatever keeps a worker from starting there
        return {"name": name, "problem": _short(error)}
    finally:
        ray.kill(probe)


def _ahead(probe: Any) -> float:
    """Return by how much a node's clock is ahead, from the shortest of three round trips."""
    import ray

    best: tuple[float, float] | None = None
    for _ in range(3):
        before = time.time()
        there = ray.get(probe.now.remote(), timeout=5)
        after = time.time()
        if best is None or after - before < best[0]:
            best = after - before, there - (before + after) / 2
    assert best
    return best[1]


def _name(node: dict[str, Any]) -> str:
    return str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason given'])[-1]}"[:300]
