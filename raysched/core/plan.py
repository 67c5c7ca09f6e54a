"""What a deploy does to each job: decided here once, for the plan and for the deploy.

Pure: the record of a job and its new version go in, the record that follows comes
out. A redeploy resets nothing, so whatever is not of the version is carried over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from raysched.core.ports import JobRecord, Version
from raysched.core.slots import counted_from, next_due, view_of
from raysched.spec.definition import JobSpec
from raysched.spec.units import span, spell, spell_size


class Action(StrEnum):
    """What a deploy does to a job."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field of a definition that changes, as a user would read it; None for not there."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one job; `before` is None for a new one, `after` for a deleted one."""

    job: str
    before: JobRecord | None
    after: JobRecord | None
    unfinished: Sequence[str] = ()

    @property
    def action(self) -> Action:
        """What is done, in a word."""
        if self.before is None:
            return Action.CREATED
        if self.after is None:
            return Action.DELETED
        return Action.UNCHANGED if self.after is self.before else Action.UPDATED

    @property
    def slots(self) -> tuple[datetime | None, datetime | None]:
        """The next slot before and after; of a job that is paused too, which skips it."""
        return self._next(self.before), self._next(self.after)

    @property
    def differences(self) -> list[Difference]:
        """Which fields of the definition change; none for a new or a deleted job."""
        if self.before is None or self.after is None:
            return []
        return differences(self.before.current, self.after.current)

    def _next(self, record: JobRecord | None) -> datetime | None:
        return None if record is None else next_due(view_of(record, self.unfinished))


def change(
    old: JobRecord | None, version: Version, unfinished: Sequence[str], now: datetime
) -> Change:
    """Return what a deploy of a version makes of a job.

    A changed job keeps its pause and its decided slots; slots of its new schedule count
    from now on. An unchanged one keeps everything.
    """
    name = version.spec.name
    if old and old.current.version == version.version:
        return Change(job=name, before=old, after=old, unfinished=unfinished)
    record = JobRecord(
        current=version,
        deployed_at=now,
        decided=max(now, old.decided) if old else now,
        last_end=old.last_end if old else now,
        pause=old.pause if old else None,
    )
    start = counted_from(view_of(record, unfinished), now)
    after = replace(record, last_end=start)
    return Change(job=name, before=old, after=after, unfinished=unfinished)


def differences(old: Version, new: Version) -> list[Difference]:
    """Return the fields by which two versions of a job differ, the code last."""
    before, after = dict(_fields(old.spec)), dict(_fields(new.spec))
    found = [
        Difference(
            field=name,
            before=_shown(name, before[name]) if name in before else None,
            after=_shown(name, after[name]) if name in after else None,
        )
        for name in dict.fromkeys([*before, *after])
        if name not in before or name not in after or before[name] != after[name]
    ]
    if old.code_hash != new.code_hash:
        found.append(Difference(field="code", before=old.code_hash[:12], after=new.code_hash[:12]))
    return found


def _fields(spec: JobSpec) -> Iterator[tuple[str, Any]]:
    """Yield a definition's fields, a mapping's keys one by one: `params.region`."""
    for name, value in spec.to_json().items():
        if name == "schedules":
            yield "schedule", spec.schedule_text
        elif name == "signature":
            yield "parameters", ", ".join(spec.signature.names)
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name.removesuffix("_us").removesuffix("_bytes"), _spelled(name, value)


def _spelled(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_us"):
        return spell(span(value))  # type: ignore[arg-type]
    return spell_size(value) if name.endswith("_bytes") else value


def _shown(name: str, value: Any) -> str | None:
    if name.startswith("env."):
        return "(hidden)"  # it may be a password
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
