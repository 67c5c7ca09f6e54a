"""The help's list of commands: in groups, in the order in which one needs them.

Law: plain text by Typer's own formatter; Rich would double the time that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperGroup


class Grouped(TyperGroup):
    """A group of commands whose help lists them under headings."""

    headings: ClassVar[Mapping[str, Sequence[str]]] = {
        "A cluster": ("up", "status", "doctor", "down"),
        "Jobs": ("check", "deploy", "jobs", "job", "pause", "resume", "delete"),
        "Their slots": ("next", "cron"),
        "Runs": ("trigger", "runs", "run", "logs", "explain", "cancel", "retry", "backfill"),
        "The history": ("decisions", "history"),
        "To try it": ("demo", "bench"),
    }

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings; one without a heading comes at the end."""
        left = dict(self.commands)
        groups = [
            (heading, [name for name in names if name in left])
            for heading, names in self.headings.items()
        ]
        named = {name for _, names in groups for name in names}
        groups.append(("More", [name for name in left if name not in named]))
        widest = max(map(len, left), default=0)
        for heading, names in groups:
            rows = [
                (name.ljust(widest), left[name].get_short_help_str(formatter.width - widest - 6))
                for name in names
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
