"""Runs one job's code here and now, as a scheduler and a worker would.

The production engine decides in virtual time: parameters are checked, attempts counted,
retries delayed without waiting. The function runs in this process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raysched.core.model import attempt_key
from raysched.core.records import with_instants
from raysched.core.states import State
from raysched.errors import InputError, RunFailed
from raysched.spec.job import Job
from raysched.spec.units import Instant, shown
from raysched.testing.clock import EPOCH, FakeClock
from raysched.testing.inprocess import Takes
from raysched.testing.world import World

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAttempt:
    """One try of a local run; `row` has the columns of `attempts`."""

    number: int
    status: str
    reason: str
    error: BaseException | None
    output: str
    metrics: Mapping[str, float]
    progress: tuple[float, float] | None
    row: Mapping[str, Any] = field(repr=False)


class LocalRun:
    """A finished run of a job's code in this process."""

    def __init__(self, world: World, run_id: str) -> None:
        self.id = run_id
        self._world = world

    @cached_property
    def _row(self) -> dict[str, Any]:
        row = with_instants(self._rows("runs")[0])
        return {name: str(it) if isinstance(it, StrEnum) else it for name, it in row.items()}

    def _rows(self, dataset: str) -> list[Mapping[str, Any]]:
        return [row for row in self._world.disk.dataset(dataset) if row["run_id"] == self.id]

    @property
    def job(self) -> str:
        """The job's name."""
        return str(self._row["job"])

    @property
    def status(self) -> str:
        """The state in which it ended, as in the history's `status` column."""
        return str(self._row["status"])

    @property
    def reason(self) -> str:
        """Why it ended so; empty for a success."""
        return str(self._row["reason"])

    def details(self) -> Mapping[str, Any]:
        """Return the columns of `runs`, instants as aware datetimes."""
        return self._row

    def result(self) -> Any:
        """Return what the history keeps of what the job returned: a value or a DataFrame.

        Raises:
            RunFailed: the run ended in another state than succeeded; its cause is `error`.
        """
        row = self._row
        if row["status"] != State.SUCCEEDED:
            raise RunFailed(
                f"run {self.id} is {row['status']}.", why=row["reason"] or row["error_message"]
            ) from self.error
        if row["result_kind"] == "json":
            return json.loads(row["result_json"])
        if row["result_kind"] == "parquet":
            from raysched.store import results

            assert self._world.in_process is not None
            home = self._world.in_process.home
            return results.read_result(home, row["result_path"]).to_pandas()
        return None

    @cached_property
    def attempts(self) -> tuple[LocalAttempt, ...]:
        """All tries, the first one first."""
        return tuple(self._attempt(row) for row in self._rows("attempts"))

    def _attempt(self, row: Mapping[str, Any]) -> LocalAttempt:
        assert self._world.in_process is not None
        number = row["attempt"]
        told = self._world.in_process.told[attempt_key(self.id, number)]
        lines = [line["line"] for line in self._rows("logs") if line["attempt"] == number]
        return LocalAttempt(
            number=number,
            status=str(row["status"]),
            reason=row["reason"],
            error=told.error,
            output="".join(f"{line}\n" for line in lines),
            metrics=told.metrics,
            progress=told.progress,
            row=with_instants(row),
        )

    @property
    def error(self) -> BaseException | None:
        """What the last attempt raised, also if its result was refused."""
        return self.attempts[-1].error

    @property
    def output(self) -> str:
        """What the last attempt wrote to standard output and error, as the history keeps it."""
        return self.attempts[-1].output

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the last attempt reported by `metric()`."""
        return self.attempts[-1].metrics

    @property
    def progress(self) -> tuple[float, float] | None:
        """What the last attempt reported by `progress()`, last: done and total."""
        return self.attempts[-1].progress

    def logs(self) -> pd.DataFrame:
        """Return the output of all attempts, one row a line, as `rs.Run.logs()`."""
        frame = self._world.logs
        return frame[frame.run_id == self.id].reset_index(drop=True)

    def transcript(self) -> str:
        """Return what each attempt wrote and how it ended, to be read by people."""
        parts = []
        for each in self.attempts:
            trace = each.row["traceback"] or ""
            why = f": {each.reason}" if each.reason else ""
            parts.append(f"{each.output}{trace}attempt {each.number} {each.status}{why}")
        return "\n".join([repr(self), *parts])

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        tries = f" after {len(self.attempts)} attempts" if len(self.attempts) > 1 else ""
        return f"<LocalRun {self.id} {self.status}{tries}{why}>"


class LocalRunner:
    """Runs jobs in this process, one after the other, in virtual time.

    Each attempt takes as much virtual time as `takes` says, nothing if left out, and a
    retry's delay passes at once. `on_run` is told of every run when it is over.
    """

    def __init__(
        self,
        start: Instant = EPOCH,
        *,
        takes: Takes = "0s",
        on_run: Callable[[LocalRun], None] = lambda run: None,
    ) -> None:
        self._world = World(start, run_code=True, takes=takes)
        self._on_run = on_run

    @property
    def clock(self) -> FakeClock:
        """The virtual clock: a function that moves it takes that long."""
        return self._world.clock

    @property
    def takes(self) -> Takes:
        """How long attempts take in virtual time: a duration, or a function of their order."""
        assert self._world.in_process is not None
        return self._world.in_process.takes

    @takes.setter
    def takes(self, value: Takes) -> None:
        assert self._world.in_process is not None
        self._world.in_process.takes = value

    def run(self, job: Job[Any, Any], /, **params: Any) -> LocalRun:
        """Run a job to its end, as `client.trigger(job, ...)` and `run.wait()` would.

        Raises:
            InvalidParameter: a parameter that the job does not take, or lacks.
            InputError: the job is no function.
        """
        return self._run(job, None, params)

    def run_slot(self, job: Job[Any, Any], slot: Instant, /, **params: Any) -> LocalRun:
        """Run a job for a slot: `rs.current().slot` and `.day` are that one's."""
        return self._run(job, slot, params)

    def _run(self, job: Job[Any, Any], slot: Instant | None, params: dict[str, Any]) -> LocalRun:
        if not isinstance(job, Job):
            raise InputError(f"{shown(job)} is not a function with @rs.job.", fix="decorate it.")
        self._world.deploy(_triggered_only(job))
        run_id = self._world.trigger_for(job.name, slot, **params)
        self._world.finish(run_id)
        run = LocalRun(self._world, run_id)
        self._on_run(run)
        return run


def _triggered_only(job: Job[Any, Any]) -> Job[Any, Any]:
    """Return the job without its schedule, so that none of its slots fires while time passes."""
    copy = job.options()
    copy.spec = replace(job.spec, schedules=())
    return copy
