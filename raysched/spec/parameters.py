"""Parameters: what a function takes, and the JSON values that a run gives it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysched.errors import DeclarationError, InvalidParameter
from raysched.spec.units import shown

_LARGEST = 64 * 1024
_DEEPEST = 32


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
        for name, parameter in inspect.signature(function).parameters.items():
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
        unknown = [name for name in params if name not in self.names and not self.open]
        if unknown:
            raise InvalidParameter(
                f"job {job!r} takes no parameter {shown(unknown[0])}.",
                why=f"its parameters are {', '.join(self.names) or 'none'}.",
                fix="correct the name, or add it to the function.",
            )
        missing = [name for name in self.required if name not in params]
        if whole and missing:
            raise InvalidParameter(
                f"job {job!r} needs the parameter {missing[0]!r}.",
                why="the function gives it no default, and neither does params=.",
                fix=f'pass {missing[0]}=..., or declare params={{"{missing[0]}": ...}}.',
            )
        json_value(dict(params), of="params")


def json_value(value: Any, *, of: str) -> str:
    """Return the JSON text of a value made of plain JSON types only.

    Raises:
        InvalidParameter: any other type, NaN or infinity, nesting over 32, or over 64 KiB.
    """
    _check_json(value, of, 0)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text) > _LARGEST:
        raise InvalidParameter(
            f"{of} is {len(text):,} characters long as JSON.",
            why=f"parameters are recorded with each run; {_LARGEST:,} is the most.",
            fix="pass a path or a query instead of the data.",
        )
    return text


def _check_json(value: Any, where: str, depth: int) -> None:
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
                    fix=f'write "{name}" if that is meant.' if type(name) is int else None,
                )
            _check_json(item, f"{where}[{shown(name)}]", depth + 1)
    elif kind is list or kind is tuple:
        for n, item in enumerate(value):
            _check_json(item, f"{where}[{n}]", depth + 1)
    elif kind is float and not math.isfinite(value):
        raise InvalidParameter(
            f"{where} is {value}.", why="JSON has no such number.", fix="pass None or a string."
        )
    elif value is not None and kind not in (bool, int, float, str):
        raise InvalidParameter(
            f"{where} is of type {shown(kind.__name__)}.",
            why="parameters are recorded as JSON: None, bool, int, float, str, list, dict.",
            fix="pass for example an ISO string for a date, or a path for a table.",
        )
    elif kind is str and not _encodable(value):
        raise InvalidParameter(
            f"{where} is {shown(value)}.",
            why="it contains a lone surrogate, which UTF-8 cannot encode.",
            fix="decode the bytes with the right encoding first.",
        )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
