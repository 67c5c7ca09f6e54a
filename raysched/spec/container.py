"""What a container job declares beside its schedule, resources and policies: frozen values.

No value here names anything of the machine that declared it: the build context
travels as bytes, secrets by reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from raysched.spec.units import span, us


class Pull(StrEnum):
    """When a node fetches an image."""

    MISSING = "missing"
    """If the node does not have it."""
    ALWAYS = "always"
    """Before every attempt."""
    NEVER = "never"
    """Never: a node that does not have it fails the attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of the node, seen inside at `target`; read-only unless said otherwise."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How an image is built from the context that the job's code is; `args` are its ARGs."""

    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, but for the CPUs, GPUs, memory and environment, which every job has.

    Either `image` or `build` is set. `command` and `entrypoint` are argument vectors,
    None for the image's own; no shell ever reads them. `secrets` and `registry_auth`
    name secrets of the node. `grace` is what SIGTERM gives before SIGKILL.
    """

    image: str | None = None
    build: Build | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    mounts: tuple[Mount, ...] = ()
    network: str = "bridge"
    user: str | None = None
    workdir: str | None = None
    pull: Pull = Pull.MISSING
    cap_add: tuple[str, ...] = ()
    read_only: bool = False
    pids_limit: int = 1024
    shm_size: int | None = None
    secrets: tuple[str, ...] = ()
    registry_auth: str | None = None
    grace: timedelta = timedelta(seconds=10)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `container_from_json` reads."""
        return {
            "image": self.image,
            "build": None if self.build is None else _build_to_json(self.build),
            "command": _list(self.command),
            "entrypoint": _list(self.entrypoint),
            "mounts": [[each.source, each.target, each.read_only] for each in self.mounts],
            "network": self.network,
            "user": self.user,
            "workdir": self.workdir,
            "pull": self.pull,
            "cap_add": list(self.cap_add),
            "read_only": self.read_only,
            "pids_limit": self.pids_limit,
            "shm_size": self.shm_size,
            "secrets": list(self.secrets),
            "registry_auth": self.registry_auth,
            "grace_us": us(self.grace),
        }


def container_from_json(data: Mapping[str, Any]) -> Container:
    """Return the container that `Container.to_json` wrote."""
    build, command, entrypoint = data["build"], data["command"], data["entrypoint"]
    return Container(
        image=data["image"],
        build=None if build is None else Build(**build),
        command=None if command is None else tuple(command),
        entrypoint=None if entrypoint is None else tuple(entrypoint),
        mounts=tuple(
            Mount(source=source, target=target, read_only=read_only)
            for source, target, read_only in data["mounts"]
        ),
        network=data["network"],
        user=data["user"],
        workdir=data["workdir"],
        pull=Pull(data["pull"]),
        cap_add=tuple(data["cap_add"]),
        read_only=data["read_only"],
        pids_limit=data["pids_limit"],
        shm_size=data["shm_size"],
        secrets=tuple(data["secrets"]),
        registry_auth=data["registry_auth"],
        grace=span(data["grace_us"]) or timedelta(0),
    )


def _build_to_json(build: Build) -> dict[str, Any]:
    return {"dockerfile": build.dockerfile, "args": dict(build.args), "target": build.target}


def _list(value: tuple[str, ...] | None) -> list[str] | None:
    return None if value is None else list(value)
