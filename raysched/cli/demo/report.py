"""What the demo has left behind: the history, read as anybody's pandas would read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysched.cli.demo.screen import heading
from raysched.cli.output import Format, show_rows, show_text
from raysched.cli.table import Column
from raysched.show.text import instant, length, plain_rows, size

if TYPE_CHECKING:
    import pandas as pd

_DECISIONS = 10
_LINES = 8
_SHOWN = {
    "hourly_profile": "one run, a child process's included",
    "carriers": "a container",
}


def show(home: Path) -> None:
    """Print the runs, the decisions, one log and the files; nothing runs any more."""
    import pandas as pd

    runs = pd.read_parquet(home / "runs").sort_values("created_at")
    _runs(runs)
    _decisions(pd.read_parquet(home / "decisions").sort_values("slot"))
    _log(pd.read_parquet(home / "logs"), runs)
    _files(home)
    heading("nothing of it runs any more; the files stay. Read them in pandas:")
    show_text(f"  pd.read_parquet({str(home / 'runs')!r})")
    show_text("or with raysched, finished or not:")
    show_text(f"  raysched --home {home} runs")


def _runs(runs: pd.DataFrame) -> None:
    heading("the runs: pd.read_parquet(home / 'runs')")
    cells = [
        {**row, "took": length(row["duration_s"]), "result": _result(row)}
        for row in plain_rows(runs)
    ]
    columns = [
        Column("job", "job"),
        Column("trigger", "trigger"),
        Column("status", "status"),
        Column("tries", "attempts", right=True),
        Column("took", "took", right=True),
        Column("result, or why", "result", tight=True),
    ]
    show_rows(cells, columns, Format.TABLE)


def _result(row: dict[str, Any]) -> str:
    if row["result_rows"] is not None:
        return f"{int(row['result_rows']):,} rows"
    return row["reason"] or row["result_json"] or ""


def _decisions(decisions: pd.DataFrame) -> None:
    heading("what became of the slots, and why: pd.read_parquet(home / 'decisions')")
    shown = plain_rows(decisions.tail(_DECISIONS))
    cells = [
        {**row, "slot": instant(row["slot"])[11:], "reason": row["reason"] or row["run_id"]}
        for row in shown
    ]
    columns = [
        Column("slot", "slot"),
        Column("job", "job"),
        Column("decision", "decision"),
        Column("reason, or run", "reason", tight=True),
    ]
    show_rows(cells, columns, Format.TABLE)
    if len(decisions) > len(shown):
        show_text(f"the last {len(shown)} of {len(decisions)}", "dim")


def _log(logs: pd.DataFrame, runs: pd.DataFrame) -> None:
    for job, what in _SHOWN.items():
        whole = runs[(runs["job"] == job) & (runs["status"] == "succeeded")]
        if not whole.empty:
            heading(f"the output of {what}:")
            _lines(logs, whole["run_id"].iloc[0])


def _lines(logs: pd.DataFrame, run_id: str) -> None:
    mine = logs[(logs["run_id"] == run_id) & (logs["stream"] != "build")]
    lines = mine.sort_values("line_no")["line"].to_list()
    show_text(f"  raysched logs {run_id}", "dim")
    cut = lines if len(lines) <= _LINES else [*lines[: _LINES // 2], "...", *lines[-_LINES // 2 :]]
    for line in cut:
        show_text(f"  {line}")
    show_text(f"{min(_LINES, len(lines))} of {len(lines)} lines", "dim")


def _files(home: Path) -> None:
    heading(f"the files in {home}:")
    for entry in sorted(home.iterdir()):
        if entry.is_file():
            show_text(f"  {entry.name:<20}            {size(entry.stat().st_size):>10}")
        elif entry.is_dir() and not entry.name.startswith("."):
            files = [file for file in entry.rglob("*") if file.is_file()]
            total = sum(file.stat().st_size for file in files)
            show_text(f"  {entry.name + '/':<20} {len(files):>4} files {size(total):>10}")
