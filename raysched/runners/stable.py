"""Pickles to be hashed and never loaded: nothing in them is of the process or the place.

Where files lie and what else has been imported is not what a function says. One that
looks at a `__file__` does say it.
"""

from __future__ import annotations

import io
import pickle
from abc import ABCMeta
from collections import ChainMap
from collections.abc import Set
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakSet

from raysched.runners.cells import settled
from raysched.runners.memoized import CACHED, reduced
from raysched.runners.submodules import spelled

_INCIDENTAL = {
    "__file__",
    "__path__",
    "__cached__",
    "__spec__",
    "__loader__",
    "__warningregistry__",
}
"""What a module's namespace holds by where it was found and by what has been run.

What code that travels reads by such a name is not incidental.
"""


def dumps(value: object) -> bytes:
    """Return a value as bytes that tell what it is and no more."""
    said, names = _said(value, _INCIDENTAL)
    if names.isdisjoint(_INCIDENTAL):
        return said
    # Which code travels is known only when all of it has been met.
    return _said(value, _INCIDENTAL - names)[0]


def _said(value: object, incidental: Set[str]) -> tuple[bytes, Set[str]]:
    """Return a value's bytes without what is incidental, and the names that its code uses."""
    out = io.BytesIO()
    pickler = _pickler()(out, incidental)
    pickler.dump(value)
    return out.getvalue(), pickler.names


@cache
def _pickler() -> Any:
    from ray.cloudpickle.cloudpickle import Pickler

    reduce = Pickler.dispatch_table

    class StablePickler(Pickler):  # type: ignore[misc]  # Ray's has no types
        """Cloudpickle's, but for what is incidental."""

        def __init__(self, out: io.BytesIO, incidental: Set[str]) -> None:
            self.names: set[str] = set()
            self.incidental = incidental
            self.dispatch_table = ChainMap(
                {
                    CodeType: self.of_code,
                    ModuleType: lambda each: _of_module(incidental, *reduce[ModuleType](each)),
                    WeakSet: lambda value: (WeakSet, (set(value),)),
                    CACHED: reduced,
                },
                reduce,
            )
            super().__init__(out, protocol=pickle.HIGHEST_PROTOCOL)

        def of_code(self, code: CodeType) -> Any:
            self.names.update(code.co_names)
            return reduce[CodeType](settled(code).replace(co_filename=""))

        def reducer_override(self, value: Any) -> Any:
            if _is_a_set(type(value)):
                return _of_set(*value.__reduce__())
            parts = super().reducer_override(value)
            if parts is NotImplemented:
                return parts
            if isinstance(value, FunctionType):
                return _of_function(value, self.incidental, *parts)
            return _of_abstract_class(*parts) if isinstance(value, ABCMeta) else parts

    return StablePickler


def _of_module(incidental: Set[str], make: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out of a module that travels by value what is incidental."""
    name, *namespace = arguments
    for each in namespace:
        _strip(each, incidental)
    return make, (name, *namespace)


def _of_function(
    function: FunctionType, incidental: Set[str], make: Any, arguments: Any, state: Any, *more: Any
) -> tuple[Any, ...]:
    """Leave out where the function's module was found, and submodules that it does not spell."""
    _code, namespace, *_ = arguments
    _strip(namespace, incidental)  # in place: the functions of a module share it
    attributes, slots = state
    slots = {**slots, "_cloudpickle_submodules": spelled(function)}
    return make, arguments, (attributes, slots), *more


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


def _strip(namespace: dict[str, Any], incidental: Set[str]) -> None:
    for each in incidental:
        namespace.pop(each, None)
