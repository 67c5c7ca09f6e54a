"""A container job: an image, or a folder to build one from, declared as a job."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, Unpack

from raysched.errors import DeclarationError, InvalidResource
from raysched.spec import sandbox
from raysched.spec.build import build, context
from raysched.spec.container import Container, Mount, Pull
from raysched.spec.declared import Place, UncallableJob, place_of
from raysched.spec.definition import LONGEST_DESCRIPTION, JobSpec
from raysched.spec.image import image_reference
from raysched.spec.mounts import absolute, mounts
from raysched.spec.options import Declared, Options, known
from raysched.spec.parameters import Signature, encodable
from raysched.spec.policies import count, policy
from raysched.spec.units import Duration, Size, shown

_ANY_PARAMETERS = Signature(open=True)
_LEAST_CPUS = 0.01  # Docker's smallest quota: 1 ms of each 100
_LEAST_MEMORY = 6 * 1024 * 1024  # Docker's smallest limit


class ContainerJob(UncallableJob):
    """A declared container job, with its definition as `spec`.

    `context` is the folder that its image is built from, None for a ready image.
    `options` gives a changed copy; `rs.connect().deploy(job)` hands it to the scheduler.
    """

    _kind, _runs_in = "container", "an image"

    def __init__(self, declared: Mapping[str, Any], place: Place) -> None:
        options = ContainerOptions(**known(declared, ContainerOptions, of="rs.container"))
        self.spec = options.spec()
        self.context = options.context(place.folders)
        # Whatever the working directory is when a copy is made, it means this folder.
        found = {} if self.context is None else {"build": self.context}
        self._declared = {**declared, **found}
        self._place = place

    def _with(self, declared: Mapping[str, Any]) -> Self:
        return type(self)(declared, self._place)


class _Declared(Declared, total=False):
    """What `rs.container` takes beside the name; what each means is said in the documentation."""

    image: str | None
    build: str | Path | None
    command: Sequence[str] | None
    entrypoint: Sequence[str] | None
    mounts: Sequence[str | Mount | Mapping[str, Any]]
    network: str
    user: str | None
    workdir: str | None
    pull: str
    cap_add: Sequence[str]
    read_only: bool
    pids_limit: int
    shm_size: Size | None
    secrets: Sequence[str]
    registry_auth: str | None
    grace: Duration
    build_args: Mapping[str, str] | None
    dockerfile: str
    target: str | None
    description: str


def container(name: str, **declared: Unpack[_Declared]) -> ContainerJob:
    """Declare a container as a job; what each option means is said in `docs/containers.md`.

    Either `image` names a ready image, or `build` a folder with a Dockerfile, relative to
    the working directory or else to the folder of the file that calls this.

    Raises:
        DeclarationError: an option that cannot be meant; nothing is declared then.
    """
    return ContainerJob({"name": name, **declared}, place_of(inspect.currentframe()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions(Options):
    """The options of `rs.container` as declared, with their defaults, not yet checked."""

    image: Any = None
    build: Any = None
    command: Any = None
    entrypoint: Any = None
    mounts: Any = ()
    network: Any = "bridge"
    user: Any = None
    workdir: Any = None
    pull: Any = "missing"
    cap_add: Any = ()
    read_only: Any = False
    pids_limit: Any = 1024
    shm_size: Any = None
    secrets: Any = ()
    registry_auth: Any = None
    grace: Any = "10s"
    build_args: Any = None
    dockerfile: Any = "Dockerfile"
    target: Any = None
    description: Any = ""

    def spec(self) -> JobSpec:
        """Return the definition that they declare.

        Raises:
            DeclarationError: an option that cannot be meant.
            InvalidParameter: `params` without a JSON form.
        """
        checked = self.checked(_ANY_PARAMETERS)
        sandbox.check_env(dict(checked.env))
        _check_limits(self, checked)
        return replace(
            checked, container=self._container(), description=_description(self.description)
        )

    def context(self, folders: Sequence[Path]) -> Path | None:
        """Return the folder to build from; None for a ready image.

        Raises:
            DeclarationError: there is no such folder, or no Dockerfile in it.
        """
        return None if self.build is None else context(self.build, self._build.dockerfile, folders)

    @property
    def _build(self) -> Any:
        return build(dockerfile=self.dockerfile, args=self.build_args, target=self.target)

    def _container(self) -> Container:
        _check_source(self)
        return Container(
            image=None if self.image is None else image_reference(self.image),
            build=None if self.build is None else self._build,
            command=sandbox.argv(self.command, "command"),
            entrypoint=sandbox.argv(self.entrypoint, "entrypoint"),
            mounts=mounts(self.mounts),
            network=sandbox.network(self.network),
            user=sandbox.user(self.user),
            workdir=None if self.workdir is None else absolute(self.workdir, of="workdir is"),
            pull=policy(Pull, self.pull, of="pull"),
            cap_add=sandbox.capabilities(self.cap_add),
            read_only=_flag(self.read_only, "read_only"),
            pids_limit=count(self.pids_limit, of="pids_limit"),
            shm_size=sandbox.shared_memory(self.shm_size),
            secrets=sandbox.secrets(self.secrets),
            registry_auth=None
            if self.registry_auth is None
            else sandbox.secret(self.registry_auth, of="registry_auth"),
            grace=sandbox.grace_period(self.grace),
        )


def _check_source(options: ContainerOptions) -> None:
    if (options.image is None) == (options.build is None):
        given = "neither image nor build" if options.image is None else "both image and build"
        raise DeclarationError(
            f"job {options.name!r} has {given}.",
            why="a container job runs one image: a ready one, or one built from a folder.",
            fix='write image="acme/wordcount:1", or build="jobs/wordcount".',
        )
    defaults = {each.name: each.default for each in fields(options)}
    for name in ("build_args", "dockerfile", "target"):
        value, default = getattr(options, name), defaults[name]
        same = value is default or (type(value) is str and value == default)
        if options.build is None and not same:
            raise DeclarationError(
                f"{name}={shown(value)} is refused.",
                why="it is for building an image, and image= names a ready one.",
                fix="remove it, or write build= in place of image=.",
            )


def _check_limits(options: ContainerOptions, checked: JobSpec) -> None:
    """Refuse what Docker would take for no limit at all, or would refuse in each attempt."""
    if checked.resources.num_cpus < _LEAST_CPUS:
        raise InvalidResource(
            f"num_cpus={shown(options.num_cpus)} is too small for a container.",
            why=f"it is the container's limit, too: {_LEAST_CPUS} is Docker's least, and 0 "
            "would be none at all.",
            fix=f"write num_cpus={_LEAST_CPUS} or more.",
        )
    if options.memory is not None and checked.resources.memory_bytes < _LEAST_MEMORY:
        raise InvalidResource(
            f"memory={shown(options.memory)} is too small for a container.",
            why="it is the container's limit, too, and Docker's least is 6 MiB.",
            fix='write for example memory="64MiB".',
        )


def _flag(value: object, of: str) -> bool:
    if type(value) is not bool:
        raise DeclarationError(
            f"{of}={shown(value)} is refused.",
            why=f"{of} is either True or False.",
            fix=f"write {of}=True.",
        )
    return value


def _description(value: object) -> str:
    if (
        type(value) is not str
        or len(value) > LONGEST_DESCRIPTION
        or not encodable(value)
        or "\0" in value
    ):
        raise DeclarationError(
            f"description={shown(value)} is refused.",
            why=f"it is text of up to {LONGEST_DESCRIPTION:,} characters without NUL.",
            fix='write for example description="Count words."',
        )
    return value
