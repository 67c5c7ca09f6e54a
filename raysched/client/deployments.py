"""What a deploy sends: definitions, with their code pinned as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raysched.client.folder import scan
from raysched.engine.messages import Deployment
from raysched.errors import DeclarationError
from raysched.runners.pinned import pin
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import shown


def deployments(jobs: Sequence[DeclaredJob | str | Path]) -> list[Deployment]:
    """Return jobs, and those of folders, as a scheduler takes them.

    Raises:
        DeclarationError: a job or a file is refused.
        NotPicklable: a function cannot be sent to a worker.
    """
    found: list[Deployment] = []
    for each in jobs:
        found += _of_folder(each) if isinstance(each, str | Path) else [of_job(each)]
    return found


def of_job(job: object, folder: Path | None = None) -> Deployment:
    """Return a job with its code pinned; `folder` holds the modules that travel with it.

    Raises:
        DeclarationError: it is no job.
        NotPicklable: its function cannot be sent to a worker.
    """
    if not isinstance(job, DeclaredJob):
        raise DeclarationError(
            f"{shown(job)} is not a job.",
            why="deploy takes functions decorated with @rs.job, rs.container(...), "
            "rs.notebook(...), and folders.",
            fix="decorate it, or pass the path of a folder.",
        )
    pinned = pin(job, folder)
    return Deployment(spec=job.spec, code_hash=pinned.code_hash, code=pinned.code)


def _of_folder(path: str | Path) -> list[Deployment]:
    result = scan(path)
    if result.faults:
        fault = result.faults[0]
        raise DeclarationError(
            f"{fault.file.relative_to(result.folder)}"
            f"{f', line {fault.line}' if fault.line else ''}: {fault.error}",
            why=f"{len(result.faults)} fault(s) in {path}; nothing was deployed.",
            fix="run `raysched check` to see them all.",
        )
    return [of_job(found.job, result.folder) for found in result.found]
