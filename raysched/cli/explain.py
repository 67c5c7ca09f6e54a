"""The command that says why a job or a run is where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli import completion
from raysched.cli.options import Home, Output, connected, history_of, is_running
from raysched.cli.output import Format, show_facts, show_told

if TYPE_CHECKING:
    from raysched.core.explain import Explanation


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID|NAME",
            help="A run's id, or a job's name.",
            autocompletion=completion.runs_and_jobs,
        ),
    ],
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Say why a job or a run is where it is, and what to do.

    Whatever is known is in the JSON: the cause as one word, the runs and nodes that it is
    about, the attempts that are over.
    """
    found = _explained(name, home)
    if output is Format.TABLE:
        show_told(found["what"], found["reason"], found["fix"])
    else:
        show_facts(found, output)


def _explained(name: str, home: Path | None) -> dict[str, Any]:
    if "@" in name and not is_running(home):
        return _of_files(name, home).to_dict()
    return connected(home).explain(name)


def _of_files(name: str, home: Path | None) -> Explanation:
    from raysched.cli.found import row_of, rows_of
    from raysched.client.prefix import whole_id
    from raysched.core.explain import explain_finished, explain_unattended
    from raysched.core.states import State

    archive = history_of(home)
    row = row_of(archive, whole_id(name, archive))
    if not State(row["status"]).final:
        return explain_unattended(row)
    return explain_finished(row, rows_of(archive, "attempts", row["run_id"]))
