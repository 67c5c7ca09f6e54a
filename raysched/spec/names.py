"""Names that paths, URLs, SQL, shells and terminals carry without harm."""

from __future__ import annotations

import re

from raysched.errors import InvalidName
from raysched.spec.units import shown

_LONGEST = 100
_NAME = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.)){0,98}[A-Za-z0-9_-]|[A-Za-z0-9_]", re.ASCII
)


def job_name(value: object) -> str:
    """Return `value` if it can name a job.

    Raises:
        InvalidName: anything but ASCII letters, digits, `_`, `-` and single inner dots.
    """
    return _checked(value, "job name")


def tag(value: object) -> str:
    """Return `value` if it can be a tag.

    Raises:
        InvalidName: as for job names.
    """
    return _checked(value, "tag")


def _checked(value: object, of: str) -> str:
    if type(value) is str and len(value) <= _LONGEST and _NAME.fullmatch(value):
        return value
    raise InvalidName(
        f"{of} {shown(value)} is refused.",
        why=f"a {of} becomes part of file names, queries and commands: 1 to {_LONGEST} ASCII "
        "letters, digits, '_', '-' and single inner dots.",
        fix='give one, for example name="daily-delays".' if of == "job name" else 'write "etl".',
    )
