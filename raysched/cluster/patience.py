"""How long whoever asks the scheduler waits for its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_hurry: ContextVar[float | None] = ContextVar("hurry", default=None)


@contextmanager
def hurry(seconds: float) -> Iterator[None]:
    """Make every question within wait for its answer this long at most, restarts included."""
    before = _hurry.set(seconds)
    try:
        yield
    finally:
        _hurry.reset(before)


def hurried() -> float | None:
    """Return how many seconds a question may wait here; None where there is no hurry."""
    return _hurry.get()
