"""A connection to the scheduler: what can be asked of it, and of the history beside it.

Law: it holds no state of its own; every answer comes from the scheduler, or from the files
under home, which somebody beside them reads if they are not seen from here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysched.client.deployments import deployments
from raysched.client.explain import explained
from raysched.client.prefix import not_found, rows_of_run, whole_id
from raysched.client.run import Run
from raysched.core.backfill import MAX_ACTIVE, Reprocess
from raysched.core.capacity import demand_of
from raysched.core.model import born
from raysched.core.records import with_instants
from raysched.engine import messages
from raysched.errors import ClusterError, InvalidParameter, NotFound
from raysched.show.text import plain, plain_rows
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import Duration, Instant, ago, duration, instant, shown

if TYPE_CHECKING:
    import pandas as pd
    from nbformat import NotebookNode

    from raysched.cluster.handle import SchedulerHandle
    from raysched.core.capacity import Room
    from raysched.store.archive import Archive

Since = Duration | Instant | None

_OF_JOBS = [
    *("job", "version", "schedule", "timezone", "next_slot", "paused", "pause_note", "running"),
    *("queued", "num_cpus", "num_gpus", "memory_bytes", "resources", "tags", "deployed_at"),
    "description",
]
"""The columns of `jobs`, which are there where no job is."""


class Client:
    """A connection to the running scheduler; `rs.connect()` makes one."""

    def __init__(self, handle: SchedulerHandle) -> None:
        self._handle = handle
        self._where = handle.call("where")

    @cached_property
    def archive(self) -> Archive:
        """The history and the results: the home's files, or whoever reads them beside it."""
        return self._handle.archive()

    @property
    def home(self) -> Path:
        """The directory where everything durable lives."""
        return Path(self._where["home"])

    def deploy(
        self,
        *jobs: DeclaredJob | str | Path,
        delete: Sequence[DeclaredJob | str] = (),
        show: bool = True,
    ) -> pd.DataFrame:
        """Deploy jobs, or every job of a folder; all of them or, if one is refused, none.

        `delete` names jobs to delete in the same step; one that is gone already counts as
        deleted. Returns one row a job: `job, version, action` (created, updated, unchanged
        or deleted), `paused, next_slot, warnings`. The warnings are shown as well, whole, in
        the notebook's cell or on standard error, unless `show` is false.

        Raises:
            DeclarationError: a job or a file is refused.
            NotPicklable: a function cannot be sent to a worker.
        """
        others = [_name(job) for job in delete]
        found = deployments(jobs)
        rows = self._handle.ask(messages.Deploy(deployments=found, delete=others))
        return self._warned("Deploy", rows, found, show=show)

    def plan(
        self, *jobs: DeclaredJob | str | Path, prune: bool = False, show: bool = True
    ) -> pd.DataFrame:
        """Return what `deploy` would do, and do nothing; with `prune`, what it would if every
        other job were deleted.

        One row a job: `job, action, version_before, version, changes` (field, before and
        after of each), `paused, timezone, next_slot_before, next_slot`, the runs that would
        be `cancelled` and those that would `go_on`, and `warnings`, which are shown as well,
        as those of `deploy` are.

        Raises:
            DeclarationError: a job or a file is refused.
            NotPicklable: a function cannot be sent to a worker.
        """
        found = [replace(each, code=b"") for each in deployments(jobs)]
        rows = self._handle.ask(messages.Plan(deployments=found, prune=prune))
        return self._warned("Plan", rows, found, show=show)

    def _warned(
        self,
        what: str,
        rows: list[dict[str, Any]],
        found: Sequence[messages.Deployment],
        *,
        show: bool,
    ) -> pd.DataFrame:
        """Return the rows of a deploy with a warning for each job that no node could hold."""
        from raysched.client import cards, stage

        try:
            misfits = self._handle.call("misfits", [demand_of(each.spec) for each in found])
        except ClusterError:  # the deploy is done, and is not to look as if it were not
            misfits = {}
        for row in rows:
            room = misfits.get(row["job"])
            row["warnings"] += [_warning(room)] if room else []
        card = cards.warnings_card(what, rows)
        if show and card is not None:  # a DataFrame that is shown cuts long texts
            stage.tell(card)
        return _frame(rows)

    def delete(self, job: DeclaredJob | str) -> dict[str, Any]:
        """Delete a job; its waiting runs are cancelled, a running one goes on to its end.

        Raises:
            NotFound: there is no such job.
        """
        return dict(self._handle.ask(messages.Delete(job=_name(job))))

    def jobs(self) -> pd.DataFrame:
        """Return the deployed jobs, one row each, by name."""
        return _frame(self._handle.ask(messages.ListJobs()), _OF_JOBS)

    def next(self, within: Duration = "24h", job: DeclaredJob | str | None = None) -> pd.DataFrame:
        """Return the slots to come, by time: `slot, job, paused`.

        Raises:
            NotFound: there is no such job.
        """
        until = datetime.now(UTC) + duration(within, of="within")
        name = None if job is None else _name(job)
        return _frame(
            self._handle.ask(messages.ListNext(until=until, job=name)), ["slot", "job", "paused"]
        )

    def trigger(self, job: DeclaredJob | str, /, **params: Any) -> Run:
        """Make a run now and return it; it is durable when this returns.

        Raises:
            NotFound: there is no such job.
            InvalidParameter: a parameter that the job does not take, or lacks.
        """
        return self.trigger_many(job, [params])[0]

    def trigger_many(
        self, job: DeclaredJob | str, params: Sequence[Mapping[str, Any]]
    ) -> list[Run]:
        """Make one run for each set of parameters, all or none, and return them.

        Raises:
            NotFound: there is no such job.
            InvalidParameter: a parameter that the job does not take, or lacks.
        """
        return self._trigger(_name(job), params)

    def rerun(self, row: Mapping[str, Any]) -> Run:
        """Make a run with the parameters and the slot of a finished one's row.

        Raises:
            NotFound: its job is deployed no more.
            InvalidParameter: the job does not take its parameters any more.
        """
        params, slot = json.loads(row["params"] or "{}"), plain(row["slot"])
        return self._trigger(row["job"], [params], slot=slot, origin=row["run_id"])[0]

    def _trigger(
        self,
        job: str,
        params: Sequence[Mapping[str, Any]],
        slot: datetime | None = None,
        origin: str | None = None,
    ) -> list[Run]:
        ids = self._handle.ask(
            messages.TriggerRuns(
                job=job,
                params=params,
                moment=datetime.now(UTC),
                request=uuid.uuid4().hex,
                slot=slot,
                origin=origin,
            )
        )
        return [Run(self, run_id) for run_id in ids]

    def backfill(
        self,
        job: DeclaredJob | str,
        start: Instant,
        end: Instant,
        *,
        max_active: int = MAX_ACTIVE,
        reprocess: str = Reprocess.NONE,
        params: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> pd.DataFrame:
        """Run the slots that a job's present schedule names in [start, end), oldest first.

        `reprocess` says what becomes of slots that have a run: `none`, `failed`, `completed`.
        At most `max_active` of the backfill's runs are under way together; the job's own
        slots go on beside them. Returns one row a slot: `slot, action` (run or leave),
        `reason, run_id, last_run, last_status`; with `dry_run` that is all that happens.

        Raises:
            NotFound: there is no such job.
            Conflict: its schedule names no slots of the past.
            InputError: the range is the wrong way round, in the future or too long.
            InvalidParameter: a parameter that the job does not take, or lacks.
            InvalidPolicy: `max_active` or `reprocess` is none.
            InvalidUnit: an instant without a zone.
        """
        request = messages.Backfill(
            job=_name(job),
            start=instant(start, of="start"),
            end=instant(end, of="end"),
            moment=datetime.now(UTC),
            request=uuid.uuid4().hex,
            max_active=max_active,
            reprocess=reprocess,
            params=params or {},
            dry_run=dry_run,
        )
        columns = ["slot", "action", "reason", "run_id", "last_run", "last_status"]
        return _frame(self._handle.call("backfill", request), columns)

    def pause(self, *jobs: DeclaredJob | str, note: str = "") -> list[str]:
        """Pause jobs: their slots are skipped, with the note, until they are resumed.

        Raises:
            NotFound: there is no such job; none is paused then.
        """
        names = [_name(job) for job in jobs]
        return list(self._handle.ask(messages.Pause(jobs=names, note=str(note))))

    def resume(self, *jobs: DeclaredJob | str) -> list[str]:
        """Resume paused jobs; the slots that passed meanwhile stay skipped.

        Raises:
            NotFound: there is no such job; none is resumed then.
        """
        return list(self._handle.ask(messages.Resume(jobs=[_name(job) for job in jobs])))

    def run(self, run_id: str) -> Run:
        """Return the run whose id begins with `run_id`.

        Raises:
            NotFound: there is none.
            Ambiguous: there are several.
        """
        return Run(self, self._whole_id(run_id))

    def runs(
        self,
        since: Since = "24h",
        status: str | None = None,
        job: DeclaredJob | str | None = None,
    ) -> pd.DataFrame:
        """Return runs as a DataFrame, finished or not, one row each; `since=None` for all.

        Raises:
            InvalidUnit: `since` is neither a duration nor an instant.
            StoreError: a file of the history is damaged; names it.
        """
        return self._history("runs", since, job=job, status=status)

    def attempts(self, run_id: str | None = None, since: Since = "24h") -> pd.DataFrame:
        """Return finished attempts as a DataFrame, one row each.

        Of the run whose id begins with `run_id`, or of all since.

        Raises:
            NotFound: there is no such run.
            Ambiguous: there are several.
            InvalidUnit, StoreError: as `runs` does.
        """
        return self._about("attempts", run_id, since)

    def decisions(self, job: DeclaredJob | str | None = None, since: Since = "24h") -> pd.DataFrame:
        """Return what became of slots as a DataFrame, one row a slot or span of slots.

        Raises as `runs` does.
        """
        return self._history("decisions", since, job=job)

    def logs(self, run_id: str | None = None, since: Since = "24h") -> pd.DataFrame:
        """Return output as a DataFrame, one row a line.

        Of the run whose id begins with `run_id`, or of all since; raises as `attempts` does.
        """
        return self._about("logs", run_id, since)

    def explain(self, name: DeclaredJob | str) -> dict[str, Any]:
        """Return why a job or a run is where it is: `cause, status, reason, fix` and more.

        Raises:
            NotFound: neither a job nor a run has this name.
            Ambiguous: several runs have ids that begin so.
        """
        return explained(self, _name(name)).to_dict()

    def cancel(self, run_id: str) -> str:
        """Cancel the unfinished run whose id begins with `run_id`; return its state from now on.

        Raises:
            NotFound: there is none, or it is finished.
            Ambiguous: there are several, finished or not.
        """
        return str(self._handle.ask(messages.Cancel(run_id=self._whole_id(run_id))))

    def status(self) -> dict[str, Any]:
        """Return counts of jobs and runs, the scheduler's epoch, node, process and home."""
        return {**self._handle.ask(messages.Status()), **self._handle.call("where")}

    def seal(self) -> list[str]:
        """Move every finished row into Parquet now, and return the new files below home."""
        return list(self._handle.call("seal"))

    def find_row(self, run_id: str) -> dict[str, Any]:
        """Return what is known of the run with this whole id.

        Raises:
            NotFound: nothing is.
        """
        for row in self._unfinished(run_id):
            if row["run_id"] == run_id:
                return with_instants(row)
        for since in (born(run_id), None):  # its id may carry a clock that is days ahead
            frame = self._history("runs", since, run_id=run_id)
            if not frame.empty:
                return plain_rows(frame)[-1]
        raise not_found(run_id)

    def wait_for(self, run_id: str, timeout_s: float) -> dict[str, Any] | None:
        """Return the row of a run that finishes within `timeout_s` seconds, else None."""
        row = self._handle.call("wait", run_id, timeout_s)
        return None if row is None else with_instants(row)

    def read_result(self, path: str) -> pd.DataFrame:
        """Return a result file as a DataFrame; `path` is relative to home.

        Raises:
            StoreError: the path is not one of a table, or the file is damaged or gone.
        """
        from raysched.store import results

        with self.archive.holding(path) as home:
            frame: pd.DataFrame = results.read_result(home, path).to_pandas()
        return frame

    def read_notebook(self, path: str) -> NotebookNode:
        """Return an executed notebook as nbformat reads it; `path` is relative to home.

        Raises:
            PackagesMissing: nbformat is not installed.
            StoreError: the path is not one of a notebook, or the file is damaged or gone.
        """
        from raysched.client.notebooks import node
        from raysched.store import results

        with self.archive.holding(path) as home:
            return node(results.read_notebook(home, path), path)

    def _whole_id(self, prefix: str) -> str:
        unfinished = [row["run_id"] for row in self._unfinished(prefix)]
        return whole_id(prefix, self.archive, unfinished)

    def _in_history(self, prefix: str) -> str:
        try:
            return whole_id(prefix, self.archive)
        except NotFound:  # the scheduler, which may be down, is asked of nothing else
            return self._whole_id(prefix)

    def _unfinished(self, prefix: str) -> list[dict[str, Any]]:
        return list(self._handle.ask(messages.ListUnfinished(prefix=prefix, most=11)))

    def _about(self, dataset: str, prefix: str | None, since: Since) -> pd.DataFrame:
        if prefix is None:
            return self._history(dataset, since)
        return rows_of_run(
            prefix, lambda whole: self._history(dataset, None, run_id=whole), self._in_history
        )

    def _history(
        self, dataset: str, since: Since, *, job: DeclaredJob | str | None = None, **filters: Any
    ) -> pd.DataFrame:
        from raysched.store.archive import Question

        start = None if since is None else ago(since, datetime.now(UTC))
        name = None if job is None else _name(job)
        return self.archive.frame(Question(dataset=dataset, since=start, job=name, **filters))

    def __repr__(self) -> str:
        from raysched.client.glance import text_of_client

        return f"<Client of the scheduler at {self.home}: {text_of_client(self)}>"

    def _repr_html_(self) -> str:
        from raysched.client.glance import card_of_client
        from raysched.show.html import html

        return html(card_of_client(self))


def _name(job: DeclaredJob | str) -> str:
    if isinstance(job, DeclaredJob):
        return job.name
    if isinstance(job, str):
        return job
    raise InvalidParameter(f"{shown(job)} is neither a job nor a name.")


def _frame(rows: Sequence[Mapping[str, Any]], columns: list[str] | None = None) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([dict(row) for row in rows], columns=columns)


def _warning(room: Room) -> str:
    return room.reason + (f"; fix: {room.fix}" if room.fix else "")
