"""A state database in memory, with a disk that outlives the stores opened on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysched.core.model import Run
from raysched.core.ports import Changes, JobRecord, Snapshot, Version
from raysched.errors import NotFound, StaleEpoch


@dataclass(slots=True)
class MemoryDisk:
    """What survives a crash: share one between stores to restart a scheduler."""

    epoch: int = 0
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    versions: dict[tuple[str, str], Version] = field(default_factory=dict)
    code: dict[str, bytes] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    rows: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def dataset(self, name: str) -> list[Mapping[str, Any]]:
        """Return the finished rows of one dataset, in the order in which they were committed."""
        return [row for dataset, row in self.rows if dataset == name]


class MemoryStore:
    """A `Store` on a `MemoryDisk`."""

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        self.disk = disk or MemoryDisk()
        self._epoch = 0

    def open(self) -> Snapshot:
        """Take the disk over under a new epoch."""
        self.disk.epoch += 1
        self._epoch = self.disk.epoch
        return Snapshot(
            epoch=self._epoch,
            jobs=dict(self.disk.jobs),
            runs=tuple(self.disk.runs.values()),
            older=self._older(),
        )

    def _older(self) -> dict[tuple[str, str], Version]:
        needed = {(run.job, run.version) for run in self.disk.runs.values()}
        current = {(name, each.current.version) for name, each in self.disk.jobs.items()}
        return {key: self.disk.versions[key] for key in needed - current}

    def commit(self, changes: Changes) -> None:
        """Apply changes, whole.

        Raises:
            StaleEpoch: another store has opened the disk since.
        """
        if self._epoch != self.disk.epoch:
            raise StaleEpoch(f"epoch {self._epoch} is over.", why=f"it is {self.disk.epoch} now.")
        _apply(self.disk.jobs, changes.jobs)
        _apply(self.disk.runs, changes.runs)
        self.disk.versions.update(changes.versions)
        self.disk.code.update(changes.code)
        self.disk.rows.extend(changes.rows)

    def code(self, code_hash: str) -> bytes:
        """Return a job's pickled function.

        Raises:
            NotFound: no version of any job has this code.
        """
        try:
            return self.disk.code[code_hash]
        except KeyError:
            raise NotFound(f"there is no code {code_hash!r}.") from None

    def has_job(self, name: str) -> bool:
        """Return whether a job of this name is deployed, or was once."""
        return any(job == name for job, _ in self.disk.versions)

    def has_any_run(self, run_ids: Collection[str]) -> bool:
        """Return whether any of these runs is unfinished, or finished and not sealed."""
        finished = {row["run_id"] for row in self.disk.dataset("runs")}
        return any(run_id in self.disk.runs or run_id in finished for run_id in run_ids)


def _apply(table: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
