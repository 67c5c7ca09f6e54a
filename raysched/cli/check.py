"""The command that checks job files, without a cluster."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import Output
from raysched.cli.output import Format, say, say_next, show_rows
from raysched.cli.table import Column
from raysched.errors import NotFound
from raysched.show.text import instant

if TYPE_CHECKING:
    from raysched.client.folder import Scan
    from raysched.spec.definition import JobSpec

Folder = Annotated[Path, typer.Argument(metavar="PATH", help="A folder of job files, or one.")]
JOBS = Path("jobs")


def check(path: Folder = JOBS, output: Output = Format.TABLE) -> None:
    """Check job files, without a cluster.

    Shows every fault with its file and line, and every job's next slot. Exit 2 if there is
    a fault. Whether a function can be sent to a worker is checked by `deploy --plan`, which
    needs Ray.
    """
    scan = scan_of(path)
    rows = [_checked(found.job.spec, found.file) for found in scan.found]
    rows += [
        {"job": None, "file": str(fault.file), "line": fault.line, "fault": fault.error}
        for fault in scan.faults
    ]
    if output is Format.TABLE:
        good = [row for row in rows if row["job"]]
        columns = [
            Column("job", "job", fold=True),
            Column("next slot", "next"),
            Column("schedule", "schedule", tight=True),
            Column("file", "file", tight=True),
        ]
        cells = [
            {
                **row,
                "next": instant(row["next_slot"], row["timezone"]) or "when triggered",
                "file": _short(Path(row["file"])),
            }
            for row in good
        ]
        show_rows(good, columns, output, cells=cells)
    else:
        whole = dict.fromkeys(_checked_columns)
        show_rows([{**whole, **row} for row in rows], [], output)
    say_faults(scan)
    say(f"{len(scan.found)} job(s), {len(scan.faults)} fault(s) in {path}.")
    if scan.faults:
        raise typer.Exit(2)
    say_next("deploy", path)


_checked_columns = ("job", "file", "line", "schedule", "timezone", "next_slot", "fault")


def _checked(spec: JobSpec, file: Path) -> dict[str, Any]:
    return {
        "job": spec.name,
        "file": str(file),
        "schedule": spec.schedule_text,
        "timezone": spec.timezone,
        "next_slot": _first_slot(spec),
    }


def _first_slot(spec: JobSpec) -> datetime | None:
    from raysched.spec.schedules import next_slot

    now = datetime.now(UTC)
    return next_slot(spec.schedules, now, now)


def scan_of(path: Path) -> Scan:
    """Return what a folder or file declares.

    Raises:
        NotFound: it is not there, or declares nothing.
    """
    from raysched.client.folder import scan

    with redirect_stdout(sys.stderr):  # what a job file prints when imported is no result
        found = scan(path)
    if not found.found and not found.faults:
        raise NotFound(
            f"no job is declared in {path}.",
            why="no file there, helpers aside, has @rs.job, rs.container or rs.notebook, or is "
            "a job.toml.",
            fix="name the folder of your job files.",
        )
    return found


def say_faults(scan: Scan) -> None:
    """Tell every fault, with its file and line."""
    for fault in scan.faults:
        place = f"{_short(fault.file)}:{fault.line}" if fault.line else _short(fault.file)
        what, _, rest = fault.error.partition("\n")
        say(f"{place}: {what}", "red")
        if rest.strip():
            say(rest)


def _short(file: Path) -> str:
    """Return a path as seen from here, if that is shorter."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
