"""A job: what the decorator makes of a function, as a frozen value.

`Job` is what the user holds and calls; `JobSpec` is the part of it that the
scheduler needs, with a JSON form and without the code.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, overload

from raysched.errors import DeclarationError
from raysched.spec.names import job_name, tag
from raysched.spec.parameters import Signature, closest, encodable, plain
from raysched.spec.policies import (
    Catchup,
    Overlap,
    Placement,
    Retry,
    count,
    duration_of,
    policy,
    retry,
)
from raysched.spec.resources import Resources, resources
from raysched.spec.schedules import AfterEnd, Schedule, schedule_from_json, schedules, zone_name
from raysched.spec.units import MICROSECOND, Duration, Size, duration, shown

P = ParamSpec("P")
R = TypeVar("R")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_RESERVED = ("RAYSCHED_", "RAY_")
_NODE = re.compile(r"node:[A-Za-z0-9_.:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job's definition without its code: when it runs, with what, and under which policies."""

    name: str
    schedules: tuple[Schedule, ...] = ()
    timezone: str = "UTC"
    resources: Resources = field(default_factory=Resources)
    placement: str = Placement.PACK
    label_selector: Mapping[str, str] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    timeout: timedelta | None = None
    queue_timeout: timedelta | None = None
    overlap: Overlap = Overlap.SKIP
    catchup: Catchup = Catchup.LATEST
    max_catchup: int = 100
    misfire_grace: timedelta | None = None
    max_active: int | None = None
    signature: Signature = field(default_factory=Signature)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    priority: int = 0
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    @property
    def limit(self) -> int | None:
        """How many runs of the job may be under way together; None for any number."""
        if self.max_active is None and self.overlap is not Overlap.ALLOW:
            return 1
        return self.max_active

    @property
    def follows_itself(self) -> bool:
        """Whether the end of one run gives the slot of the next."""
        return any(isinstance(each, AfterEnd) for each in self.schedules)

    @property
    def schedule_text(self) -> str:
        """The schedules as a user would read them; empty for a job without one."""
        return "; ".join(each.describe() for each in self.schedules)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `spec_from_json` reads."""
        return {
            "name": self.name,
            "schedules": [each.to_json() for each in self.schedules],
            "timezone": self.timezone,
            "num_cpus": self.resources.num_cpus,
            "num_gpus": self.resources.num_gpus,
            "memory_bytes": self.resources.memory_bytes,
            "resources": dict(self.resources.custom),
            "placement": self.placement,
            "label_selector": dict(self.label_selector),
            "retries": self.retry.retries,
            "retry_delay_us": _us(duration_of(self.retry.delay)),
            "retry_backoff": float(self.retry.backoff),
            "retry_max_delay_us": _us(duration_of(self.retry.max_delay)),
            "timeout_us": _us(self.timeout),
            "queue_timeout_us": _us(self.queue_timeout),
            "overlap": self.overlap,
            "catchup": self.catchup,
            "max_catchup": self.max_catchup,
            "misfire_grace_us": _us(self.misfire_grace),
            "max_active": self.max_active,
            "signature": [self.signature.names, self.signature.required, self.signature.open],
            "params": dict(self.params),
            "tags": list(self.tags),
            "priority": self.priority,
            "runtime_env": dict(self.runtime_env),
            "env": dict(self.env),
            "description": self.description,
        }

    def version(self, code_hash: str) -> str:
        """Return the version of this definition with this code: 12 hex digits of SHA-256."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{code_hash}\n{text}".encode()).hexdigest()[:12]


def spec_from_json(data: Mapping[str, Any]) -> JobSpec:
    """Return the definition that `JobSpec.to_json` wrote."""
    names, required, is_open = data["signature"]
    return JobSpec(
        name=data["name"],
        schedules=tuple(
            schedule_from_json(each).bound_to(data["name"], data["timezone"])
            for each in data["schedules"]
        ),
        timezone=data["timezone"],
        resources=Resources(
            num_cpus=data["num_cpus"],
            num_gpus=data["num_gpus"],
            memory_bytes=data["memory_bytes"],
            custom=data["resources"],
        ),
        placement=data["placement"],
        label_selector=data["label_selector"],
        retry=Retry(
            data["retries"],
            delay=_span(data["retry_delay_us"]) or timedelta(0),
            backoff=data["retry_backoff"],
            max_delay=_span(data["retry_max_delay_us"]) or timedelta(0),
        ),
        timeout=_span(data["timeout_us"]),
        queue_timeout=_span(data["queue_timeout_us"]),
        overlap=Overlap(data["overlap"]),
        catchup=Catchup(data["catchup"]),
        max_catchup=data["max_catchup"],
        misfire_grace=_span(data["misfire_grace_us"]),
        max_active=data["max_active"],
        signature=Signature(names=tuple(names), required=tuple(required), open=is_open),
        params=data["params"],
        tags=tuple(data["tags"]),
        priority=data["priority"],
        runtime_env=data["runtime_env"],
        env=data["env"],
        description=data["description"],
    )


