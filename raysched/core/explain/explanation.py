"""An explanation: one small value, with words for programs and a reason for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from raysched.core.causes import Cause
from raysched.core.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a job, or a run of it if `run_id` is given, is where it is.

    `cause` is for programs, `reason` and `fix` for readers. `waits_for` are the runs that
    stand in its way; `attempts` those of its attempts that are over and known, oldest
    first; `nodes` those that could hold it, with what is free there. Every slot of a job
    up to `decided` is decided, and `last_slot` is the last of them, if that made no run.
    """

    job: str
    status: str
    cause: Cause
    reason: str
    run_id: str | None = None
    fix: str | None = None
    decided: datetime | None = None
    next_slot: datetime | None = None
    timezone: str | None = None
    retry_at: datetime | None = None
    attempt: int | None = None
    most_attempts: int | None = None
    attempts: Sequence[Mapping[str, Any]] = ()
    waits_for: Sequence[str] = ()
    nodes: Sequence[Mapping[str, Any]] = ()
    last_slot: Mapping[str, Any] | None = None

    @property
    def what(self) -> str:
        """What is explained, in a sentence."""
        if self.run_id is None:
            return f"job {self.job} is {words(self.status)}."
        is_over = State(self.status).final
        return f"run {self.run_id} {verb(self.status) if is_over else f'is {self.status}'}."

    def to_dict(self) -> dict[str, Any]:
        """Return `what` and its fields by name, all of them."""
        found = {"what": self.what, **asdict(self)}
        found |= {name: list(found[name]) for name in ("attempts", "waits_for", "nodes")}
        return {**found, "status": str(self.status), "cause": str(self.cause)}


def words(status: str) -> str:
    """Return a state in words: `timed out`."""
    return str(status).replace("_", " ")


def verb(status: str) -> str:
    """Return a final state as what an attempt did: `failed`, `was lost`."""
    passive = status in (State.CANCELLED, State.LOST, State.SKIPPED)
    return f"was {status}" if passive else words(status)
