"""What the engine needs of the outside world, as interfaces.

The real parts live in `store/` and `cluster/`, the fakes in `testing/`; one
contract test runs over both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from raysched.core.model import Run, Stop
from raysched.core.orders import Order
from raysched.spec.definition import JobSpec


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a job: its definition and the hash of its code."""

    spec: JobSpec
    code_hash: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is durable about a job.

    Every slot up to and including `decided` is decided. `last_end` is the end of the
    job's last run, or its deploy. `pause` is the note of a pause, None if not paused.
    """

    current: Version
    deployed_at: datetime
    decided: datetime
    last_end: datetime
    pause: str | None = None


@dataclass(slots=True)
class Changes:
    """What one turn of the engine changes, to be committed whole or not at all.

    A None deletes. `rows` are finished rows of history, with their dataset's name.
    """

    jobs: dict[str, JobRecord | None] = field(default_factory=dict)
    versions: dict[tuple[str, str], Version] = field(default_factory=dict)
    code: dict[str, bytes] = field(default_factory=dict)
    runs: dict[str, Run | None] = field(default_factory=dict)
    rows: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.jobs or self.versions or self.code or self.runs or self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a scheduler starts from: every job, and every run that is not over.

    `older` are the versions that these runs need and no job has any more.
    """

    epoch: int
    jobs: Mapping[str, JobRecord]
    runs: Sequence[Run]
    older: Mapping[tuple[str, str], Version]


class Store(Protocol):
    """The state database."""

    def open(self) -> Snapshot:
        """Take the home over under a new epoch, and return what it holds."""

    def commit(self, changes: Changes) -> None:
        """Make `changes` durable in one transaction.

        Raises:
            StaleEpoch: another scheduler has opened the home since.
            StoreError: nothing of it was committed.
        """

    def code(self, code_hash: str) -> bytes:
        """Return a job's pickled function.

        Raises:
            NotFound: no version of any job has this code.
        """

    def has_job(self, name: str) -> bool:
        """Return whether a job of this name is deployed, or was once."""

    def has_any_run(self, run_ids: Collection[str]) -> bool:
        """Return whether any of these runs is unfinished, or finished and not yet sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """An attempt to end."""

    key: str
    stop: Stop


class LauncherState(StrEnum):
    """How things stand between a scheduler and its launcher; runs start only while attached."""

    STARTING = "starting"
    """None has attached since the scheduler came up, and none has failed to yet."""
    ATTACHED = "attached"
    LOST = "lost"
    """It does not answer; another one is started by itself."""


class Launcher(Protocol):
    """Whoever owns the Ray tasks. Every call returns at once; answers come as messages."""

    def attach(self, epoch: int) -> None:
        """Ask for a `LauncherUp`; orders of older epochs are refused from then on."""

    def launch(self, tasks: Sequence[Sequence[Order]]) -> None:
        """Hand attempts over, once their runs are durable: those that share a task together."""

    def stop(self, orders: Sequence[StopOrder]) -> None:
        """End attempts, and report each as ended."""


class Results(Protocol):
    """Where the files of accepted attempts appear."""

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        """Make a worker's hidden result file visible, and return its path below home."""

    def publish_partial(self, run_id: str, job: str, attempt: int, hidden: str) -> str:
        """Make visible what an attempt leaves that has no result, and return its path below home.

        Each attempt has a place of its own.
        """

    def discard(self, hidden: str) -> None:
        """Remove a hidden file that no attempt will ever publish, if it is there.

        Raises:
            StoreError: it is no such file, or cannot be removed.
        """
