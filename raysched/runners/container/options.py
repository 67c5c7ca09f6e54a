"""What the engine is asked to create for a task: pure, and never more than is allowed.

Law: options are listed one by one; what is not here cannot be had. No host
namespaces, no devices, no privileges, no engine socket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount

from raysched.errors import OptionRefused
from raysched.runners.container.task import OUT, SECRETS, Task
from raysched.spec.sandbox import CAPABILITIES

LABEL = "raysched.container"
"""The label that every container of ours bears."""

_NETWORK = re.compile(r"(?!host$|default$)[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_LEAST_LOG = 16 * 1024 * 1024
_LEAST_CPU = 10_000_000
_PERIOD_US = 100_000
_LONGEST_VARIABLE = 128 * 1024


def create_options(task: Task, image: str, rooms: Path) -> dict[str, Any]:
    """Return the container's own options."""
    container = task.container
    options: dict[str, Any] = {
        "image": image,
        "environment": environment(task),
        "labels": labels(task, rooms),
        "stop_signal": "SIGTERM",
    }
    if container.command is not None:
        options["command"] = list(container.command)
    if container.entrypoint is not None:
        options["entrypoint"] = list(container.entrypoint)
    if container.user is not None:
        options["user"] = container.user
    if container.workdir is not None:
        options["working_dir"] = container.workdir
    return options


def host_options(
    task: Task,
    *,
    cpus: int,
    out: Path,
    secrets: Path | None,
    mounts: Sequence[tuple[str, str, bool]],
) -> dict[str, Any]:
    """Return what the container gets of its node; `mounts` are (source, target, read-only).

    Raises:
        OptionRefused: a capability or network is not allowed.
    """
    container = task.container
    binds = [Mount(OUT, str(out), type="bind")]
    if secrets is not None:
        binds.append(Mount(SECRETS, str(secrets), type="bind", read_only=True))
    binds += [Mount(to, source, type="bind", read_only=ro) for source, to, ro in mounts]
    size = max(_LEAST_LOG, 4 * task.log_limit_bytes)
    options: dict[str, Any] = {
        "init": True,
        "network_mode": _network(container.network),
        "mounts": binds,
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "cap_add": [_capability(name) for name in container.cap_add],
        "pids_limit": container.pids_limit,
        "log_config": LogConfig(type="json-file", config={"max-size": str(size), "max-file": "2"}),
    }
    if task.num_cpus > 0:
        options["nano_cpus"] = _nano_cpus(task, cpus)
    if task.memory_bytes:
        options["mem_limit"] = options["memswap_limit"] = task.memory_bytes
    if task.gpu_ids:
        options["device_requests"] = [
            DeviceRequest(device_ids=list(task.gpu_ids), capabilities=[["gpu"]])
        ]
    if container.shm_size is not None:
        options["shm_size"] = container.shm_size
    if container.read_only:
        options["read_only"] = True
        options["tmpfs"] = {"/tmp": "rw,nosuid,nodev,mode=1777"}  # noqa: S108  # the container's
    return options


def build_limits(task: Task, *, cpus: int) -> dict[str, Any]:
    """Return the limits of a build's steps: the lease of the job that it is for."""
    limits: dict[str, Any] = {}
    if task.num_cpus > 0:
        limits["cpuperiod"] = _PERIOD_US
        limits["cpuquota"] = _nano_cpus(task, cpus) * _PERIOD_US // 1_000_000_000
    if task.memory_bytes:
        limits["memory"] = limits["memswap"] = task.memory_bytes
    return limits


def _nano_cpus(task: Task, cpus: int) -> int:
    share = min(task.num_cpus, cpus)  # Ray may count more CPUs than the node has
    return max(_LEAST_CPU, round(share * 1_000_000_000))


def environment(task: Task) -> dict[str, str]:
    """Return the container's environment: the job's, and the contract's.

    Raises:
        OptionRefused: a variable, such as that of the parameters, is too long for Linux.
    """
    told = {
        "RAYSCHED_PARAMS": json.dumps(dict(task.params)),
        "RAYSCHED_RUN_ID": task.run_id,
        "RAYSCHED_ATTEMPT": str(task.attempt),
    }
    if task.slot is not None:
        told["RAYSCHED_SLOT"] = task.slot
    # Some images ask for all GPUs, and a runtime installed as the default would give them.
    told["NVIDIA_VISIBLE_DEVICES"] = ",".join(task.gpu_ids) or "void"
    whole = {**task.env, **told}
    for name, value in whole.items():
        if len(f"{name}={value}".encode()) >= _LONGEST_VARIABLE:
            raise OptionRefused(
                f"{name} is too long for a container's environment.",
                why=f"Linux takes no variable of {_LONGEST_VARIABLE:,} bytes or more.",
                fix="pass what is large as a file in a mount.",
            )
    return whole


def labels(task: Task, rooms: Path) -> dict[str, str]:
    """Return the labels by which people and the reaper find the container."""
    return {
        LABEL: "1",
        "raysched.rooms": str(rooms),
        "raysched.home": task.home,
        "raysched.key": task.key,
        "raysched.run": task.run_id,
        "raysched.attempt": str(task.attempt),
        "raysched.job": task.job,
        "raysched.grace": str(task.container.grace.total_seconds()),
    }


def _capability(name: str) -> str:
    if name not in CAPABILITIES:
        raise OptionRefused(
            f"the capability {name!r} is not given to containers.",
            why="it reaches beyond the container.",
            fix=f"leave it out; these can be had: {', '.join(CAPABILITIES)}.",
        )
    return name


def _network(name: str) -> str:
    if not _NETWORK.fullmatch(name):
        raise OptionRefused(
            f"the network {name!r} is not given to containers.",
            why="a container sees no network namespace but its own.",
            fix='use "bridge", "none", or a network that the node\'s operator has made.',
        )
    return name
