"""How a job's image is built: the folder that is its context, and what the build is given.

Only the declaring machine has the folder; it is looked at when the job is declared, and
packed when it is deployed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from raysched.errors import DeclarationError
from raysched.spec.container import Build
from raysched.spec.declared import look_for
from raysched.spec.options import variables
from raysched.spec.units import shown, shown_path

_MOST_ARGUMENTS = 128 * 1024
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


def context(value: Any, dockerfile: str, folders: Sequence[Path]) -> Path:
    """Return the folder that `value` names, relative to the first of `folders` that has it.

    Raises:
        DeclarationError: no such folder, or no such Dockerfile in it.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise DeclarationError(
            f"build={shown(value)} is not a folder.",
            why="an image is built from a folder with a Dockerfile.",
            fix='write for example build="jobs/wordcount".',
        )
    found, tried = look_for(value, folders, os.path.isdir)
    if found is None:
        raise DeclarationError(
            f"build={shown(str(value))} is not a folder.",
            why=f"there is none at {tried}.",
            fix="create it, or name it from the working directory or from the declaring file.",
        )
    root = Path(os.path.realpath(found))
    file = Path(os.path.realpath(root / dockerfile))
    if not file.is_relative_to(root):
        raise _outside(dockerfile)
    if not file.is_file():
        raise DeclarationError(
            f"dockerfile={shown(dockerfile)} does not exist.",
            why=f"the build context is {shown_path(found)}.",
            fix="create it, or name another one below that folder.",
        )
    return root


def build(*, dockerfile: Any, args: Any, target: Any) -> Build:
    """Return how an image is built.

    Raises:
        DeclarationError: a Dockerfile outside the context, names or values that no build
            takes, or over 128 KiB of them.
    """
    given = variables(args, "build_args")
    total = sum(len(f"{name}={value}".encode()) for name, value in given.items())
    if total > _MOST_ARGUMENTS:
        raise DeclarationError(
            f"build_args has {total:,} bytes.",
            why=f"{_MOST_ARGUMENTS:,} is the most: the engine is given them in one line.",
            fix="COPY a file in place of it.",
        )
    if target is not None and not (type(target) is str and _STAGE.fullmatch(target)):
        raise DeclarationError(
            f"target={shown(target)} is refused.",
            why="a stage has a name of letters, digits, '_', '.' and '-'.",
            fix='write for example target="runtime".',
        )
    return Build(dockerfile=_dockerfile(dockerfile), args=given, target=target)


def _dockerfile(value: object) -> str:
    if type(value) is not str or not value or len(value) > 1000 or not value.isprintable():
        raise DeclarationError(
            f"dockerfile={shown(value)} is refused.",
            why="it is a path within the build context.",
            fix='write for example dockerfile="Dockerfile".',
        )
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise _outside(value)
    return str(path)


def _outside(dockerfile: str) -> DeclarationError:
    return DeclarationError(
        f"dockerfile={shown(dockerfile)} lies outside of the build context.",
        why="only the context travels to the node that builds the image.",
        fix="move it into the folder that build= names.",
    )
