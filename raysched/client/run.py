"""A run, as its user holds it: an id, and what can be asked of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysched.client.stage import cell
from raysched.core.explain import to_open
from raysched.core.states import State
from raysched.errors import Conflict, RayschedError, RunFailed, WaitTimeout
from raysched.show.text import harmless, plain_rows
from raysched.spec.units import Duration, duration

if TYPE_CHECKING:
    import pandas as pd

    from raysched.client import Client


class Run:
    """One run of a job. Everything but its id is asked of the scheduler or the history."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self.id = run_id
        self._final: Mapping[str, Any] | None = None
        self._shown_in: int | None = None  # the notebook's cell that shows it already

    @property
    def status(self) -> str:
        """The run's state now, one of those of the history's `status` column."""
        return str(self.details()["status"])

    @property
    def job(self) -> str:
        """The job's name."""
        return self.id.partition("@")[0]

    def details(self) -> Mapping[str, Any]:
        """Return all that is known of the run now: the columns of `runs`, and its progress.

        Raises:
            NotFound: neither the scheduler nor the history knows the run.
        """
        if self._final is not None:
            return self._final
        row = self._client.find_row(self.id)
        if State(row["status"]).final:
            self._final = row
        return row

    def wait(self, timeout: Duration | float | None = None, *, show: bool = True) -> Run:
        """Wait until the run is finished, and return it; interrupting the wait harms nothing.

        `timeout` is a duration, or seconds. A wait that takes long shows the run's
        progress in a notebook or a terminal, unless `show` is false.

        Raises:
            WaitTimeout: it is still going.
        """
        from raysched.client.live import waiting

        limit = math.inf if timeout is None else _seconds(timeout)
        until = time.monotonic() + limit
        with waiting(self, show=show) as seen:
            while self._final is None:
                left = max(0.0, min(seen.pause_s, until - time.monotonic()))
                self._final = self._client.wait_for(self.id, left)
                row = self._final or self.details()
                if State(row["status"]).final:
                    break
                if time.monotonic() >= until:
                    raise self._timed_out(limit)
                seen.look(row)
        return self

    def _timed_out(self, limit: float) -> WaitTimeout:
        return WaitTimeout(
            f"run {self.id} is still {self.status} after {limit:g}s.",
            why=self._client.explain(self.id).get("reason") or None,
            fix="wait longer, or cancel it with run.cancel().",
        )

    def watch(self) -> Run:
        """Show the run in one place until it is over, and return it.

        Its state, progress, metrics and last lines, in a notebook's cell or a terminal;
        elsewhere a line for each state. Interrupting it harms nothing: the run goes on.

        Raises:
            NotFound: nobody knows the run.
            ClusterError: the scheduler does not answer any more.
        """
        from raysched.client import live

        live.watch(self, self._client)
        self._shown_in = cell()
        return self

    def result(self, timeout: Duration | float | None = None) -> Any:
        """Return what the job returned, once the run is finished.

        A value, a DataFrame, or of a notebook job the executed notebook.

        Raises:
            RunFailed: the run ended in another state than succeeded; the traceback of its
                last attempt, if there is one, is shown with it as a note, and its
                notebook as far as it came is named.
            WaitTimeout: it is still going.
            PackagesMissing: a notebook, where nbformat is not installed.
        """
        row = self.wait(timeout).details()
        if row["status"] != State.SUCCEEDED:
            raise self._failed(row)
        if row["result_kind"] == "json":
            return json.loads(row["result_json"])
        if row["result_kind"] == "parquet":
            return self._client.read_result(row["result_path"])
        if row["result_kind"] == "notebook":
            return self._client.read_notebook(row["result_path"])
        return None

    def _failed(self, row: Mapping[str, Any]) -> RunFailed:
        error = RunFailed(
            f"run {self.id} is {row['status']}.",
            why=row["reason"] or row["error_message"],
            fix=f"{to_open(row)}read its output with client.logs({self.id!r}).",
        )
        try:
            attempts = plain_rows(self._client.attempts(self.id))
        except RayschedError:  # how the run ended is known all the same
            return error
        if attempts and attempts[-1]["traceback"]:
            error.add_note(f"\nIn the worker:\n\n{harmless(attempts[-1]['traceback'])}")
        return error

    def logs(self) -> pd.DataFrame:
        """Return the run's output so far, one row a line, all attempts.

        Raises:
            StoreError: a file of the history is damaged; names it.
        """
        return self._client.logs(self.id)

    def cancel(self) -> Run:
        """Cancel the run: it ends as `cancelled`, its processes with it.

        Raises:
            NotFound: it is finished, or nobody knows it.
        """
        self._client.cancel(self.id)
        return self

    def retry(self) -> Run:
        """Start a new run with the parameters and the slot of this finished one.

        Raises:
            Conflict: it is not finished.
        """
        row = self.details()
        if not State(row["status"]).final:
            raise Conflict(
                f"run {self.id} is {row['status']}.",
                why="only a finished run can be run again.",
                fix="cancel it first.",
            )
        return self._client.rerun(row)

    def explain(self) -> str:
        """Return why the run is where it is, or how it ended.

        Raises:
            NotFound: nobody knows the run.
        """
        return str(self._client.explain(self.id)["reason"])

    def __repr__(self) -> str:
        from raysched.client.glance import text_of_run

        return f"<Run {self.id} {text_of_run(self)}>"

    def _repr_html_(self) -> str:
        from raysched.client.glance import brief_card_of_run, card_of_run
        from raysched.show.html import html

        # `run.watch()` as a cell's last line has shown everything right above.
        above = self._shown_in is not None and self._shown_in == cell()
        return html(brief_card_of_run(self) if above else card_of_run(self, self._client))


def _seconds(timeout: Duration | float) -> float:
    if type(timeout) in (int, float):
        return float(timeout)  # type: ignore[arg-type]
    return duration(timeout, of="timeout", zero=True).total_seconds()  # type: ignore[arg-type]