class Job(Generic[P, R]):
    """A declared job: an ordinary callable, with its definition as `spec`.

    Calling it runs the function here and now, with no cluster. `options` gives a
    changed copy; `rs.connect().deploy(job)` hands it to the scheduler.
    """

    def __init__(self, function: Callable[P, R], declared: Mapping[str, Any]) -> None:
        spec = _spec(function, declared)
        # First: it copies the function's own attributes, which may bear the names below.
        functools.update_wrapper(self, function)
        self.function = function
        self.spec = spec
        self._declared = dict(declared)

    @property
    def name(self) -> str:
        """The job's name."""
        return self.spec.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were not decorated."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance as a function does, so that a method stays one."""
        return self if instance is None else types.MethodType(self, instance)

    def options(self, **changed: Any) -> Job[P, R]:
        """Return a copy of the job with some options replaced.

        Raises:
            DeclarationError: an option that `rs.job` does not have, or a refused value.
        """
        return Job(self.function, {**self._declared, **changed})

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.spec.schedule_text or 'no schedule'}>"


@overload
def job(function: Callable[P, R], /) -> Job[P, R]: ...
@overload
def job(
    *,
    name: str | None = ...,
    schedule: Any = ...,
    timezone: str = ...,
    num_cpus: float = ...,
    num_gpus: float = ...,
    memory: Size | None = ...,
    resources: Mapping[str, float] | None = ...,
    placement: str = ...,
    label_selector: Mapping[str, str] | None = ...,
    retries: int | Retry = ...,
    timeout: Duration | None = ...,
    queue_timeout: Duration | None = ...,
    overlap: str = ...,
    catchup: str = ...,
    max_catchup: int = ...,
    misfire_grace: Duration | None = ...,
    max_active: int | None = ...,
    params: Mapping[str, Any] | None = ...,
    tags: list[str] | tuple[str, ...] = ...,
    priority: int = ...,
    runtime_env: Mapping[str, Any] | None = ...,
    env: Mapping[str, str] | None = ...,
) -> Callable[[Callable[P, R]], Job[P, R]]: ...
def job(function: Callable[P, R] | None = None, /, **declared: Any) -> Any:
    """Declare a function as a job; what each option means is said in `docs/jobs.md`.

    Raises:
        DeclarationError: an option that cannot be meant; nothing is declared then.
    """
    if function is not None:
        return Job(function, declared)
    return lambda wrapped: Job(wrapped, declared)


def _spec(function: Any, declared: Mapping[str, Any]) -> JobSpec:
    if not callable(function) or isinstance(function, type):
        raise DeclarationError(
            f"{shown(function)} is not a function.",
            why="rs.job decorates a function.",
            fix="put @rs.job(...) right above a def.",
        )
    if isinstance(function, Job):
        raise DeclarationError(
            f"{function.name!r} is a job already.",
            why="a function is declared once.",
            fix=f"write {function.name}.options(...) for a changed copy.",
        )
    if any(
        asks(each)
        for asks in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        for each in (function, type(function).__call__)
    ):
        raise DeclarationError(
            f"job {shown(getattr(function, '__name__', function))} is an async function.",
            why="a run calls it in a worker of its own, without an event loop.",
            fix="write a plain def that calls asyncio.run(...).",
        )
    return _Options(**_known(declared)).spec(function)


