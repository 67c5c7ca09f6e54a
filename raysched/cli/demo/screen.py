"""What is seen while the demo plays: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysched.cli.console import console, styled
from raysched.core.states import State
from raysched.errors import NotFound
from raysched.show.text import length, one_line, plain_rows

if TYPE_CHECKING:
    from raysched.client import Client

_ROWS = 14
_BAR = 16
_BEGIN = time.monotonic()


def heading(text: str) -> None:
    """Print what begins now."""
    console().print(Text.assemble((f"{_clock()}  ", "dim"), (one_line(text), "bold")))


def _clock() -> str:
    return f"{time.monotonic() - _BEGIN:5.1f}s"


class Screen:
    """Shows the runs of a client as they change; `update` looks at them once more."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._console = console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._seen: dict[str, str] = {}

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, start: datetime) -> list[dict[str, Any]]:
        """Show the runs since `start` and return them, with the `progress` of the live ones."""
        rows = plain_rows(self._client.runs(since=start))
        for row in rows:
            row["progress"] = None
            if row["status"] == State.RUNNING:
                row["progress"] = self._progress(row["run_id"])
        if self._console.is_terminal:
            self._live.update(self._table(rows), refresh=True)
        else:
            self._tell_changes(rows)
        return rows

    def _progress(self, run_id: str) -> tuple[float, float] | None:
        try:
            told = self._client.find_row(run_id).get("progress")
        except NotFound:
            return None
        return tuple(told) if told else None

    def _tell_changes(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if self._seen.get(row["run_id"]) != row["status"]:
                self._seen[row["run_id"]] = row["status"]
                took = f" in {length(row['duration_s'])}" if row["duration_s"] else ""
                note = f": {one_line(row['reason'])}" if row["reason"] else ""
                line = Text(f"{_clock()}  {row['run_id']}  ", style="")
                self._console.print(line + styled(row["status"]) + Text(took + note))

    def _table(self, rows: list[dict[str, Any]]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("job", no_wrap=True)
        table.add_column("by", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=9)
        table.add_column("progress", no_wrap=True, width=_BAR)
        table.add_column("took", no_wrap=True, justify="right", min_width=5)
        table.add_column("last line", overflow="ellipsis")
        for row in rows[-_ROWS:]:
            note = Text(one_line(self._note(row)), no_wrap=True, overflow="ellipsis", style="dim")
            table.add_row(
                row["job"], row["trigger"], styled(row["status"]), _bar(row), _took(row), note
            )
        return table

    def _note(self, row: dict[str, Any]) -> str:
        if row["status"] != State.RUNNING:
            return row["reason"] or ""
        lines = self._client.logs(row["run_id"])
        return "" if lines.empty else str(lines["line"].iloc[-1])


def _bar(row: dict[str, Any]) -> ProgressBar | Text:
    if row["status"] == State.SUCCEEDED:
        return ProgressBar(total=1, completed=1, width=_BAR)
    if row["progress"] is None:
        return Text("")
    done, total = row["progress"]
    return ProgressBar(total=total or 1, completed=done, width=_BAR)


def _took(row: dict[str, Any]) -> str:
    if row["duration_s"] is not None:
        return length(row["duration_s"])
    if row["started_at"] is None:
        return ""
    return length((datetime.now(UTC) - row["started_at"]).total_seconds())
