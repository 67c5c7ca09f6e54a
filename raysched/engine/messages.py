"""What the engine can be told and asked: one class a message, no behaviour.

A message from a user either changes everything it says or raises and changes
nothing; its reply leaves after the change is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from raysched.core.backfill import MAX_ACTIVE, Reprocess, SlotRun
from raysched.core.capacity import Cluster
from raysched.core.orders import Report
from raysched.spec.definition import JobSpec

MOST_SLOTS = 1_000
"""How many slots to come are told at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A job to deploy: its definition and its pickled function."""

    spec: JobSpec
    code_hash: str
    code: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Deploy jobs, and delete others, all or none.

    Reply: a list of dicts, one a job, with what was done. A job to delete that is gone
    already counts as deleted, so that the message may be told twice.
    """

    deployments: Sequence[Deployment]
    delete: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `Deploy` would do; with `prune`, also delete every job that is not among them.

    Reply: a list of dicts, one a job. Nothing is changed, and no code need be sent.
    """

    deployments: Sequence[Deployment]
    prune: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a job; its waiting runs are cancelled, a running one goes on to its end."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRuns:
    """Make one run for each of `params`. Reply: their ids.

    Each is identified by `moment`, `request` and its place in the list, so that a
    client that got no answer can ask again, and says so, without making a second run.
    """

    job: str
    params: Sequence[Mapping[str, Any]]
    moment: datetime
    request: str
    slot: datetime | None = None
    origin: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """Make a run for each slot of a job in [start, end) that `reprocess` chooses.

    Reply: a list of dicts, one a slot, with what becomes of it; with `dry_run` nothing
    else happens. `known` are the runs of these slots that the history has. Identified as
    `TriggerRuns` is.
    """

    job: str
    start: datetime
    end: datetime
    moment: datetime
    request: str
    max_active: int = MAX_ACTIVE
    reprocess: str = Reprocess.NONE
    params: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    known: Sequence[SlotRun] = ()
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Pause jobs by name: their slots are skipped until they are resumed. Reply: the names."""

    jobs: Sequence[str]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Resume paused jobs by name. Reply: the names."""

    jobs: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel an unfinished run. Reply: its state from now on."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """Reply: a list of dicts, one a job, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNext:
    """Reply: the slots of all jobs up to an instant, at most `most`, as dicts by time."""

    until: datetime
    job: str | None = None
    most: int = MOST_SLOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUnfinished:
    """Reply: a list of dicts, one for each unfinished run, or for those of one id prefix."""

    prefix: str = ""
    most: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """Reply: an `Explanation` of why a job or an unfinished run is where it is.

    What the cluster could hold is told if it is known.
    """

    name: str
    cluster: Cluster | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Reply: a dict of counts: jobs, runs by state, the epoch, the launcher and its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherUp:
    """A launcher has attached; it owns the attempts `known`, running or not yet reported."""

    launcher: str
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherDown:
    """The launcher does not answer any more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """News of attempts. Its reply is the acknowledgement after which a launcher forgets them."""

    launcher: str
    reports: Sequence[Report] = field(default_factory=tuple)


FromLauncher = LauncherUp | LauncherDown | Reports
FromUser = (
    Deploy
    | Plan
    | Delete
    | TriggerRuns
    | Backfill
    | Pause
    | Resume
    | Cancel
    | ListJobs
    | ListNext
    | ListUnfinished
    | Explain
    | Status
)
Message = FromLauncher | FromUser
