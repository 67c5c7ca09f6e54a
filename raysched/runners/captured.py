"""What a function takes along when it travels: the variables that it, or a helper, names.

Used where something is wrong with one of them: it cannot be pickled, or weighs too much.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from raysched.spec.job import Job
from raysched.spec.units import shown

_DEEPEST = 5
_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME")

Dumps = Callable[[object], bytes]


@dataclass(frozen=True, slots=True)
class Captured:
    """A variable that travels with a function: what it is to it, and who uses it."""

    role: str  # global, captured variable, default
    name: str
    value: Any
    users: tuple[str, ...]  # the function that names it, then who uses that one, and so on

    def __str__(self) -> str:
        helpers = ", by ".join(f"{user}()" for user in self.users[:-1])
        return f"the {self.role} {self.name!r}" + (f" (used by {helpers})" if helpers else "")


def captured(function: object, travels: Callable[[FunctionType], bool]) -> Iterator[Captured]:
    """Return what a function takes along, and what the functions take that travel with it."""
    yield from _captured(function, travels, (), set())


def _captured(
    function: object,
    travels: Callable[[FunctionType], bool],
    users: tuple[str, ...],
    seen: set[int],
) -> Iterator[Captured]:
    inner = _function(function)
    if not isinstance(inner, FunctionType) or id(inner) in seen:
        return
    seen.add(id(inner))
    users = (inner.__name__, *users)
    for role, name, value in _used(inner):
        below = _function(value)
        if isinstance(below, FunctionType) and travels(below):
            yield from _captured(below, travels, users, seen)
        elif not isinstance(value, ModuleType):
            yield Captured(role, name, value, users)


def _function(value: object) -> object:
    """Return a job's own function; any other value as it is."""
    return value.function if isinstance(value, Job) else value


def _used(function: FunctionType) -> Iterator[tuple[str, str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield "captured variable", name, cell.cell_contents
        except ValueError:  # not bound yet
            continue
    for name in _names(code):
        if name in function.__globals__:
            yield "global", name, function.__globals__[name]
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from (
        ("default of", name, value)
        for name, value in zip(positional[-len(defaults) or None :], defaults, strict=False)
    )
    for name, value in (function.__kwdefaults__ or {}).items():
        yield "default of", name, value


def _names(code: CodeType) -> dict[str, None]:
    """Return the names that code looks up, and those of the code inside of it."""
    steps = dis.get_instructions(code)  # `co_names` holds those of attributes, too
    names = dict.fromkeys(step.argval for step in steps if step.opname in _LOOKUPS)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            names |= _names(each)
    return names


def culprit(found: Iterator[Captured], dumps: Dumps) -> str | None:
    """Return which variable cannot be pickled, of which type, and what in it; None if all can."""
    for each in found:
        if not _can(each.value, dumps):
            path, value = _innermost(each.name, each.value, dumps)
            inside = f": {path} is of type {_kind(value)}" if value is not each.value else ""
            return f"{each} is of type {_kind(each.value)}{inside}"
    return None


def _innermost(path: str, value: Any, dumps: Dumps, depth: int = 0) -> tuple[str, Any]:
    """Return the smallest part of a value that cannot be pickled, and how it is reached."""
    for step, part in _parts(value) if depth < _DEEPEST else ():
        if not _can(part, dumps):
            return _innermost(f"{path}{step}", part, dumps, depth + 1)
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{shown(key)}]", part) for key, part in list(value.items())[:100])
    elif isinstance(value, list | tuple):
        yield from ((f"[{n}]", part) for n, part in enumerate(value[:100]))
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in list(vars(value).items())[:100])


def largest(found: Iterator[Captured], dumps: Dumps, most: int = 3) -> list[tuple[int, Captured]]:
    """Return the variables that weigh most, with their bytes, the heaviest first."""
    weighed = [(len(dumps(each.value)), each) for each in found if _can(each.value, dumps)]
    return sorted(weighed, key=lambda pair: -pair[0])[:most]


def _can(value: Any, dumps: Dumps) -> bool:
    try:
        dumps(value)
    except Exception:
        return False
    return True


def _kind(value: Any) -> str:
    return shown(type(value).__name__)
