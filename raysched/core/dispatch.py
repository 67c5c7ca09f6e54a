"""Which queued runs may be handed to Ray now, and why the others wait.

A run first gets one of its job's places (`max_active`, `overlap`), then one of its
shape's places in a small window of runs that Ray has but has not started. The
window is counted for each shape of demand apart, so that runs that fit no node
yet are seen by the autoscaler and stand in nobody else's way. Within a line,
higher priority goes first, then the older run.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice

_Entry = tuple[int, int, str]
_NAMED = 10  # holders of places that a waiting run is told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What keeps a queued run from being handed to Ray.

    `holders` have the `limit` places of its job; empty if it has a place and only waits
    for its turn in the window, in which `ahead` runs of its shape have not started.
    """

    holders: tuple[str, ...] = ()
    limit: int | None = None
    ahead: int = 0


@dataclass(slots=True)
class _Job:
    limit: int | None
    holders: dict[str, None] = field(default_factory=dict)
    line: list[_Entry] = field(default_factory=list)

    @property
    def has_place(self) -> bool:
        return self.limit is None or len(self.holders) < self.limit


@dataclass(slots=True)
class _Shape:
    line: list[_Entry] = field(default_factory=list)
    unstarted: int = 0


class Dispatch:
    """The lines in which queued runs wait."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._order = 0
        self._jobs: dict[str, _Job] = {}
        self._shapes: dict[str, _Shape] = defaultdict(_Shape)
        self._queued: dict[str, tuple[str, str, int]] = {}
        self._unstarted: dict[str, str] = {}

    def set_limit(self, job: str, limit: int | None) -> None:
        """Let at most `limit` runs of `job` be under way together, any number if None."""
        self._jobs.setdefault(job, _Job(limit)).limit = limit
        self._admit(job)

    def enqueue(self, run_id: str, job: str, shape: str, priority: int) -> None:
        """Put a run in line; one that holds a place of its job already keeps it."""
        self._order += 1
        self._queued[run_id] = (job, shape, priority)
        entry = (-priority, self._order, run_id)
        state = self._jobs.setdefault(job, _Job(1))
        if run_id in state.holders:
            heapq.heappush(self._shapes[shape].line, entry)
        else:
            heapq.heappush(state.line, entry)
            self._admit(job)

    def hold(self, run_id: str, job: str) -> None:
        """Count a run that is under way already, such as one that was adopted."""
        self._jobs.setdefault(job, _Job(1)).holders[run_id] = None

    def launched(self, run_id: str, shape: str) -> None:
        """Count a run in its shape's window."""
        self._unstarted[run_id] = shape
        self._shapes[shape].unstarted += 1

    def take(self) -> list[str]:
        """Remove and return the runs to hand to Ray now."""
        taken = []
        for shape, state in self._shapes.items():
            while state.line and state.unstarted < self._window:
                _, _, run_id = heapq.heappop(state.line)
                if self._queued.pop(run_id, None):
                    self.launched(run_id, shape)
                    taken.append(run_id)
        return taken

    def started(self, run_id: str) -> None:
        """Free the run's place in its shape's window; doing it twice is harmless."""
        shape = self._unstarted.pop(run_id, None)
        if shape is not None:
            self._shapes[shape].unstarted -= 1

    def ended(self, run_id: str, job: str) -> None:
        """Forget a run that is finished for good, and let the next of its job in."""
        self.started(run_id)
        self._queued.pop(run_id, None)
        self._jobs[job].holders.pop(run_id, None)
        self._admit(job)

    def waiting(self, shape: str) -> int:
        """Return how many runs of a shape wait for its window."""
        return len(self._shapes[shape].line)

    def wait(self, run_id: str) -> Wait | None:
        """Return what keeps a queued run from Ray; None if it has been handed over."""
        if run_id not in self._queued:
            return None
        job, shape, _ = self._queued[run_id]
        state = self._jobs[job]
        if run_id not in state.holders:
            return Wait(holders=tuple(islice(state.holders, _NAMED)), limit=state.limit)
        return Wait(ahead=self._shapes[shape].unstarted)

    def _admit(self, job: str) -> None:
        state = self._jobs[job]
        while state.line and state.has_place:
            entry = heapq.heappop(state.line)
            queued = self._queued.get(entry[2])
            if queued:
                state.holders[entry[2]] = None
                heapq.heappush(self._shapes[queued[1]].line, entry)
