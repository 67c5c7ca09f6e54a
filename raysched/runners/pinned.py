"""What a job of any kind sends to the workers: its code as bytes, and their hash."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

from raysched.errors import DeclarationError
from raysched.runners import code, context
from raysched.runners.notebook import Program
from raysched.spec.container_job import ContainerJob
from raysched.spec.declared import DeclaredJob
from raysched.spec.job import Job
from raysched.spec.notebook_job import NotebookJob
from raysched.spec.units import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A job's code: a pickled callable, a build context as a tar, or nothing for an image."""

    code: bytes
    code_hash: str


def pin(job: DeclaredJob, folder: Path | None = None) -> Pinned:
    """Return a job's code as it is now; `folder` holds the modules that travel with a function.

    Raises:
        NotPicklable: a function cannot be sent to a worker.
        DeclarationError: a build context that is too large or leads out of its folder.
    """
    match job:
        case Job():
            pickled, code_hash = code.pin(job.function, name=job.name, folder=folder)
            return Pinned(code=pickled, code_hash=code_hash)
        case NotebookJob():
            text = job.notebook.text
            code_hash = hashlib.sha256(text.encode()).hexdigest()
            return Pinned(code=pickle.dumps(Program(text), protocol=5), code_hash=code_hash)
        case ContainerJob():
            packed = _packed(job)
            return Pinned(code=packed, code_hash=hashlib.sha256(packed).hexdigest())
        case _:
            raise DeclarationError(f"{shown(job)} is a job of no known kind.")


def _packed(job: ContainerJob) -> bytes:
    container = job.spec.container
    if job.context is None or container is None or container.build is None:
        return b""
    return context.pack(job.context, job=job.name, dockerfile=container.build.dockerfile)
