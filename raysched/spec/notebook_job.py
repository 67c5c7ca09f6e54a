"""A notebook job: an .ipynb file, declared as a job."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, Unpack

from raysched.errors import DeclarationError
from raysched.spec.declared import Place, UncallableJob, look_for, place_of
from raysched.spec.definition import JobSpec
from raysched.spec.environment import worker_environment
from raysched.spec.notebook import Notebook, read_notebook
from raysched.spec.options import Declared, Options, known
from raysched.spec.units import shown


class NotebookJob(UncallableJob):
    """A declared notebook job, with its definition as `spec` and its cells as `notebook`.

    The file is read when the job is declared. `options` gives a changed copy of the same
    cells; `rs.connect().deploy(job)` hands it to the scheduler.
    """

    _kind, _runs_in = "notebook", "a kernel"
    _instead = "open it in Jupyter, or deploy it"

    def __init__(self, notebook: Notebook, declared: Mapping[str, Any], place: Place) -> None:
        options = NotebookOptions(**known(declared, NotebookOptions, of="rs.notebook"))
        self.spec = options.spec(notebook)
        self.notebook = notebook
        self._declared = dict(declared)
        self._place = place

    def _with(self, declared: Mapping[str, Any]) -> Self:
        return type(self)(self.notebook, declared, self._place)


class _Declared(Declared, total=False):
    """What `rs.notebook` takes beside the path; what each means is said in the documentation."""

    name: str | None
    runtime_env: Mapping[str, Any] | None


def notebook(path: str | Path, **declared: Unpack[_Declared]) -> NotebookJob:
    """Declare a notebook as a job; what each option means is said in `docs/notebook-jobs.md`.

    A relative path is looked for in the folder of the file that calls this, then in the
    working directory. The job is named after the file unless `name` says otherwise.

    Raises:
        DeclarationError: a file that is no Python notebook, or an option that cannot be
            meant; nothing is declared then.
    """
    place = place_of(inspect.currentframe())
    # The declaring file's folder first: a jobs folder means the same from everywhere.
    file = _found(path, place.folders[::-1])
    return NotebookJob(read_notebook(file), {"name": file.stem, **declared}, place)


def _found(path: Any, folders: Sequence[Path]) -> Path:
    if not isinstance(path, str | Path) or not str(path):
        raise DeclarationError(
            f"{shown(path)} is not the path of a notebook.",
            why="a notebook job is made of an .ipynb file.",
            fix='write for example rs.notebook("notebooks/report.ipynb").',
        )
    found, tried = look_for(path, folders, os.path.isfile)
    if found is None:
        raise DeclarationError(
            f"there is no notebook {shown(str(path))}.",
            why=f"there is no file {tried}.",
            fix="name it from the declaring file's folder, or from the working directory.",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookOptions(Options):
    """The options of `rs.notebook` as declared, with their defaults, not yet checked."""

    runtime_env: Any = None

    def spec(self, notebook: Notebook) -> JobSpec:
        """Return the definition that they declare for a notebook.

        Raises:
            DeclarationError: an option that cannot be meant.
            InvalidParameter: `params` that the notebook does not have, or lacks.
        """
        return replace(
            self.checked(notebook.signature),
            runtime_env=worker_environment(self.runtime_env),
            description=notebook.description,
        )
