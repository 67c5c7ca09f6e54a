"""Quick pickling of frozen values that travel between processes a thousand times a second.

A dataclass with slots pickles through a Python loop over its fields, both ways;
here its fields are one tuple, taken by C. Half the size, a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def by_fields(cls: type[T]) -> type[T]:
    """Make a keyword-only dataclass of two or more fields pickle as the tuple of them.

    Old values meet new classes when a scheduler is upgraded: fields are only ever
    added, at the end and with a default.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    get: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)

    def reduce(self: T) -> tuple[Any, ...]:
        return _rebuild, (cls, get(self))

    cls.__reduce__ = reduce  # type: ignore[assignment]
    cls._pickled = tuple(names)  # type: ignore[attr-defined]
    return cls


def _rebuild(cls: Any, values: tuple[Any, ...]) -> Any:
    return cls(**dict(zip(cls._pickled, values, strict=False)))
