"""Parameters: what a function takes, and the JSON values that a run gives it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from typing import Any

from raysched.errors import DeclarationError, InvalidParameter
from raysched.spec.units import shown

_LARGEST = 64 * 1024
_DEEPEST = 32
_WIDEST_INT = 64  # bits: what an Arrow column, and most readers of JSON, can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The names that a job's function takes; `open` when it takes any (`**kwargs`)."""

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    open: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Return the signature of a function, each parameter of which can be passed by name.

        Raises:
            DeclarationError: a parameter that can only be passed by position.
        """
        named, required, is_open = [], [], False
        for name, parameter in _parameters(function).items():
            match parameter.kind:
                case inspect.Parameter.VAR_KEYWORD:
                    is_open = True
                case inspect.Parameter.VAR_POSITIONAL:
                    continue
                case inspect.Parameter.POSITIONAL_ONLY:
                    raise DeclarationError(
                        f"parameter {name!r} can only be passed by position.",
                        why="a run passes its parameters by name, as they stand in the history.",
                        fix="remove the '/' from the function's signature.",
                    )
                case _:
                    named.append(name)
                    if parameter.default is inspect.Parameter.empty:
                        required.append(name)
        return cls(names=tuple(named), required=tuple(required), open=is_open)

    def check(self, job: str, params: Mapping[str, Any], *, whole: bool) -> None:
        """Check that the function takes `params`, and with `whole` that none it needs is missing.

        Raises:
            InvalidParameter: an unknown or missing name, or a value without a JSON form.
        """
        unknown = [
            name
            for name in params
            if type(name) is not str or (name not in self.names and not self.open)
        ]
        if unknown:
            raise InvalidParameter(
                f"job {job!r} takes no parameter {shown(unknown[0])}.",
                why=f"its parameters are {', '.join(self.names)}."
                if self.names
                else "it takes none.",
                fix=closest(unknown[0], self.names)
                or "remove it, or give the job one of that name.",
            )
        missing = [name for name in self.required if name not in params]
        if whole and missing:
            raise InvalidParameter(
                f"job {job!r} needs the parameter {missing[0]!r}.",
                why="the job gives it no default, and neither does params=.",
                fix=f'pass {missing[0]}=..., or declare params={{"{missing[0]}": ...}}.',
            )
        json_value(dict(params), of="params")


def closest(name: object, names: Sequence[str]) -> str | None:
    """Return the advice to write the one of `names` that a mistyped one is close to, if any is."""
    near = get_close_matches(name, names, n=1) if isinstance(name, str) else []
    return f"write {near[0]!r} if that is meant." if near else None


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise DeclarationError(
            f"{shown(function)} does not say which parameters it takes.",
            why="a function written in C may have no signature.",
            fix="wrap it in a def of your own.",
        ) from None


def json_value(value: Any, *, of: str) -> str:
    """Return the JSON text of a value made of plain JSON types only.

    Raises:
        InvalidParameter: any other type, NaN or infinity, an int over 64 bits, nesting over
            32, or over 64 KiB.
    """
    _check_json(value, of, 0, count(1))
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > _LARGEST:
        raise _too_large(of)
    return text


def plain(value: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Return a copy of `value` as it comes back from JSON, which its owner cannot change.

    Raises:
        InvalidParameter: as `json_value`.
    """
    copy: dict[str, Any] = json.loads(json_value(value, of=of))
    return copy


def _too_large(of: str) -> InvalidParameter:
    return InvalidParameter(
        f"{of.partition('[')[0]} is larger than {_LARGEST:,} bytes as JSON.",
        why="it is recorded with each run or version.",
        fix="pass a path or a query instead of the data.",
    )


def _check_json(value: Any, where: str, depth: int, seen: Iterator[int]) -> None:
    # Counted, because a value that contains itself twice has 2**32 members at depth 32.
    if next(seen) > _LARGEST:
        raise _too_large(where)
    kind = type(value)
    if depth > _DEEPEST:
        raise InvalidParameter(
            f"{where[:80]} is nested more than {_DEEPEST} deep.",
            why="it may contain itself.",
            fix="flatten it.",
        )
    if kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise InvalidParameter(
                    f"{where} has the key {shown(name)}.",
                    why="JSON keys are strings.",
                    fix=f'write "{shown(name)}".' if type(name) is int else "use strings.",
                )
            _check_text(name, f"a key of {where}")
            _check_json(item, f"{where}[{shown(name)}]", depth + 1, seen)
    elif kind is list or kind is tuple:
        for n, item in enumerate(value):
            _check_json(item, f"{where}[{n}]", depth + 1, seen)
    elif kind is float and not math.isfinite(value):
        raise InvalidParameter(
            f"{where} is {value}.", why="JSON has no such number.", fix="pass None or a string."
        )
    elif kind is int and value.bit_length() > _WIDEST_INT:
        raise InvalidParameter(
            f"{where} is an int of {value.bit_length():,} bits.",
            why=f"readers of JSON hold {_WIDEST_INT}.",
            fix="pass it as a string.",
        )
    elif value is not None and kind not in (bool, int, float, str):
        raise InvalidParameter(
            f"{where} is of type {shown(kind.__name__)}.",
            why="parameters are recorded as JSON: None, bool, int, float, str, list, dict.",
            fix="pass for example an ISO string for a date, or a path for a table.",
        )
    elif kind is str:
        _check_text(value, where)


def _check_text(text: str, where: str) -> None:
    if not encodable(text):
        raise InvalidParameter(
            f"{where} is {shown(text)}.",
            why="it contains a lone surrogate, which UTF-8 cannot encode.",
            fix="decode the bytes with the right encoding first.",
        )


def encodable(text: str) -> bool:
    """Return whether UTF-8 can encode a text: a lone surrogate it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
