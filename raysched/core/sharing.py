"""Which queued runs share a Ray task.

A task costs more than many a run that it carries. Runs that are tiny by the record of
their job's version therefore ride together, when more of them wait than would keep
the cluster busy one by one. A run that is tried again rides alone, and so does a
container.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from raysched.core.orders import Order

MOST = 32
"""How many runs may share a task."""

LONGEST_S = 0.05
"""How long the runs that share a task may be expected to take together."""

TASKS = 8
"""Runs share only so far that this many tasks of their shape are left to run side by side."""

_RECORD = 8  # ends of a version that must be known before one is foretold from them


class Pace:
    """How long the last runs of one version of a job took."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_RECORD)

    def note(self, seconds: float | None) -> None:
        """Remember how long an attempt took; None forgets all: one of them did not return."""
        if seconds is None:
            self._seconds.clear()
        else:
            self._seconds.append(seconds)

    @property
    def expected_s(self) -> float | None:
        """The longest of the last runs' durations, None while too few are known."""
        return max(self._seconds) if len(self._seconds) == _RECORD else None


def share(
    orders: Sequence[Order],
    expected_s: Callable[[Order], float | None],
    waiting: Callable[[str], int],
    most: int = MOST,
) -> list[list[Order]]:
    """Return the orders by task, each task's in their order.

    `expected_s` foretells how long an order's run takes, None if nobody knows;
    `waiting` is how many more runs of a shape stand in line.
    """
    of_shape: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        of_shape[order.shape.key].append(order)
    tasks: list[list[Order]] = []
    for shape, alike in of_shape.items():
        size = min(most, (len(alike) + waiting(shape)) // TASKS)
        task: list[Order] = []
        left_s = 0.0
        for order in alike:
            alone = order.attempt > 1 or order.container is not None
            seconds = None if alone else expected_s(order)
            if seconds is None:
                tasks.append([order])
                continue
            if not task or len(task) >= size or seconds > left_s:
                task, left_s = [], LONGEST_S
                tasks.append(task)
            task.append(order)
            left_s -= seconds
    return tasks
