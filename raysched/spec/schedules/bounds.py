"""The part of time in which a schedule is alive, and its shift within a period."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from raysched.spec.units import MICROSECOND, from_us, iso, spell, to_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The part of time in which a schedule is alive, and its shift within a period.

    Slots lie in `[start, end)`. `jitter` moves every slot of a job later by one
    constant below it, hashed from the job's name with SHA-256, so that jobs with
    the same schedule do not all fire at once.
    """

    start: datetime | None = None
    end: datetime | None = None
    jitter: timedelta = timedelta(0)
    shift: timedelta = timedelta(0)

    def bound_to(self, name: str) -> Bounds:
        """Return the bounds with the shift that the job's name gives."""
        if not self.jitter:
            return self
        draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return replace(self, shift=(draw % (self.jitter // MICROSECOND)) * MICROSECOND)

    def floor(self, after: datetime) -> datetime:
        """Return the instant after which to look, given one and the start."""
        return after if self.start is None else max(after, self.start - MICROSECOND)

    def within(self, slot: datetime | None) -> datetime | None:
        """Return the slot if it lies inside, else None."""
        if slot is None or (self.start and slot < self.start) or (self.end and slot >= self.end):
            return None
        return slot

    def describe(self) -> str:
        """Return the bounds as a suffix for a schedule's description."""
        text = f" from {iso(self.start)}" if self.start else ""
        text += f" until {iso(self.end)}" if self.end else ""
        return text + (f" jitter {spell(self.jitter)}" if self.jitter else "")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `bounds_from_json` reads, a part of its schedule's."""
        return {
            "start_us": None if self.start is None else to_us(self.start),
            "end_us": None if self.end is None else to_us(self.end),
            "jitter_us": self.jitter // MICROSECOND,
        }


def bounds_from_json(data: Mapping[str, Any]) -> Bounds:
    """Return the bounds that `Bounds.to_json` wrote; the shift is the job's name's to give."""
    return _bounds(data.get("start_us"), data.get("end_us"), data.get("jitter_us", 0))


@lru_cache(maxsize=4_096)
def _bounds(start_us: int | None, end_us: int | None, jitter_us: int) -> Bounds:
    return Bounds(
        start=None if start_us is None else from_us(start_us),
        end=None if end_us is None else from_us(end_us),
        jitter=jitter_us * MICROSECOND,
    )
