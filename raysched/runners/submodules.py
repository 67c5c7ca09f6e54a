"""The submodules that a function's code spells, as `xml.dom.minidom` is spelled below `xml`.

A package that travels by name takes along none of them. Which ones a function takes along is
read from its code alone, and not from what its process happens to have imported.
"""

from __future__ import annotations

import dis
import importlib
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType


def spelled(function: FunctionType) -> list[ModuleType]:
    """Return the submodules that a function spells below its global packages, imported."""
    found: dict[ModuleType, None] = {}
    for start, *names in _chains(function.__code__):
        module = function.__globals__.get(start)
        for name in names:
            module = _below(module, name)
            if module is None:
                break
            found[module] = None
    return list(found)


def _chains(code: CodeType) -> Iterator[list[str]]:
    """Yield the global names of code, nested code too, each with the attributes read below it."""
    chain: list[str] = []
    for each in dis.get_instructions(code):
        if each.opname == "EXTENDED_ARG":
            continue
        if chain and each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain.append(each.argval)
            continue
        if chain:
            yield chain
        chain = [each.argval] if each.opname == "LOAD_GLOBAL" else []
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _chains(const)


def _below(package: object, name: str) -> ModuleType | None:
    """Return the submodule that a package's attribute is, or would be if it were imported."""
    from ray.cloudpickle import cloudpickle

    if not isinstance(package, ModuleType) or not hasattr(package, "__path__"):
        return None
    if not cloudpickle._should_pickle_by_reference(package):
        return None  # it takes along what it holds
    if "__getattr__" in vars(package):
        return None  # it imports what is asked of it, and may mean something else by the name
    path = f"{package.__name__}.{name}"
    if name not in vars(package):
        try:
            importlib.import_module(path)
        except Exception:  # no such module, or one that cannot be had here
            return None
    value = vars(package).get(name)
    return value if isinstance(value, ModuleType) and value.__name__ == path else None
