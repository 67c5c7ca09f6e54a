"""The view of one run while somebody waits for it, on a terminal.

Law: `view` is a pure function of what is known; only `follow` asks, waits and draws.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from raysched.cli.console import console, styled
from raysched.core.states import State
from raysched.errors import WaitTimeout
from raysched.show.text import length, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from raysched.client import Client, Run
    from raysched.client.live import Tail

_GLANCE_S = 0.5  # between two looks while somebody watches
_PATIENT_S = 30.0  # one question to the scheduler where nobody does
_BAR = 30


def follow(client: Client, run: Run, limit: float | None) -> Mapping[str, Any]:
    """Wait for a run's end and return its row; on a terminal, show it meanwhile.

    Raises:
        WaitTimeout: it is still going after `limit` seconds.
    """
    until = None if limit is None else time.monotonic() + limit
    with ExitStack() as stack:
        show = stack.enter_context(_Screen(client)) if sys.stderr.isatty() else None
        while True:
            glance = _PATIENT_S if show is None else _GLANCE_S
            left = glance if until is None else min(glance, max(0.0, until - time.monotonic()))
            row = client.wait_for(run.id, left) or client.find_row(run.id)
            if State(row["status"]).final:
                return row
            if until is not None and time.monotonic() >= until:
                raise WaitTimeout(
                    f"run {run.id} is still {row['status']} after {limit:g}s.",
                    why=row["reason"] or None,
                    fix=f"it goes on; see `raysched logs {run.id} -f`.",
                )
            if show:
                show(row)


def view(row: Mapping[str, Any], last_line: str, now: datetime) -> RenderableType:
    """Return what is shown of a run that is not over: state, progress, time, last line."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [styled(row["status"])]
    if row.get("progress"):
        done, total = row["progress"]
        cells.append(ProgressBar(total=total or 1, completed=min(done, total), width=_BAR))
        cells.append(Text(f"{done:,.15g}/{total:,.15g}"))
    begun = row["started_at"] or row["queued_at"] or row["created_at"]
    cells.append(Text(length(max(0.0, (now - begun).total_seconds())), style="dim"))
    if row["reason"] and row["status"] != State.RUNNING:
        cells.append(Text(one_line(row["reason"]), style="dim", no_wrap=True, overflow="ellipsis"))
    for _ in cells:
        line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(*cells)
    if not last_line:
        return line
    text = Text(one_line(last_line), style="dim", no_wrap=True, overflow="ellipsis")
    return Group(line, text)


class _Screen:
    """Draws a run in place on stderr, and leaves nothing behind."""

    def __init__(self, client: Client) -> None:
        from rich.live import Live

        self._client = client
        self._live = Live(console=console(sys.stderr), transient=True, auto_refresh=False)
        self._tail: Tail | None = None

    def __enter__(self) -> Callable[[Mapping[str, Any]], None]:
        self._live.start()
        return self._draw

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _draw(self, row: Mapping[str, Any]) -> None:
        from raysched.client.live import Tail

        if self._tail is None:
            self._tail = Tail(self._client, row["run_id"])
        lines = self._tail.read() if row["status"] != State.QUEUED else []
        self._live.update(view(row, "".join(lines[-1:]), datetime.now(UTC)), refresh=True)
