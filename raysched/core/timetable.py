"""A timetable: which keys come due at which instants, earliest first.

A heap with one entry a key; a changed or dropped entry stays behind as a
tombstone until it surfaces, or until tombstones outnumber the living.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

from raysched.spec.units import from_us, to_us

K = TypeVar("K", bound=Hashable)


class Timetable(Generic[K]):
    """Keys with one due instant each."""

    def __init__(self) -> None:
        self._due: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._due)

    def put(self, key: K, due: datetime | None) -> None:
        """Make `key` come due at `due`, in place of any earlier instant; None drops it."""
        if due is None:
            self._due.pop(key, None)
            return
        us = to_us(due)
        if self._due.get(key) != us:
            self._due[key] = us
            self._order += 1
            heapq.heappush(self._heap, (us, self._order, key))
            if len(self._heap) > 2 * len(self._due) + 1000:
                self._compact()

    def drop(self, key: K) -> None:
        """Forget `key`."""
        self._due.pop(key, None)

    def next(self) -> datetime | None:
        """Return the earliest due instant, or None if the timetable is empty."""
        while self._heap:
            us, _, key = self._heap[0]
            if self._due.get(key) == us:
                return from_us(us)
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: datetime) -> list[K]:
        """Remove and return the keys that have come due by `now`, earliest first."""
        until, keys = to_us(now), list[K]()
        while self._heap and self._heap[0][0] <= until:
            us, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == us:
                del self._due[key]
                keys.append(key)
        return keys

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)
