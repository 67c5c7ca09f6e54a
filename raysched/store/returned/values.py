"""What of a return value has a form in JSON: exact types, bounded, acyclic."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

from raysched.errors import UnsupportedResult
from raysched.store.returned.foreign import FIX, RETURN, short, type_name

_JSON_BYTES = 64 * 1024
_JSON_DEPTH = 50
_INT_BITS = 14_000  # beyond some 4,300 digits Python itself refuses to print one

# The numpy scalars that `.item()` turns into a plain bool, int, float or str.
# longdouble is not among them: it has more digits than a float.
_NUMPY: frozenset[type] = frozenset(
    {np.bool_, np.float16, np.float32, np.float64, np.str_}
    | {np.dtype(code).type for code in "bBhHiIlLqQ"}  # every whole number
)

TYPES: frozenset[type] = frozenset({bool, int, float, str, list, tuple, dict}) | _NUMPY
"""The types of which a value may have a form in JSON."""


def json_text(value: object) -> str:
    """Return a value as JSON.

    Raises:
        UnsupportedResult: something in it has no such form; names the place inside of it.
    """
    plain = _Plain().of(value, "result", 0)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, as in odd file names: JSON can escape it
        text = json.dumps(plain, separators=(",", ":"))
        size = len(text)
    if size > _JSON_BYTES:
        _too_large()
    return text


class _Plain:
    """Copies a value into one that JSON can write: exact types, bounded, acyclic."""

    def __init__(self) -> None:
        self._left = _JSON_BYTES  # each value takes a byte at least: this bounds the walk
        self._open: set[int] = set()

    def of(self, value: Any, path: str, depth: int) -> Any:
        """The copy. Raises: UnsupportedResult, naming `path`."""
        kind = type(value)
        if kind in _NUMPY:
            value = value.item()
            kind = type(value)
        self._left -= 1 + (len(value) if kind is str else 0)
        if self._left < 0:
            _too_large()
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if value.bit_length() > _INT_BITS:
                _refuse(path, "an integer of more than 4,000 digits", "return str(value).")
            return value
        if kind is float:
            if not math.isfinite(value):
                _refuse(path, f"{value}, which JSON has no form for", "return None in its place.")
            return value
        if kind in (list, tuple, dict):
            return self._inside(value, path, depth)
        name = type_name(value)
        return _refuse(path, name, FIX.get(name, RETURN))

    def _inside(self, value: Any, path: str, depth: int) -> Any:
        if id(value) in self._open:
            _refuse(path, "itself again", "return values without cycles.")
        if depth >= _JSON_DEPTH:
            _refuse(path, f"more than {_JSON_DEPTH} levels", "return a flatter value.")
        self._open.add(id(value))
        copy: Any
        if type(value) is dict:
            copy = {}
            for key, item in value.items():
                if type(key) is not str:
                    _refuse(path, f"a key of type {type_name(key)}", "use text for keys.")
                self._left -= len(key)
                copy[key] = self.of(item, f"{path}[{short(key)}]", depth + 1)
        else:
            copy = [self.of(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        self._open.discard(id(value))
        return copy


def _refuse(path: str, what: str, fix: str) -> NoReturn:
    raise UnsupportedResult(f"a job's {path} is or holds {what}.", fix=fix)


def _too_large() -> NoReturn:
    raise UnsupportedResult(
        f"a job's result is more than {_JSON_BYTES // 1024} KiB of JSON.",
        why="small results are a column of the run; large ones are files.",
        fix="return a DataFrame.",
    )
