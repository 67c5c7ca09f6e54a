"""The text of a cell as a function: no parameters, its last expression is the result.

Law: the text is parsed as plain Python and compiled, never run here; nothing in it
reaches a shell.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from raysched.errors import DeclarationError
from raysched.runners.cells import FILE

_NAME = "cell"
_BEFORE = "_before_"


def function_of(text: str, variables: Mapping[str, Any]) -> FunctionType:
    """Return a function that does what the cell would do, over the variables that it reads.

    A variable that the cell reads before it assigns it begins with the value that it has
    now; what the cell assigns ends with the run.

    Raises:
        DeclarationError: the text is empty, or no plain Python.
    """
    try:
        tree = ast.parse(text, FILE)
        begun = _begun(compile(tree, FILE, "exec"))
        before = {f"{_BEFORE}{name}": variables[name] for name in begun if name in variables}
        body = [*map(_assignment, before), *_with_result(tree.body)]
        code = compile(_module(body), FILE, "exec")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _refused(error) from None
    inner = next(each for each in code.co_consts if isinstance(each, CodeType))
    return FunctionType(inner, {**variables, **before, "__name__": "__main__"}, _NAME)


def _refused(error: Exception) -> DeclarationError:
    line = getattr(error, "lineno", None)
    return DeclarationError(
        f"the cell cannot be a job{f': line {line} below %%rsched' if line else ''}.",
        why=str(getattr(error, "msg", error)),
        fix="write plain Python; what begins with % or ! belongs into a cell of its own.",
    )


def _begun(code: CodeType) -> list[str]:
    """Return the names that the cell assigns, and reads before."""
    first: dict[str, str] = {}
    assigned = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "STORE_NAME", "DELETE_NAME"):
            first.setdefault(step.argval, step.opname)
            assigned |= {step.argval} if step.opname != "LOAD_NAME" else set()
    return [name for name in first if name in assigned and first[name] != "STORE_NAME"]


def _assignment(before: str) -> ast.stmt:
    return ast.parse(f"{before.removeprefix(_BEFORE)} = {before}").body[0]


def _with_result(body: list[ast.stmt]) -> list[ast.stmt]:
    if not body:
        raise ValueError("it has nothing to run")
    last = body[-1]
    if not isinstance(last, ast.Expr):
        return body
    return [*body[:-1], ast.copy_location(ast.Return(last.value), last)]


def _module(body: list[ast.stmt]) -> ast.Module:
    module = ast.parse(f"def {_NAME}(): pass")
    (function,) = module.body
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    return module
