"""When a job runs: cron, every, after-end, at.

`declare` checks what a user writes, `kinds` are the values that this becomes, `bounds` is
the part of time in which one of them is alive.
"""

from raysched.spec.schedules.bounds import Bounds
from raysched.spec.schedules.declare import after_end, at, cron, every, schedules
from raysched.spec.schedules.kinds import (
    AfterEnd,
    At,
    Cron,
    Every,
    Schedule,
    last_slot,
    next_slot,
    schedule_from_json,
)

__all__ = [
    "AfterEnd",
    "At",
    "Bounds",  # stored code, which is never written anew, names it and the kinds here
    "Cron",
    "Every",
    "Schedule",
    "after_end",
    "at",
    "cron",
    "every",
    "last_slot",
    "next_slot",
    "schedule_from_json",
    "schedules",
]
