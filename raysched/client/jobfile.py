"""A `job.toml`: a container job declared without Python, by the options of `rs.container`."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from raysched.errors import InvalidSchedule, RayschedError
from raysched.spec.container_job import ContainerJob
from raysched.spec.declared import Origin, Place
from raysched.spec.options import check_keys
from raysched.spec.policies import Retry
from raysched.spec.schedules import Schedule, after_end, at, cron, every
from raysched.spec.units import shown

JOB_FILE = "job.toml"

_KINDS: dict[str, Callable[..., Schedule]] = {
    "cron": cron,
    "every": every,
    "after_end": after_end,
    "at": at,
}
_RETRY = [each.name for each in fields(Retry)]


def read(file: Path) -> ContainerJob:
    """Return the job that a `job.toml` declares.

    Its name is by default that of the folder, and what it builds, if there is a Dockerfile
    and no `image`, the folder itself. Paths are relative to the folder.

    Raises:
        DeclarationError: an option that cannot be meant.
        TOMLDecodeError: no TOML.
    """
    declared = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    folder = file.resolve().parent
    declared.setdefault("name", folder.name)
    if not {"image", "build"} & declared.keys() and (folder / "Dockerfile").is_file():
        declared["build"] = "."
    if "schedule" in declared:
        declared["schedule"] = _schedules(declared["schedule"])
    if isinstance(declared.get("retries"), Mapping):
        declared["retries"] = _retry(declared["retries"])
    place = Place(origin=Origin(module=str(file)), folders=(folder,))
    return ContainerJob(declared, place)


def _schedules(value: Any) -> Any:
    if isinstance(value, list):
        return [_schedules(each) for each in value]
    return _schedule(value) if isinstance(value, Mapping) else value


def _schedule(table: Mapping[str, Any]) -> Any:
    kinds = [kind for kind in _KINDS if kind in table]
    if len(kinds) != 1:
        raise InvalidSchedule(
            f"schedule has {' and '.join(kinds) or 'no kind'} in one table.",
            why=f"a schedule is of one kind: {', '.join(_KINDS)}.",
            fix='write for example schedule = {every = "15m"}; a list has several of them.',
        )
    _, *others = inspect.signature(_KINDS[kinds[0]]).parameters
    check_keys(table, [kinds[0], *others], what=f"a schedule of the kind {kinds[0]} has no field")
    rest = {key: value for key, value in table.items() if key != kinds[0]}
    if type(rest.get("seconds", False)) is not bool:
        raise InvalidSchedule(
            f"seconds={shown(rest['seconds'])} is refused.",
            why="seconds is either true or false.",
            fix="write seconds = true.",
        )
    return _KINDS[kinds[0]](table[kinds[0]], **rest)


def _retry(table: Mapping[str, Any]) -> Retry:
    check_keys(table, _RETRY, what="retries has no field")
    return Retry(**table)


def line_of(file: Path, error: BaseException) -> int | None:
    """Return the line of a `job.toml` that an error is about, None if that is not known."""
    if isinstance(error, tomllib.TOMLDecodeError):
        told = re.search(r"at line (\d+)", str(error))
        return int(told[1]) if told else None
    if not isinstance(error, RayschedError):
        return None
    # An error names the option first, or quotes a key that does not exist.
    first = re.findall(r"(?:job )?(\w+)", error.what)[:1]  # of a name the error says "job name"
    quoted = re.findall(r"'(\w+)'", error.what)
    words = quoted + first if " has no " in error.what else first
    words += ["schedule"] if isinstance(error, InvalidSchedule) else []
    lines = file.read_text(errors="replace").splitlines()
    for word in words:
        key = re.compile(rf"""\s*\[*\s*["']?{word}s?["']?\s*[\].=]|.*[{{,]\s*{word}\s*=""")
        for number, line in enumerate(lines, start=1):
            if key.match(line):
                return number
    return None
