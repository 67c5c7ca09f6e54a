"""The command about the history as a whole: what there is, and a file of it for elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import Home, OfJob, Output, history_of
from raysched.cli.output import Format, say, say_next, show_facts, show_rows
from raysched.cli.since import since as instant_since
from raysched.cli.table import Column
from raysched.core.states import State
from raysched.show.text import size

if TYPE_CHECKING:
    from raysched.store.archive import Archive


class Dataset(StrEnum):
    """What the history holds, besides results."""

    RUNS = "runs"
    ATTEMPTS = "attempts"
    DECISIONS = "decisions"
    LOGS = "logs"


def history(
    *,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write it here: .parquet, .csv, .jsonl or .ndjson."),
    ] = None,
    dataset: Annotated[
        Dataset, typer.Option("--dataset", help="With --export: which rows.")
    ] = Dataset.RUNS,
    since: Annotated[
        str, typer.Option("--since", help="With --export: 7d, yesterday, a day, an instant, all.")
    ] = "all",
    job: OfJob = None,
    status: Annotated[
        State | None, typer.Option("--status", help="Only those in this state.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what the history holds, or export it.

    Straight from the files, with what has not reached one yet: a scheduler need not run.
    An export holds one batch of rows in memory at a time and appears whole or not at all.
    """
    if export is None:
        if job or status or force or since != "all" or dataset is not Dataset.RUNS:
            raise typer.BadParameter("these options choose what to --export; name a file.")
        _summarise(history_of(home), output)
        return
    from raysched.store import export as files
    from raysched.store.archive import Question
    from raysched.store.schema import schema_of

    target = export.expanduser().absolute()
    files.check(target, force=force)
    start = instant_since(since, datetime.now(UTC))
    asked = Question(
        dataset=str(dataset), since=start, job=job, status=None if status is None else str(status)
    )
    found = history_of(home).batches(asked)
    rows = files.write(target, schema_of(str(dataset)), found, force=force)
    length = target.stat().st_size
    done = {"file": str(target), "dataset": str(dataset), "rows": rows, "bytes": length}
    show_facts(done, output)
    say(f"exported {rows:,} row(s) of {dataset}, {size(length)}.")
    if not rows:
        say("no row matches; the file has the columns alone.")


def _summarise(archive: Archive, form: Format) -> None:
    rows: list[dict[str, Any]] = [asdict(each) for each in archive.summary()]
    cells = [
        {
            **row,
            "rows": "" if row["rows"] is None else f"{row['rows']:,}",
            "days": _days(row),
            "files": f"{row['files']:,}",
            "size": size(row["bytes"]),
        }
        for row in rows
    ]
    columns = [
        Column("dataset", "dataset"),
        Column("rows", "rows", right=True),
        Column("days (UTC)", "days"),
        Column("files", "files", right=True),
        Column("size", "size", right=True),
    ]
    show_rows(rows, columns, form, cells=cells)
    say(f"in the files of {archive}; rows of the last minute may not have reached one yet.", "dim")
    say_next("history", "--export", "runs.parquet")


def _days(row: dict[str, Any]) -> str:
    first, last = row["first_day"], row["last_day"]
    return "" if first is None else str(first) if first == last else f"{first} to {last}"
