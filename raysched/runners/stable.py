"""Pickles to be hashed and never loaded: nothing in them is of the process or the place.

Where files lie and what else has been imported is not what a function says. One that
looks at its own `__file__` does say it.
"""

from __future__ import annotations

import io
import pickle
from abc import ABCMeta
from collections import ChainMap
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, ClassVar
from weakref import WeakSet

from raysched.runners.cells import settled
from raysched.runners.memoized import CACHED, reduced

_INCIDENTAL = {
    "__file__",
    "__path__",
    "__cached__",
    "__spec__",
    "__loader__",
    "__warningregistry__",
}
"""What a module's namespace holds by where it was found and by what has been run."""


def dumps(value: object) -> bytes:
    """Return a value as bytes that tell what it is and no more."""
    out = io.BytesIO()
    _pickler()(out, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return out.getvalue()


@cache
def _pickler() -> Any:
    from ray.cloudpickle.cloudpickle import Pickler

    reduce = Pickler.dispatch_table

    class StablePickler(Pickler):  # type: ignore[misc]  # Ray's has no types
        """Cloudpickle's, but for what is incidental."""

        dispatch_table: ClassVar[Any] = ChainMap(
            {
                CodeType: lambda code: reduce[CodeType](settled(code).replace(co_filename="")),
                ModuleType: lambda module: _of_module(*reduce[ModuleType](module)),
                WeakSet: lambda value: (WeakSet, (set(value),)),
                CACHED: reduced,
            },
            reduce,
        )

        def reducer_override(self, value: Any) -> Any:
            if _is_a_set(type(value)):
                return _of_set(*value.__reduce__())
            parts = super().reducer_override(value)
            if parts is NotImplemented:
                return parts
            if isinstance(value, FunctionType):
                return _of_function(*parts)
            return _of_abstract_class(*parts) if isinstance(value, ABCMeta) else parts

    return StablePickler


def _of_module(make: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out of a module that travels by value what is incidental."""
    name, *namespace = arguments
    for each in namespace:
        _strip(each)
    return make, (name, *namespace)


def _of_function(make: Any, arguments: Any, state: Any, *more: Any) -> tuple[Any, ...]:
    """Leave out where the function's module was found, and which submodules were imported."""
    _code, namespace, *_ = arguments
    _strip(namespace)  # in place: the functions of a module share it
    attributes, slots = state
    return make, arguments, (attributes, {**slots, "_cloudpickle_submodules": None}), *more


def _of_abstract_class(make: Any, arguments: Any, state: Any, *more: Any) -> tuple[Any, ...]:
    """Tell the classes that are registered with a class as the set that they are."""
    attributes, slots = state
    registered = set(attributes["_abc_impl"])
    return make, arguments, ({**attributes, "_abc_impl": registered}, slots), *more


def _is_a_set(kind: type) -> bool:
    """Whether values of a class are pickled as sets are: by a list of their elements."""
    return any(kind.__reduce__ is vars(each)["__reduce__"] for each in (set, frozenset))


def _of_set(make: Any, arguments: Any, state: Any) -> tuple[Any, ...]:
    """Tell the elements of a set of some other class as the set that they are."""
    (elements,) = arguments
    return make, (frozenset(elements),), state


def _strip(namespace: dict[str, Any]) -> None:
    for each in _INCIDENTAL:
        namespace.pop(each, None)
