"""`raysched doctor`: what is in order and what is not, one check after the other.

    facts.py    what is looked at: frozen values, any of them unknown
    checks.py   what they mean: pure functions, one finding each
    look.py     how they are gathered: the only part that touches the world

It is of most use where nothing works: every look copes with what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from raysched.cli.options import Home, Output, home_of
from raysched.cli.output import Format, say, show_finding, show_rows

if TYPE_CHECKING:
    from raysched.cli.doctor.checks import Finding


def doctor(home: Home = None, output: Output = Format.TABLE) -> None:
    """Check what raysched needs, and say what to do.

    Also where nothing runs. Exit 1 if something fails; what cannot be looked at is unknown,
    and no failure.
    """
    rows: list[dict[str, str | None]] = []
    for finding in examine(home_of(home)):
        rows.append(
            {
                "check": finding.check,
                "level": str(finding.level),
                "evidence": finding.evidence,
                "fix": finding.fix,
            }
        )
        if output is Format.TABLE:
            show_finding(finding.check, str(finding.level), finding.evidence, finding.fix)
    if output is not Format.TABLE:
        show_rows(rows, [], output)
    count = Counter(row["level"] for row in rows)
    say(", ".join(f"{count[level]} {level}" for level in ("ok", "warn", "fail", "unknown")))
    if count["fail"]:
        raise typer.Exit(1)


def examine(home: Path) -> Iterator[Finding]:
    """Yield the findings, each as soon as what it needs has been looked at."""
    from raysched.cli.doctor import checks, look
    from raysched.cli.doctor.facts import Facts

    facts = Facts(here=look.software())
    yield checks.python(facts)
    for each, then in (
        (look.place, (checks.home,)),
        (look.engine, (checks.engine,)),
        (look.state, ()),
        (look.cluster, ()),
        (
            look.scheduler,
            (
                checks.ray,
                checks.token,
                checks.ports,
                checks.scheduler,
                checks.launcher,
                checks.versions,
                checks.clock,
                checks.state,
            ),
        ),
        (look.nodes, (checks.nodes, checks.node_clocks, checks.node_engines)),
    ):
        facts = each(facts, home)
        yield from (check(facts) for check in then)
