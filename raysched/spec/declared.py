"""What jobs of every kind are once declared: a name, a definition, and where that stands."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, NoReturn, Self

from raysched.errors import Conflict
from raysched.spec.definition import JobSpec
from raysched.spec.units import shown_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The module that declares a job, and the line there if it is known."""

    module: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a declaration stands, and the folders that its paths may be relative to."""

    origin: Origin
    folders: tuple[Path, ...] = field(default_factory=lambda: (Path(),))


class DeclaredJob(ABC):
    """A declared job of any kind, with its definition as `spec`.

    A subclass adds what its code is made of: a function, a notebook, the folder of an image.
    """

    spec: JobSpec
    _declared: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The job's name."""
        return self.spec.name

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """Where the job is declared."""

    @abstractmethod
    def _with(self, declared: Mapping[str, Any]) -> Self:
        """Return the same job with other options."""

    def options(self, **changed: Any) -> Self:
        """Return a copy of the job with some options replaced.

        Raises:
            DeclarationError: an option that jobs of this kind do not have, or a refused value.
        """
        return self._with({**self._declared, **changed})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.spec.schedule_text or 'no schedule'}>"

    def _repr_html_(self) -> str:
        from raysched.show.html import html
        from raysched.spec.cards import job_card

        return html(job_card(type(self).__name__, self.spec, datetime.now(UTC)))


class UncallableJob(DeclaredJob):
    """A declared job that is no function: whoever calls it is told where it runs instead."""

    _kind: ClassVar[str]
    _runs_in: ClassVar[str]
    _instead: ClassVar[str] = "deploy it"
    _place: Place

    @property
    def origin(self) -> Origin:
        """Where the job is declared."""
        return self._place.origin

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: unlike a function, such a job runs on the cluster only.

        Raises:
            Conflict: always.
        """
        raise Conflict(
            f"job {self.name!r} is a {self._kind}; calling it runs nothing.",
            why=f"it runs in {self._runs_in}, on a node of the cluster.",
            fix=f'{self._instead}, then client.trigger("{self.name}").',
        )


def look_for(
    path: str | Path, folders: Sequence[Path], is_there: Callable[[str], bool]
) -> tuple[Path | None, str]:
    """Return the first of `folders` joined with a path that is there; and where that was tried."""
    tried = list(dict.fromkeys(os.path.abspath(folder / path) for folder in folders))
    found = next((Path(each) for each in tried if is_there(each)), None)
    return found, " nor ".join(map(shown_path, tried))


def place_of(frame: FrameType | None) -> Place:
    """Return where a declaration stands that is made by the caller of this frame."""
    caller = frame and frame.f_back
    if caller is None:
        return Place(origin=Origin(module="__main__"))
    file = caller.f_globals.get("__file__")
    here = (Path(file).parent,) if isinstance(file, str) else ()
    # A helper may declare it for the module that is being imported, whose job it is then.
    module: FrameType | None = caller
    while module is not None and module.f_code.co_name != "<module>":
        module = module.f_back
    owner = module or caller
    origin = Origin(module=str(owner.f_globals.get("__name__")), line=owner.f_lineno)
    return Place(origin=origin, folders=(Path(), *here))
