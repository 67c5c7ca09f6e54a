"""Jobs, runs and rows for the tests of the store, and their way into files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raysched.core import records
from raysched.core.model import Decision, Outcome, Run, Trigger, Verdict
from raysched.core.orders import LogLine
from raysched.core.ports import Changes, JobRecord, Version
from raysched.core.states import Event, State
from raysched.spec.definition import JobSpec
from raysched.store.history import History
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock

START = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


def version(name: str = "tick", **spec) -> Version:
    """A version of a job."""
    made = JobSpec(name=name, **spec)
    return Version(spec=made, code_hash=f"code of {name}", version=made.version("code"))


TICK, TOCK = version(tags=("a", "b")), version("tock")


def record(of: Version, **changed) -> JobRecord:
    """What is durable about a job."""
    return replace(
        JobRecord(current=of, deployed_at=START, decided=START, last_end=START), **changed
    )


def deployed(*versions: Version) -> Changes:
    """The changes of a deploy."""
    return Changes(
        jobs={each.spec.name: record(each) for each in versions},
        versions={(each.spec.name, each.version): each for each in versions},
        code={each.code_hash: each.code_hash.encode() for each in versions},
    )


def run(of: Version, run_id: str, **changed) -> Run:
    """A run that is waiting."""
    made = Run(
        run_id=run_id,
        job=of.spec.name,
        version=of.version,
        trigger=Trigger.MANUAL,
        created_at=START,
        queued_at=START,
    )
    return replace(made, **changed)


def finished(
    of: Version, ids: Sequence[str], *, end: datetime = START + timedelta(hours=1), lines: int = 2
) -> Changes:
    """The changes of a turn in which runs end, each with a decision, an attempt and its lines."""
    changes = Changes()
    for n, run_id in enumerate(ids):
        made = run(of, run_id, attempt=1, state=State.RUNNING, started_at=START)
        outcome = Outcome(event=Event.SUCCEED, finished_at=end, exit_code=0)
        slot = START + timedelta(seconds=hash(run_id) % 10**9)
        verdict = Verdict(slot=slot, last_slot=slot, decision=Decision.FIRED, reason="")
        told = [LogLine(ts_us=n, stream="stdout", line_no=k + 1, text="Ä") for k in range(lines)]
        spec = of.spec
        changes.runs[run_id] = None
        changes.rows += [
            ("decisions", records.decision_row(verdict, spec, run_id, end)),
            *(("logs", row) for row in records.log_rows(made, None, told)),
            (
                "attempts",
                records.attempt_row(
                    made, spec, outcome, status=State.SUCCEEDED, reason="", epoch=1
                ),
            ),
            ("runs", records.run_row(replace(made, state=State.SUCCEEDED), spec, outcome)),
        ]
    return changes


def seal(store: SqlStore, home: Path) -> None:
    """Move every finished row into the files of a home."""
    Sealer(store, History(home), FakeClock()).seal(everything=True)


def let_through(folder: Path) -> None:
    """Let other users reach what lies in a folder of a test, as they reach a home."""
    temporary = Path(tempfile.gettempdir())
    for each in (folder, *folder.parents):
        if temporary in each.parents:
            each.chmod(0o711)