def _known(declared: Mapping[str, Any]) -> Mapping[str, Any]:
    options = list(_Options.__dataclass_fields__)
    for name in declared:
        if name not in options:
            raise DeclarationError(
                f"rs.job has no option {shown(name)}.",
                why=f"its options are {', '.join(options)}.",
                fix=closest(name, options) or "remove it.",
            )
    return declared


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of `rs.job` as declared, with their defaults, not yet checked."""

    name: Any = None
    schedule: Any = None
    timezone: Any = "UTC"
    num_cpus: Any = 1
    num_gpus: Any = 0
    memory: Any = None
    resources: Any = None
    placement: Any = "pack"
    label_selector: Any = None
    retries: Any = 0
    timeout: Any = None
    queue_timeout: Any = None
    overlap: Any = "skip"
    catchup: Any = "latest"
    max_catchup: Any = 100
    misfire_grace: Any = None
    max_active: Any = None
    params: Any = None
    tags: Any = ()
    priority: Any = 0
    runtime_env: Any = None
    env: Any = None

    def spec(self, function: Callable[..., Any]) -> JobSpec:
        name = job_name(getattr(function, "__name__", None) if self.name is None else self.name)
        zone = zone_name(self.timezone)
        signature = Signature.of(function)
        params = _mapping(self.params, "params")
        slots = schedules(self.schedule, name=name, zone=zone)
        signature.check(name, params, whole=bool(slots))
        return JobSpec(
            name=name,
            schedules=slots,
            timezone=zone,
            resources=resources(
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                memory=self.memory,
                custom=self.resources,
            ),
            placement=_placement(self.placement),
            label_selector=_strings(self.label_selector, "label_selector"),
            retry=retry(self.retries),
            timeout=_optional(self.timeout, "timeout"),
            queue_timeout=_optional(self.queue_timeout, "queue_timeout"),
            overlap=policy(Overlap, self.overlap, of="overlap"),
            catchup=policy(Catchup, self.catchup, of="catchup"),
            max_catchup=count(self.max_catchup, of="max_catchup", most=1000),
            misfire_grace=_optional(self.misfire_grace, "misfire_grace"),
            max_active=None if self.max_active is None else count(self.max_active, of="max_active"),
            signature=signature,
            params=plain(params, of="params"),
            tags=tuple(tag(each) for each in _list(self.tags)),
            priority=count(self.priority, of="priority", least=-1000, most=1000),
            runtime_env=_runtime_env(self.runtime_env),
            env=_env(self.env),
            description=_description(function),
        )


def _description(function: object) -> str:
    first = (inspect.getdoc(function) or "").split("\n\n")[0][:1000]
    return first.encode(errors="replace").decode()


def _optional(value: Any, of: str) -> timedelta | None:
    return None if value is None else duration(value, of=of)


def _placement(value: object) -> str:
    if isinstance(value, str) and _NODE.fullmatch(value):
        return value
    return policy(Placement, value, of="placement")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise DeclarationError(
            f"tags={shown(value)} is not a list.",
            why="a bare string would be one tag a letter.",
            fix='write for example tags=["etl"].',
        )
    return list(value)


def _mapping(value: Any, of: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise DeclarationError(
            f"{of}={shown(value)} is not a mapping.",
            why=f"{of} gives values names.",
            fix=f'write for example {of}={{"a": "b"}}.',
        )
    return {} if value is None else dict(value)


def _strings(value: Any, of: str) -> dict[str, str]:
    found = _mapping(value, of)
    for name, item in found.items():
        if type(name) is not str or type(item) is not str:
            raise DeclarationError(
                f"{of} has {shown(name)}: {shown(item)}.",
                why=f"{of} maps strings to strings.",
                fix=f'write for example {of}={{"a": "b"}}.',
            )
        if not (encodable(name) and encodable(item)):
            raise DeclarationError(
                f"{of} has {shown(name)}: {shown(item)}.",
                why="it contains a lone surrogate, which UTF-8 cannot encode.",
                fix="decode the bytes with the right encoding first.",
            )
    return found


def _env(value: Any) -> dict[str, str]:
    env = _strings(value, "env")
    for name, item in env.items():
        if not _ENV_NAME.fullmatch(name) or name.startswith(_RESERVED) or "\0" in item:
            raise DeclarationError(
                f"env has {shown(name)}: {shown(item)}.",
                why="a variable's name is letters, digits and '_', not RAYSCHED_* or RAY_*; "
                "its value has no NUL.",
                fix="rename it.",
            )
    return env


def _runtime_env(value: Any) -> dict[str, Any]:
    env = _mapping(value, "runtime_env")
    for refused in ("container", "image_uri"):
        if refused in env:
            raise DeclarationError(
                f"runtime_env has {refused!r}.",
                why="Ray would start it through podman in the host's namespaces without limits.",
                fix="declare a container job instead.",
            )
    return plain(env, of="runtime_env")


def _us(length: timedelta | None) -> int | None:
    return None if length is None else length // MICROSECOND


def _span(us: int | None) -> timedelta | None:
    return None if us is None else us * MICROSECOND
