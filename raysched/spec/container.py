"""What a container job declares beside its schedule, resources and policies: frozen values.

No value here names anything of the machine that declared it: the build context
travels as bytes, secrets by reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


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
