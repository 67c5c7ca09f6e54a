"""Code of notebook cells, the same whatever kernel, cell and line it was run in.

A kernel names a cell's file after its own process and the cell's text, and counts lines
from the cell's first. None of that is the function's: without it, a cell that is run
again, in another kernel or below another comment, gives the version that it gave before.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import ChainMap
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any, ClassVar

from raysched.runners.memoized import CACHED, reduced
from raysched.runners.submodules import spelled

FILE = "<notebook>"
"""What tracebacks name as the file; lines count from the function's first, decorators included."""

_CELL = re.compile(r"(?:^|[/\\])ipykernel_\d+[/\\]\d+\.py$|(?:^<|[/\\])ipython-input-[^/\\]*$")


ANEW = "__rsched_anew__"
"""Marks a function that is loaded anew for each run, since it assigns its globals."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's code: its statements, and its last expression, if it ends with one."""

    body: CodeType
    last: CodeType | None

    def __call__(self, reads: FunctionType) -> Any:
        """Run over the globals of a function, and return the value of the last expression."""
        space = reads.__globals__
        exec(self.body, space)  # noqa: S102  # the user's own cell; that is the job
        return None if self.last is None else eval(self.last, space)  # noqa: S307


def settled(code: CodeType) -> CodeType:
    """Return code of a cell without the cell's file and place; any other code as it is."""
    return _moved(code, code.co_firstlineno - 1) if _CELL.search(code.co_filename) else code


def _moved(code: CodeType, lines: int) -> CodeType:
    """Return code that stands so many lines higher, with all that is defined inside."""
    consts = (_moved(c, lines) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(
        co_filename=FILE, co_firstlineno=code.co_firstlineno - lines, co_consts=tuple(consts)
    )


def dumps(value: object) -> bytes:
    """Return a value as cloudpickle writes it, code of cells settled."""
    out = io.BytesIO()
    _pickler()(out, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return out.getvalue()


@cache
def _pickler() -> Any:
    from ray.cloudpickle.cloudpickle import Pickler

    reduce_code = Pickler.dispatch_table[CodeType]

    class CellPickler(Pickler):  # type: ignore[misc]  # Ray's has no types
        """Cloudpickle's, but for code, submodules, and functions with a cache."""

        dispatch_table: ClassVar[Any] = ChainMap(
            {CodeType: lambda code: reduce_code(settled(code)), CACHED: reduced},
            Pickler.dispatch_table,
        )

        def reducer_override(self, value: Any) -> Any:
            parts = super().reducer_override(value)
            if parts is not NotImplemented and isinstance(value, FunctionType):
                _attributes, slots = parts[2]
                slots["_cloudpickle_submodules"] += spelled(value)
            return parts

    return CellPickler
