"""A job's code: a function pinned as bytes, and those bytes as a function again."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from raysched.errors import NotPicklable
from raysched.spec.units import shown

_LARGEST = 64 * 1024 * 1024


def pin(function: Callable[..., Any], *, name: str, folder: Path | None = None) -> bytes:
    """Return a function as bytes that carry all of its own code.

    The function's module, `__main__`, and with `folder` every module that lies in it,
    travel by value; installed packages by name.

    Raises:
        NotPicklable: something that the function uses cannot be sent; names it.
    """
    from ray import cloudpickle

    with _by_value(function, folder):
        try:
            code: bytes = cloudpickle.dumps(function)
        except Exception as error:
            raise NotPicklable(
                f"job {name!r} cannot be sent to a worker: {_culprit(function, error)}.",
                why=f"{type(error).__name__}: {str(error)[:300]}",
                fix="make it inside the function, or pass what it is made from as a parameter.",
            ) from error
    if len(code) > _LARGEST:
        raise NotPicklable(
            f"job {name!r} weighs {len(code):,} bytes.",
            why=f"its function captures data; {_LARGEST:,} bytes is the most.",
            fix="read the data inside the function.",
        )
    return code


_loaded: dict[str, Callable[..., Any]] = {}
_MOST_LOADED = 64


def load(code_hash: str, code: bytes) -> Callable[..., Any]:
    """Return the function that `pin` made bytes of; one that is loaded already is kept."""
    function = _loaded.get(code_hash)
    if function is None:
        function = pickle.loads(code)
        while len(_loaded) >= _MOST_LOADED:
            del _loaded[next(iter(_loaded))]
        _loaded[code_hash] = function
    return function


@contextmanager
def _by_value(function: Callable[..., Any], folder: Path | None) -> Iterator[None]:
    from ray import cloudpickle

    modules = [module for module in _own_modules(function, folder) if module.__name__ != "__main__"]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _own_modules(function: Callable[..., Any], folder: Path | None) -> list[ModuleType]:
    home = sys.modules.get(getattr(function, "__module__", "") or "")
    own = [] if home is None or _installed(home) else [home]
    if folder is not None:
        root = folder.resolve()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            inside = file is not None and root in Path(file).resolve().parents
            if inside and module not in own and isinstance(module, ModuleType):
                own.append(module)
    return own


def _installed(module: ModuleType) -> bool:
    """Whether every node has the module anyway: the standard library and site-packages."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    parts = Path(file).parts
    return (
        "site-packages" in parts
        or "dist-packages" in parts
        or Path(file).is_relative_to(Path(pickle.__file__).parent)
    )


def _culprit(function: Callable[..., Any], error: Exception) -> str:
    """Return which of the things that a function uses cannot be pickled."""
    from ray import cloudpickle

    for where, value in _used(function):
        try:
            cloudpickle.dump(value, io.BytesIO())
        except Exception:
            return f"{where} is of type {shown(type(value).__name__)}"
    return shown(str(error))


def _used(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"the captured variable {name!r}", cell.cell_contents
        except ValueError:
            continue
    for name in code.co_names:
        if name in function.__globals__:
            yield f"the global {name!r}", function.__globals__[name]
    for n, value in enumerate(getattr(function, "__defaults__", None) or ()):
        yield f"default number {n + 1}", value
