"""The text of a cell as a function: no parameters, its last expression is the result.

Law: the text is parsed as plain Python and compiled, never run here; nothing in it
reaches a shell.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from raysched.errors import DeclarationError
from raysched.jupyter.reads import names_read
from raysched.runners.cells import ANEW, FILE, Cell

_NAME = "cell"

_BY_NAME = {"globals": 0, "locals": 0, "vars": 0, "dir": 0, "eval": 1, "exec": 1}
"""What finds variables by name when it is called with no more arguments than these."""


def function_of(text: str, variables: dict[str, Any]) -> FunctionType:
    """Return a function to be sent away, which does there what the cell would do here.

    With it travel the variables that the cell may read before it has surely written them,
    as they are now. It shares its globals with the functions of the notebook, as the cell
    does: called here and not where it was sent to, it would assign the notebook's variables.

    Raises:
        DeclarationError: the text is empty, no plain Python, or finds variables by name.
    """
    try:
        tree = ast.parse(text, FILE)
        cell = _compiled(tree.body)
        names = sorted(names_read(text) & variables.keys())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _refused(error) from None
    _refuse_lookups(tree, variables)
    function = _calling(cell, names, variables)
    function.__doc__ = ast.get_docstring(tree)
    return function


def _refused(error: Exception) -> DeclarationError:
    line = getattr(error, "lineno", None)
    return DeclarationError(
        f"the cell cannot be a job{f': line {line} below %%rsched' if line else ''}.",
        why=str(getattr(error, "msg", error)),
        fix="write plain Python; what begins with % or ! belongs into a cell of its own.",
    )


def _refuse_lookups(tree: ast.Module, variables: Mapping[str, Any]) -> None:
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(name), args, []) if len(args) <= _BY_NAME.get(name, -1):
                if name in variables:
                    continue
                raise DeclarationError(
                    f"the cell cannot be a job: line {node.lineno} below %%rsched"
                    f" calls {name}() without a namespace.",
                    why="it finds variables by name, and which ones is not known beforehand.",
                    fix="write the variables themselves, or give it what it is to look into.",
                )


def _compiled(body: list[ast.stmt]) -> Cell:
    if not body:
        raise ValueError("it has nothing to run")
    *rest, last = body
    if not isinstance(last, ast.Expr):
        return Cell(_code(ast.Module(body, [])), None)
    return Cell(_code(ast.Module(rest, [])), _code(ast.Expression(last.value)))


def _code(tree: ast.Module | ast.Expression) -> CodeType:
    mode = "exec" if isinstance(tree, ast.Module) else "eval"
    code: CodeType = compile(tree, FILE, mode, dont_inherit=True)  # not this file's __future__
    return code


def _calling(cell: Cell, names: list[str], variables: dict[str, Any]) -> FunctionType:
    """Return a function over the variables that takes those named along, and calls the cell.

    A pickler takes the globals that a function's own code names, and the submodules whose
    names are in it, which is why the cell's other names stand there as well.
    """
    outer = f"""
def outer(__rsched__):
    def {_NAME}():
        return __rsched__(lambda: [{", ".join(names)}])
"""
    code = _inner(_inner(compile(outer, "<%%rsched>", "exec")))
    code = code.replace(co_names=(*code.co_names, *sorted(_all_names(cell))))
    function = FunctionType(code, variables, _NAME, None, (CellType(cell),))
    function.__dict__[ANEW] = True
    return function


def _inner(code: CodeType) -> CodeType:
    return next(each for each in code.co_consts if isinstance(each, CodeType))


def _all_names(cell: Cell) -> set[str]:
    codes = [each for each in (cell.body, cell.last) if each is not None]
    names: set[str] = set()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    return names
