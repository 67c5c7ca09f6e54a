"""A job's code: a function pinned as bytes, and those bytes as a function again."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from raysched.errors import DeclarationError, NotPicklable
from raysched.runners import stable
from raysched.runners.captured import Captured, captured, culprit, largest
from raysched.runners.cells import ANEW, dumps
from raysched.runners.fingerprint import fingerprint
from raysched.show.text import size
from raysched.spec.units import shown

HEAVY = 10 * 1024 * 1024
"""A job that takes along more bytes than this gets a warning."""

LARGEST = 64 * 1024 * 1024
"""No job takes along more bytes than this."""


def pin(
    function: Callable[..., Any], *, name: str, folder: Path | None = None
) -> tuple[bytes, str]:
    """Return a function as bytes that carry all of its own code, and the hash of what they say.

    The function's module, `__main__`, and with `folder` every module that lies in it,
    travel by value; installed packages by name. Warns of many bytes.

    Raises:
        NotPicklable: something that the function uses cannot be sent, or weighs too much;
            names it.
    """
    with _by_value(function, folder) as travelling:
        found = captured(function, lambda each: each.__module__ in travelling)
        try:
            code, said = dumps(function), stable.dumps(function)
        except Exception as error:
            raise NotPicklable(
                f"job {name!r} cannot be sent to a worker: "
                f"{culprit(found, dumps) or shown(str(error))}.",
                why=f"{type(error).__name__}: {str(error)[:300]}",
                fix="make it inside the function, or pass what it is made from as a parameter.",
            ) from error
        if len(code) > HEAVY:
            _mind_weight(name, len(code), largest(found, dumps))
    return code, fingerprint(said)


def _mind_weight(name: str, weight: int, heaviest: Sequence[tuple[int, Captured]]) -> None:
    what = f"job {name!r} takes along {size(weight)} of data."
    why = "; ".join(
        f"{each} weighs {size(n)} ({type(each.value).__name__})" for n, each in heaviest
    )
    fix = "read it inside the function, or pass its path or its day as a parameter."
    if weight > LARGEST:
        raise NotPicklable(what, why=f"{size(LARGEST)} is the most; {why}", fix=fix)
    why = f"every version of the job keeps a copy, and every worker loads it; {why}"
    warnings.warn(str(DeclarationError(what, why=why, fix=fix)), stacklevel=_users_level())


def _users_level() -> int:
    """Return the stack level of the user's own line, for a warning by the function's caller."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("raysched."):
        frame, level = frame.f_back, level + 1
    return level


_loaded: dict[str, Callable[..., Any]] = {}
_MOST_LOADED = 64


def load(code_hash: str, code: bytes) -> Callable[..., Any]:
    """Return the function that `pin` made bytes of; one that is loaded already is kept.

    A cell's is not: its variables begin each run with the values that they were sent with.
    """
    function = _loaded.get(code_hash)
    if function is None:
        function = cast(Callable[..., Any], pickle.loads(code))
        if hasattr(function, ANEW):
            return function
        while len(_loaded) >= _MOST_LOADED:
            del _loaded[next(iter(_loaded))]
        _loaded[code_hash] = function
    return function


@contextmanager
def _by_value(function: Callable[..., Any], folder: Path | None) -> Iterator[set[str]]:
    """Make the function's own modules travel by value within; gives their names."""
    from ray import cloudpickle

    modules = [module for module in _own_modules(function, folder) if module.__name__ != "__main__"]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield {"__main__", *(module.__name__ for module in modules)}
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
