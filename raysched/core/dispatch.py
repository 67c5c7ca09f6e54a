"""Which queued runs may be handed to Ray now, and why the others wait.

A run first gets one of the places of its line, which is its job's (`max_active`,
`overlap`) or its backfill's, then one of its shape's places in a small window of runs
that Ray has but has not started. The window is counted for each shape of demand apart,
so that runs that fit no node yet are seen by the autoscaler and stand in nobody else's
way. Within a line, higher priority goes first, then the older run.
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

    `holders` have the `limit` places of its line; empty if it has a place and only waits
    for its turn in the window, in which `ahead` runs of its shape have not started.
    """

    holders: tuple[str, ...] = ()
    limit: int | None = None
    ahead: int = 0


@dataclass(slots=True)
class _Line:
    limit: int | None
    holders: dict[str, None] = field(default_factory=dict)
    waiting: list[_Entry] = field(default_factory=list)

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
        self._lines: dict[str, _Line] = {}
        self._shapes: dict[str, _Shape] = defaultdict(_Shape)
        self._queued: dict[str, tuple[str, str, int]] = {}
        self._unstarted: dict[str, str] = {}

    def set_limit(self, line: str, limit: int | None) -> None:
        """Let at most `limit` runs of a line be under way together, any number if None."""
        self._lines.setdefault(line, _Line(limit)).limit = limit
        self._admit(line)

    def drop_line(self, line: str) -> None:
        """Forget a line in which no run is left."""
        del self._lines[line]

    def enqueue(self, run_id: str, line: str, shape: str, priority: int) -> None:
        """Put a run in line; one that holds a place of its line already keeps it."""
        self._order += 1
        self._queued[run_id] = (line, shape, priority)
        entry = (-priority, self._order, run_id)
        state = self._lines.setdefault(line, _Line(1))
        if run_id in state.holders:
            heapq.heappush(self._shapes[shape].line, entry)
        else:
            heapq.heappush(state.waiting, entry)
            self._admit(line)

    def hold(self, run_id: str, line: str) -> None:
        """Count a run that is under way already, such as one that was adopted."""
        self._lines.setdefault(line, _Line(1)).holders[run_id] = None

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

    def ended(self, run_id: str, line: str) -> None:
        """Forget a run that is finished for good, and let the next of its line in."""
        self.started(run_id)
        self._queued.pop(run_id, None)
        self._lines[line].holders.pop(run_id, None)
        self._admit(line)

    def waiting(self, shape: str) -> int:
        """Return how many runs of a shape wait for its window."""
        return len(self._shapes[shape].line)

    def wait(self, run_id: str) -> Wait | None:
        """Return what keeps a queued run from Ray; None if it has been handed over."""
        if run_id not in self._queued:
            return None
        line, shape, _ = self._queued[run_id]
        state = self._lines[line]
        if run_id not in state.holders:
            return Wait(holders=tuple(islice(state.holders, _NAMED)), limit=state.limit)
        return Wait(ahead=self._shapes[shape].unstarted)

    def _admit(self, line: str) -> None:
        state = self._lines[line]
        while state.waiting and state.has_place:
            entry = heapq.heappop(state.waiting)
            queued = self._queued.get(entry[2])
            if queued:
                state.holders[entry[2]] = None
                heapq.heappush(self._shapes[queued[1]].line, entry)
