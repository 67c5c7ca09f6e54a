"""Functions that functools caches, sent by value: pickle knows them by their names alone.

A worker has no such name for one of a notebook or of a job's own module. What is sent is
the function below the cache, which begins empty there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

CACHED: type = functools._lru_cache_wrapper
"""What `functools.cache` and `functools.lru_cache` make of a function."""


def reduced(cached: Any) -> Any:
    """Return what pickle makes of a cached function: a name that others have, or its parts."""
    from ray.cloudpickle import cloudpickle

    found = cloudpickle._lookup_module_and_qualname(cached)
    if found and not cloudpickle._is_registered_pickle_by_value(found[0]):
        return cached.__reduce__()
    # The function comes last, and into what is made already: it may name the cached one.
    parameters = tuple(cached.cache_parameters().values())
    return _empty, parameters, cached.__wrapped__, None, None, _fill


class _Later:
    """Calls a function that is told later."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _empty(maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(_Later())


def _fill(cached: Any, function: Callable[..., Any]) -> None:
    cached.__wrapped__.function = function
    functools.update_wrapper(cached, function)
