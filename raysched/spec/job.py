"""A native job: what the decorator makes of a function."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from raysched.errors import DeclarationError
from raysched.spec.declared import DeclaredJob, Origin
from raysched.spec.definition import LONGEST_DESCRIPTION, JobSpec
from raysched.spec.environment import worker_environment
from raysched.spec.options import Options, known
from raysched.spec.parameters import Signature
from raysched.spec.policies import Retry
from raysched.spec.units import Duration, Size, shown

P = ParamSpec("P")
R = TypeVar("R")


class Job(DeclaredJob, Generic[P, R]):
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
    def origin(self) -> Origin:
        """Where the function is defined."""
        code = getattr(self.function, "__code__", None)
        line = None if code is None else code.co_firstlineno
        return Origin(module=self.function.__module__, line=line)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were not decorated."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance as a function does, so that a method stays one."""
        return self if instance is None else types.MethodType(self, instance)

    def _with(self, declared: Mapping[str, Any]) -> Self:
        return type(self)(self.function, declared)


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
    if isinstance(function, DeclaredJob):
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
    return _Options(**known(declared, _Options, of="rs.job")).spec(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options(Options):
    """The options of `rs.job` as declared, with their defaults, not yet checked."""

    runtime_env: Any = None

    def spec(self, function: Callable[..., Any]) -> JobSpec:
        name = getattr(function, "__name__", None) if self.name is None else self.name
        return replace(
            replace(self, name=name).checked(Signature.of(function)),
            runtime_env=worker_environment(self.runtime_env),
            description=_description(function),
        )


def _description(function: object) -> str:
    first = (inspect.getdoc(function) or "").split("\n\n")[0][:LONGEST_DESCRIPTION]
    return first.encode(errors="replace").decode()
